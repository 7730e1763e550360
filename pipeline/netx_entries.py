"""What a NetX file says of each layer, and which networks it cannot hold.

In: an integer network. Out: the keys and values of every entry, or why stock NetX would not load
them or run them otherwise. What NetX does is in lava.lib.dl.netx.hdf5 of lava-dl 0.6.0 (facts: netx
2 and 3.2).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.network import INPUT, Layer, Network
from pipeline.neuron import CubaNeuron, RelayNeuron, ResonatorNeuron, SigmaDeltaNeuron

Entry = dict[str, Any]


def entries(network: Network) -> list[Entry]:
    """Return the keys and values of every HDF5 layer group, in order."""
    layers, shape = network.layers, network.input_shape
    found: list[Entry] = [{"type": _type("input"), "shape": np.array(shape)}]
    if layers[0].is_driven:
        # data x become the bias weight x + bias; ours are these biases already
        found[0] |= {"weight": 1, "bias": 0, **_neuron(layers[0], is_input=True)}
        layers = layers[1:]
    for index, layer in enumerate(layers):
        is_dense = layer.synapses[0].kind == "dense"
        if len(shape) == 3 and is_dense and (index > 0 or network.layers[0].is_driven):
            found.append({"type": _type("flatten"), "shape": np.array([np.prod(shape), 1, 1])})
        found.append(_dense(layer) if is_dense else _conv(layer))
        shape = layer.shape
    return found


def netx_obstacle(network: Network) -> str | None:
    """Return why stock NetX cannot hold a network or would run it otherwise; None if it can."""
    previous = INPUT
    for layer in network.layers:
        sources = {synapse.source for synapse in layer.synapses}
        n_groups = 2 if isinstance(layer.neuron, ResonatorNeuron) else 1
        what = None
        if sources != {previous} or len(layer.synapses) != n_groups:
            what = (f"NetX files hold chains only; this layer has {len(layer.synapses)} synapse "
                    f"groups, from {', '.join(s.source for s in layer.synapses)}")
        elif isinstance(layer.neuron, CubaNeuron):
            what = _cuba_obstacle(layer, layer.neuron)
        elif isinstance(layer.neuron, RelayNeuron):
            what = "NetX has no words for graded relays"
        elif isinstance(layer.neuron, SigmaDeltaNeuron):
            what = _sigma_delta_obstacle(layer, layer.neuron, layer is network.layers[-1])
        else:
            what = _resonator_obstacle(layer, layer.neuron)
        if what is not None:
            return f"layer '{layer.name}': {what}"
        previous = layer.name
    return None


def stock_decays(neuron: ResonatorNeuron) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the sine and cosine decays that the stock loader makes of a file's.

    It turns them into period and decay in float64, and these into integers again, truncating: some
    come out one lower.
    """
    # operation by operation as slayer/neuron/rf.py and lava/proc/rf/process.py have it
    sine = np.array(neuron.channel_sin_decay or (neuron.sin_decay,)) / 4096
    cosine = np.array(neuron.channel_cos_decay or (neuron.cos_decay,)) / 4096
    alpha = 1 - np.sqrt(sine**2 + cosine**2)
    with np.errstate(divide="ignore"):  # of no frequency the period is infinite
        period = 1 / (np.arctan2(sine, cosine) / 2 / np.pi)
    new_sine, new_cosine = (
        ((1 - alpha) * f(np.pi * 2 * 1 / period) * 4096).astype(np.int32) for f in (np.sin, np.cos))
    return new_sine, new_cosine


def _cuba_obstacle(layer: Layer, neuron: CubaNeuron) -> str | None:
    delay = layer.axonal_delay
    if delay is not None and layer.is_driven:
        return "NetX does not delay the spikes of input neurons"
    if delay is not None and layer.synapses[0].kind == "conv":
        return "NetX drops the delays of convolutions without a word"
    if delay is not None and layer.recurrent is not None:
        return "NetX cannot build a recurrent layer with delays"
    if delay is not None and neuron.bias is not None:
        return "NetX delays the input in place of the spikes, which differs with a bias"
    if neuron.bias is not None and neuron.bias_step:
        return f"its biases act from step {neuron.bias_step} on, NetX's from the first"
    if layer.is_driven and neuron.bias is not None:
        return "NetX drives input neurons through their bias, and this layer has one"
    if neuron.channel_current_decay is not None or neuron.channel_voltage_decay is not None:
        return "has one decay per channel, Lava's LIF process holds one per layer"
    if neuron.channel_vth_mant is not None:
        return (
            f"has one threshold per channel ({layer.n_channels} of them) and stock NetX reads one "
            "vThMant per layer; they would need a loader that gives Lava's LIF process an array of "
            "thresholds: set 'compress.match_rates: layer' in the recipe")
    return None


