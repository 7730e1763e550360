"""A balanced network does what the unbalanced one does where a spike passes all layers at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.balance import balanced
from pipeline.emulate import emulate, run_neurons
from pipeline.errors import UnsupportedLayerError
from pipeline.network import INPUT, ConvGeometry, Join, Layer, Network, Synapse
from pipeline.neuron import CubaNeuron
from pipeline.synaptic_input import Accumulator

NEURON = CubaNeuron(1024, 300, 90)
N_STEPS = 30


def random_network(seed: int, is_spatial: bool) -> Network:
    """Return layers that read any earlier ones, by groups, sums and concatenations."""
    rng = np.random.default_rng(seed)
    shape: Any = (3, 4, 4) if is_spatial else (12,)
    layers: list[Layer] = []
    joins: list[Join] = []
    names = [INPUT]
    for index in range(int(rng.integers(3, 7))):
        synapses = []
        for group in range(int(rng.integers(1, 4))):
            sources = tuple(rng.choice(names, int(rng.integers(1, 4))).tolist())
            source, channels = sources[0], shape[0]
            if len(sources) > 1:
                kind: Any = rng.choice(["add", "concat"])
                channels = shape[0] * (len(sources) if kind == "concat" else 1)
                source = f"j{index}.{group}"
                joins.append(Join(source, str(kind), sources, (channels, *shape[1:])))
            geometry = ConvGeometry(padding=(1, 1)) if is_spatial else None
            size = (shape[0], channels, 3, 3) if is_spatial else (shape[0], channels)
            weight = (2 * rng.integers(-20, 40, size)).astype(np.int32)
            synapses.append(Synapse(f"l{index}.{group}", source, weight, geometry, 8))
        layers.append(Layer(f"l{index}", tuple(synapses), NEURON, shape))
        names.append(f"l{index}")
    return Network("random", shape, N_STEPS, tuple(layers), tuple(joins))


def at_once(network: Network, spikes: NDArray[np.uint8]) -> dict[str, NDArray[np.uint8]]:
    """Return spikes in the step they are fired in, every layer reading those of the same step."""
    outputs = {INPUT: spikes}
    for layer in network.layers:
        acc = Accumulator(network, layer).run(outputs)
        fired, _ = run_neurons(layer, np.pad(acc, [(0, 0), (0, 1), (0, 0)]))
        outputs[layer.name] = np.ascontiguousarray(fired[..., 1:])
    return outputs


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.booleans())
def test_a_balanced_network_is_the_other_later_by_its_depth(seed: int, is_spatial: bool) -> None:
    network = random_network(seed, is_spatial)
    rng = np.random.default_rng(seed)
    spikes = (rng.random((2, *network.input_shape, N_STEPS)) < 0.2).astype(np.uint8)
    expected = at_once(network, spikes)
    found, _ = balanced(network)
    n_late = 20
    padded = np.pad(spikes, [(0, 0)] * (spikes.ndim - 1) + [(0, n_late)])
    trace = emulate(replace(found, n_steps=N_STEPS + n_late), padded).spikes
    depth = {INPUT: 0}
    joins = {join.name: join for join in network.joins}

    def deep(name: str) -> int:
        return max(map(deep, joins[name].sources)) if name in joins else depth[name]

    for layer in network.layers:
        depth[layer.name] = 1 + max(deep(synapse.source) for synapse in layer.synapses)
        late = depth[layer.name] + max(found.layer(layer.name).axonal_delay or (0,))
        assert np.array_equal(trace[layer.name][..., late : late + N_STEPS], expected[layer.name])


def dense(name: str, *sources: str) -> Layer:
    weight = 2 * np.eye(4, dtype=np.int32)
    return Layer(name, tuple(Synapse(f"{name}.{s}", s, weight, None, 8) for s in sources),
                 NEURON, (4,))


def test_even_branches_are_left_alone() -> None:
    network = Network("n", (4,), 9, (dense("a", INPUT), dense("b", INPUT), dense("c", "a", "b")))
    assert balanced(network) == (network, ())


def test_a_delay_serves_where_all_readers_agree_and_a_relay_where_not() -> None:
    network = Network("n", (4,), 9, (
        dense("a", INPUT), dense("b", "a"), dense("short", INPUT), dense("c", "b", "short"),
        dense("d", "a", "c")))
    found, ledger = balanced(network)
    assert found.layer("short").axonal_delay == (1,) * 4
    assert found.layer("a").axonal_delay is None  # b wants it at once
    assert found.layer("a.relay2").axonal_delay == (1,) * 4
    assert [s.source for s in found.layer("d").synapses] == ["a.relay2", "c"]
    assert [(entry.layer, entry.count) for entry in ledger] == [("a", 4), ("short", 4)]


def test_a_branch_too_deep_for_a_delay_is_refused() -> None:
    layers = [dense("l0", INPUT)]
    layers += [dense(f"l{i}", f"l{i - 1}") for i in range(1, 70)]
    network = Network("n", (4,), 9, (*layers, dense("side", INPUT), dense("end", "l69", "side")))
    with pytest.raises(UnsupportedLayerError, match="axonal delay 69"):
        balanced(network)
