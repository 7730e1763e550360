"""Both ways of a sum are priced as placement prices them, and copies are taken for a reason."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hardware_targets import load_target
from pipeline.emulate import emulate
from pipeline.lower import without_joins
from pipeline.mapping.join_ways import join_ways, with_relay
from pipeline.mapping.place import place
from pipeline.network import INPUT, ConvGeometry, Join, Layer, Network, Synapse
from pipeline.neuron import CubaNeuron, RelayNeuron

NEURON = CubaNeuron(current_decay=1024, voltage_decay=300, vth_mant=130)
SHAPE = (4, 8, 8)


def conv(name: str, source: str, c_out: int, seed: int, kernel: int = 3) -> Synapse:
    weight = 2 * np.random.default_rng(seed).integers(-20, 30, (c_out, SHAPE[0], kernel, kernel))
    geometry = ConvGeometry(padding=(kernel // 2, kernel // 2))
    return Synapse(name, source, weight.astype(np.int32), geometry, 8)


def summed(delays: tuple[int | None, int | None], n_heard: int = 1, c_out: int = 8) -> Network:
    """Two trains of some delay, and layers that hear their sum."""
    a, b = (
        Layer(name, (conv(name, INPUT, SHAPE[0], seed),), NEURON, SHAPE,
              None if delay is None else (delay,) * SHAPE[0])
        for name, seed, delay in (("a", 1, delays[0]), ("b", 2, delays[1])))
    if c_out < 100:
        heard = [Layer(f"c{i}", (conv(f"c{i}", "sum", c_out, 3 + i),), NEURON, (c_out, *SHAPE[1:]))
                 for i in range(n_heard)]
    else:  # dense, more than a core holds
        weight = 2 * np.random.default_rng(3).integers(-20, 30, (c_out, 256)).astype(np.int32)
        heard = [Layer(f"c{i}", (Synapse(f"c{i}", "sum", weight, weight_bits=8),), NEURON, (c_out,))
                 for i in range(n_heard)]
    n = sum(layer.n_neurons for layer in heard)
    out = Layer("out", (Synapse("out", "all", np.full((3, n), 2, np.int32), weight_bits=8),),
                NEURON, (3,))
    joins = (Join("sum", "add", ("a", "b"), SHAPE),
             Join("all", "concat", tuple(layer.name for layer in heard), (n,)))
    return Network("summed", SHAPE, 30, (a, b, *heard, out), joins)


def given(n: int = 2) -> Any:
    return (np.random.default_rng(4).random((n, *SHAPE, 30)) < 0.2).astype(np.uint8)


def test_a_relay_whose_step_is_made_up_for_changes_no_spike() -> None:
    late, early = summed((3, 1)), summed((2, 0))
    relayed = with_relay(early, early.joins[0])
    assert [type(layer.neuron) for layer in relayed.layers].count(RelayNeuron) == 1
    expected, found = (emulate(network, given()).spikes for network in (late, relayed))
    for name in ("c0", "out"):
        assert expected[name].any()
        np.testing.assert_array_equal(found[name], expected[name])


@pytest.mark.parametrize("n_heard", [1, 3])
def test_prices_are_those_of_placement(n_heard: int) -> None:
    network, target = summed((None, None), n_heard), load_target("loihi2")
    (ways,) = join_ways(network, target)
    assert ways.sources == ("a", "b") and len(ways.heard_by) == n_heard
    for price, other in ((ways.copies, network),
                         (ways.relay, with_relay(network, network.joins[0]))):
        cores = place(without_joins(other), target).cores
        assert price is not None and price.n_cores == len(cores)
        assert price.memory_bits == sum(core.synapse_bits for core in cores)
    assert ways.copies.n_groups == 2 * n_heard
    assert ways.relay is not None and ways.relay.n_groups == 2 + n_heard


def test_every_choice_has_its_reason() -> None:
    loihi1, loihi2 = load_target("loihi1"), load_target("loihi2")

    def reason(network: Network, target: Any = loihi2) -> str:
        (ways,) = join_ways(network, target)
        assert ways.reason.startswith("copies")
        return ways.reason

    assert "loihi1 has no graded messages" in reason(summed((None, None)), loihi1)
    few = summed((None, None), c_out=1)
    assert "fewest cores, then least memory; with a relay +1 cores" in reason(few)
    many = summed((2, None), n_heard=3, c_out=900)
    assert "a step that 'b' cannot make up for" in reason(many)
    many = summed((2, 1), n_heard=3, c_out=900)
    assert "put models.deep.blocks.GradedRelay there" in reason(many)
    heard_alone = replace(many.layers[-1], synapses=(
        *many.layers[-1].synapses,
        Synapse("alone", "a", np.full((3, 256), 2, np.int32), weight_bits=8)))
    other = many.with_layers((*many.layers[:-1], heard_alone))
    assert "a step that 'a' cannot make up for" in reason(other)


def test_networks_without_sums_have_no_prices() -> None:
    network = summed((None, None))
    first = network.layers[0]
    alone = replace(network, layers=(first,), joins=())
    assert join_ways(alone, load_target("loihi2")) == ()
    relayed = with_relay(network, network.joins[0])
    assert join_ways(relayed, load_target("loihi2")) == ()  # the sum is a relay's already
