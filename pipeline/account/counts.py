"""Counted events of a run, per sample and core: exact, and nothing priced.

In: an integer network, its placement and a trace of the emulator. Out: :class:`Counts`. Counting
rules:

* a message other than 0 of sigma-delta neurons is a spike, and what it reaches is a MAC in
  NeuroBench's words, where a spike of 1 is an AC;
* effective synops: spikes x nonzero synapses they reach; executed synops: spikes x positions the
  core's format stores, zeros of a dense format or a kernel included;
* synops and messages are counted in the step in which a spike arrives. Axonal delays make it arrive
  later, or after the sample's end: then it is not counted. Recurrent spikes arrive one step after
  they were fired, whatever the delay; a spike itself is counted when it is fired;
* every neuron is updated at every step. Sources do not define when an update is *active* (facts:
  hardware.md 2.1); both readings in use are counted: the neuron had input, bias or nonzero state
  (``neuron_updates_active``), or it spiked (``neuron_updates_spiked``). The rest of the updates are
  idle; under the first reading they are counted as ``neuron_updates_idle``;
* what a neuron fires in the last step of a sample leaves after it, and is not counted.

Messages and hops: :mod:`pipeline.account.fan_out`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from pipeline.account.fan_out import FORMATS, executed_in, fan_outs
from pipeline.account.sent import rates_of, sent_by
from pipeline.emulate import Trace
from pipeline.errors import DataError
from pipeline.mapping.placement import Placement
from pipeline.network import INPUT, Network

EVENTS = (
    "effective_synops", "executed_synops", *(executed_in(kind) for kind in FORMATS),
    "effective_macs", "neuron_updates_active", "neuron_updates_idle", "neuron_updates_spiked",
    "spikes", "messages_out", "messages_in", "messages_from_outside", "messages_off_chip",
    "messages_within_tile", "hops_east_west", "hops_north_south",
)


# of an active update, see above
Reading = Literal["had_state", "spiked"]
READINGS: tuple[Reading, ...] = ("had_state", "spiked")


@dataclass(frozen=True)
class Counts:
    """Events of some samples.

    Attributes
    ----------
    events : per event of ``EVENTS``, (n_samples, n_cores) int64. ``executed_synops`` is the sum of
        those in each format, ``effective_macs`` the part of ``effective_synops`` that graded
        messages cause. What travels belongs to the sender, but for ``messages_in`` and
        ``messages_from_outside``
    n_steps : of a sample
    layer_of_core : (n_cores,) names
    tile_of_core : (n_cores, 3) int64, chip, x and y
    n_neurons_of_core : (n_cores,) int64
    """

    events: dict[str, NDArray[np.int64]]
    n_steps: int
    layer_of_core: tuple[str, ...]
    tile_of_core: NDArray[np.int64]
    n_neurons_of_core: NDArray[np.int64]

    def __getitem__(self, event: str) -> NDArray[np.int64]:
        """Return the (n_samples, n_cores) int64 of an event."""
        return self.events[event]

    @property
    def n_samples(self) -> int:
        """Samples counted."""
        return len(self.events["spikes"])

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers, in order."""
        return tuple(dict.fromkeys(self.layer_of_core))

    @property
    def tiles(self) -> NDArray[np.int64]:
        """The tiles in use, (n_tiles, 3) int64: chip, x and y, ascending."""
        return np.unique(self.tile_of_core, axis=0)

    def by_layer(self, event: str) -> dict[str, NDArray[np.int64]]:
        """Return an event summed over the cores of each layer, (n_samples,) int64."""
        names = np.array(self.layer_of_core)
        return {name: self.events[event][:, names == name].sum(axis=1) for name in self.layers}

    def by_tile(self, event: str) -> NDArray[np.int64]:
        """Return an event summed over the cores of each of ``tiles``, (n_samples, n_tiles)."""
        _, tile = np.unique(self.tile_of_core, axis=0, return_inverse=True)
        sums = np.zeros((self.n_samples, int(tile.max()) + 1), dtype=np.int64)
        np.add.at(sums.T, tile.ravel(), self.events[event].T)
        return sums

    def spread(self, event: str) -> Spread:
        """Return mean and spread over the samples of an event, summed over all cores."""
        return spread_of(self.events[event].sum(axis=1))


