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


def ascending(widths: tuple[int, ...], noun: str = "width") -> tuple[int, ...]:
    """Return widths, or other counts, that are to be listed once each, smallest first."""
    if any(low >= high for low, high in zip(widths, widths[1:], strict=False)):
        raise problem(f"is {list(widths)}; list each {noun} once, smallest first")
    return widths


WidthInt = Annotated[int, Field(gt=0, le=64)]  # wider, and shifts by it are not defined
# strict=False lets a YAML list become a tuple; the items stay strict integers.
Widths = Annotated[
    tuple[WidthInt, ...], Field(min_length=1, strict=False), AfterValidator(ascending)
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


