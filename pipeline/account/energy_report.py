"""The nouns of the account: what counted events cost, and how long they take.

In: nothing. Out: what :mod:`pipeline.account.energy` makes and the report reads. Everything is per
sample; picojoules are dynamic energy, of priced events only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.account.convention import Convention
from pipeline.account.counts import Counts, Reading, Spread, spread_of
from pipeline.account.latency import Latency
from pipeline.account.neurobench import NeuroBenchMetrics
from pipeline.account.timing import Timing

# what no price set covers by its definition, for whoever shows a total
EXCLUDED = {
    "messages_from_outside": "the input comes from outside the mesh: what brings it to its first "
                             "core is counted, not priced",
    "host": "x86 cores, input and output, loading the network and resetting its state",
    "static": "power times time is a row of its own: it is of other origin than the events",
}


@dataclass(frozen=True)
class Bill:
    """The priced events under one reading of an active update.

    Attributes
    ----------
    by_event_core_pj : by priced event that occurred, (n_cores,) float64, mean per sample; what
        travels belongs to the sender, the barrier to all cores alike
    by_sample_core_pj : (n_samples, n_cores) float64, all priced events together
    """

    by_event_core_pj: dict[str, NDArray[np.float64]]
    by_sample_core_pj: NDArray[np.float64]

    @property
    def total_pj(self) -> float:
        """Mean per sample of the priced events, picojoules."""
        return float(sum(by_core.sum() for by_core in self.by_event_core_pj.values()))

    @property
    def by_sample_pj(self) -> NDArray[np.float64]:
        """Energy of each sample, (n_samples,) picojoules."""
        return np.asarray(self.by_sample_core_pj.sum(axis=1))

    @property
    def spread(self) -> Spread:
        """Mean and spread over the samples, picojoules."""
        return spread_of(self.by_sample_pj)


@dataclass(frozen=True)
class Static:
    """Power times time, per sample: never part of a total.

    Attributes
    ----------
    core_mw, chip_mw : power of one core and of one chip; None where it is not known
    reason : why there is no energy; empty where there is
    used_cores_pj, whole_chips_pj : by reading, (n_samples,) picojoules of the cores in use, and of
        all chips in use; a lower bound where the times are
    """

    core_mw: float | None
    chip_mw: float | None
    reason: str
    used_cores_pj: dict[Reading, NDArray[np.float64]]
    whole_chips_pj: dict[Reading, NDArray[np.float64]]


@dataclass(frozen=True)
class PricedSet:
    """One price set applied.

    Attributes
    ----------
    bills : by reading of an active update; the two ends of a band
    unpriced : event that occurred without a price, with the reason
    timing : None where no times were asked for
    """

    name: str
    description: str
    bills: dict[Reading, Bill]
    unpriced: dict[str, str]
    timing: Timing | None
    static: Static

    @property
    def by_event_pj(self) -> dict[str, float]:
        """Picojoules per sample of each priced event; active is "had input or state"."""
        by_event = self.bills["had_state"].by_event_core_pj
        return {event: float(by_core.sum()) for event, by_core in by_event.items()}

    @property
    def by_core_pj(self) -> NDArray[np.float64]:
        """Picojoules per sample of each core, (n_cores,); active is "had input or state"."""
        return np.asarray(self.bills["had_state"].by_sample_core_pj.mean(axis=0))

    @property
    def total_pj(self) -> float:
        """Sum of the priced events per sample; active is "had input or state"."""
        return self.bills["had_state"].total_pj

    @property
    def band_pj(self) -> tuple[float, float]:
        """The total per sample under the two readings, lower first."""
        totals = sorted(bill.total_pj for bill in self.bills.values())
        return totals[0], totals[-1]

    @property
    def is_complete(self) -> bool:
        """Whether every event that occurred has a price."""
        return not self.unpriced


@dataclass(frozen=True)
class EnergyReport:
    """Events counted over some samples, their cost, and their time.

    Attributes
    ----------
    convention : the literature's 45 nm AC/MAC rows, of no chip
    over_time : by event, (n_steps, n_layers) int64, summed over the samples; empty if not counted
    """

    counts: Counts
    price_sets: tuple[PricedSet, ...]
    latency: Latency
    convention: tuple[Convention, ...]
    neurobench: NeuroBenchMetrics
    over_time: dict[str, NDArray[np.int64]]

    @property
    def n_steps(self) -> int:
        """Steps of a sample."""
        return self.counts.n_steps

    @property
    def n_samples(self) -> int:
        """Samples counted."""
        return self.counts.n_samples

    @property
    def input_messages(self) -> NDArray[np.int64]:
        """Messages from outside to the first cores, (n_samples,) int64."""
        return np.asarray(self.counts["messages_from_outside"].sum(axis=1))

    def by_layer_pj(self, prices: PricedSet, reading: Reading) -> dict[str, float]:
        """Return picojoules per sample of each layer."""
        by_core = prices.bills[reading].by_sample_core_pj.mean(axis=0)
        names = np.array(self.counts.layer_of_core)
        return {name: float(by_core[names == name].sum()) for name in self.counts.layers}

    def by_tile_pj(self, prices: PricedSet, reading: Reading) -> NDArray[np.float64]:
        """Return picojoules per sample of each of ``counts.tiles``, (n_tiles,)."""
        by_core = prices.bills[reading].by_sample_core_pj.mean(axis=0)
        _, tile = np.unique(self.counts.tile_of_core, axis=0, return_inverse=True)
        return np.bincount(tile.ravel(), by_core).astype(np.float64)

    def latency_us(self, prices: PricedSet, reading: Reading) -> NDArray[np.float64] | None:
        """Return when each sample has decided, (n_samples,) microseconds; None if not known."""
        if prices.timing is None or reading not in prices.timing.readings:
            return None
        return self.latency.times_us(prices.timing.readings[reading].step_ns)
