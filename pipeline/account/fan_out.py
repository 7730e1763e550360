"""What one spike of each neuron sets off on every core: the account's tables of events.

In: a network and its placement. Out: a :class:`FanOut` per source, sparse matrices from the
source's neurons to the cores on which an event happens. Counting is then spikes times tables, in
:mod:`pipeline.account.counts`; time is the same with nanoseconds, in
:mod:`pipeline.account.timing`. The rules:

* a message is one spike to one destination core: one, by however many synapse groups of the core it
  is received (resonators, joins); it is counted at the sender and at the receiver, and its hops at
  the sender;
* hops go along x, then y, between tiles of one chip. A message to another chip takes a way that no
  source describes: it is counted as such, without hops;
* spikes of the input come from outside: messages at the receiver only;
* neurons that take the input by themselves store no synapse: a value other than 0 is a message from
  outside to the core of its neuron.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from pipeline.errors import DataError
from pipeline.lower import without_joins
from pipeline.mapping.placement import Core, Format, Placement
from pipeline.network import INPUT, Layer, Network
from pipeline.synapse_count import n_synapses

FORMATS: tuple[Format, ...] = ("dense", "run-length", "sparse", "conv")
# of a spike: when it reaches the next layer, or one step after it was fired, whatever its delay
Moment = Literal["left", "fired"]
OFF_CHIP_REASON = "no source says what a message from chip to chip takes"
Entries = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


def executed_in(kind: Format) -> str:
    """Return the name of the event "synop executed in a format"."""
    return f"executed_synops_{kind.replace('-', '_')}"


@dataclass(frozen=True)
class FanOut:
    """What the spikes of one source do.

    Attributes
    ----------
    source : a layer or ``INPUT``
    moment : of its spikes, whether those are counted that left or that were fired; the two differ
        by the axonal delay. Recurrent synapses and the price of a spike go by what was fired
    names : of the events that a spike causes
    table : (n_names * n_cores, n_source) int64, how often a spike causes each event on each core
    routes : (n, 3) int64: source neuron, sending core (-1 is the outside), receiving core
    """

    source: str
    moment: Moment
    names: tuple[str, ...]
    table: csr_array
    routes: NDArray[np.int64]

    def of(self, event: str) -> csr_array:
        """Return how often a spike causes one event on each core, (n_cores, n_source) int64."""
        n_cores = self.table.shape[0] // max(len(self.names), 1)
        if event not in self.names:
            return csr_array((n_cores, self.table.shape[1]), dtype=np.int64)
        begin = self.names.index(event) * n_cores
        return self.table[begin : begin + n_cores]


def fan_outs(network: Network, placement: Placement) -> tuple[FanOut, ...]:
    """Return the tables of the input and of every layer.

    Raises
    ------
    DataError
        If the placement does not hold every neuron and nonzero synapse of the network once.
    """
    network = without_joins(network)
    owners = owners_of(network, placement)
    _check_synapses(network, placement)
    n_cores = len(placement.cores)
    tables = []
    for source in (INPUT, *(layer.name for layer in network.layers)):
        n_source = int(np.prod(network.shape_of(source)))
        for moment in _moments(network, source):
            entries = _synapse_entries(network, placement, source, moment)
            routes = _routes(entries, owners.get(source), n_cores)
            entries |= _message_entries(routes, placement.cores)
            if moment == "fired" or not _is_delayed(network, source):
                entries |= _spike_entries(network, source, owners)
            names = tuple(name for name, (_, _, value) in entries.items() if value.any())
            table = _stacked([entries[name] for name in names], n_cores, n_source)
            tables.append(FanOut(source, moment, names, table, routes))
    return tuple(tables)


def _stacked(entries: list[Entries], n_cores: int, n_source: int) -> csr_array:
    """Return one table of several events; the same pair of neuron and core adds up."""
    if not entries:
        return csr_array((0, n_source), dtype=np.int64)
    rows = [core + at * n_cores for at, (_, core, _) in enumerate(entries)]
    where = (np.concatenate(rows), np.concatenate([neuron for neuron, _, _ in entries]))
    values = np.concatenate([value for _, _, value in entries])
    return csr_array((values, where), shape=(len(entries) * n_cores, n_source))


def owners_of(network: Network, placement: Placement) -> dict[str, NDArray[np.int64]]:
    """Return per layer the core of each neuron, (n_neurons,).

    Raises
    ------
    DataError
        If the placement does not hold every neuron of the network once.
    """
    owners = {layer.name: np.full(layer.n_neurons, -1, np.int64) for layer in network.layers}
    for position, core in enumerate(placement.cores):
        fits = core.layer in owners and network.layer(core.layer).shape == core.shape
        if not fits or core.index != position or (owners[core.layer][core.neurons] >= 0).any():
            raise DataError(
                f"core {core.index} of the placement holds neurons that layer '{core.layer}' of "
                f"network '{network.name}' does not have, or twice; it belongs to another network: "
                "place this one"
            )
        owners[core.layer][core.neurons] = position
    for name, cores in owners.items():
        if (cores < 0).any():
            raise DataError(
                f"the placement holds {int((cores >= 0).sum())} of the {len(cores)} neurons of "
                f"layer '{name}'; it belongs to another network: place this one"
            )
    return owners


def _check_synapses(network: Network, placement: Placement) -> None:
    placed: dict[str, int] = {}
    for core in placement.cores:
        for stored in core.synapses:
            placed[stored.synapse] = placed.get(stored.synapse, 0) + int(
                stored.effective.sum(dtype=np.int64))
    for layer in network.layers:
        for group in layer.stored_groups:
            n, n_placed = n_synapses(network, group, nonzero_only=True), placed.get(group.name, 0)
            if n != n_placed:
                raise DataError(
                    f"the placement holds {n_placed} nonzero synapses of '{group.name}', network "
                    f"'{network.name}' has {n}; it belongs to another network: place this one"
                )


def _is_delayed(network: Network, source: str) -> bool:
    return source != INPUT and bool(network.layer(source).axonal_delay)


def _moments(network: Network, source: str) -> tuple[Moment, ...]:
    return ("left", "fired") if _is_delayed(network, source) else ("left",)


def _synapse_entries(
    network: Network, placement: Placement, source: str, moment: Moment
) -> dict[str, Entries]:
    """Return the synops of each neuron and core, and what it reaches, once a group."""
    groups = {
        group.name: layer for layer in network.layers for group in layer.groups
        if group.source == source and _moment(layer, source, network) == moment
    }
    found: dict[str, list[tuple[int, NDArray[np.int32], NDArray[np.int32]]]] = {}
    for core in placement.cores:
        for stored in core.synapses:
            if stored.synapse in groups:
                found.setdefault("effective_synops", []).append(
                    (core.index, stored.sources, stored.effective))
                found.setdefault(executed_in(stored.format), []).append(
                    (core.index, stored.sources, stored.executed))
                found.setdefault("messages_in", []).append(
                    (core.index, stored.sources, np.ones_like(stored.sources)))
        layer = network.layer(core.layer)
        if source == INPUT and layer.is_driven:
            neurons = core.neurons.astype(np.int32)
            found.setdefault("messages_in", []).append(
                (core.index, neurons, np.ones_like(neurons)))
    return {name: _joined(parts) for name, parts in found.items()}


def _moment(layer: Layer, source: str, network: Network) -> Moment:
    return "fired" if layer.name == source and _is_delayed(network, source) else "left"


def _joined(parts: list[tuple[int, NDArray[np.int32], NDArray[np.int32]]]) -> Entries:
    cores = [np.full(len(sources), core, np.int64) for core, sources, _ in parts]
    return (
        np.concatenate([sources for _, sources, _ in parts]).astype(np.int64),
        np.concatenate(cores),
        np.concatenate([values for _, _, values in parts]).astype(np.int64),
    )


def _routes(
    entries: dict[str, Entries], owner: NDArray[np.int64] | None, n_cores: int
) -> NDArray[np.int64]:
    """Return (neuron, sender, receiver) of each message; groups that share one are one."""
    if "messages_in" not in entries:
        return np.zeros((0, 3), dtype=np.int64)
    neurons, receivers, _ = entries["messages_in"]
    neurons, receivers = np.divmod(np.unique(neurons * n_cores + receivers), n_cores)
    senders = np.full(len(neurons), -1) if owner is None else owner[neurons]
    return np.column_stack([neurons, senders, receivers]).astype(np.int64)


def _message_entries(
    routes: NDArray[np.int64], cores: tuple[Core, ...]
) -> dict[str, Entries]:
    """Return messages at both ends, and what the way of each takes, at the sender."""
    neuron, sender, receiver = routes.T
    ones = np.ones_like(neuron)
    entries = {"messages_in": (neuron, receiver, ones)}
    if (sender < 0).any():  # from outside
        return entries
    where = np.array([(core.chip, core.tile_x, core.tile_y) for core in cores]).reshape(-1, 3)
    start, end = where[sender], where[receiver]
    on_chip = start[:, 0] == end[:, 0]
    hops = np.abs(end - start) * on_chip[:, None]
    values = {
        "messages_out": ones,
        "messages_off_chip": ones * ~on_chip,
        "messages_within_tile": ones * (start == end).all(axis=1),
        "hops_east_west": hops[:, 1],
        "hops_north_south": hops[:, 2],
    }
    return entries | {name: (neuron, sender, value) for name, value in values.items()}


def _spike_entries(
    network: Network, source: str, owners: dict[str, NDArray[np.int64]]
) -> dict[str, Entries]:
    """Return the spike itself, at its own core; decoders are read out and send nothing."""
    if source == INPUT or not sends(network.layer(source)):
        return {}
    neurons = np.arange(len(owners[source]), dtype=np.int64)
    return {"spikes": (neurons, owners[source], np.ones_like(neurons))}


def sends(layer: Layer) -> bool:
    """Whether what leaves a layer are spikes or messages, not the states of a decoder."""
    return getattr(layer.neuron, "role", None) != "sigma"
