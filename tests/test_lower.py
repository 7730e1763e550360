"""Networks without joins spike as they did with them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.deployment import Integers
from pipeline.emulate import emulate
from pipeline.errors import UnsupportedLayerError
from pipeline.lower import without_joins
from pipeline.network import INPUT, ConvGeometry, Join, Layer, Network, Shape, Synapse
from pipeline.neuron import CubaNeuron
from pipeline.synaptic_input import source_spikes

NEURON = CubaNeuron(current_decay=1024, voltage_decay=300, vth_mant=130)
SAME = ConvGeometry(padding=(1, 1))


def layer(
    name: str, source: str, weight: NDArray[Any], shape: Shape, geometry: ConvGeometry | None = None
) -> Layer:
    return Layer(name, (Synapse(name, source, weight, geometry, 8),), NEURON, shape)


def random_weight(seed: int, *shape: int) -> NDArray[np.int32]:
    return (2 * np.random.default_rng(seed).integers(-50, 60, shape)).astype(np.int32)


def spatial(groups: int, seed: int) -> Network:
    """Maps summed and concatenated, of joins too, before convolutions and dense synapses."""
    return Network("spatial", (2, 5, 4), 20, (
        layer("a", INPUT, random_weight(seed, 4, 2, 3, 3), (4, 5, 4), SAME),
        layer("b", "a", random_weight(seed + 1, 4, 4, 3, 3), (4, 5, 4), SAME),
        layer("c", "both", random_weight(seed + 2, 4, 8 // groups, 3, 3), (4, 5, 4),
              ConvGeometry(padding=(1, 1), groups=groups)),
        layer("d", "all", random_weight(seed + 3, 6, 10 * 20), (6,)),
    ), (
        Join("sum", "add", ("a", "b"), (4, 5, 4)),
        Join("both", "concat", ("sum", "a"), (8, 5, 4)),
        Join("all", "concat", ("c", "sum", INPUT), (10, 5, 4)),
    ))


def flat(seed: int) -> Network:
    """Features of different shapes joined after flattening, and one source twice."""
    return Network("flat", (2, 5, 4), 20, (
        layer("a", INPUT, random_weight(seed, 3, 2, 2, 2), (3, 4, 3), ConvGeometry()),
        layer("b", "a", random_weight(seed + 1, 7, 36), (7,)),
        layer("c", "mixed", random_weight(seed + 2, 5, 36 + 7 + 40), (5,)),
        layer("d", "double", random_weight(seed + 3, 4, 5), (4,)),
    ), (
        Join("mixed", "concat", ("a", "b", INPUT), (83,)),
        Join("double", "add", ("c", "c"), (5,)),
    ))


@pytest.mark.parametrize("network", [
    *(spatial(groups, seed) for groups in (1, 2, 4) for seed in (0, 10)), flat(0), flat(10),
], ids=lambda n: n.name)
def test_a_network_without_joins_spikes_the_same(network: Network, random_spikes: Any) -> None:
    spikes = random_spikes(network, n_samples=3)
    lowered = without_joins(network)
    assert not lowered.joins and len(lowered.synapses) > len(network.synapses)
    before = emulate(network, spikes, with_states=True)
    after = emulate(lowered, spikes, with_states=True)
    for name in (x.name for x in network.layers):
        assert before.spikes[name].any()
        for quantity in ("spikes", "u", "v", "n_active"):
            assert np.array_equal(getattr(before, quantity)[name], getattr(after, quantity)[name])


def test_a_network_that_has_no_joins_is_left_alone(dense_chain: Any) -> None:
    network = dense_chain()
    assert without_joins(network) is network


def test_a_sum_counts_the_spikes_of_one_neuron_in_all_sources() -> None:
    network = flat(0)
    ones = np.ones((1, 5, 3), dtype=np.uint8)
    assert source_spikes(network, {"c": ones}, "double").tolist() == (2 * ones).tolist()


def test_masks_follow_their_weights(random_spikes: Any) -> None:
    base = flat(0)
    c = base.layer("c")
    mask = np.random.default_rng(0).random((5, 83)) < 0.5
    synapse = Synapse("c", "mixed", c.synapses[0].weight * mask, None, 8, mask)
    network = base.with_layers(tuple(
        Layer("c", (synapse,), NEURON, (5,)) if x is c else x for x in base.layers))
    parts = without_joins(network).layer("c").synapses
    assert [part.source for part in parts] == ["a", "b", INPUT]
    joined = np.concatenate([part.allowed for part in parts if part.allowed is not None], axis=1)
    assert np.array_equal(joined, mask)


@pytest.mark.parametrize(("joins", "problem"), [
    ((Join("j", "add", ("a", INPUT), (3, 4, 3)),), "do not add"),
    ((Join("j", "concat", ("a", INPUT), (5, 5, 4)),), "do not concat"),
    ((Join("j", "concat", ("a", "later"), (5,)),), "not a layer before"),
    ((Join("a", "add", ("a", "a"), (3, 4, 3)),), "two sources are named 'a'"),
])
def test_joins_that_do_not_fit_are_refused(joins: tuple[Join, ...], problem: str) -> None:
    first = layer("a", INPUT, random_weight(0, 3, 2, 2, 2), (3, 4, 3), ConvGeometry())
    second = layer("b", "a", random_weight(1, 7, 36), (7,))
    with pytest.raises(UnsupportedLayerError, match=problem):
        Network("bad", (2, 5, 4), 20, (first, second), joins)


@pytest.mark.parametrize("network", [spatial(1, 3), flat(5)], ids=["spatial", "flat"])
def test_the_share_of_zeros_counts_a_weight_once_however_many_copies_it_has(
    network: Network
) -> None:
    holed = network.with_layers(tuple(
        replace(part, synapses=tuple(
            replace(s, weight=s.weight * (np.arange(s.weight.size).reshape(s.weight.shape) % 3 > 0))
            for s in part.synapses))
        for part in network.layers))
    integers = Integers(without_joins(holed), holed, {}, ())
    assert integers.sparsity == pytest.approx(holed.sparsity, abs=1e-12)
    assert 0.3 < integers.sparsity < 0.4


@pytest.mark.parametrize(("middle", "dilation", "expected"), [
    ((1, 1), (1, 1), ((1, 1), (0, 0))),
    ((3, 1), (2, 1), ((3, 1), (2, 0))),
    ((3, 3), (1, 1), ((3, 3), (1, 1))),
])
def test_kernels_joined_into_a_larger_one_get_their_own_size_back(
    middle: Shape, dilation: Shape, expected: tuple[Shape, Shape]
) -> None:
    allowed = np.zeros((4, 6, 3, 3), dtype=bool)
    allowed[:, :4] = True
    rows, columns = (slice((3 - n) // 2, (3 + n) // 2) for n in middle)
    allowed[:, 4:, rows, columns] = True
    geometry = ConvGeometry(padding=dilation, dilation=dilation)
    weight = random_weight(5, 4, 6, 3, 3) * allowed
    joined = Synapse("b", "both", weight, geometry, 8, allowed=allowed)
    network = Network("margins", (2, 5, 6), 20, (
        layer("a", INPUT, random_weight(3, 4, 2, 3, 3), (4, 5, 6), SAME),
        Layer("b", (joined,), NEURON, (4, 5, 6)),
    ), (Join("both", "concat", ("a", INPUT), (6, 5, 6)),))
    lowered = without_joins(network)
    first, second = lowered.layer("b").synapses
    assert first.weight.shape[2:] == (3, 3)
    assert (second.weight.shape[2:], second.geometry.padding) == expected
    spikes = (np.random.default_rng(1).random((3, 2, 5, 6, 20)) < 0.4).astype(np.uint8)
    expected_spikes = emulate(network, spikes).spikes["b"]
    assert expected_spikes.any()
    np.testing.assert_array_equal(emulate(lowered, spikes).spikes["b"], expected_spikes)
