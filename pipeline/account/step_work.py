"""The work of every core and the load of every link, step by step: what a step's time is made of.

In: spikes, tables of events and the times of price sets. Out: :class:`StepTimes`. A few samples are
held at a time, as memory allows. The model and its assumptions: :mod:`pipeline.account.timing`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from hardware_targets import EventTimes
from pipeline.account.counts import READINGS, Reading, Spread, spread_of
from pipeline.account.fan_out import FORMATS, FanOut, executed_in
from pipeline.account.links import DIRECTIONS, Mesh
from pipeline.account.sent import sent_by
from pipeline.emulate import Trace
from pipeline.mapping.placement import Placement
from pipeline.network import INPUT, Network

TIME_OF_EVENT = {
    **{executed_in(kind): f"synop_{kind.replace('-', '_')}" for kind in FORMATS},
    "spikes": "spike", "messages_out": "message_out", "messages_in": "message_in",
}
_TIME_OF_LINK = {"east": "hop_east_west", "west": "hop_east_west", "north": "hop_north_south",
                 "south": "hop_north_south", "within": "within_tile_spike"}
_MOST_VALUES = 1 << 22  # of the table of events and links by steps of a few samples


@dataclass(frozen=True)
class StepTimes:
    """Times under one reading of an active update.

    Attributes
    ----------
    step_ns : (n_samples, n_steps) float64, barrier included
    core_ns : (n_cores,) float64, mean work of each core per step
    n_slowest : (n_cores,) int64, steps of all samples that this core decided
    n_link_bound : steps of all samples that a link decided
    """

    step_ns: NDArray[np.float64]
    core_ns: NDArray[np.float64]
    n_slowest: NDArray[np.int64]
    n_link_bound: int

    @property
    def sample_us(self) -> NDArray[np.float64]:
        """Time of each sample, (n_samples,) microseconds."""
        return np.asarray(self.step_ns.sum(axis=1) / 1e3)

    @property
    def spread(self) -> Spread:
        """Spread of the mean time of a step over the samples, nanoseconds."""
        return spread_of(self.step_ns.mean(axis=1))


class StepWork:
    """How often what happens on which core and link in each step, by sample.

    Attributes
    ----------
    links : (n_links, 4) int64, those in use, as :class:`pipeline.account.links.Mesh` has them
    """

    def __init__(
        self, network: Network, placement: Placement, trace: Trace, tables: tuple[FanOut, ...],
        active: NDArray[np.int32],
    ) -> None:
        mesh = Mesh(placement)
        self._active = active
        self._n_neurons = np.array([core.n_neurons for core in placement.cores], dtype=np.float64)
        parts = []
        used = np.zeros(len(mesh.links), dtype=np.bool_)
        for table, sent in sent_by(network, trace, tables):
            loads = mesh.loads(table.routes, sent.shape[1])
            used[np.unique(loads.indices)] = True
            parts.append((sent, [table.of(event) for event in TIME_OF_EVENT], loads))
        self.links = mesh.links[used]
        self._parts: list[tuple[NDArray[Any], csr_array]] = [
            (sent, csr_array(vstack([*events, loads[:, used].T])))
            for sent, events, loads in parts
        ]
        self._n_steps = trace.spikes[INPUT].shape[-1]

    def chunks(self) -> Iterator[tuple[slice, NDArray[np.int64], NDArray[np.int64]]]:
        """Yield samples, (events, n_cores, n, n_steps) and (n_links, n, n_steps)."""
        n_cores = len(self._n_neurons)
        n_rows = len(TIME_OF_EVENT) * n_cores + len(self.links)
        n_at_once = max(1, _MOST_VALUES // (n_rows * self._n_steps))
        for begin in range(0, len(self._active), n_at_once):
            own = slice(begin, min(begin + n_at_once, len(self._active)))
            n = own.stop - own.start
            happened = np.zeros((n_rows, n * self._n_steps), dtype=np.int64)
            for sent, table in self._parts:
                happened += (table @ _by_step(sent[own])).toarray()
            happened = happened.reshape(n_rows, n, self._n_steps)
            events = happened[: n_rows - len(self.links)]
            yield own, events.reshape(-1, n_cores, n, self._n_steps), happened[len(events):]

    def times(self, times: dict[str, EventTimes], barriers: dict[str, float]) -> dict[str, Clock]:
        """Return the times under several price sets, in one pass."""
        clocks = {name: Clock.started(each, barriers[name], self) for name, each in times.items()}
        for own, events, loads in self.chunks():
            fired = events[list(TIME_OF_EVENT).index("spikes")]
            active: dict[Reading, NDArray[Any]] = {
                "had_state": self._active[own].transpose(1, 0, 2), "spiked": fired}
            for clock in clocks.values():
                clock.run(own, events, loads, active, self._n_neurons)
        return clocks

    @property
    def shape(self) -> tuple[int, int, int]:
        """Samples, cores and steps."""
        n_samples, n_cores, n_steps = self._active.shape
        return n_samples, n_cores, n_steps


@dataclass
class Clock:
    """The times of one price set, adding up over samples.

    Attributes
    ----------
    link_ns : (n_links,) float64, mean load of each link per step
    """

    known: dict[str, float]
    barrier_ns: float
    link_times: NDArray[np.float64]
    link_ns: NDArray[np.float64]
    readings: dict[Reading, StepTimes] = field(default_factory=dict)

    @classmethod
    def started(cls, times: EventTimes, barrier_ns: float, work: StepWork) -> Clock:
        """Return a clock at zero; times that are not known count as nothing."""
        known = {name: getattr(times, name).value or 0.0 for name in EventTimes.model_fields
                 if name != "barrier"}
        n_samples, n_cores, n_steps = work.shape
        link_times = np.array(
            [known[_TIME_OF_LINK[DIRECTIONS[link[3]]]] for link in work.links], dtype=np.float64)
        readings = {
            reading: StepTimes(np.zeros((n_samples, n_steps)), np.zeros(n_cores),
                               np.zeros(n_cores, dtype=np.int64), 0) for reading in READINGS}
        return cls(known, barrier_ns, link_times, np.zeros(len(link_times)), readings)

    def run(
        self, own: slice, events: NDArray[np.int64], loads: NDArray[np.int64],
        active: dict[Reading, NDArray[Any]], n_neurons: NDArray[np.float64],
    ) -> None:
        """Add the steps of some samples; the parameters are those of :class:`StepWork`."""
        idle = self.known["neuron_update_idle"]
        # without a time for active updates all count as idle ones: a lower bound
        surcharge = max(0.0, self.known["neuron_update_active"] - idle)
        times = [self.known[name] for name in TIME_OF_EVENT.values()]
        base = np.tensordot(times, events, 1) + idle * n_neurons[:, None, None]
        load = loads * self.link_times[:, None, None]
        busiest = load.max(axis=0, initial=0.0)
        n_all = self.readings["spiked"].step_ns.size
        self.link_ns += load.sum(axis=(1, 2)) / n_all
        for reading, n_active in active.items():
            work = base + surcharge * n_active
            slowest, result = work.max(axis=0), self.readings[reading]
            by_core = slowest >= busiest
            result.step_ns[own] = np.maximum(slowest, busiest) + self.barrier_ns
            self.readings[reading] = StepTimes(
                result.step_ns, result.core_ns + work.sum(axis=(1, 2)) / n_all,
                result.n_slowest + np.bincount(
                    work.argmax(axis=0)[by_core], minlength=len(n_neurons)),
                result.n_link_bound + int((~by_core).sum()))


def _by_step(sent: NDArray[Any]) -> csr_array:
    """Return (n_source, n * n_steps) int64, 1 where something other than 0 was sent."""
    n, n_source, n_steps = sent.shape
    sample, source, step = np.nonzero(sent)
    return csr_array((np.ones_like(source), (source, sample * n_steps + step)),
                     shape=(n_source, n * n_steps))
