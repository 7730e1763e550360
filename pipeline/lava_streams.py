"""Samples as Lava takes and gives them: one after the other in one run, axes as NetX has them.

In: spikes (n, *shape, t), or what Lava recorded. Out: the other of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.graded import encodes, file_dtype
from pipeline.network import Layer, Network


def to_stream(network: Network, spikes: NDArray[np.uint8], is_stock: bool) -> NDArray[np.int32]:
    """Return all samples one after another, each followed by the step its last spikes need.

    The stock loader's first layer takes Lava's axis order.
    """
    first = network.layers[0]
    # input neurons of the stock loader have no synapses, which would take a step
    is_late = is_stock and first.is_driven and not encodes(first)
    padded = np.pad(spikes, [(0, 0)] * (spikes.ndim - 1) + [(1, 0) if is_late else (0, 1)])
    series: NDArray[np.int32] = np.concatenate(list(padded), axis=-1).astype(np.int32)
    if not is_stock:
        return series
    if first.synapses[0].kind == "conv":
        series = np.ascontiguousarray(series.transpose(2, 1, 0, 3))
    else:
        series = series.reshape(-1, series.shape[-1])
    return series


def from_stream(
    file: Path, quantity: str, layer: Layer, n_samples: int, is_stock: bool
) -> NDArray[Any]:
    """Return (n, *shape, t) from Lava's (steps, *reversed shape).

    Neurons take the first step of the input in their second step; a spike is seen in the step it
    is fired in, which is one later than the step that caused it, as everywhere here. What encodes
    the input takes it in its first step.
    """
    raw = np.fromfile(file, file_dtype(layer, quantity))
    steps = raw.reshape(n_samples, -1, *layer.shape[::-1])
    by_sample = steps.transpose(0, *range(len(layer.shape) + 1, 0, -1))
    if quantity != "spikes" and not encodes(layer):
        return np.ascontiguousarray(by_sample[..., 1:])
    spikes = np.ascontiguousarray(by_sample[..., :-1])
    # wired neurons fire without the delay that their targets add; stock ones receive it delayed
    return spikes if is_stock or layer.axonal_delay is None else _delayed(spikes, layer)


def _delayed(spikes: NDArray[np.uint8], layer: Layer) -> NDArray[np.uint8]:
    assert layer.axonal_delay is not None
    delayed = np.zeros_like(spikes)
    n_steps = spikes.shape[-1]
    for channel, delay in enumerate(layer.axonal_delay):
        delayed[:, channel, ..., min(delay, n_steps) :] = \
            spikes[:, channel, ..., : max(0, n_steps - delay)]
    return delayed
