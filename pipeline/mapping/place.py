"""Neurons to cores: which limits bind, which synapse format each core uses, what does not fit.

In: an integer network and a target. Out: a :class:`~pipeline.mapping.placement.Placement`. Each
layer takes the fewest cores that keep to every limit of a core (:mod:`pipeline.mapping.partition`),
no two layers share one, and the cores go where spikes have short ways
(:mod:`pipeline.mapping.mesh`). A limit the target does not know does not bind. Where output axons
that leave a chip are limited, layers that break the limit are cut finer until it holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from hardware_targets import Target, check_layers
from pipeline.errors import DesignRuleError
from pipeline.lower import without_joins
from pipeline.mapping.core_demand import Excess
from pipeline.mapping.layer_facts import facts_of
from pipeline.mapping.mesh import arrange, traffic_of
from pipeline.mapping.partition import CutLayer, Misfit, Partition, Rates
from pipeline.mapping.placement import Core, Format, Placement
from pipeline.mapping.remedy import what_would_fit
from pipeline.network import Network

_MOST_ROUNDS = 24  # of cutting finer for the sake of other chips


def check_rules(network: Network, target: Target, max_chips: int = 1) -> None:
    """Raise DesignRuleError with every rule of the target that the network breaks."""
    violations = check_layers([facts_of(layer) for layer in network.layers], target, max_chips)
    if violations:
        lines = "\n".join(f"  {violation}" for violation in violations)
        raise DesignRuleError(
            f"network '{network.name}' breaks {len(violations)} rule(s) of target "
            f"'{target.name}':\n{lines}"
        )


def place(
    network: Network, target: Target, *, formats: tuple[Format, ...] | None = None,
    rates: Rates | None = None, max_chips: int = 1, seed: int = 0,
) -> Placement:
    """Return the placement with the fewest cores per layer, and short ways between them.

    Parameters
    ----------
    formats : that synapses may take, of those the target has; None for all
    rates : per source (n_neurons,), spikes of each neuron in any unit, the input's too; None takes
        every neuron to spike alike
    max_chips : that may be used; as few are as hold the cores
    seed : of the swaps on the mesh

    Raises
    ------
    DesignRuleError
        If the network does not fit the chips: which limit, by how much, and what would fit.
    """
    partition = Partition(without_joins(network), target, formats, rates)
    per_chip = target.capacities.cores_per_chip.value
    least: dict[str, tuple[int, Excess]] = {}
    for _ in range(_MOST_ROUNDS):
        layers = partition.cut(least)
        if isinstance(layers, Misfit):
            raise DesignRuleError(_neuron_too_big(partition, layers))
        n_cores = sum(len(layer.pieces) for layer in layers.values())
        if n_cores > per_chip * max_chips:
            raise DesignRuleError(_too_many_cores(partition, layers, n_cores, max_chips))
        n_chips = max(1, ceil(n_cores / per_chip))
        links = _links(partition, layers)
        slots = _slots(partition, layers, links, n_chips, seed)
        cores = _cores(layers, links, slots)
        too_far = _finer(cores, layers, target)
        if not too_far:
            cuts = {name: layer.cut for name, layer in layers.items()}
            return Placement(target.name, n_chips, cores, cuts)
        least |= too_far
    worst = max((excess for _, excess in too_far.values()), key=lambda excess: excess.ratio)
    raise DesignRuleError(
        f"network '{network.name}': {worst.limit}: {worst.value} of a core against a limit of "
        f"{worst.bound}, even with {n_cores} cores on {n_chips} chips of '{target.name}'; raise "
        "the sparsity until it fits fewer chips"
    )


@dataclass(frozen=True)
class _Links:
    """Axons from core to core, one row a (sending core, receiving core, synapse group)."""

    senders: NDArray[np.int64]
    receivers: NDArray[np.int64]
    n_axons: NDArray[np.int64]
    spikes: NDArray[np.float64]


def _links(partition: Partition, layers: dict[str, CutLayer]) -> _Links:
    """Return what is sent where; input from outside the chips is not."""
    owner: dict[str, NDArray[np.int64]] = {}
    n_cores = 0
    for layer in partition.network.layers:
        owner[layer.name] = np.empty(layer.n_neurons, dtype=np.int64)
        grid = owner[layer.name].reshape(layer.shape)
        for piece in layers[layer.name].pieces:
            grid[tuple(slice(*span) for span in piece.region)] = n_cores
            n_cores += 1
    rows: list[NDArray[np.float64]] = []
    receiver = 0
    for layer in partition.network.layers:
        sources = [group.source for group in layer.stored_groups]
        rates = {source: partition.rates_of(source) for source in sources if source in owner}
        for piece in layers[layer.name].pieces:
            for source, stored in zip(sources, piece.stored, strict=True):
                if source in owner:
                    senders = owner[source][stored.sources]
                    n_axons = np.bincount(senders, minlength=n_cores)
                    spikes = np.bincount(senders, rates[source][stored.sources], n_cores)
                    (own,) = np.nonzero(n_axons)
                    rows.append(np.column_stack(
                        [own, np.full(len(own), receiver), n_axons[own], spikes[own]]))
            receiver += 1
    table = np.concatenate(rows) if rows else np.zeros((0, 4))
    whole = table[:, :3].astype(np.int64)
    return _Links(whole[:, 0], whole[:, 1], whole[:, 2], table[:, 3])


def _slots(
    partition: Partition, layers: dict[str, CutLayer], links: _Links, n_chips: int, seed: int
) -> NDArray[np.int64]:
    """Return (n_cores, 3) chip, x and y of each core."""
    # over several chips the same part of all layers may be nearer than all parts of one
    centers = [
        (sum(piece.region[-2:][0]) / layer.shape[-2:][0], rank)
        for rank, layer in enumerate(partition.network.layers)
        for piece in layers[layer.name].pieces
    ]
    n_cores = len(centers)
    by_part = np.array(sorted(range(n_cores), key=centers.__getitem__), dtype=np.int64)
    traffic = traffic_of(n_cores, links.senders, links.receivers, links.spikes)
    orders = (by_part,) if n_chips > 1 else ()
    return arrange(n_cores, traffic, partition.target, n_chips, seed, orders)


def _cores(
    layers: dict[str, CutLayer], links: _Links, slots: NDArray[np.int64]
) -> tuple[Core, ...]:
    n_axons = np.bincount(links.senders, links.n_axons, len(slots)).astype(int)
    leaves_chip = slots[links.senders, 0] != slots[links.receivers, 0]
    n_far = np.bincount(
        links.senders, links.n_axons * leaves_chip, len(slots)).astype(int)
    cores: list[Core] = []
    for name, layer in layers.items():
        for piece in layer.pieces:
            index = len(cores)
            chip, x, y = (int(n) for n in slots[index])
            synapses = tuple(
                stored.named(synapse)
                for stored, synapse in zip(piece.stored, layer.synapses, strict=True))
            cores.append(Core(index, chip, x, y, name, piece.region, layer.shape, synapses,
                              int(n_axons[index]), int(n_far[index])))
    return tuple(cores)


def _finer(
    cores: tuple[Core, ...], layers: dict[str, CutLayer], target: Target
) -> dict[str, tuple[int, Excess]]:
    """Return the layers with cores that break the limit of off-chip axons: pieces to try, why."""
    bound = target.capacities.off_chip_axons_per_core.value
    finer: dict[str, tuple[int, Excess]] = {}
    for name, layer in layers.items():
        most = max(core.n_off_chip_axons for core in cores if core.layer == name)
        if bound is not None and most > bound:
            n = len(layer.pieces)
            finer[name] = (max(n + 1, ceil(n * min(most / bound, 2))),
                           Excess("off-chip axons", most, bound))
    return finer


def _neuron_too_big(partition: Partition, misfit: Misfit) -> str:
    excess = misfit.excess
    return (
        f"layer '{misfit.layer}': a single neuron does not fit a core of "
        f"'{partition.target.name}': {excess.limit}: {excess.value} against a limit of "
        f"{excess.bound}; {what_would_fit(partition, misfit.layer)}"
    )


def _too_many_cores(
    partition: Partition, layers: dict[str, CutLayer], n_cores: int, max_chips: int
) -> str:
    network, target = partition.network, partition.target
    limit = target.capacities.cores_per_chip.value * max_chips
    chips = f"one '{target.name}' chip" if max_chips == 1 else f"{max_chips} '{target.name}' chips"
    lines = "\n".join(
        f"  {name} · {layer.cut.n_cores} cores" + (
            f" · decided by {layer.cut.limit}: {layer.cut.value} against a limit of "
            f"{layer.cut.bound} on one core fewer" if layer.cut.limit else "")
        for name, layer in layers.items()
    )
    n_chips = ceil(n_cores / target.capacities.cores_per_chip.value)
    return (
        f"network '{network.name}' needs {n_cores} cores, {n_cores - limit} more than the {limit} "
        f"of {chips}; {what_would_fit(partition, None, limit)}; {n_chips} chips have as many "
        f"cores:\n{lines}"
    )
