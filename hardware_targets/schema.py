"""What a target file holds, and the reading of one.

In: a YAML file that describes a chip. Out: a `Target`, frozen, every number with unit, status and
source, read as ``target.capacities.neurons_per_core.value``. A file with mistakes gives one
`TargetFileError` that lists all of them. Deliberately not here: rules about networks (rules.py)
and anything that uses the numbers (the pipeline, of which this package imports nothing).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from hardware_targets.quantity import (
    Bits,
    BitWidths,
    Count,
    OptionalBits,
    OptionalBitWidths,
    OptionalCount,
    OptionalSteps,
    Power,
    Price,
    Quantity,
    Status,
    Strict,
    problem,
)
from hardware_targets.reading import key_problems, read_yaml

_FOLDER = Path(__file__).parent
_SUFFIXES = (".yaml", ".yml")

Text = Annotated[str, Field(min_length=1)]
SynapseFormat = Literal["dense", "sparse"]
NeuronFamily = Literal["cuba", "sigma-delta", "resonate-and-fire"]


class TargetFileError(ValueError):
    """A target that does not exist, or a target file with mistakes.

    Attributes
    ----------
    path : str
        The file, or the name that was asked for.
    problems : tuple of str
        Every problem found, each as ``key path: problem; remedy``.
    """

    def __init__(self, path: str, problems: tuple[str, ...]) -> None:
        super().__init__(path, problems)  # both as args, so that the error survives pickling
        self.path = path
        self.problems = problems

    def __str__(self) -> str:
        """Return the file, then one problem a line."""
        return "\n  ".join((f"hardware target {self.path}:", *self.problems))


class Capacities(Strict):
    """How much of everything one chip and one core hold."""

    cores_per_chip: Count
    cores_per_tile: Count
    tile_columns: Count
    tile_rows: Count
    neurons_per_core: Count
    synapse_memory_bits_per_core: Bits
    memory_word_bits: OptionalBits
    input_axons_per_core: OptionalCount
    output_axons_per_core: OptionalCount

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

    @field_validator("memory_word_bits")
    @classmethod
    def _memory_is_whole_words(cls, word: OptionalBits, info: ValidationInfo) -> OptionalBits:
        memory = info.data.get("synapse_memory_bits_per_core")
        if word.value == 0 or (memory and word.value and memory.value % word.value):
            raise problem(
                f"is {word.value}, which does not divide synapse_memory_bits_per_core; correct one"
            )
        return word


class Synapses(Strict):
    """How weights are stored. A format can be counted only if its widths are known."""

    weight_bits: BitWidths
    entry_prefix_bits: OptionalBits
    max_synapses_per_entry: OptionalCount
    index_bits: OptionalBitWidths
    formats: Annotated[tuple[SynapseFormat, ...], Field(min_length=1, strict=False)]
    shares_conv_kernels: bool
    formats_source: Text

    @field_validator("formats")
    @classmethod
    def _sparse_has_index_widths(
        cls, formats: tuple[SynapseFormat, ...], info: ValidationInfo
    ) -> tuple[SynapseFormat, ...]:
        index_bits = info.data.get("index_bits")
        if "sparse" in formats and index_bits is not None and index_bits.value is None:
            raise problem("has 'sparse', but index_bits is null; give the widths or drop 'sparse'")
        return formats

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

    threshold_mant_bits: Bits
    decay_bits: Bits
    state_bits: Bits
    max_axonal_delay_steps: OptionalSteps
    families: Annotated[tuple[NeuronFamily, ...], Field(min_length=1, strict=False)]
    families_source: Text


class PriceSet(Strict):
    """Energy of each counted event, from one coherent origin; null is unpriced, never zero.

    `synop_*` is per executed synaptic operation by storage format. A neuron mapped to a core costs
    `neuron_update_active` in a step with input or nonzero state, `neuron_update_idle` otherwise.
    `spike` is per fired spike, `message` per spike and destination core, `within_tile_spike` per
    message that stays in its tile, `hop_*` per message and tile crossed, `barrier_step` per chip
    and step. `static_core_mw` is power, of other origin than the events: report it apart.
    """

    description: Text
    status: Status
    synop_dense: Price
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

    def unpriced(self) -> dict[str, str]:
        """Return the source's reason for each event that has no price, by name."""
        quantities = ((name, getattr(self, name)) for name in type(self).model_fields)
        return {
            name: quantity.source
            for name, quantity in quantities
            if isinstance(quantity, Quantity) and quantity.value is None
        }


class Target(Strict):
    """A chip: what it holds, how it stores, how wide its numbers are, what its events cost."""

    name: Text
    description: Text
    capacities: Capacities
    synapses: Synapses
    neurons: Neurons
    price_sets: Annotated[Mapping[str, PriceSet], Field(min_length=1)]


_SECTIONS = (Target, Capacities, Synapses, Neurons, PriceSet, Quantity)
_KNOWN_KEYS = frozenset(key for section in _SECTIONS for key in section.model_fields)


def load_target(name_or_path: str | Path) -> Target:
    """Return the target of a shipped name (``"loihi2"``) or of a YAML file.

    Raises
    ------
    TargetFileError
        No such name or file, or the file has mistakes; the message lists all of them.
    """
    path = _locate(name_or_path)
    try:
        content = read_yaml(path)
    except ValueError as error:
        raise TargetFileError(str(path), (str(error),)) from None
    if not isinstance(content, dict):
        found = "nothing" if content is None else f"a {type(content).__name__}"
        remedy = "write the sections listed in hardware_targets/README.md"
        raise TargetFileError(str(path), (f"top level: holds {found}, not a mapping; {remedy}",))
    try:
        return Target.model_validate(content)
    except ValidationError as error:
        problems = key_problems(error.errors(), _KNOWN_KEYS)
        raise TargetFileError(str(path), problems) from None


def list_targets() -> list[str]:
    """Return the names of the shipped targets, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def _locate(name_or_path: str | Path) -> Path:
    path = Path(name_or_path)
    if path.suffix in _SUFFIXES or path.name != str(name_or_path):
        return path
    if path.name in list_targets():
        return _FOLDER / f"{path.name}.yaml"
    shipped = ", ".join(list_targets())
    remedy = f"use one of {shipped}, or the path of a .yaml file"
    raise TargetFileError(repr(str(name_or_path)), (f"no target of this name; {remedy}",))
