"""A time that depends on a count, given at some counts: of a step by chips, say."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    Field,
    PositiveInt,
)

from hardware_targets.quantity import NonNegativeFloat, Quantity, ascending


def _points(points: tuple[tuple[int, float], ...]) -> tuple[tuple[int, float], ...]:
    ascending(tuple(count for count, _ in points), "count")
    return points


Points = Annotated[
    tuple[Annotated[tuple[PositiveInt, NonNegativeFloat], Field(strict=False)], ...],
    Field(min_length=1, strict=False),
    AfterValidator(_points),
]


class TimeTable(Quantity):
    """A duration in nanoseconds that depends on a count, given at some counts.

    Attributes
    ----------
    value : tuple of (count, nanoseconds), counts ascending, or None
    per : {"tiles", "chips"}
        What is counted.
    interpolation : {"linear", "step"}
        Between two points: on the line through them, or the lower one's time. Below the first point
        the first time holds, above the last the last.
    """

    value: Points | None
    unit: Literal["ns"]
    per: Literal["tiles", "chips"]
    interpolation: Literal["linear", "step"]

    def at(self, count: float) -> float | None:
        """Return the time for a count, nanoseconds; None where no time is known."""
        if self.value is None:
            return None
        points = self.value
        if count <= points[0][0]:
            return points[0][1]
        for (low, start), (high, end) in zip(points, points[1:], strict=False):
            if count < high:
                step = 0.0 if self.interpolation == "step" else (count - low) / (high - low)
                return start + step * (end - start)
        return points[-1][1]
