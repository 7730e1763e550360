"""What a target file holds: the sections of a `Target`, and what would contradict what.

Every number has unit, value, status and source, and is read as
``target.capacities.neurons_per_core.value``. A contradiction between two numbers is reported at
one of them, with both values. Deliberately not here: prices (prices.py), the reading of a file
(loading.py), rules about networks (rules.py), and anything that uses the numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from hardware_targets.prices import PriceSet, System, Text
from hardware_targets.quantity import (
    Bits,
    BitWidth,
    BitWidths,
    Count,
    OptionalBits,
    OptionalBitWidth,
    OptionalBitWidths,
    OptionalCount,
    OptionalSteps,
    Strict,
    counted_in,
    problem,
)

SynapseFormat = Literal["dense", "run-length", "sparse"]
SignMode = Literal["mixed", "excitatory", "inhibitory"]
NeuronFamily = Literal["cuba", "sigma-delta", "resonate-and-fire", "graded-relay"]
STATE_EXP = 6  # a threshold or weight of 1 is 2^6 in units of the state, on every target

# pydantic fills info.data with the fields above that were sound: what is absent was reported


class Capacities(Strict):
    """How much of everything one chip and one core hold."""

    cores_per_chip: Annotated[Count, counted_in("cores")]
    cores_per_tile: Annotated[Count, counted_in("cores")]
    tile_columns: Annotated[Count, counted_in("tiles")]
    tile_rows: Annotated[Count, counted_in("tiles")]
    neurons_per_core: Annotated[Count, counted_in("neurons")]
    synapse_memory_bits_per_core: Bits
    total_memory_bits_per_core: OptionalBits
    memory_word_bits: OptionalBits
    words_per_axon: Annotated[OptionalCount, counted_in("words")]
    input_axons_per_core: Annotated[OptionalCount, counted_in("axons")]
    output_axons_per_core: Annotated[OptionalCount, counted_in("axons")]
    off_chip_axons_per_core: Annotated[OptionalCount, counted_in("axons")]
    neuron_groups_per_core: Annotated[OptionalCount, counted_in("groups")]
    fan_in_per_neuron: Annotated[OptionalCount, counted_in("synapses")]

    @field_validator("tile_rows")
    @classmethod
    def _tiles_hold_all_cores(cls, rows: Count, info: ValidationInfo) -> Count:
        keys = ("cores_per_chip", "cores_per_tile", "tile_columns")
        if all(key in info.data for key in keys):
            cores, per_tile, columns = (info.data[key].value for key in keys)
            if per_tile * columns * rows.value != cores:
                raise problem(
                    f"cores_per_tile x tile_columns x tile_rows = {per_tile} x {columns} x "
                    f"{rows.value} = {per_tile * columns * rows.value}, but cores_per_chip is "
                    f"{cores}; correct one of the four"
                )
        return rows

    @field_validator("total_memory_bits_per_core")
    @classmethod
    def _synapses_fit_the_memory(cls, total: OptionalBits, info: ValidationInfo) -> OptionalBits:
        synapses = info.data.get("synapse_memory_bits_per_core")
        if synapses and total.value is not None and total.value < synapses.value:
            raise problem(
                f"is {total.value}, below the {synapses.value} of synapse_memory_bits_per_core; "
                "the total holds the synapses too: correct one"
            )
        return total

    @field_validator("memory_word_bits")
    @classmethod
    def _memory_is_whole_words(cls, word: OptionalBits, info: ValidationInfo) -> OptionalBits:
        memory = info.data.get("synapse_memory_bits_per_core")
        if word.value == 0 or (memory and word.value and memory.value % word.value):
            limit = f" of {memory.value}" if memory else ""
            raise problem(
                f"is {word.value}, which does not divide synapse_memory_bits_per_core{limit}; "
                "correct one"
            )
        return word

    @field_validator("words_per_axon")
    @classmethod
    def _list_fits_the_memory(cls, words: OptionalCount, info: ValidationInfo) -> OptionalCount:
        memory, word = (
            info.data.get(key) for key in ("synapse_memory_bits_per_core", "memory_word_bits"))
        if words.value and memory and word and word.value and (
                words.value * word.value > memory.value):
            raise problem(
                f"is {words.value} of {word.value} bits = {words.value * word.value}, above the "
                f"{memory.value} of synapse_memory_bits_per_core; correct one"
            )
        return words


class Synapses(Strict):
    """How weights are stored. A format can be counted only if its widths are known."""

    weight_bits: BitWidths
    sign_modes: Annotated[tuple[SignMode, ...], Field(min_length=1, strict=False)]
    sign_modes_source: Text
    entry_prefix_bits: OptionalBitWidth
    max_synapses_per_entry: Annotated[OptionalCount, counted_in("synapses")]
    index_bits: OptionalBitWidths
    skip_bits: OptionalBitWidths
    delay_bits: OptionalBitWidths
    formats: Annotated[tuple[SynapseFormat, ...], Field(min_length=1, strict=False)]
    shares_conv_kernels: bool
    formats_source: Text

    @field_validator("formats")
    @classmethod
    def _formats_can_be_counted(
        cls, formats: tuple[SynapseFormat, ...], info: ValidationInfo
    ) -> tuple[SynapseFormat, ...]:
        for name, key in (("sparse", "index_bits"), ("run-length", "skip_bits")):
            widths = info.data.get(key)
            if name in formats and widths is not None and widths.value is None:
                raise problem(f"has '{name}', but {key} is null; give the widths or drop '{name}'")
        return formats

    @field_validator("formats", "sign_modes")
    @classmethod
    def _each_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) < len(names):
            raise problem(f"is {list(names)}; list each once")
        return names

    def stored_weight_bits(self, weight_bits: int) -> int:
        """Return the width a weight of `weight_bits` takes in memory (7 takes 8 on Loihi 1).

        Raises
        ------
        ValueError
            No width holds it; `rules.weight_bits_supported` reports that first.
        """
        for width in self.weight_bits.value:
            if width >= weight_bits:
                return width
        raise ValueError(f"weight_bits {weight_bits} exceeds {self.weight_bits.value[-1]}")


class Neurons(Strict):
    """Widths of neuron parameters and state, `state_bits` with the sign; the families it runs."""

    threshold_mant_bits: BitWidth
    decay_bits: BitWidth
    state_bits: BitWidth
    bias_mant_bits: OptionalBitWidth
    bias_exp_bits: OptionalBitWidth
    max_axonal_delay_steps: OptionalSteps
    families: Annotated[tuple[NeuronFamily, ...], Field(min_length=1, strict=False)]
    families_source: Text

    @field_validator("state_bits")
    @classmethod
    def _state_reaches_the_threshold(cls, state: BitWidth, info: ValidationInfo) -> BitWidth:
        threshold = info.data.get("threshold_mant_bits")
        if threshold and threshold.value + STATE_EXP >= state.value:
            raise problem(
                f"is {state.value}, sign included, which no threshold of threshold_mant_bits "
                f"{threshold.value} x 2^{STATE_EXP} fits; give at least "
                f"{threshold.value + STATE_EXP + 1}, or correct threshold_mant_bits", "value"
            )
        return state


class Target(Strict):
    """A chip: what it holds, how it stores, how wide its numbers are, what its events cost."""

    name: Text
    description: Text
    base: Text | None = None
    capacities: Capacities
    synapses: Synapses
    neurons: Neurons
    system: System
    price_sets: Annotated[Mapping[str, PriceSet], Field(min_length=1)]

    @field_validator("synapses")
    @classmethod
    def _index_reaches_every_neuron(cls, synapses: Synapses, info: ValidationInfo) -> Synapses:
        capacities, index = info.data.get("capacities"), synapses.index_bits.value
        if capacities and index and "sparse" in synapses.formats:
            neurons = capacities.neurons_per_core.value
            if 2 ** index[-1] < neurons:
                raise problem(
                    f"is at most {index[-1]}, which tells 2^{index[-1]} = {2 ** index[-1]} neurons "
                    f"apart, but capacities.neurons_per_core is {neurons}; add a wider one, drop "
                    "'sparse', or correct one", "index_bits"
                )
        return synapses

    @field_validator("neurons")
    @classmethod
    def _delay_field_holds_every_delay(cls, neurons: Neurons, info: ValidationInfo) -> Neurons:
        synapses, longest = info.data.get("synapses"), neurons.max_axonal_delay_steps.value
        widths = synapses.delay_bits.value if synapses else None
        if widths and longest is not None and longest > 2 ** widths[-1]:
            raise problem(
                f"is {longest}, but the widest of synapses.delay_bits, {widths[-1]}, holds at most "
                f"{2 ** widths[-1]}; correct one", "max_axonal_delay_steps"
            )
        return neurons

    @field_validator("price_sets")
    @classmethod
    def _barriers_stay_on_the_chip(
        cls, price_sets: Mapping[str, PriceSet], info: ValidationInfo
    ) -> Mapping[str, PriceSet]:
        capacities = info.data.get("capacities")
        if capacities:
            tiles = capacities.tile_columns.value * capacities.tile_rows.value
            for name, prices in price_sets.items():
                points = prices.times.barrier.value
                if points and points[-1][0] > tiles:
                    raise problem(
                        f"has a point at {points[-1][0]} tiles, but the chip has {tiles}; correct "
                        "one", f"{name}.times.barrier"
                    )
        return price_sets
