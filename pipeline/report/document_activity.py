"""What the verified samples did, layer by layer: rates as trained and compressed, and a raster.

In: the trace that Lava made of the verified samples, and the dense network, which is emulated on
the same input so that both rates speak of the same samples. Out: plain JSON. A raster is one
sample and the neurons that spiked in it; where that is too large, every second, fourth … of them
and the first steps stand for all, and the section says so. Of neurons that send values, a message
other than 0 counts as a spike.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.emulate import Trace
from pipeline.network import INPUT, Network

Section = dict[str, Any]

_MOST_POINTS = 240  # of a rate over time
_MOST_STEPS, _MOST_ROWS, _MOST_RUNS = 480, 128, 15_000  # of the raster: about 150 kB of the page


def build_activity(dense: Network, dense_trace: Trace, network: Network, trace: Trace) -> Section:
    """Return rates per layer and over time, and the raster of the first sample.

    Parameters
    ----------
    dense_trace, trace : of the same input, spikes of all layers
    """
    n_samples, n_steps = len(trace.spikes[INPUT]), trace.spikes[INPUT].shape[-1]
    bin_steps = -(-n_steps // _MOST_POINTS)
    return {
        "n_samples": n_samples, "n_steps": n_steps, "bin_steps": bin_steps,
        "layers": [
            {
                "layer": layer.name,
                **_rates(trace.spikes[layer.name], bin_steps, ""),
                **_rates(dense_trace.spikes[layer.name], bin_steps, "_dense"),
            }
            for layer in network.layers
        ],
        "input": {"layer": INPUT, **_rates(trace.spikes[INPUT], bin_steps, "")},
        "raster": _raster({name: trace.spikes[name] for name in (
            INPUT, *(layer.name for layer in network.layers))}),
    }


def _rates(spikes: NDArray[Any], bin_steps: int, suffix: str) -> Section:
    """Return mean rates of (n, *shape, t) spikes; the last bin may hold fewer steps."""
    n_samples, n_steps = len(spikes), spikes.shape[-1]
    by_step = np.count_nonzero(spikes.reshape(-1, n_steps), axis=0)
    n_neurons = int(np.prod(spikes.shape[1:-1]))
    starts = np.arange(0, n_steps, bin_steps)
    lengths = np.diff(np.append(starts, n_steps))
    over_time = np.add.reduceat(by_step, starts) / (lengths * n_samples * n_neurons)
    return {
        f"n_neurons{suffix}": n_neurons,
        f"spikes_per_sample{suffix}": int(by_step.sum()) / n_samples,
        f"rate_per_step{suffix}": int(by_step.sum()) / (n_samples * n_neurons * n_steps),
        f"rate_over_time_per_step{suffix}": [float(f"{rate:.5g}") for rate in over_time],
    }


def _raster(spikes: dict[str, NDArray[Any]]) -> Section:
    """Return the steps at which neurons spiked in the first sample."""
    fired = {name: (s[0].reshape(-1, s.shape[-1]) != 0) for name, s in spikes.items()}
    n_steps = next(iter(fired.values())).shape[-1]
    shown = {name: f[:, :_MOST_STEPS] for name, f in fired.items()}
    n_rows = _MOST_ROWS
    while n_rows > 1 and _n_runs(shown, n_rows) > _MOST_RUNS:
        n_rows //= 2
    layers = []
    for name, rows in shown.items():
        # neurons at even distances would often be those of one border column of an image
        spiking = np.flatnonzero(rows.any(axis=1))
        drawn = spiking[:: _every(len(spiking), n_rows)]
        layers.append({
            "layer": name, "n_neurons": len(rows), "n_spiking": len(spiking),
            "every": _every(len(spiking), n_rows), "neurons": drawn.tolist(),
            "spike_steps": [np.flatnonzero(rows[neuron]).tolist() for neuron in drawn],
        })
    return {"sample": 0, "n_steps": n_steps, "n_steps_shown": min(n_steps, _MOST_STEPS),
            "layers": layers}


def _every(n_neurons: int, n_rows: int) -> int:
    return max(1, -(-n_neurons // n_rows))


def _n_runs(shown: dict[str, NDArray[np.bool_]], n_rows: int) -> int:
    """Return how many runs of spikes in consecutive steps a raster of so many rows has."""
    total = 0
    for rows in shown.values():
        spiking = rows[rows.any(axis=1)]
        some = spiking[:: _every(len(spiking), n_rows)]
        total += int(np.count_nonzero(some[:, 1:] & ~some[:, :-1]) + np.count_nonzero(some[:, 0]))
    return total
