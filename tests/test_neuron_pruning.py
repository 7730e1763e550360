"""Whole neurons go, the cheapest first, and the layers behind adapt, so that layers shrink."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.calibrate import calibrate
from pipeline.compress import damped
from pipeline.compressor import compress_network
from pipeline.emulate import emulate
from pipeline.errors import CompressionError
from pipeline.network import INPUT, ConvGeometry, Layer, Network, Synapse
from pipeline.neuron import CubaNeuron
from pipeline.neuron_pruning import silence_neurons
from pipeline.quantize import to_integers
from pipeline.shrink import kept_only, shrink


def silent(network: Network, name: str) -> list[int]:
    """Return the channels of a layer whose own weights are all zero."""
    weight = network.synapse(name).weight
    is_silent = ~weight.reshape(len(weight), -1).any(axis=1)
    return [int(channel) for channel in np.flatnonzero(is_silent)]


def refit_loss(W: Any, H: Any, kept: Any) -> tuple[float, Any]:
    """Return the least loss of weights on some inputs, and those weights."""
    fitted = np.zeros_like(W)
    fitted[:, kept] = np.linalg.solve(H[np.ix_(kept, kept)], (H @ W.T)[kept]).T
    change = fitted - W
    return 0.5 * float(np.sum(change @ H * change)), fitted


@pytest.mark.parametrize("seed", range(4))
def test_the_neuron_that_goes_is_the_cheapest_by_brute_force(
    dense_chain: Any, random_spikes: Any, seed: int
) -> None:
    network = dense_chain(sizes=(12, 6, 10), seed=seed)
    calibration = calibrate(network, random_spikes(network, 10), "")
    found, counts = silence_neurons(network, calibration, 1 / 6, 0.01)
    W = network.synapse("fc1").weight.astype(np.float64)
    H = damped(calibration.curvatures["fc1"].hessian, 0.01)[0]
    losses = [refit_loss(W, H, np.arange(6) != r)[0] for r in range(6)]
    (gone,) = silent(found, "fc0")
    assert gone == int(np.argmin(losses))
    kept = np.arange(6) != gone
    assert np.allclose(found.synapse("fc1").weight, refit_loss(W, H, kept)[1], atol=1e-7)
    first = network.synapse("fc0").weight
    assert np.array_equal(found.synapse("fc0").weight, first * kept[:, None])
    assert counts == {"fc0": 60, "fc1": 50}


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("kind", ["dense", "deep", "conv"])
def test_the_share_of_neurons_is_the_largest_that_reaches_the_sparsity(
    kind: str, sparsity: float, dense_chain: Any, conv_chain: Any, random_spikes: Any
) -> None:
    network = conv_chain(weight_shape=(12, 2, 3, 2)) if kind == "conv" else dense_chain(
        sizes=(12, 30, 10) if kind == "dense" else (12, 30, 20, 10))
    calibration = calibrate(network, random_spikes(network, 5), "")
    found, counts = silence_neurons(network, calibration, sparsity, 0.01)
    n_weights = sum(s.weight.size for s in network.synapses)
    allowed = {s.name: s.allowed for s in found.synapses if s.allowed is not None}
    assert counts == {name: int(mask.sum()) for name, mask in allowed.items()}
    assert len(counts) == len(network.synapses)
    assert sum(counts.values()) <= round((1 - sparsity) * n_weights) or sparsity == 0.99
    for synapse in found.synapses:
        assert not synapse.weight[~allowed[synapse.name]].any()
    hidden = [layer.name for layer in network.layers[:-1]]
    left = [network.layer(name).shape[0] - len(silent(found, name)) for name in hidden]
    assert min(left) >= 1
    if len(hidden) == 1 and sparsity < 0.9:  # one more would be too many
        (name,), (n,) = hidden, left
        n_before = network.layer(name).shape[0]
        assert (n + 1) * (n_weights // n_before) > round((1 - sparsity) * n_weights)
        assert n <= n_before


@pytest.mark.parametrize("kind", ["deep", "conv"])
@pytest.mark.parametrize("sequential", [False, True])
def test_the_pattern_neurons_gives_networks_that_shrink(
    kind: str, sequential: bool, dense_chain: Any, conv_chain: Any, random_spikes: Any,
    make_recipe: Any,
) -> None:
    network = dense_chain(sizes=(12, 30, 20, 10)) if kind == "deep" else conv_chain(
        weight_shape=(12, 2, 3, 2))
    spikes = random_spikes(network, 10)
    calibration = calibrate(network, spikes, "")
    recipe = make_recipe(
        pattern="neurons", sparsity=0.7, bits=8, sequential=sequential, match_rates="none")
    parts = compress_network(network, calibration, recipe, spikes)
    integer, _ = to_integers(network, parts)
    shrunk = shrink(integer)
    for layer in network.layers[:-1]:
        assert len(shrunk.kept[layer.name]) < 0.7 * layer.shape[0]
    n_before, n_after = (sum(s.weight.size for s in n.synapses) for n in (network, shrunk.network))
    assert n_after <= 0.3 * n_before
    before, after = emulate(integer, spikes), emulate(shrunk.network, spikes)
    for name, expected in kept_only(before, shrunk.kept).spikes.items():
        assert np.array_equal(after.spikes[name], expected)
    assert after.spikes[network.layers[-1].name].any()


def test_bits_by_measured_loss_can_be_shared_out_after_neurons_are_pruned(
    dense_chain: Any, random_spikes: Any, make_recipe: Any
) -> None:
    network = dense_chain(sizes=(12, 30, 10))
    spikes = random_spikes(network, 4)
    recipe = make_recipe(
        pattern="neurons", sparsity=0.5, bits=4, bits_allocation="sensitivity")
    parts = compress_network(network, calibrate(network, spikes, ""), recipe, spikes)
    n_bits = sum(p.level.bits * p.level.n_keep for p in parts.values())
    assert n_bits <= 4 * sum(p.level.n_keep for p in parts.values())


def test_the_users_mask_is_respected(dense_chain: Any, random_spikes: Any) -> None:
    network = dense_chain(sizes=(12, 6, 10))
    masks = {s.name: np.random.default_rng(1).random(s.weight.shape) < 0.7
             for s in network.synapses}
    network = network.with_layers(tuple(
        replace(layer, synapses=tuple(
            replace(s, weight=s.weight * masks[s.name], allowed=masks[s.name])
            for s in layer.synapses))
        for layer in network.layers))
    calibration = calibrate(network, random_spikes(network, 10), "")
    found, counts = silence_neurons(network, calibration, 0.4, 0.01)
    for synapse in found.synapses:
        assert synapse.allowed is not None and not (synapse.allowed & ~masks[synapse.name]).any()
        assert not synapse.weight[~synapse.allowed].any()
        assert counts[synapse.name] == synapse.allowed.sum()


def test_a_network_without_a_hidden_layer_is_refused(
    dense_chain: Any, random_spikes: Any
) -> None:
    network = dense_chain(sizes=(12, 4))
    with pytest.raises(CompressionError, match="'neurons' needs a hidden layer"):
        silence_neurons(network, calibrate(network, random_spikes(network), ""), 0.5, 0.01)


@pytest.mark.parametrize("kind", ["grouped", "two consumers"])
def test_a_layer_whose_neurons_cannot_be_judged_is_refused_by_name(
    kind: str, random_spikes: Any
) -> None:
    rng = np.random.default_rng(0)
    neuron = CubaNeuron(1024, 128, 60)

    def layer(name: str, source: str, shape: tuple[int, ...], geometry: Any, out: Any) -> Layer:
        weight = (2 * rng.integers(-30, 31, shape)).astype(np.int32)
        return Layer(name, (Synapse(name, source, weight, geometry),), neuron, out)

    first = layer("a", INPUT, (4, 2, 1, 1), ConvGeometry(), (4, 5, 5))
    if kind == "grouped":
        others = [layer("b", "a", (4, 2, 1, 1), ConvGeometry(groups=2), (4, 5, 5))]
    else:
        others = [layer("b", "a", (3, 100), None, (3,)), layer("c", "a", (3, 100), None, (3,))]
    network = Network("n", (2, 5, 5), 15, (first, *others))
    calibration = calibrate(network, random_spikes(network), "")
    with pytest.raises(CompressionError, match="cannot judge layer 'a'.*use 'inputs'"):
        silence_neurons(network, calibration, 0.5, 0.01)
