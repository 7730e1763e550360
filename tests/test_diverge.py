"""Where two networks part is found in the layer that parts, and the cause is named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.diverge import diverge
from pipeline.emulate import emulate
from pipeline.errors import EquivalenceError
from pipeline.network import INPUT, ConvGeometry, Layer, Network, Synapse
from pipeline.neuron import CubaNeuron


@pytest.fixture
def chain(dense_chain: Any) -> Network:
    network: Network = dense_chain(sizes=(12, 16, 10, 4))
    return network


def altered(network: Network, index: int, **changes: Any) -> Network:
    """Return the network with fields of one layer, or of its neurons, changed."""
    layer = network.layers[index]
    own = {k: v for k, v in changes.items() if hasattr(layer, k)}
    layer = replace(layer, **own, neuron=replace(
        layer.neuron, **{k: v for k, v in changes.items() if k not in own}))
    layers = (*network.layers[:index], layer, *network.layers[index + 1 :])
    return network.with_layers(layers)


def rows(network: Network, twin: Network, spikes: Any, **options: Any) -> Any:
    return diverge(network, emulate(network, spikes), twin, emulate(twin, spikes, **options))


def test_a_network_does_not_diverge_from_itself(chain: Network, random_spikes: Any) -> None:
    for row in rows(chain, chain, random_spikes(chain)):
        assert row.n_differing == row.n_differing_isolated == 0 and row.first is None
        assert row.causes == () and row.rate_error == 0.0 and row.n_spikes == row.twin_n_spikes > 0


def test_only_the_layer_that_parts_parts_in_isolation(chain: Network, random_spikes: Any) -> None:
    spikes = random_spikes(chain)
    twin = altered(chain, 1, vth_mant=chain.layers[1].neuron.vth_mant + 40)
    first, second, third = rows(chain, twin, spikes)
    assert first.n_differing == first.n_differing_isolated == 0
    assert second.n_differing == second.n_differing_isolated > 0
    assert third.n_differing > 0 == third.n_differing_isolated
    a, b = (emulate(n, spikes).spikes[chain.layers[1].name] for n in (chain, twin))
    sample, step, neuron = second.first
    assert (a != b)[sample, neuron, step] and not (a != b)[..., :step].any()
    assert second.rate_error == pytest.approx(b.sum() / a.sum() - 1) and second.rate_error < 0
    assert second.causes == ("threshold mantissa 120 against 160",) and third.causes == ()


@pytest.mark.parametrize(("changes", "cause"), [
    ({"voltage_decay": 900}, "voltage decay 128 against 900"),
    ({"current_decay": 2000}, "current decay 1024 against 2000"),
    ({"bias": (30,) * 16}, "biases none against (16 values, 30 to 30)"),
    ({"channel_vth_mant": tuple(range(60, 76))}, "thresholds per channel none against"),
    ({"channel_current_decay": (9,) * 16}, "current decays per channel"),
    ({"axonal_delay": (3,) * 16}, "axonal delays none against (16 values, 3 to 3)"),
])
def test_parameters_that_differ_are_named(
    changes: dict[str, Any], cause: str, chain: Network, random_spikes: Any
) -> None:
    first, *_ = rows(chain, altered(chain, 0, **changes), random_spikes(chain))
    assert first.n_differing_isolated > 0 and first.causes[0].startswith(cause)


def test_weights_that_differ_are_counted(chain: Network, random_spikes: Any) -> None:
    (synapse,) = chain.layers[0].synapses
    weight = synapse.weight.copy()
    weight[3, :5] += 60
    twin = altered(chain, 0, synapses=(replace(synapse, weight=weight),))
    assert rows(chain, twin, random_spikes(chain))[0].causes == (
        "5 of 192 weights differ, by up to 60",)


def test_bias_timing_is_named(chain: Network, random_spikes: Any) -> None:
    biased = altered(chain, 0, bias=(40,) * 16)
    spikes = random_spikes(biased)
    for row in rows(biased, biased, spikes, bias_from="power_on")[:1]:
        # the layers are the same: given the same input they do the same
        assert row.n_differing > 0 == row.n_differing_isolated
        assert "one step earlier in Lava" in row.causes[0]


def one(weight: int, neuron: CubaNeuron, n_in: int = 40) -> Network:
    synapse = Synapse("a", INPUT, np.full((2, n_in), weight, dtype=np.int32), None, 8)
    return Network("one", (n_in,), 300, (Layer("a", (synapse,), neuron, (2,)),))


@pytest.mark.parametrize(("weight", "neuron", "cause"), [
    (254, CubaNeuron(0, 4096, 4000), "u reaches"),
    (-256, CubaNeuron(4000, 0, 4000), "v reaches 8388607"),
])
def test_states_beyond_24_bits_are_named(weight: int, neuron: CubaNeuron, cause: str) -> None:
    network = one(weight, neuron)
    spikes = np.ones((1, 40, 300), dtype=np.uint8)
    other = replace(emulate(network, spikes))
    other.spikes["a"] = 1 - other.spikes["a"]  # as a backend without the limit might
    (row,) = diverge(network, emulate(network, spikes), network, other)
    assert any(text.startswith(cause) for text in row.causes)


def test_high_thresholds_and_graded_input_are_named() -> None:
    network = one(2, CubaNeuron(1024, 128, 5000), n_in=3)
    spikes = np.full((1, 3, 300), 3, dtype=np.uint8)
    twin = altered(network, 0, voltage_decay=0)
    causes = " ".join(rows(network, twin, spikes)[0].causes)
    assert "threshold mantissa 5000 is above 4095" in causes and "graded" in causes


def test_delays_of_convolutions_are_named(conv_chain: Any, random_spikes: Any) -> None:
    network = conv_chain()
    n = network.layers[0].n_channels
    row = rows(altered(network, 0, axonal_delay=(2,) * n), network, random_spikes(network))[0]
    assert any("NetX drops the delays" in cause for cause in row.causes)


def test_networks_of_other_sizes_are_no_twins(chain: Network, dense_chain: Any) -> None:
    spikes = np.ones((1, 12, 20), dtype=np.uint8)
    other = dense_chain(sizes=(12, 16, 4))
    with pytest.raises(EquivalenceError, match="12, 16, 10, 4 neurons.*not one network"):
        diverge(chain, emulate(chain, spikes), other, emulate(other, spikes))


def test_twins_may_differ_in_names_and_kinds(random_spikes: Any) -> None:
    dense = np.arange(-8, 8, 2, dtype=np.int32).reshape(4, 2)
    as_conv = Synapse("c", INPUT, dense.reshape(4, 2, 1, 1), ConvGeometry(), 8)
    neuron = CubaNeuron(1024, 128, 4)
    one_way = Network("conv", (2, 1, 1), 20, (Layer("c", (as_conv,), neuron, (4, 1, 1)),))
    other = Network(
        "dense", (2,), 20, (Layer("d", (Synapse("d", INPUT, dense, None, 8),), neuron, (4,)),))
    spikes = random_spikes(one_way)
    (row,) = diverge(one_way, emulate(one_way, spikes), other,
                     emulate(other, spikes.reshape(len(spikes), 2, -1)))
    assert (row.layer, row.twin, row.n_differing, row.causes) == ("c", "d", 0, ())
    assert row.n_spikes > 0
