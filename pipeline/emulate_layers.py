"""The emulator layer by layer, for networks whose traces do not fit in memory.

In: an integer network and spikes. Out: one layer after the other, with what it and its sources
send. What no later layer needs is forgotten, so that memory holds the widest place of a network and
not its depth.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.emulate import ACC_BYTES, check_input, laid_out
from pipeline.graded import encodes, state_of
from pipeline.network import INPUT, Layer, Network

_FEW_FRAC = 0.4  # of the steps of a sample

Outputs = dict[str, NDArray[Any]]


def emulate_layers(network: Network, spikes: NDArray[Any]) -> Iterator[tuple[Layer, Outputs]]:
    """Yield each layer, and the spikes (n, *shape, t) of all sources that it or a later one needs.

    Its own are among them. They are those of :func:`pipeline.emulate.emulate`; where graded
    messages fit a byte they are one.

    Raises
    ------
    DataError
        If the spikes do not have the network's input shape.
    """
    check_input(network, spikes)
    needed_until, outputs = last_uses(network), {INPUT: in_bytes(spikes)}
    ways = zip(network.layers, laid_out(network), strict=True)
    for index, (layer, (_, accumulator, first_step)) in enumerate(ways):
        state, pieces = state_of(layer, len(spikes), first_step), []
        n_at_once = max(1, ACC_BYTES // (4 * len(spikes) * layer.n_neurons))
        for begin in range(0, spikes.shape[-1], n_at_once):
            piece = {name: values[..., begin : begin + n_at_once]
                     for name, values in outputs.items()}
            pieces.append(in_bytes(state.run(accumulator.run(piece))[0]))
        outputs[layer.name] = np.concatenate(pieces, axis=-1) if len(pieces) > 1 else pieces[0]
        yield layer, outputs
        outputs = {name: values for name, values in outputs.items() if needed_until[name] > index}


def last_uses(network: Network) -> dict[str, int]:
    """Return the position of the last layer that takes each source, by name; -1 for none."""
    joins = {join.name: join for join in network.joins}
    uses = {INPUT: -1} | {layer.name: -1 for layer in network.layers}

    def note(source: str, index: int) -> None:
        if source in joins:
            for part in joins[source].sources:
                note(part, index)
        else:
            uses[source] = index

    for index, layer in enumerate(network.layers):
        for synapse in layer.synapses:
            note(synapse.source, index)
    return uses


def in_bytes(values: NDArray[Any]) -> NDArray[Any]:
    """Return values as bytes where all of them fit, and as int32 where they do not."""
    if values.dtype == np.uint8:
        return values
    fits = values.size == 0 or (values.min() >= 0 and values.max() <= 255)
    return values.astype(np.uint8 if fits else np.int32, copy=False)


def steps_that_matter(network: Network, n_steps: int) -> dict[str, int]:
    """Return of each layer how many steps of its input can reach the output before the sample ends.

    A balanced network that sees a frame for T steps runs for T and its depth; in each layer the
    steps after the T that the frame takes there are of no consequence, and without the frame.
    Where few are of no consequence they count: they are like the others.
    """
    last = network.layers[-1].name
    late = {last: 0 if network.readout.quantity == "voltage" else 1}
    heard: dict[str, list[str]] = {}
    for layer in network.layers:
        for synapse in layer.synapses:
            for source in _origins(network, synapse.source):
                heard.setdefault(source, []).append(layer.name)
    for layer in reversed(network.layers[:-1]):
        wait = 0 if encodes(layer) else 1 + min(layer.axonal_delay or (0,))
        late[layer.name] = wait + min(
            (late[name] for name in heard.get(layer.name, ())), default=0)
    return {
        name: n_steps if steps < _FEW_FRAC * n_steps else max(1, n_steps - steps)
        for name, steps in late.items()}


def _origins(network: Network, source: str) -> list[str]:
    """Return the layers that a source is made of, itself if it is one."""
    join = next((join for join in network.joins if join.name == source), None)
    return [source] if join is None else [
        origin for part in join.sources for origin in _origins(network, part)]
