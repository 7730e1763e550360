"""The steps of a sample in which a layer is worked on, and what is sent in them.

In: a network and its input. Out: a :class:`Window` of every layer: before it nothing reaches the
layer, and what it does after it does not reach the output before the sample ends. A network that
was published for frames of T steps runs for T and its depth here, each of its layers for T of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.emulate import check_input
from pipeline.graded import encodes
from pipeline.network import INPUT, Layer, Network
from pipeline.neuron import CubaNeuron, RelayNeuron
from pipeline.synaptic_input import source_spikes

_FEW_FRAC = 0.4  # of the steps of a sample


@dataclass(frozen=True)
class Window:
    """Steps of a layer.

    Attributes
    ----------
    begin : no input and no bias acts in an earlier step
    heard_until : input from this step on cannot reach the output before the sample ends
    sent_until : nothing needs the layer's output from this step on
    n_steps : of the sample
    """

    begin: int
    heard_until: int
    sent_until: int
    n_steps: int

    def to_the_end(self) -> Window:
        """Return the window in which all that the layer sends is there."""
        return replace(self, heard_until=self.n_steps, sent_until=self.n_steps)


@dataclass(frozen=True)
class Train:
    """What a source sends: ``values`` (n, *shape, t) from step ``begin`` on, else zeros."""

    values: NDArray[Any]
    begin: int = 0

    def between(self, begin: int, end: int) -> NDArray[Any]:
        """Return the steps from ``begin`` to before ``end``, (n, *shape, end - begin)."""
        low, high = (max(0, step - self.begin) for step in (begin, end))
        inside = self.values[..., low:high]
        n_before = min(max(0, self.begin - begin), end - begin)
        n_after = end - begin - n_before - inside.shape[-1]
        if n_before == n_after == 0:
            return inside
        return np.pad(inside, [(0, 0)] * (inside.ndim - 1) + [(n_before, n_after)])


Outputs = dict[str, Train]


def windows(network: Network, spikes: NDArray[Any]) -> dict[str, Window]:
    """Return the window of every layer for input (n, *input_shape, t).

    Where few steps are of no consequence in every layer, none is left out at the end: they are like
    the others.

    Raises
    ------
    DataError
        If the input does not have the network's shape.
    """
    check_input(network, spikes)
    n_steps, ends = spikes.shape[-1], last_steps(network, spikes.shape[-1])
    has_input = spikes.reshape(-1, n_steps).any(axis=0)
    arrives, found = {INPUT: int(has_input.argmax())}, {}
    for layer in network.layers:
        begin = _first_step(layer, min((arrives[name] for name in heard_by(network, layer)),
                                       default=0))
        arrives[layer.name] = begin + _wait(layer)
        heard_until, sent_until = ends[layer.name]
        found[layer.name] = Window(
            min(begin, heard_until - 1, sent_until - 1), heard_until, sent_until, n_steps)
    return found


def last_steps(network: Network, n_steps: int) -> dict[str, tuple[int, int]]:
    """Return of each layer how many steps of its input, and of its output, are of consequence."""
    last = network.layers[-1].name
    # steps before the end at which what a layer hears, or sends, comes too late
    late = {last: 0 if network.readout.quantity == "voltage" else 1}
    sent = {last: 0}
    for layer in reversed(network.layers):
        if layer.name != last:
            late[layer.name] = sent.setdefault(layer.name, 0) + _wait(layer)
        for source in heard_by(network, layer):
            sent[source] = min(sent.get(source, n_steps), late[layer.name])
    if max(late.values()) < _FEW_FRAC * n_steps:
        return dict.fromkeys(late, (n_steps, n_steps))
    return {name: (max(1, n_steps - late[name]), max(1, n_steps - sent[name])) for name in late}


def heard_by(network: Network, layer: Layer) -> list[str]:
    """Return the layers that a layer hears, through joins too, and the input."""
    return [name for synapse in layer.synapses for name in _origins(network, synapse.source)]


def _origins(network: Network, source: str) -> list[str]:
    """Return the layers that a source is made of, itself if it is one."""
    join = next((join for join in network.joins if join.name == source), None)
    return [source] if join is None else [
        origin for part in join.sources for origin in _origins(network, part)]


def _wait(layer: Layer) -> int:
    """Return after how many steps at least the layer answers what it hears."""
    return 0 if encodes(layer) else 1 + min(layer.axonal_delay or (0,))


def _first_step(layer: Layer, arrival: int) -> int:
    """Return the step before which a layer is at rest, if input arrives in this one."""
    neuron = layer.neuron
    if isinstance(neuron, RelayNeuron):
        return arrival
    if isinstance(neuron, CubaNeuron):
        return min(arrival, neuron.bias_step) if any(neuron.bias or ()) else arrival
    return 0


def begun(layer: Layer, step: int) -> Layer:
    """Return a layer whose first step is this one: its biases begin so many steps earlier."""
    if step == 0 or not isinstance(layer.neuron, CubaNeuron):
        return layer
    bias_step = max(0, layer.neuron.bias_step - step)
    return replace(layer, neuron=replace(layer.neuron, bias_step=bias_step))


def sent_between(
    network: Network, layer: Layer, outputs: Mapping[str, Train], begin: int, end: int
) -> dict[str, NDArray[Any]]:
    """Return of some steps what the sources of a layer send, by name."""
    return {name: outputs[name].between(begin, end) for name in heard_by(network, layer)}


def heard(
    network: Network, layer: Layer, outputs: Mapping[str, Train], source: str, window: Window
) -> NDArray[Any]:
    """Return what a layer hears of a source in its window, (n, *source_shape, t)."""
    return source_spikes(
        network, sent_between(network, layer, outputs, window.begin, window.heard_until), source)


def sent_in(window: Window, layer: Layer, values: NDArray[Any]) -> Train:
    """Return as a train what a layer has sent from the begin of its window on."""
    n_silent = min(_wait(layer), values.shape[-1] - 1)
    return Train(values[..., n_silent:], window.begin + n_silent)
