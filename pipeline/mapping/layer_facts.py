"""What the rules of a chip see of a layer: extremes, widths and worst cases, no arrays.

In: a layer of an integer network without joins. Out: its
:class:`~hardware_targets.facts.LayerFacts`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from hardware_targets import LayerFacts, NeuronFamily
from pipeline.network import INPUT, Layer, Network, Synapse
from pipeline.neuron import (
    CubaNeuron,
    Neuron,
    RelayNeuron,
    ResonatorNeuron,
    SigmaDeltaNeuron,
)

_FAMILIES: dict[type, NeuronFamily] = {
    CubaNeuron: "cuba", SigmaDeltaNeuron: "sigma-delta", ResonatorNeuron: "resonate-and-fire",
    RelayNeuron: "graded-relay"}


Bounds = Mapping[str, tuple[int, int]]


def message_bounds(network: Network) -> dict[str, tuple[int, int]]:
    """Return the least and the largest message of each layer: 0 and 1 but of graded relays."""
    bounds = {layer.name: (0, 1) for layer in network.layers} | {INPUT: (0, 1)}
    joins = {join.name: join for join in network.joins}

    def bound(source: str) -> tuple[int, int]:
        if source not in joins:
            return bounds[source]
        low, high = zip(*(bound(name) for name in joins[source].sources), strict=True)
        return (sum(low), sum(high)) if joins[source].kind == "add" else (min(low), max(high))

    for layer in network.layers:
        if isinstance(layer.neuron, RelayNeuron):
            of_sources = {group.source: bound(group.source) for group in layer.synapses}
            below, above = (
                int(np.sum([_largest(g, sign, of_sources) for g in layer.synapses], 0).max())
                for sign in (-1, 1))
            bounds[layer.name] = (-below, above)
    return bounds


def facts_of(layer: Layer, bounds: Bounds | None = None) -> LayerFacts:
    """Return the facts of a layer; parameters per channel count with their extremes.

    Parameters
    ----------
    bounds : of :func:`message_bounds`; all sources send binary spikes by default
    """
    neuron, groups = layer.neuron, layer.stored_groups
    # one that never fires gets the highest threshold there is, whatever that is
    thresholds = getattr(neuron, "channel_vth_mant", None) or (neuron.nominal_vth,)
    biases = neuron.bias or (0,)
    decays = _decays(neuron)
    # messages of sigma-delta neurons have any size: their states are not judged
    judged = () if isinstance(neuron, SigmaDeltaNeuron) else groups
    excitation, inhibition = (
        _worst_case(layer, judged, sign, bounds or {}) for sign in (1, -1))
    return LayerFacts(
        layer=layer.name, family=_FAMILIES[type(neuron)], kind=layer.synapses[0].kind,
        n_neurons=layer.n_neurons, has_synapses=bool(groups),
        fan_in=int(sum(
            (_per_neuron(layer, group, group.weight != 0) for group in groups),
            start=np.zeros(1, dtype=np.int64)).max()),
        weight_bits=max((group.weight_bits or 0 for group in groups), default=0),
        weight_min=min((int(group.weight.min()) for group in groups), default=0),
        weight_max=max((int(group.weight.max()) for group in groups), default=0),
        vth_mant_min=min(thresholds), vth_mant_max=max(thresholds), fires=neuron.fires,
        bias_min=math.floor(min(biases)), bias_max=math.ceil(max(biases)),
        decays={name: (min(values), max(values)) for name, values in decays.items()},
        leak=_leak(neuron, decays),
        worst_case_current=max(excitation, inhibition), worst_case_inhibition=inhibition,
        axonal_delay=max(layer.axonal_delay or (0,)),
    )


def _decays(neuron: Neuron) -> dict[str, tuple[int, ...]]:
    """Return the decays of a family, each per channel or shared."""
    names = ("current_decay", "voltage_decay", "sin_decay", "cos_decay")
    return {
        name: getattr(neuron, f"channel_{name}") or (getattr(neuron, name),)
        for name in names if hasattr(neuron, name)
    }


def _leak(neuron: Neuron, decays: dict[str, tuple[int, ...]]) -> float:
    """Return the least share of 4096 that the state with the input loses in a step."""
    if isinstance(neuron, CubaNeuron):
        return float(min(decays["current_decay"]))
    if isinstance(neuron, ResonatorNeuron):
        sines, cosines = np.broadcast_arrays(decays["sin_decay"], decays["cos_decay"])
        return float(max(0.0, 4096 - np.hypot(sines, cosines).max()))
    return 0.0


def _worst_case(
    layer: Layer, groups: Iterable[Synapse], sign: int, bounds: Bounds
) -> int:
    """Return the largest input of one sign that a neuron can take in a step, in state units.

    The groups of a layer add up; the two parts of a complex state are states of their own.
    """
    worst = 0
    for part in ("real", "imag"):
        inputs = [
            np.repeat(largest, layer.n_neurons // len(largest))
            for largest in (_largest(g, sign, bounds) for g in groups if g.part == part)
        ]
        if inputs:
            worst = max(worst, int(sum(inputs[1:], start=inputs[0]).max()))
    return worst << 6


def _largest(group: Synapse, sign: int, bounds: Bounds) -> NDArray[np.int64]:
    """Return the largest sum of one sign that each row of a group can add, (rows,), not below 0."""
    low, high = bounds.get(group.source, (0, 1))
    weight = group.weight.astype(np.int64).reshape(len(group.weight), -1)
    sums: NDArray[np.int64] = np.maximum(sign * weight * high, sign * weight * low).sum(axis=1)
    return np.maximum(sums, 0)


def _per_neuron(layer: Layer, group: Synapse, values: NDArray[np.generic]) -> NDArray[np.int64]:
    """Return the sum of one value per weight for each neuron of the layer, (n_neurons,) int64."""
    sums: NDArray[np.int64] = values.reshape(len(values), -1).sum(axis=1, dtype=np.int64)
    return np.repeat(sums, layer.n_neurons // len(sums))
