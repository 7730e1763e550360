"""The nouns of a placement: cores, what each stores, and which limit decided each cut.

In: nothing. Out: what :mod:`pipeline.mapping.place` makes and the account, the report and the
export read. Neurons are numbered in C, Y, X order of their layer, everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Format = Literal["dense", "run-length", "sparse", "conv"]
Region = tuple[tuple[int, int], ...]


def neurons_in(region: Region, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the neurons of a region of a layer, ascending."""
    axes = np.ix_(*(np.arange(begin, end) for begin, end in region))
    return np.asarray(np.ravel_multi_index(axes, shape), dtype=np.int64).ravel()


@dataclass(frozen=True)
class CoreSynapses:
    """One synapse group on one core.

    Attributes
    ----------
    memory_bits : in whole memory words
    sources : int32, source neurons with a stored axon to this core, ascending; one that reaches
        the core by zero weights only is not stored
    effective, executed : int32, per such source: synapses on this core with a nonzero weight, and
        those that the format makes a spike execute
    """

    synapse: str
    format: Format
    memory_bits: int
    sources: NDArray[np.int32]
    effective: NDArray[np.int32]
    executed: NDArray[np.int32]

    @property
    def n_input_axons(self) -> int:
        """Source neurons whose spikes must reach this core."""
        return len(self.sources)


@dataclass(frozen=True)
class Core:
    """One core and the neurons on it.

    Attributes
    ----------
    index : over all chips
    tile_x, tile_y : position of the core's tile on the mesh of its chip
    region : (begin, end) along each axis of the layer's shape: (c, y, x) or (features,)
    shape : of the layer
    n_output_axons : (source neuron, destination core) pairs that leave this core; a neuron that
        reaches a core by two synapse groups takes two
    n_off_chip_axons : those whose destination is on another chip
    """

    index: int
    chip: int
    tile_x: int
    tile_y: int
    layer: str
    region: Region
    shape: tuple[int, ...]
    synapses: tuple[CoreSynapses, ...]
    n_output_axons: int
    n_off_chip_axons: int

    @property
    def neurons(self) -> NDArray[np.int64]:
        """The neurons on this core, ascending."""
        return neurons_in(self.region, self.shape)

    @property
    def n_neurons(self) -> int:
        """Neurons on this core."""
        return int(np.prod([end - begin for begin, end in self.region]))

    @property
    def synapse_bits(self) -> int:
        """Synapse memory used, bits."""
        return sum(group.memory_bits for group in self.synapses)

    @property
    def n_input_axons(self) -> int:
        """Input axons used."""
        return sum(group.n_input_axons for group in self.synapses)


@dataclass(frozen=True)
class Cut:
    """How a layer was cut, and why not into fewer pieces.

    Attributes
    ----------
    limit : of a core that one piece fewer would break, as "synapse memory"; "off-chip axons" where
        the pieces before, which were fewer, broke it; "" if one core holds the layer
    value, bound : what the fullest core would have needed, and what the limit is
    """

    n_cores: int
    limit: str
    value: int
    bound: int


@dataclass(frozen=True)
class Placement:
    """A network on the cores of one or more chips.

    Attributes
    ----------
    cores : in network order, the cores of a layer together
    cuts : by layer name
    """

    target: str
    n_chips: int
    cores: tuple[Core, ...]
    cuts: dict[str, Cut]

    def cores_of(self, layer: str) -> tuple[Core, ...]:
        """Return the cores of a layer, in order."""
        return tuple(core for core in self.cores if core.layer == layer)