def _sigma_delta_obstacle(
    layer: Layer, neuron: SigmaDeltaNeuron, is_last: bool
) -> str | None:
    if neuron.role == "delta" and not layer.is_driven:
        return "NetX has delta neurons at the input only"
    if neuron.role == "sigma" and not is_last:
        return "NetX has decoders at the output only"
    if neuron.role == "sigma" and neuron.bias is not None:
        return "NetX gives decoders no bias"
    if neuron.is_cumulative:
        return "NetX loads no errors that add up (cum_error)"
    if neuron.role == "sigma_delta" and neuron.activation != "relu":
        return "NetX gives every sigma-delta layer the activation relu"
    return None


def _resonator_obstacle(layer: Layer, neuron: ResonatorNeuron) -> str | None:
    if layer.synapses[0].kind != "dense":
        return "NetX has no convolutions with complex weights"
    if layer.axonal_delay is not None:
        return "NetX has no delays of complex weights"
    if neuron.channel_sin_decay is not None:
        return "has one decay per channel, of which stock NetX runs the first only"
    if [tuple(map(int, values)) for values in stock_decays(_between(neuron))] != [
            (neuron.sin_decay,), (neuron.cos_decay,)]:
        return "the stock loader makes other decays of its period"
    return None


def _dense(layer: Layer) -> Entry:
    # as SLAYER writes integers
    weights = {s.part: s.weight.astype(np.float32) for s in layer.synapses}
    is_complex = isinstance(layer.neuron, ResonatorNeuron)
    weight: Entry = {f"weight/{part}": weights[part] for part in weights} if is_complex else {
        "weight": weights["real"]}
    delay = {} if layer.axonal_delay is None else {
        "delay": np.array(layer.axonal_delay, dtype=np.float32)}
    recurrent = {} if layer.recurrent is None else {
        "weight_rec": layer.recurrent.weight.astype(np.float32)}
    return {
        "type": _type("dense" if layer.recurrent is None else "dense_rec"),
        "shape": np.array(layer.shape),
        "inFeatures": weights["real"].shape[1],
        "outFeatures": weights["real"].shape[0],
        **weight, **recurrent, **delay, **_neuron(layer),
    }


def _conv(layer: Layer) -> Entry:
    (synapse,) = layer.synapses
    geometry = synapse.geometry
    assert geometry is not None
    return {
        "type": _type("conv"),
        "shape": np.array(layer.shape),
        "inChannels": synapse.weight.shape[1] * geometry.groups,
        "outChannels": synapse.weight.shape[0],
        "kernelSize": np.array(synapse.weight.shape[2:]),
        "stride": np.array(geometry.stride),
        "padding": np.array(geometry.padding),
        "dilation": np.array(geometry.dilation),
        "groups": geometry.groups,
        "weight": synapse.weight.astype(np.float32),
        **_neuron(layer),
    }


def _neuron(layer: Layer, is_input: bool = False) -> Entry:
    neuron = layer.neuron
    bias = {} if neuron.bias is None or is_input else {
        "bias": np.array(neuron.bias, dtype=np.float32)}
    if isinstance(neuron, CubaNeuron):
        return {
            **bias,
            "neuron/type": "CUBA",
            "neuron/iDecay": neuron.current_decay,
            "neuron/vDecay": neuron.voltage_decay,
            "neuron/vThMant": neuron.vth_mant,
            "neuron/refDelay": 1,
            "neuron/gradedSpike": False,
        }
    if isinstance(neuron, SigmaDeltaNeuron):
        decodes = {"neuron/sigma_output": True} if neuron.role == "sigma" else {}
        return {**bias, "neuron/type": "SDNN", "neuron/vThMant": neuron.vth_mant, **decodes}
    assert isinstance(neuron, ResonatorNeuron)  # relays are an obstacle
    written = neuron if _is_kept(neuron) else _between(neuron)
    return {
        "neuron/type": "RF_PHASE" if neuron.kind == "rf" else "RF_IZHIKEVICH",
        "neuron/sinDecay": written.sin_decay,
        "neuron/cosDecay": written.cos_decay,
        "neuron/vThMant": neuron.vth_mant,
        "neuron/gradedSpike": False,
    }


def _is_kept(neuron: ResonatorNeuron) -> bool:
    return [v.tolist() for v in stock_decays(neuron)] == [[neuron.sin_decay], [neuron.cos_decay]]


def _between(neuron: ResonatorNeuron) -> ResonatorNeuron:
    """Return decays half a step higher, of which truncation is sure to make the integers."""
    half: Any = 0.5
    return replace(
        neuron, sin_decay=neuron.sin_decay + half, cos_decay=neuron.cos_decay + half)


def _type(name: str) -> Any:
    return np.array([name.encode("ascii")], dtype="S10")
