"""Thresholds adjusted after compression so that every layer spikes as often as before.

In: an integer network, calibration spikes and the dense rates. Out: the network with one threshold
mantissa per layer changed, and a ledger entry for each. Layers are matched in order, each with the
layers before it already matched, because their spikes are its input. One threshold per layer is
what stock NetX deploys (facts: sbc.md, "match firing rates to the dense net").
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.emulate import emulate
from pipeline.fixedpoint import MAX_EXACT_VTH_MANT
from pipeline.network import INPUT, Layer, Network
from pipeline.quantize import Ledger, LedgerEntry

_WIDEST_CHANGE = 1.5
_MAX_TRIALS = 10


def match_rates(
    network: Network, spikes: NDArray[np.uint8], dense_rates: dict[str, float]
) -> tuple[Network, Ledger]:
    """Return the network with thresholds that bring each layer's rate back to the dense one.

    Parameters
    ----------
    spikes : (n, *input_shape, t) uint8, the calibration split
    dense_rates : spikes per neuron and step of each layer of the dense network, same spikes
    """
    layers: list[Layer] = []
    ledger: list[LedgerEntry] = []
    outputs = {INPUT: spikes}
    for layer in network.layers:
        matched, outputs[layer.name] = _match(layer, outputs, dense_rates[layer.name])
        if matched.neuron.vth_mant != layer.neuron.vth_mant:
            ledger.append(LedgerEntry(
                layer.name, f"threshold {layer.neuron.vth_mant} -> {matched.neuron.vth_mant} to "
                "match the dense firing rate", 1, 1))
        layers.append(matched)
    return network.with_layers(tuple(layers)), tuple(ledger)


def _match(
    layer: Layer, outputs: dict[str, NDArray[np.uint8]], wanted: float
) -> tuple[Layer, NDArray[np.uint8]]:
    """Return the layer at the threshold whose rate is nearest to ``wanted``, and its spikes.

    The rate falls as the threshold rises, nearly always: bisection, keeping the best trial.
    """
    start = layer.neuron.vth_mant
    low = max(1, int(start / _WIDEST_CHANGE))
    high = min(MAX_EXACT_VTH_MANT, int(start * _WIDEST_CHANGE) + 1)
    trials: dict[int, tuple[float, Layer, NDArray[np.uint8]]] = {}
    threshold = start
    for _ in range(_MAX_TRIALS):
        candidate = replace(layer, neuron=replace(layer.neuron, vth_mant=threshold))
        output = _run_alone(candidate, outputs)
        rate = float(output.mean())
        trials[threshold] = (abs(rate - wanted), candidate, output)
        if rate > wanted:
            low = threshold + 1
        else:
            high = threshold - 1
        threshold = (low + high) // 2
        if low > high or threshold in trials:
            break
    _, best, output = min(trials.values(), key=lambda trial: trial[0])
    return best, output


def _run_alone(layer: Layer, outputs: dict[str, NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return the output of a layer for given spikes of its (only) source."""
    (synapse,) = layer.synapses
    source = outputs[synapse.source]
    alone = Network(
        "one layer", source.shape[1:-1], source.shape[-1],
        (replace(layer, synapses=(replace(synapse, source=INPUT),)),),
    )
    return emulate(alone, source).spikes[layer.name]
