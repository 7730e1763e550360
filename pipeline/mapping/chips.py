"""The cores of a network on the mesh of as few chips as hold them.

In: a :class:`~pipeline.mapping.partition.Partition`. Out: a
:class:`~pipeline.mapping.placement.Placement`, or what is in the way. Where output axons that leave
a chip are limited, layers that break the limit are cut finer until it holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from hardware_targets import Target
from pipeline.mapping.core_demand import Excess
from pipeline.mapping.mesh import arrange, traffic_of
from pipeline.mapping.partition import CutLayer, Misfit, Partition
from pipeline.mapping.placement import Core, Cut, Placement

_MOST_ROUNDS = 24  # of cutting finer for the sake of other chips


@dataclass(frozen=True)
class Overflow:
    """Cores that the chips do not hold.

    Attributes
    ----------
    cuts : by layer name, the last that were tried
    excess : of off-chip axons, which no finer cut mends; None where there are too many cores
    """

    cuts: dict[str, Cut]
    excess: Excess | None = None

    @property
    def n_cores(self) -> int:
        """Cores of all layers."""
        return sum(cut.n_cores for cut in self.cuts.values())


def spread(partition: Partition, max_chips: int, seed: int) -> Placement | Overflow | Misfit:
    """Return the placement on at most so many chips, or what is in the way; swaps by the seed."""
    per_chip = partition.target.capacities.cores_per_chip.value
    least: dict[str, tuple[int, Excess]] = {}
    for _ in range(_MOST_ROUNDS):
        layers = partition.cut(least)
        if isinstance(layers, Misfit):
            if not least:
                return layers
            break  # so fine that a layer that feeds itself reaches too many cores of its own
        overflow = Overflow({name: layer.cut for name, layer in layers.items()})
        if overflow.n_cores > per_chip * max_chips:
            return overflow
        n_chips = max(1, ceil(overflow.n_cores / per_chip))
        links = _links(partition, layers)
        slots = _slots(partition, layers, links, n_chips, seed)
        cores = _cores(layers, links, slots)
        too_far = _finer(cores, layers, partition.target)
        if not too_far:
            return Placement(partition.target.name, n_chips, cores, overflow.cuts)
        least |= too_far
        if all(n > int(np.prod(layers[name].shape)) for name, (n, _) in too_far.items()):
            break  # one neuron a core
    worst = max((excess for _, excess in too_far.values()), key=lambda excess: excess.ratio)
    return Overflow(overflow.cuts, worst)


def is_held(partition: Partition, max_chips: int, seed: int) -> bool:
    """Whether so many chips hold a network; nothing is arranged where that decides nothing."""
    capacities = partition.target.capacities
    layers = partition.cut({})
    if isinstance(layers, Misfit):
        return False
    n_cores = sum(layer.cut.n_cores for layer in layers.values())
    if n_cores > capacities.cores_per_chip.value * max_chips:
        return False
    if n_cores <= capacities.cores_per_chip.value or (
            capacities.off_chip_axons_per_core.value is None):
        return True
    return isinstance(spread(partition, max_chips, seed), Placement)


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
