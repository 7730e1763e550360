"""When a network has decided: the step from which its leading output no longer changes.

In: a network and a trace. Out: a :class:`Latency`, in steps; times a step's time it is the latency
of :class:`~pipeline.account.energy.PricedSet`. Classes and ties are those of
:func:`pipeline.emulate.accuracy`: the outputs' spikes, or voltages, summed up to a step, the lowest
index first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.emulate import Trace
from pipeline.graded import depths
from pipeline.network import Network

UNDECIDED = -1


@dataclass(frozen=True)
class Latency:
    """How many steps the input takes to the outputs, and to a lasting decision.

    Attributes
    ----------
    depth_steps : steps after which the input first reaches the outputs; axonal delays, which
        differ from channel to channel, left out
    longest_delay_steps : the largest axonal delay of each layer, summed over the layers
    decision_step : (n_samples,) int64, the first step, from 0, from which on the leading class
        stays the leading one to the end; ``UNDECIDED`` where the outputs gave nothing. None
        where the outputs are read by their voltages and the trace holds none
    """

    depth_steps: int
    longest_delay_steps: int
    decision_step: NDArray[np.int64] | None

    @property
    def n_undecided(self) -> int:
        """Samples whose outputs gave nothing."""
        return 0 if self.decision_step is None else int((self.decision_step == UNDECIDED).sum())

    def times_us(self, step_ns: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Return when each sample has decided, (n_samples,) microseconds; NaN where undecided.

        Parameters
        ----------
        step_ns : (n_samples, n_steps) float64, the time of each step
        """
        if self.decision_step is None:
            return None
        until = np.cumsum(step_ns, axis=1)[np.arange(len(step_ns)), self.decision_step] / 1e3
        return np.where(self.decision_step == UNDECIDED, np.nan, until)


def latency(network: Network, trace: Trace) -> Latency:
    """Return the depth of a network, and when its outputs decided in a trace."""
    output, is_voltage = network.layers[-1], network.readout.quantity == "voltage"
    recorded = (trace.v if is_voltage else trace.spikes).get(output.name)
    delays = sum(max(layer.axonal_delay or (0,)) for layer in network.layers)
    decision = None if recorded is None else _decision_step(recorded, network.readout.n_outputs)
    return Latency(depths(network)[output.name], delays, decision)


def _decision_step(recorded: NDArray[Any], n_outputs: int | None) -> NDArray[np.int64]:
    """Return the first step from which the leading class stays, (n_samples,)."""
    n_samples, n_steps = len(recorded), recorded.shape[-1]
    values = recorded.reshape(n_samples, -1, n_steps).astype(np.int64)
    if n_outputs is not None:
        values = values.reshape(n_samples, n_outputs, -1, n_steps).sum(axis=2)
    scores = np.cumsum(values, axis=-1)
    # before anything came no class leads: a neuron's silence is no vote for the lowest index
    is_silent = ~np.logical_or.accumulate((values != 0).any(axis=1), axis=-1)
    leader = np.where(is_silent, UNDECIDED, scores.argmax(axis=1))
    differs = leader != leader[:, -1:]
    last_change = n_steps - 1 - np.argmax(differs[:, ::-1], axis=1)
    step = np.where(differs.any(axis=1), last_change + 1, 0)
    return np.where(leader[:, -1] == UNDECIDED, UNDECIDED, step).astype(np.int64)
