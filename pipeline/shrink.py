"""Neurons that make no difference leave the network, so that its layers need fewer cores.

In: an integer network. Out: a smaller one with the same spikes in every neuron that is left, and
which neurons those are. Pruning sets weights to zero; a neuron whose weights are all zero on one
side still takes its place on a core until it is removed here. Nothing is approximated: whether a
neuron goes is read from the weights alone, not from the spikes of some samples.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.emulate import Trace
from pipeline.fixedpoint import inferred_weight_bits
from pipeline.ledger import Ledger, LedgerEntry
from pipeline.network import INPUT, Layer, Network, Shape, Synapse
from pipeline.neuron import PER_CHANNEL, CubaNeuron

Kept = dict[str, NDArray[np.int64]]


@dataclass(frozen=True)
class Shrunk:
    """A network without the neurons that make no difference.

    Attributes
    ----------
    kept : for every layer, the channels that are left, ascending indices into the layer before;
        after dense synapses each neuron is a channel
    """

    network: Network
    kept: Kept


def shrink(network: Network) -> Shrunk:
    """Return the network without hidden neurons that nobody hears or that can never spike.

    A neuron goes if no chain of nonzero weights leads from the input to it, or none from it to the
    output. Of a convolution only whole channels go, because their neurons share a kernel. The
    input, the output layer, a layer that feeds itself, a grouped convolution and the layer it reads
    are never shrunk: groups must stay equally wide. A positive bias makes a neuron fire unheard of;
    of sigma-delta neurons any bias makes it send.

    A network that would be left with a layer without positive weights is returned as it is: such a
    layer is silent, and an empty or all-zero one cannot be loaded.

    Raises
    ------
    TypeError
        If the weights are not integers: bits are inferred anew from what is left.
    """
    if not network.is_integer:
        raise TypeError("only an integer network can be shrunk; quantize it first")
    kept = _kept(network)
    everything = {layer.name: np.arange(layer.shape[0]) for layer in network.layers}
    if all(len(kept[name]) == len(all_channels) for name, all_channels in everything.items()):
        return Shrunk(network, everything)
    layers = tuple(_sliced(network, layer, kept) for layer in network.layers)
    if not all(_can_act(layer) for layer in layers):
        return Shrunk(network, everything)
    return Shrunk(network.with_layers(tuple(_with_inferred_bits(layer) for layer in layers)), kept)


def _can_act(layer: Layer) -> bool:
    """Whether every group has weights by which the layer can send something."""
    if isinstance(layer.neuron, CubaNeuron):
        return all((synapse.weight > 0).any() for synapse in layer.synapses)
    return all(synapse.weight.any() for synapse in layer.synapses)


def removals(network: Network, shrunk: Shrunk) -> Ledger:
    """Return a ledger entry for every layer of ``network`` that lost neurons."""
    return tuple(
        LedgerEntry(before.name, "neurons removed, nobody listens or they never spike",
                    before.n_neurons - after.n_neurons, before.n_neurons)
        for before, after in zip(network.layers, shrunk.network.layers, strict=True)
        if after.n_neurons < before.n_neurons
    )


def kept_only(trace: Trace, kept: Kept) -> Trace:
    """Return the trace of the whole network, reduced to the neurons that are left."""
    n_active = {
        name: counts.reshape(*trace.spikes[name].shape[:2], -1)[:, kept[name]].reshape(
            len(counts), -1)
        for name, counts in trace.n_active.items()
    }
    parts: list[Any] = [
        {name: array[:, kept[name]] if name in kept else array for name, array in part.items()}
        for part in (trace.spikes, trace.u, trace.v)
    ]
    return Trace(parts[0], n_active, *parts[1:])


def _kept(network: Network) -> Kept:
    """Return the channels of every layer that lie on a path from the input to the output.

    One sweep each way reaches the fixed point of removing neurons one by one: what is on a path
    keeps the whole path.
    """
    fixed = _fixed_layers(network)
    is_reached = {INPUT: np.ones(network.input_shape[0], dtype=np.bool_)}
    is_heard = {layer.name: np.full(layer.shape[0], layer.name in fixed)
                for layer in network.layers}
    for layer in network.layers:
        is_reached[layer.name] = is_heard[layer.name].copy()
        if layer.neuron.bias is not None:
            bias = np.array(layer.neuron.bias)
            acts = bias > 0 if isinstance(layer.neuron, CubaNeuron) else bias != 0
            is_reached[layer.name] |= acts
        if layer.name not in fixed:
            for synapse in layer.synapses:
                is_connected = _is_connected(network, layer, synapse)
                is_reached[layer.name] |= is_connected[:, is_reached[synapse.source]].any(axis=1)
    for layer in reversed(network.layers):
        for synapse in layer.synapses:
            if synapse.source != INPUT and synapse.source not in fixed:
                is_connected = _is_connected(network, layer, synapse)
                is_heard[synapse.source] |= is_connected[is_heard[layer.name]].any(axis=0)
    return {
        layer.name: np.flatnonzero(is_reached[layer.name] & is_heard[layer.name])
        for layer in network.layers
    }


def _fixed_layers(network: Network) -> set[str]:
    """Return the layers not shrunk: output, recurrent, driven, grouped, and what those read."""
    fixed = {network.layers[-1].name}
    fixed |= {layer.name for layer in network.layers
              if layer.recurrent is not None or layer.is_driven}
    for layer in network.layers:
        for synapse in layer.synapses:
            if _is_grouped(synapse):
                fixed |= {layer.name, synapse.source}
    return fixed - {INPUT}


def _is_grouped(synapse: Synapse) -> bool:
    return synapse.geometry is not None and synapse.geometry.groups > 1


def _is_connected(network: Network, layer: Layer, synapse: Synapse) -> NDArray[np.bool_]:
    """Return (channels of the layer, channels of its source): whether any weight is nonzero."""
    weight = _by_channel(synapse.weight, synapse, layer.shape, network.shape_of(synapse.source))
    return np.asarray((weight != 0).any(axis=(2, 3)))


def _by_channel(
    array: NDArray[Any], synapse: Synapse, shape: Shape, in_shape: Shape
) -> NDArray[Any]:
    """Return a weight or mask as (channel, source channel, ·, ·): kernel or pairs of positions."""
    if synapse.geometry is not None:
        return array
    n, n_in = int(np.prod(shape[1:])), int(np.prod(in_shape[1:]))
    return array.reshape(shape[0], n, in_shape[0], n_in).transpose(0, 2, 1, 3)


def _sliced(network: Network, layer: Layer, kept: Kept) -> Layer:
    """Return a layer and its synapses with the kept channels of it and of its sources."""
    own = kept[layer.name]
    shape = (len(own), *layer.shape[1:])
    synapses = []
    for synapse in layer.synapses:
        if _is_grouped(synapse):
            synapses.append(synapse)
            continue
        in_shape = network.shape_of(synapse.source)
        chosen = np.ix_(own, kept.get(synapse.source, np.arange(in_shape[0])))
        weight = _by_channel(synapse.weight, synapse, layer.shape, in_shape)[chosen]
        allowed, n_absent = None, 0
        if synapse.allowed is not None:
            mask = _by_channel(synapse.allowed, synapse, layer.shape, in_shape)[chosen]
            allowed = _as_stored(mask, synapse)
            n_absent = int((~allowed).sum()) if synapse.n_absent else 0
        synapses.append(replace(
            synapse, weight=_as_stored(weight, synapse), allowed=allowed, n_absent=n_absent))
    per_channel: dict[str, Any] = {
        field: tuple(values[channel] for channel in own) for field in PER_CHANNEL
        if (values := getattr(layer.neuron, field, None)) is not None
    }
    delay = layer.axonal_delay
    return replace(
        layer, synapses=tuple(synapses), neuron=replace(layer.neuron, **per_channel), shape=shape,
        axonal_delay=None if delay is None else tuple(delay[channel] for channel in own))


def _as_stored(by_channel: NDArray[Any], synapse: Synapse) -> NDArray[Any]:
    """Return what `_by_channel` gave, or a part of it, in the layout of its synapse group."""
    if synapse.geometry is not None:
        return np.ascontiguousarray(by_channel)
    n_out, n_in, n_positions, n_in_positions = by_channel.shape
    return by_channel.transpose(0, 2, 1, 3).reshape(n_out * n_positions, n_in * n_in_positions)


def _with_inferred_bits(layer: Layer) -> Layer:
    return replace(layer, synapses=tuple(
        replace(synapse, weight_bits=inferred_weight_bits(synapse.weight))
        for synapse in layer.synapses
    ))
