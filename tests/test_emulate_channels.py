"""A threshold per channel: each channel spikes as it would alone with its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.emulate import emulate
from pipeline.errors import UnsupportedLayerError
from pipeline.network import Layer, Network


def with_channel_thresholds(network: Network, index: int, thresholds: tuple[int, ...]) -> Network:
    layers = list(network.layers)
    neuron = replace(layers[index].neuron, channel_vth_mant=thresholds)
    layers[index] = replace(layers[index], neuron=neuron)
    return network.with_layers(tuple(layers))


@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_each_channel_spikes_as_it_would_alone_with_its_threshold(
    kind: str, dense_chain: Any, conv_chain: Any, random_spikes: Any
) -> None:
    network = dense_chain() if kind == "dense" else conv_chain()
    spikes = random_spikes(network, n_samples=5)
    first = network.layers[0]
    thresholds = tuple(20 + 35 * c for c in range(first.n_channels))
    mixed = emulate(with_channel_thresholds(network, 0, thresholds), spikes)
    assert not np.array_equal(mixed.spikes[first.name], emulate(network, spikes).spikes[first.name])
    for c, vth_mant in enumerate(thresholds):
        synapse = replace(first.synapses[0], weight=first.synapses[0].weight[c : c + 1])
        neuron = replace(first.neuron, vth_mant=vth_mant)
        channel = Layer(first.name, (synapse,), neuron, (1, *first.shape[1:]))
        alone = emulate(replace(network, layers=(channel,)), spikes)
        assert np.array_equal(
            mixed.spikes[first.name][:, c : c + 1], alone.spikes[first.name]
        )
        n_active = mixed.n_active[first.name].reshape(5, first.n_channels, -1)[:, c]
        assert np.array_equal(n_active, alone.n_active[first.name])


@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_the_layers_threshold_given_to_every_channel_changes_nothing(
    kind: str, dense_chain: Any, conv_chain: Any, random_spikes: Any
) -> None:
    network = dense_chain() if kind == "dense" else conv_chain()
    spikes = random_spikes(network)
    first = network.layers[0]
    same = with_channel_thresholds(network, 0, (first.neuron.vth_mant,) * first.n_channels)
    one, each = emulate(network, spikes), emulate(same, spikes)
    assert one.spikes[network.layers[-1].name].any()
    for name in one.spikes:
        assert np.array_equal(one.spikes[name], each.spikes[name])


@pytest.mark.parametrize(
    ("thresholds", "shown"),
    [((50,) * 3, "3 thresholds for 4 channels"), ((50,) * 5, "5 thresholds for 4 channels"),
     ((), "0 thresholds"), ((50, 0, 50, 50), "mantissa 0 "), ((50, 50, 50, 4096), "1..4095")],
)
def test_channel_thresholds_that_do_not_fit_are_refused_by_layer_name(
    thresholds: tuple[int, ...], shown: str, conv_chain: Any
) -> None:
    network = conv_chain()
    with pytest.raises(UnsupportedLayerError) as error:
        with_channel_thresholds(network, 0, thresholds)
    assert "layer 'conv'" in str(error.value) and shown in str(error.value)
