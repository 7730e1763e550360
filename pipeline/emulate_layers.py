"""The emulator layer by layer, for networks whose traces do not fit in memory.

In: an integer network, spikes and the windows of its layers. Out: one layer after the other, with
what it and its sources send. What no later layer needs is forgotten, so that memory holds the
widest place of a network and not its depth.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.emulate import ACC_BYTES, check_input, laid_out
from pipeline.graded import state_of
from pipeline.network import INPUT, Layer, Network
from pipeline.windows import Outputs, Train, Window, begun, heard_by, sent_between, sent_in, windows

_SAMPLES_AT_ONCE = 64
_TRACE_BYTES = 2 << 30


def emulate_layers(
    network: Network, spikes: NDArray[Any], window_of: Mapping[str, Window]
) -> Iterator[tuple[Layer, Outputs]]:
    """Yield each layer, and what all sources send that it or a later one needs, its own among them.

    Up to the end of each layer's window it is what :func:`pipeline.emulate.emulate` gives; where
    graded messages fit a byte they are one.

    Parameters
    ----------
    window_of : of the layers, for these spikes or for more, see :func:`pipeline.windows.windows`

    Raises
    ------
    DataError
        If the spikes do not have the network's input shape.
    """
    check_input(network, spikes)
    needed_until, outputs = last_uses(network), {INPUT: Train(in_bytes(spikes))}
    ways = zip(network.layers, laid_out(network), strict=True)
    for index, (layer, (_, accumulator, first_step)) in enumerate(ways):
        window, pieces = window_of[layer.name], []
        state = state_of(begun(layer, window.begin), len(spikes), first_step)
        n_at_once = max(1, ACC_BYTES // (4 * len(spikes) * layer.n_neurons))
        for begin in range(window.begin, window.sent_until, n_at_once):
            piece = sent_between(
                network, layer, outputs, begin, min(begin + n_at_once, window.sent_until))
            pieces.append(in_bytes(state.run(accumulator.run(piece))[0]))
        outputs[layer.name] = sent_in(
            window, layer, np.concatenate(pieces, axis=-1) if len(pieces) > 1 else pieces[0])
        yield layer, outputs
        outputs = {name: sent for name, sent in outputs.items() if needed_until[name] > index}


def sent_counts(network: Network, spikes: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
    """Return how often each neuron of each source sends in all steps, (n_neurons,) by name."""
    whole = {name: window.to_the_end() for name, window in windows(network, spikes).items()}
    counts = {INPUT: _sent(spikes)}
    n_at_once = samples_at_once(network, whole)
    for begin in range(0, len(spikes), n_at_once):
        for layer, outputs in emulate_layers(network, spikes[begin : begin + n_at_once], whole):
            own = _sent(outputs[layer.name].values)
            counts[layer.name] = counts.get(layer.name, 0.0) + own
    return counts


def _sent(values: NDArray[Any]) -> NDArray[np.float64]:
    by_neuron = values.reshape(len(values), -1, values.shape[-1])
    return np.asarray(np.count_nonzero(by_neuron, axis=(0, 2)), dtype=np.float64)


def last_uses(network: Network) -> dict[str, int]:
    """Return the position of the last layer that takes each source, by name; -1 for none."""
    uses = {INPUT: -1} | {layer.name: -1 for layer in network.layers}
    for index, layer in enumerate(network.layers):
        uses |= dict.fromkeys(heard_by(network, layer), index)
    return uses


def samples_at_once(network: Network, window_of: Mapping[str, Window]) -> int:
    """Return how many samples' spikes fit in memory where most of them are needed at once."""
    uses, most = last_uses(network), 0
    n_sent = [layer.n_neurons * (window_of[layer.name].sent_until - window_of[layer.name].begin)
              for layer in network.layers]
    for index in range(len(network.layers)):
        most = max(most, sum(
            n_sent[position] for position, layer in enumerate(network.layers)
            if position <= index <= max(uses[layer.name], position)))
    return max(1, min(_SAMPLES_AT_ONCE, _TRACE_BYTES // most))


def in_bytes(values: NDArray[Any]) -> NDArray[Any]:
    """Return values as bytes where all of them fit, and as int32 where they do not."""
    if values.dtype == np.uint8:
        return values
    fits = values.size == 0 or (values.min() >= 0 and values.max() <= 255)
    return values.astype(np.uint8 if fits else np.int32, copy=False)