def n_updates(
    counts: Counts, reading: Reading
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return active and idle neuron updates under a reading, (n_samples, n_cores) int64 each."""
    active = counts["neuron_updates_active" if reading == "had_state" else "neuron_updates_spiked"]
    return active, counts.n_neurons_of_core * counts.n_steps - active


@dataclass(frozen=True)
class Spread:
    """How a quantity differs from sample to sample; ``std`` of these samples, 0 of one."""

    mean: float
    std: float
    min: float
    max: float


def spread_of(values: NDArray[Any]) -> Spread:
    """Return the spread of (n_samples,) values."""
    return Spread(float(values.mean()), float(values.std()), float(values.min()),
                  float(values.max()))


def count(network: Network, placement: Placement, trace: Trace) -> Counts:
    """Return the events of a trace per sample and core.

    Raises
    ------
    DataError
        If the trace or the placement does not belong to the network, or the trace lacks what only
        the emulator records.
    """
    check_trace(network, trace)
    tables = fan_outs(network, placement)
    n_samples, n_steps = len(trace.spikes[INPUT]), trace.spikes[INPUT].shape[-1]
    shape = (n_samples, len(placement.cores))
    events = {event: np.zeros(shape, dtype=np.int64) for event in EVENTS}
    for table, sent in sent_by(network, trace, tables):
        rates, is_graded = rates_of(sent)
        happened = np.split(_product(table.table, rates).T, len(table.names), axis=1)
        for event, part in zip(table.names, happened, strict=True):
            events[event] += part
            if event == "effective_synops":
                events["effective_macs"] += part * is_graded[:, None]
            if event == "messages_in" and table.source == INPUT:
                events["messages_from_outside"] += part
    for kind in FORMATS:
        events["executed_synops"] += events[executed_in(kind)]
    for core in placement.cores:
        active = trace.n_active[core.layer][:, core.neurons].sum(axis=1, dtype=np.int64)
        events["neuron_updates_active"][:, core.index] = active
        events["neuron_updates_idle"][:, core.index] = core.n_neurons * n_steps - active
    events["neuron_updates_spiked"] += events["spikes"]
    return Counts(
        events, n_steps, tuple(core.layer for core in placement.cores),
        np.array([(core.chip, core.tile_x, core.tile_y) for core in placement.cores], np.int64),
        np.array([core.n_neurons for core in placement.cores], np.int64),
    )


def _product(table: csr_array, rates: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return table @ rates; in 32 bits, which takes half the time, where no sum can be beyond."""
    if int(table.sum(axis=1).max()) * int(rates.max()) < 2**31:
        table = table.astype(np.int32)
    return np.asarray(table @ rates, dtype=np.int64)


def check_trace(network: Network, trace: Trace) -> None:
    """Raise DataError unless the trace is the emulator's, of this network and its input."""
    shapes = {INPUT: network.input_shape} | {layer.name: layer.shape for layer in network.layers}
    given = trace.spikes.get(INPUT, np.zeros((0, 0)))
    n_samples, n_steps = len(given), given.shape[-1]
    for name, shape in shapes.items():
        if name not in trace.spikes or trace.spikes[name].shape != (n_samples, *shape, n_steps):
            raise DataError(
                f"the trace has no spikes of shape {shape} for layer '{name}'; it belongs to "
                "another network"
            )
    if not n_samples or not n_steps:
        raise DataError("the trace holds no sample or no step: there is nothing to count")
    if trace.fingerprint and trace.fingerprint != network.fingerprint:
        raise DataError(
            f"the trace was made by a network other than '{network.name}' (its weights, neurons or "
            f"connections differ: {trace.fingerprint[:8]}, not {network.fingerprint[:8]}): emulate "
            "this one"
        )
    for layer in network.layers:
        if layer.name not in trace.n_active or (
                layer.axonal_delay and layer.name not in trace.late):
            raise DataError(
                f"the trace does not say when neurons of layer '{layer.name}' were active, or what "
                "was fired and had not left: count a trace of the emulator"
            )
