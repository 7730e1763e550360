"""What the tests of shrinking share: chains with idle channels, and what shrinking must keep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.fixedpoint import inferred_weight_bits
from pipeline.network import INPUT, ConvGeometry, Layer, Network, Synapse
from pipeline.network_checks import conv_output_shape
from pipeline.neuron import CubaNeuron

if TYPE_CHECKING:
    from pipeline.emulate import Trace
    from pipeline.shrink import Shrunk

NEURON = CubaNeuron(current_decay=1500, voltage_decay=300, vth_mant=60)
CONVS = {  # channels, kernel, geometry
    "conv": (5, (3, 2), ConvGeometry(stride=(2, 1), padding=(1, 0))),
    "wide": (6, (2, 2), ConvGeometry(padding=(1, 1), dilation=(1, 2))),
    "small": (4, (2, 2), ConvGeometry()),
    "grouped": (4, (2, 2), ConvGeometry(groups=2)),
}


@pytest.fixture(scope="session")
def sparse_chain() -> Callable[..., Network]:
    """Builder of a chain in which a share of rows and of a source's channels is zero.

    A layer of the plan is its number of features, or the name of a convolution.
    """

    def build(plan: tuple[int | str, ...], seed: int, p_silent: float = 0.4) -> Network:
        rng = np.random.default_rng(seed)
        layers: list[Layer] = []
        input_shape = (2, 6, 5)
        source, in_shape = INPUT, input_shape
        for index, step in enumerate(plan):
            name, geometry = f"l{index}", None
            shape: tuple[int, ...]
            if isinstance(step, int):
                by_channel = weights(
                    rng, (step, in_shape[0], int(np.prod(in_shape[1:])), 1), p_silent)
                weight, shape = by_channel.reshape(step, -1), (step,)
            else:
                n_channels, kernel, geometry = CONVS[step]
                weight = weights(
                    rng, (n_channels, in_shape[0] // geometry.groups, *kernel), p_silent)
                shape = conv_output_shape(weight.shape, geometry, in_shape)
            allowed = (weight != 0) | (rng.random(weight.shape) < 0.5)
            group = Synapse(name, source, weight, geometry, inferred_weight_bits(weight), allowed)
            layers.append(Layer(name, (group,), NEURON, shape))
            source, in_shape = name, shape
        return Network("chain", input_shape, 16, tuple(layers))

    return build


def weights(
    rng: np.random.Generator, shape: tuple[int, ...], p_silent: float
) -> NDArray[np.int32]:
    weight = 2 * rng.integers(-30, 40, shape).astype(np.int32)
    weight[rng.random(shape) < 0.3] = 0
    weight[rng.random(shape[0]) < p_silent] = 0
    weight[:, rng.random(shape[1]) < p_silent] = 0
    weight.flat[0] = 64  # never all zero
    return weight


@pytest.fixture(scope="session")
def full_chain() -> Callable[..., Network]:
    """Builder of dense layers without a single zero weight."""

    def build(*n_features: int) -> Network:
        layers, n_in, source = [], 4, INPUT
        for index, n in enumerate(n_features):
            weight = (2 + 2 * np.arange(n * n_in, dtype=np.int32).reshape(n, n_in)) % 100 + 2
            weight = weight - weight % 2
            group = Synapse(f"l{index}", source, weight, None, inferred_weight_bits(weight))
            layers.append(Layer(f"l{index}", (group,), NEURON, (n,)))
            n_in, source = n, f"l{index}"
        return Network("full", (4,), 16, tuple(layers))

    return build


@pytest.fixture(scope="session")
def silenced() -> Callable[..., Network]:
    """Builder of a network in which ``listener`` hears none of the given source channels."""

    def silence(network: Network, listener: str, sources: list[int]) -> Network:
        layers = []
        for layer in network.layers:
            (synapse,) = layer.synapses
            if layer.name == listener:
                n_in = network.shape_of(synapse.source)[0]
                by_channel = synapse.weight.reshape(layer.shape[0], n_in, -1).copy()
                by_channel[:, sources] = 0
                synapse = replace(synapse, weight=by_channel.reshape(synapse.weight.shape))
            layers.append(replace(layer, synapses=(synapse,)))
        return network.with_layers(tuple(layers))

    return silence


@pytest.fixture(scope="session")
def with_weight() -> Callable[..., Network]:
    """Builder of a network with another weight in the layer of the given index."""

    def change(network: Network, index: int, weight: NDArray[Any]) -> Network:
        layers = list(network.layers)
        (synapse,) = layers[index].synapses
        layers[index] = replace(layers[index], synapses=(replace(synapse, weight=weight),))
        return network.with_layers(tuple(layers))

    return change


@pytest.fixture(scope="session")
def sizes() -> Callable[[Network], list[int]]:
    """Return the channels of every layer of a network."""
    return lambda network: [layer.shape[0] for layer in network.layers]


@pytest.fixture(scope="session")
def require_same_spikes() -> Callable[..., Trace]:
    """Require equal spikes, and equally busy neurons, in all that is left; return the trace."""

    from pipeline.emulate import emulate
    from pipeline.shrink import kept_only

    def require(network: Network, shrunk: Shrunk, spikes: NDArray[np.uint8]) -> Trace:
        before, after = emulate(network, spikes), emulate(shrunk.network, spikes)
        expected = kept_only(before, shrunk.kept)
        for layer in shrunk.network.layers:
            np.testing.assert_array_equal(after.spikes[layer.name], expected.spikes[layer.name])
            np.testing.assert_array_equal(
                after.n_active[layer.name], expected.n_active[layer.name])
        output = network.layers[-1].name
        np.testing.assert_array_equal(after.spikes[output], before.spikes[output])
        return before

    return require
