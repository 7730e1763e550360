"""What events cost, energies and times of one origin kept together, and what whole chips cost.

In: nothing. Out: the sections `PriceSet` and `System` of a target file. A price nobody has
published is null, and named by :meth:`PriceSet.unpriced`; it is never zero. Deliberately not here:
what is counted, and any sum, which is the pipeline's.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from hardware_targets.quantity import (
    Energy,
    Power,
    Price,
    Quantity,
    Status,
    Strict,
    Time,
    Voltage,
    problem,
)
from hardware_targets.time_table import TimeTable

Text = Annotated[str, Field(min_length=1)]
Origin = Literal["simulation", "silicon", "other-chip", "invented", "none"]


class EventTimes(Strict):
    """How long one event keeps its unit busy; the events are those of `PriceSet`.

    `message_out` is at the sending core and `message_in` at the receiving one, `barrier` the end of
    a step by the tiles in use.
    """

    synop_dense: Time
    synop_run_length: Time
    synop_sparse: Time
    synop_conv: Time
    neuron_update_active: Time
    neuron_update_idle: Time
    spike: Time
    message_out: Time
    message_in: Time
    within_tile_spike: Time
    hop_east_west: Time
    hop_north_south: Time
    barrier: TimeTable

    @field_validator("neuron_update_idle")
    @classmethod
    def _idle_is_not_above_active(cls, idle: Time, info: ValidationInfo) -> Time:
        _not_above(idle, info.data.get("neuron_update_active"))
        return idle

    @field_validator("barrier")
    @classmethod
    def _barrier_is_within_a_chip(cls, barrier: TimeTable) -> TimeTable:
        if barrier.per != "tiles":
            raise problem(
                f"is {barrier.per!r}, must be 'tiles'; a barrier over chips goes into "
                "system.multi_chip_barrier", "per")
        return barrier

    def unknown(self) -> dict[str, str]:
        """Return the source's reason for each event whose time is not known, by name."""
        return _without_value(self)


class PriceSet(Strict):
    """Energy of each counted event, from one coherent origin; null is unpriced, never zero.

    `synop_*` is per executed synaptic operation by storage format. A neuron mapped to a core costs
    `neuron_update_active` in a step with input or nonzero state, `neuron_update_idle` otherwise.
    `spike` is per fired spike, `message` per spike and destination core, both ends of it,
    `within_tile_spike` per message that stays in its tile, `hop_*` per message and tile crossed,
    `barrier_step` per chip and step. `static_core_mw` is power, of other origin than the events:
    report it apart.
    """

    description: Text
    synop_dense: Price
    synop_run_length: Price
    synop_sparse: Price
    synop_conv: Price
    neuron_update_active: Price
    neuron_update_idle: Price
    spike: Price
    message: Price
    within_tile_spike: Price
    hop_east_west: Price
    hop_north_south: Price
    barrier_step: Price
    static_core_mw: Power
    status: Status
    origin: Origin
    supply_voltage_v: Voltage
    times: EventTimes

    @field_validator("neuron_update_idle")
    @classmethod
    def _idle_is_not_above_active(cls, idle: Price, info: ValidationInfo) -> Price:
        _not_above(idle, info.data.get("neuron_update_active"))
        return idle

    @field_validator("status")
    @classmethod
    def _status_agrees_with_prices(cls, status: Status, info: ValidationInfo) -> Status:
        names = [name for name in cls.energies() if name in info.data]
        priced = [name for name in names if info.data[name].value is not None]
        if status == "not-found" and priced:
            raise problem(
                f"is 'not-found', but {priced[0]} has a price; set the status that describes the "
                "set, or the price null")
        if status != "not-found" and len(names) == len(cls.energies()) and not priced:
            raise problem(f"is {status!r}, but no event has a price; set status not-found")
        return status

    @field_validator("origin")
    @classmethod
    def _only_a_set_without_prices_has_no_origin(
        cls, origin: Origin, info: ValidationInfo
    ) -> Origin:
        status = info.data.get("status")
        if status is not None and (origin == "none") != (status == "not-found"):
            raise problem(
                f"is {origin!r}, but the status of the set is {status!r}; 'none' and 'not-found' "
                "go together")
        return origin

    @classmethod
    def energies(cls) -> tuple[str, ...]:
        """Return the names of the events that have an energy each."""
        return tuple(
            name for name, field in cls.model_fields.items() if field.annotation is Price)

    def unpriced(self) -> dict[str, str]:
        """Return the source's reason for each event that has no price, by name."""
        return {
            name: reason for name, reason in _without_value(self).items()
            if name != "supply_voltage_v"
        }


class System(Strict):
    """What was measured of whole chips: other origin than the events, never summed with them.

    `static_chip_mw` and `x86_chip_mw` are powers, `reset_chip_uj` is spent where a network's state
    is set back between samples, `multi_chip_barrier` the end of a step over several chips.
    """

    static_chip_mw: Power
    x86_chip_mw: Power
    reset_chip_uj: Energy
    multi_chip_barrier: TimeTable

    @field_validator("multi_chip_barrier")
    @classmethod
    def _barrier_is_over_chips(cls, barrier: TimeTable) -> TimeTable:
        if barrier.per != "chips":
            raise problem(
                f"is {barrier.per!r}, must be 'chips'; a barrier over tiles goes into the times "
                "of a price set", "per")
        return barrier


def _not_above(idle: Price | Time, active: Price | Time | None) -> None:
    if active is None or idle.value is None or active.value is None:
        return
    if idle.value > active.value:
        raise problem(
            f"is {idle.value} {idle.unit}, above the {active.value} of neuron_update_active; an "
            "active update is the whole price, not a surcharge: correct one", "value")


def _without_value(section: Strict) -> dict[str, str]:
    quantities = ((name, getattr(section, name)) for name in type(section).model_fields)
    return {
        name: quantity.source
        for name, quantity in quantities
        if isinstance(quantity, Quantity) and quantity.value is None
    }
