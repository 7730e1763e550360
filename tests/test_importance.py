"""Importance is what an error of a potential does to the output, carried back through weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pipeline.compress import filter_spikes
from pipeline.importance import _kernel_energy, output_importance
from pipeline.mapping.connectivity import unrolled
from pipeline.network import INPUT, ConvGeometry, Layer, Network, Synapse
from pipeline.network_checks import conv_output_shape
from pipeline.neuron import CubaNeuron, RelayNeuron, ResonatorNeuron

FORGETFUL = CubaNeuron(4096, 4096, 10)  # its response to a spike is one step long


def chain(weights: list[Any], neurons: list[CubaNeuron]) -> Network:
    layers, source = [], INPUT
    for i, (weight, neuron) in enumerate(zip(weights, neurons, strict=True)):
        array = np.array(weight, dtype=np.int32)
        layers.append(Layer(f"l{i}", (Synapse(f"l{i}", source, array),), neuron, (len(array),)))
        source = f"l{i}"
    return Network("n", (np.array(weights[0]).shape[1],), 10, tuple(layers))


# ---------------------------------------------------------------- by hand


def test_a_dense_chain_is_as_computed_by_hand() -> None:
    network = chain(
        [[[1, 1], [1, 1], [1, 1]], [[3, 0, 2], [1, 4, 0]]],
        [replace(FORGETFUL, vth_mant=5), FORGETFUL],
    )
    rates = {"l0": np.array([0.5, 0.1, 0.2]), "l1": np.array([0.4, 0.2])}
    found = output_importance(network, rates)
    at_output = np.array([0.4, 0.2]) / 10**2
    assert found["l1"] == pytest.approx(at_output)
    # each hidden neuron: rate / threshold^2 * sum of squared weights times the output's importance
    assert found["l0"] == pytest.approx([
        0.5 / 25 * (9 * 0.004 + 1 * 0.002), 0.1 / 25 * 16 * 0.002, 0.2 / 25 * 4 * 0.004,
    ])


def test_relays_carry_errors_back_as_they_send_messages_on() -> None:
    """A stream of two channels, to which a layer adds, and which a layer and a relay read."""
    def group(name: str, source: str, weight: Any) -> Synapse:
        return Synapse(name, source, np.array(weight, dtype=np.int32))

    eye = [[1, 0], [0, 1]]
    network = Network("stream", (2,), 10, (
        Layer("a", (group("a", INPUT, eye),), replace(FORGETFUL, vth_mant=5), (2,)),
        Layer("relay", (group("relay", "a", [[3, 0], [1, 2]]),), RelayNeuron(), (2,)),
        Layer("b", (group("b", "relay", eye),), replace(FORGETFUL, vth_mant=4), (2,)),
        Layer("more", (group("more", "b", [[5, 0], [0, 7]]), group("stream", "relay", eye)),
              RelayNeuron(), (2,)),
        Layer("out", (group("out", "more", [[2, 1]]),), FORGETFUL, (1,)),
    ))
    rates = {layer.name: np.full(layer.shape, 0.5) for layer in network.layers}
    found = output_importance(network, rates)
    out = 0.5 / 10**2
    assert found["more"] == pytest.approx([4 * out, out])
    b = np.array([0.5 / 16 * 25 * 4 * out, 0.5 / 16 * 49 * out])
    assert found["b"] == pytest.approx(b)
    relay = b + [4 * out, out]
    assert found["relay"] == pytest.approx(relay)
    assert found["a"] == pytest.approx(
        [0.5 / 25 * (9 * relay[0] + relay[1]), 0.5 / 25 * 4 * relay[1]])


def test_a_hundred_layers_stay_within_the_range_of_floats() -> None:
    """Each layer multiplies by a thousand and more: shares within a layer are those of the last."""
    summing = CubaNeuron(4096, 0, 10)
    weights = [[[90, 30], [60, 90]]] * 150
    network = chain(weights, [summing] * 150)
    rates = {layer.name: np.array([0.5, 0.4]) for layer in network.layers}
    found = output_importance(network, rates)
    few = output_importance(chain(weights[:3], [summing] * 3), rates)
    values = np.array(list(found.values()))
    assert np.isfinite(values).all() and (values > 0).all()
    assert found["l147"] / found["l147"].sum() == pytest.approx(few["l0"] / few["l0"].sum())
    assert found["l0"].mean() > 1e100 * found["l149"].mean()


def test_other_families_matter_alike() -> None:
    network = chain([[[1, 1]], [[3]]], [FORGETFUL, FORGETFUL])
    resonator = ResonatorNeuron("rf", cos_decay=3000, sin_decay=1000, vth_mant=80)
    network = network.with_layers((
        network.layers[0], replace(network.layers[1], neuron=resonator)))
    rates = {"l0": np.array([0.5]), "l1": np.array([0.4])}
    assert {name: values.tolist() for name, values in output_importance(network, rates).items()} \
        == {"l0": [1.0], "l1": [1.0]}


@pytest.mark.parametrize("decays", [(4096, 4096), (1024, 128), (4096, 300), (700, 4096)])
def test_the_energy_of_a_neuron_is_that_of_its_response_to_one_spike(
    decays: tuple[int, int]
) -> None:
    impulse = torch.zeros(1, 600)
    impulse[0, 0] = 1
    expected = float(filter_spikes(impulse, *decays).square().sum())
    assert _kernel_energy(CubaNeuron(*decays, 80)) == pytest.approx(expected, rel=1e-9)


def test_neurons_that_respond_longer_make_those_before_them_matter_more() -> None:
    weights = [[[1], [1]], [[3, 2]]]
    rates = {"l0": np.array([0.5, 0.1]), "l1": np.array([0.4])}
    short = output_importance(chain(weights, [FORGETFUL, FORGETFUL]), rates)
    longer = CubaNeuron(4096, 1024, 10)
    found = output_importance(chain(weights, [FORGETFUL, longer]), rates)
    assert np.allclose(found["l0"], short["l0"] / (1 - 0.75**2))
    assert np.allclose(found["l1"], short["l1"])


# ---------------------------------------------------------------- convolutions


GEOMETRIES = [
    ConvGeometry(),
    ConvGeometry(stride=(2, 1)),
    ConvGeometry(stride=(2, 3), padding=(1, 1)),
    ConvGeometry(dilation=(2, 1), stride=(2, 2)),
    ConvGeometry(groups=2),
    ConvGeometry(stride=(2, 2), groups=2),
]


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_a_channel_matters_as_its_neurons_do_on_average_away_from_the_border(
    geometry: ConvGeometry,
) -> None:
    rng = np.random.default_rng(0)
    source_shape, kernel = (4, 30, 30), (3, 2)
    first = rng.integers(-9, 10, (4, 1, 1, 1)).astype(np.int32)
    weight = rng.integers(-9, 10, (6, 4 // geometry.groups, *kernel)).astype(np.int32)
    shape = conv_output_shape(weight.shape, geometry, source_shape)
    network = Network("n", (1, 30, 30), 10, (
        Layer("a", (Synapse("a", INPUT, first, ConvGeometry()),), FORGETFUL, source_shape),
        Layer("b", (Synapse("b", "a", weight, geometry),), FORGETFUL, shape),
    ))
    rates = {"a": rng.uniform(0.1, 0.5, 4), "b": rng.uniform(0.1, 0.5, 6)}
    found = output_importance(network, rates)
    at_output = np.repeat(found["b"], shape[1] * shape[2])
    matrix = unrolled(network, network.synapse("b")).astype(np.float64)
    received = (matrix.power(2) @ at_output).reshape(source_shape)
    # whole periods of the stride, far from the border
    inside = received[:, 6:18, 6:18].mean(axis=(1, 2))
    assert np.allclose(found["a"], rates["a"] / 10**2 * inside, rtol=1e-9)


def test_dense_behind_a_convolution_is_averaged_over_positions(conv_chain: Any) -> None:
    network = conv_chain()
    rng = np.random.default_rng(1)
    rates = {"conv": rng.uniform(0.1, 0.5, 4), "fc": rng.uniform(0.1, 0.5, 5)}
    found = output_importance(network, rates)
    square = network.synapse("fc").weight.astype(np.float64) ** 2
    received = (found["fc"] @ square).reshape(network.layer("conv").shape).mean(axis=(1, 2))
    energy = _kernel_energy(network.layer("fc").neuron)
    assert np.allclose(found["conv"], rates["conv"] / 120**2 * energy * received)


# ---------------------------------------------------------------- scaling


def rates_of(network: Network, seed: int = 0) -> dict[str, NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    return {layer.name: rng.uniform(0.05, 0.5, layer.n_channels) for layer in network.layers}


def changed(network: Network, name: str, factor: int, vth_factor: int) -> Network:
    return network.with_layers(tuple(
        layer if layer.name != name else replace(
            layer, neuron=replace(layer.neuron, vth_mant=layer.neuron.vth_mant * vth_factor),
            synapses=tuple(replace(s, weight=s.weight * factor) for s in layer.synapses))
        for layer in network.layers
    ))


def test_scaling_weights_and_threshold_of_a_layer_together_changes_nothing_before_it(
    dense_chain: Any
) -> None:
    network = dense_chain(sizes=(6, 5, 4, 3))
    rates = rates_of(network)
    before = output_importance(network, rates)
    after = output_importance(changed(network, "fc1", 3, 3), rates)
    assert np.allclose(after["fc0"], before["fc0"])
    # an error of its own potential is counted in the unit of that potential
    assert np.allclose(after["fc1"], before["fc1"] / 9)
    assert np.allclose(after["fc2"], before["fc2"])


def test_importance_grows_with_the_square_of_weights_and_falls_with_that_of_thresholds(
    dense_chain: Any
) -> None:
    network = dense_chain(sizes=(6, 5, 4, 3))
    rates = rates_of(network)
    before = output_importance(network, rates)
    heavier = output_importance(changed(network, "fc2", 2, 1), rates)
    higher = output_importance(changed(network, "fc2", 1, 2), rates)
    busier = output_importance(network, {**rates, "fc1": 2 * rates["fc1"]})
    assert np.allclose(heavier["fc1"], 4 * before["fc1"])
    assert np.allclose(heavier["fc0"], 4 * before["fc0"])
    assert np.allclose(higher["fc2"], before["fc2"] / 4)
    assert np.allclose(higher["fc0"], before["fc0"] / 4)
    assert np.allclose(busier["fc1"], 2 * before["fc1"])
    assert np.allclose(busier["fc0"], 2 * before["fc0"])


def test_nobody_is_worth_nothing(dense_chain: Any) -> None:
    network = dense_chain(sizes=(6, 5, 4))
    weight = network.synapse("fc1").weight.copy()
    weight[:, 2] = 0  # nobody listens to neuron 2
    layer = network.layer("fc1")
    network = network.with_layers((network.layers[0], replace(
        layer, synapses=(replace(layer.synapses[0], weight=weight),))))
    rates = rates_of(network)
    rates["fc0"][1], rates["fc1"][:] = 0.0, 0.0  # and some never spiked in calibration
    found = output_importance(network, rates)
    for importance in found.values():
        assert (importance > 0).all() and np.isfinite(importance).all()
    assert found["fc0"][2] < 1e-3 * found["fc0"][0]
    assert found["fc0"][1] < 0.1 * found["fc0"][0]
