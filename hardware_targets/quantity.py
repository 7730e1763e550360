"""One number of a target file: its value, its unit, how well it is known, and who says so.

The sections in :mod:`hardware_targets.schema` are made of these. A number nobody has published is
``null`` with status ``not-found``; any other number needs a source. Each kind fixes the unit, so
bytes cannot pass for bits or nanojoules for picojoules. All checks sit on single keys, so that one
reading of a file finds every mistake in it. Not here: what the numbers mean for a chip.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

Status = Literal[
    "published",
    "published-simulated",
    "measured-by-others",
    "software-limit",
    "derived",
    "convention",
    "assumed",
    "not-found",
]


_NO_SOURCE = frozenset({"", "-", "?", "??", "???", "n/a", "none", "tbd", "todo", "unknown", "xxx"})


class Strict(BaseModel):
    """A mapping that is immutable, refuses unknown keys and converts no types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def problem(message: str, key: str = "") -> PydanticCustomError:
    """Return the error a validator raises; pydantic adds the key path, ``key`` what is below it."""
    return PydanticCustomError("target_file", "{message}", {"message": message, "key": key})


class Quantity(Strict):
    """A number with its provenance; the subclasses narrow ``value`` and ``unit``.

    Attributes
    ----------
    value : int, float, tuple, or None
        None only where the status is ``not-found``.
    unit : str
        Fixed by the subclass.
    status : str
        How well the value is known, one of `Status`.
    source : str
        Who says so, and where; for a missing value, why it is missing.
    """

    value: int | float | tuple[int, ...] | tuple[tuple[int, float], ...] | None
    unit: str
    status: Status
    source: str

    @field_validator("status")
    @classmethod
    def _status_agrees_with_value(cls, status: Status, info: ValidationInfo) -> Status:
        if "value" not in info.data:  # already reported
            return status
        value = info.data["value"]
        if value is None and status != "not-found":
            raise problem(
                f"is {status!r}, but value is null; give the value, or set status not-found"
            )
        if value is not None and status == "not-found":
            raise problem(
                f"is 'not-found', but value is {value!r}; set value null, or its true status"
            )
        return status

    @field_validator("source")
    @classmethod
    def _number_has_a_source(cls, source: str, info: ValidationInfo) -> str:
        if source.strip().lower() not in _NO_SOURCE:
            return source
        shown = f"{source.strip()!r}" if source.strip() else "empty"
        # A value that was itself refused is absent from info.data: it is a number all the same.
        if info.data.get("value", 0) is None:
            raise problem(f"is {shown}; say where the number was looked for")
        raise problem(
            f"is {shown}; name the paper, page or file the number comes from, "
            "or set value null with status not-found"
        )


def _ascending(widths: tuple[int, ...], noun: str = "width") -> tuple[int, ...]:
    if any(low >= high for low, high in zip(widths, widths[1:], strict=False)):
        raise problem(f"is {list(widths)}; list each {noun} once, smallest first")
    return widths


WidthInt = Annotated[int, Field(gt=0, le=64)]  # wider, and shifts by it are not defined
# strict=False lets a YAML list become a tuple; the items stay strict integers.
Widths = Annotated[
    tuple[WidthInt, ...], Field(min_length=1, strict=False), AfterValidator(_ascending)
]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Countable = Literal["cores", "tiles", "neurons", "axons", "synapses", "words", "groups"]


class Count(Quantity):
    """A number of things, at least 1."""

    value: PositiveInt
    unit: Countable


class OptionalCount(Quantity):
    """A number of things, or None where nobody has published it."""

    value: PositiveInt | None
    unit: Countable


def counted_in(unit: Countable) -> AfterValidator:
    """Return a validator that requires the unit of a count: neurons are not counted in axons."""
    def check(count: Count | OptionalCount) -> Count | OptionalCount:
        if count.unit != unit:
            raise problem(f"is {count.unit!r}, must be {unit!r}; correct it", "unit")
        return count

    return AfterValidator(check)


class Bits(Quantity):
    """A size in bits, at least 1."""

    value: PositiveInt
    unit: Literal["bits"]


class OptionalBits(Quantity):
    """A size in bits (0 allowed), or None where nobody has published it."""

    value: NonNegativeInt | None
    unit: Literal["bits"]


class BitWidth(Quantity):
    """A width in bits."""

    value: WidthInt
    unit: Literal["bits"]


class OptionalBitWidth(Quantity):
    """A width in bits (0 allowed), or None where nobody has published it."""

    value: Annotated[int, Field(ge=0, le=64)] | None
    unit: Literal["bits"]


class BitWidths(Quantity):
    """The widths to choose from, ascending, in bits."""

    value: Widths
    unit: Literal["bits"]


class OptionalBitWidths(Quantity):
    """The widths to choose from, ascending, in bits, or None where nobody has published them."""

    value: Widths | None
    unit: Literal["bits"]


class OptionalSteps(Quantity):
    """A duration in time steps, or None where nobody has published it."""

    value: NonNegativeInt | None
    unit: Literal["steps"]


class Price(Quantity):
    """Energy of one event in picojoules, or None for an unpriced event."""

    value: NonNegativeFloat | None
    unit: Literal["pJ"]


class Power(Quantity):
    """Power in milliwatts, or None where nobody has published it."""

    value: NonNegativeFloat | None
    unit: Literal["mW"]


class Time(Quantity):
    """Duration of one event in nanoseconds, or None where nobody has published it."""

    value: NonNegativeFloat | None
    unit: Literal["ns"]


class Voltage(Quantity):
    """A supply voltage in volts, or None where the source does not state it."""

    value: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None
    unit: Literal["V"]


class Energy(Quantity):
    """Energy of something larger than one event in microjoules, or None."""

    value: NonNegativeFloat | None
    unit: Literal["uJ"]


def _points(points: tuple[tuple[int, float], ...]) -> tuple[tuple[int, float], ...]:
    _ascending(tuple(count for count, _ in points), "count")
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
