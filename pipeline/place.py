"""Neurons to cores: which limits bind, which synapse format each core uses, what does not fit.

In: an integer network and a target. Out: a :class:`Placement`, layers on contiguous cores in
network order, each layer cut into the fewest equal slices that respect neurons, synapse memory,
input axons and output axons of a core. A limit the target does not know does not bind.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hardware_targets import LayerFacts, NeuronFamily, Target, check_layers
from pipeline.connectivity import unrolled
from pipeline.errors import DesignRuleError
from pipeline.network import Layer, Network
from pipeline.neuron import CubaNeuron, ResonatorNeuron, SigmaDeltaNeuron
from pipeline.synapse_format import CoreSynapses, best_format

# a slice is found by trying counts upwards in steps of 1/16 of the last, then exactly
_COARSENESS = 16
_FAMILIES: dict[type, NeuronFamily] = {
    CubaNeuron: "cuba", SigmaDeltaNeuron: "sigma-delta", ResonatorNeuron: "resonate-and-fire"}


@dataclass(frozen=True)
class Core:
    """One core and the neurons on it.

    Attributes
    ----------
    layer : name; ``begin``..``end`` are its neurons on this core, in C, Y, X order
    synapses : memory and axons of each synapse group on this core
    n_output_axons : (source neuron, destination core) pairs that leave this core
    tile_x, tile_y : position of the core's tile on the mesh
    """

    index: int
    layer: str
    begin: int
    end: int
    synapses: tuple[CoreSynapses, ...]
    n_output_axons: int
    tile_x: int = 0
    tile_y: int = 0

    @property
    def n_neurons(self) -> int:
        """Neurons on this core."""
        return self.end - self.begin

    @property
    def synapse_bits(self) -> int:
        """Synapse memory used, bits."""
        return sum(s.memory_bits for s in self.synapses)

    @property
    def n_input_axons(self) -> int:
        """Input axons used."""
        return sum(s.n_input_axons for s in self.synapses)


@dataclass(frozen=True)
class Placement:
    """A network on the cores of one chip.

    Attributes
    ----------
    binding : per layer, the limit that decided its number of cores
    """

    target: str
    cores: tuple[Core, ...]
    binding: dict[str, str]

    def cores_of(self, layer: str) -> tuple[Core, ...]:
        """Return the cores of a layer, in order."""
        return tuple(core for core in self.cores if core.layer == layer)


def check_rules(network: Network, target: Target) -> None:
    """Raise DesignRuleError with every rule of the target that the network breaks."""
    violations = check_layers([_facts(layer) for layer in network.layers], target)
    if violations:
        lines = "\n".join(f"  {violation}" for violation in violations)
        raise DesignRuleError(
            f"network '{network.name}' breaks {len(violations)} rule(s) of target "
            f"'{target.name}':\n{lines}"
        )


def place(network: Network, target: Target) -> Placement:
    """Return the placement with the fewest cores per layer.

    Raises
    ------
    DesignRuleError
        If the network does not fit one chip: which limit, and by how much.
    """
    slices: dict[str, list[Core]] = {}
    binding: dict[str, str] = {}
    # from the last layer back, so that the destination cores of a layer are known
    for layer in reversed(network.layers):
        reach = _cores_reached(network, layer, slices)
        slices[layer.name], binding[layer.name] = _cut(network, layer, target, reach)
    cores = [core for layer in network.layers for core in slices[layer.name]]
    limit = target.capacities.cores_per_chip.value
    if len(cores) > limit:
        lines = "\n".join(
            f"  {layer.name} · {len(slices[layer.name])} cores · decided by {binding[layer.name]}"
            for layer in network.layers
        )
        raise DesignRuleError(
            f"network '{network.name}' needs {len(cores)} cores, {len(cores) - limit} more than "
            f"the {limit} of one '{target.name}' chip; raise the sparsity, lower the bits or use a "
            f"smaller network:\n{lines}"
        )
    return Placement(target.name, tuple(_on_mesh(i, c, target) for i, c in enumerate(cores)), {
        layer.name: binding[layer.name] for layer in network.layers
    })


def _facts(layer: Layer) -> LayerFacts:
    neuron, groups = layer.neuron, layer.stored_groups
    weights = [group.weight for group in groups] or [np.zeros((1, 1), dtype=np.int32)]
    # all inputs at once: the largest sum of one sign over the rows, in state units (2^6)
    worst = max(
        max(int(np.where(w > 0, w, 0).reshape(len(w), -1).sum(axis=1).max()),
            int(-np.where(w < 0, w, 0).reshape(len(w), -1).sum(axis=1).min()))
        for w in weights
    )
    return LayerFacts(
        layer=layer.name, family=_FAMILIES[type(neuron)], kind=layer.synapses[0].kind,
        n_neurons=layer.n_neurons, has_synapses=bool(groups),
        weight_bits=max((group.weight_bits or 0 for group in groups), default=0),
        weight_min=min(int(w.min()) for w in weights),
        weight_max=max(int(w.max()) for w in weights),
        weight_exp=0,
        # one that never fires gets the highest threshold there is, whatever that is
        vth_mant=neuron.nominal_vth, current_decay=getattr(neuron, "current_decay", 0),
        voltage_decay=getattr(neuron, "voltage_decay", 0),
        # messages of sigma-delta neurons have any size: their states are not judged here
        worst_case_current=0 if isinstance(neuron, SigmaDeltaNeuron) else worst << 6,
        axonal_delay=max(layer.axonal_delay or (0,)),
    )


def _cores_reached(
    network: Network, layer: Layer, slices: dict[str, list[Core]]
) -> NDArray[np.int64]:
    """Return how many destination cores each neuron of ``layer`` sends its spikes to."""
    reached = np.zeros(layer.n_neurons, dtype=np.int64)
    for target_layer in network.layers:
        for index, synapse in enumerate(target_layer.synapses):
            if synapse.source == layer.name:
                for core in slices[target_layer.name]:
                    reached += core.synapses[index].executed_fan_out > 0
    return reached


def _cut(
    network: Network, layer: Layer, target: Target, reach: NDArray[np.int64]
) -> tuple[list[Core], str]:
    """Return the slices of a layer and the limit that decided their number."""
    groups = layer.stored_groups
    matrices = [unrolled(network, group).tocsc() for group in groups]
    # a layer that feeds itself reaches all its own cores
    feeds_itself = np.zeros(layer.n_neurons, dtype=np.bool_)
    if layer.recurrent is not None:
        feeds_itself = (layer.recurrent.weight != 0).any(axis=0)
    decided, n_slices = "one core holds it", 1
    while True:
        bounds = np.linspace(0, layer.n_neurons, n_slices + 1).astype(int)
        cores, exceeded = [], ""
        for begin, end in zip(bounds[:-1], bounds[1:], strict=True):
            synapses = tuple(
                best_format(synapse, matrix[:, begin:end], layer, (begin, end), target)
                for synapse, matrix in zip(groups, matrices, strict=True)
            )
            n_axons = int((reach + n_slices * feeds_itself)[begin:end].sum())
            core = Core(0, layer.name, int(begin), int(end), synapses, n_axons)
            exceeded = _exceeded(core, target)
            if exceeded:
                break
            cores.append(core)
        if not exceeded:
            return cores, decided
        if n_slices >= layer.n_neurons:
            raise DesignRuleError(
                f"layer '{layer.name}': a single neuron does not fit a core of '{target.name}': "
                f"{exceeded}; prune its inputs or split the layer"
            )
        decided = exceeded.split(":")[0]
        n_slices = min(layer.n_neurons, n_slices + max(1, n_slices // _COARSENESS))


def _exceeded(core: Core, target: Target) -> str:
    """Return the first limit of a core that is exceeded, with value and limit, or ''."""
    capacities = target.capacities
    for what, value, limit in (
        ("neurons", core.n_neurons, capacities.neurons_per_core.value),
        ("synapse memory", core.synapse_bits, capacities.synapse_memory_bits_per_core.value),
        ("input axons", core.n_input_axons, capacities.input_axons_per_core.value),
        ("output axons", core.n_output_axons, capacities.output_axons_per_core.value),
    ):
        if limit is not None and value > limit:
            return f"{what}: {value} against a limit of {limit}"
    return ""


def _on_mesh(index: int, core: Core, target: Target) -> Core:
    """Return the core with its number and the position of its tile, row by row."""
    tile = index // target.capacities.cores_per_tile.value
    columns = target.capacities.tile_columns.value
    return replace(core, index=index, tile_x=tile % columns, tile_y=tile // columns)
