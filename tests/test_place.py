"""Placement under every limit of a core, and what is said of networks that do not fit."""

from __future__ import annotations

import numpy as np
import pytest

from hardware_targets import load_target
from pipeline.errors import DesignRuleError
from pipeline.network import INPUT, ConvGeometry, CubaNeuron, Layer, Network, Synapse
from pipeline.place import check_rules, place

NEURON = CubaNeuron(1024, 128, 80)


def dense_net(*sizes: int, bits: int = 8, density: float = 1.0, seed: int = 0) -> Network:
    rng = np.random.default_rng(seed)
    layers, source = [], INPUT
    for i, (n_in, n_out) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        step = 1 << (9 - bits)
        weight = step * rng.integers(-(1 << (bits - 1)), 1 << (bits - 1), (n_out, n_in))
        weight[weight == 0] = step  # no zeros but those of the density
        weight[rng.random(weight.shape) >= density] = 0
        weight[0, 0], weight[-1, -1] = -256, 256 - step
        synapse = Synapse(f"l{i}", source, weight.astype(np.int32), None, bits)
        layers.append(Layer(f"l{i}", (synapse,), NEURON, (n_out,)))
        source = f"l{i}"
    return Network("test", (sizes[0],), 10, tuple(layers))


def with_capacity(name: str, value: int, target_name: str = "loihi1"):
    target = load_target(target_name)
    quantity = getattr(target.capacities, name).model_copy(update={"value": value})
    return target.model_copy(
        update={"capacities": target.capacities.model_copy(update={name: quantity})})


@pytest.mark.parametrize("density", [1.0, 0.2])
def test_every_neuron_is_on_exactly_one_core_in_order(density):
    network = dense_net(700, 900, 300, 10, density=density)
    placement = place(network, load_target("loihi1"))
    for layer in network.layers:
        cores = placement.cores_of(layer.name)
        assert cores[0].begin == 0 and cores[-1].end == layer.n_neurons
        assert all(a.end == b.begin for a, b in zip(cores[:-1], cores[1:], strict=True))
    assert [core.index for core in placement.cores] == list(range(len(placement.cores)))


def test_no_core_exceeds_a_limit_and_one_core_fewer_would():
    network = dense_net(1500, 900, 10)
    target = load_target("loihi1")
    placement = place(network, target)
    limit = target.capacities.synapse_memory_bits_per_core.value
    cores = placement.cores_of("l0")
    assert placement.binding["l0"] == "synapse memory"
    assert all(core.synapse_bits <= limit for core in cores)
    # an independent lower bound: weights alone, 8 bits each
    assert len(cores) >= 1500 * 900 * 8 / limit


@pytest.mark.parametrize(("capacity", "value", "binding"), [
    ("neurons_per_core", 40, "neurons"),
    ("synapse_memory_bits_per_core", 65536, "synapse memory"),
    ("output_axons_per_core", 50, "output axons"),
])
def test_the_limit_that_binds_is_named_and_respected(capacity, value, binding):
    network = dense_net(100, 130, 90)
    placement = place(network, with_capacity(capacity, value))
    assert placement.binding["l0"] == binding
    for core in placement.cores:
        used = {"neurons_per_core": core.n_neurons, "output_axons_per_core": core.n_output_axons,
                "synapse_memory_bits_per_core": core.synapse_bits}[capacity]
        assert used <= value


def test_a_neuron_with_too_many_inputs_is_refused_with_value_and_limit():
    network = dense_net(5000, 8)
    with pytest.raises(DesignRuleError, match=r"layer 'l0'.*input axons: 5000 against.*4096"):
        place(network, load_target("loihi1"))


def test_too_many_cores_says_how_many_too_many():
    network = dense_net(4000, 4000, 4000)
    with pytest.raises(DesignRuleError, match=r"(?s)needs \d+ cores, \d+ more than the 128.*l1"):
        place(network, load_target("loihi1"))


def test_broken_rules_are_listed_together():
    layers = dense_net(10, 10, 10).layers
    hot = [Layer(x.name, x.synapses, CubaNeuron(0, 0, 1 << 17), x.shape) for x in layers]
    network = Network("test", (10,), 10, tuple(hot))
    with pytest.raises(DesignRuleError) as error:
        check_rules(network, load_target("loihi1"))
    assert "l0" in str(error.value) and "l1" in str(error.value) and "131071" in str(error.value)


# words per source axon on Loihi 1 with 1,024 posts: facts/hardware.md 1.2, bits without the
# extra word of the compiler's remainder rule
@pytest.mark.parametrize(("bits", "density", "format_name"), [
    (8, 1.0, "dense"), (8, 0.10, "sparse"), (4, 1.0, "dense"), (4, 0.05, "sparse"),
])
def test_the_cheaper_format_is_chosen(bits, density, format_name):
    network = dense_net(50, 1024, bits=bits, density=density)
    placement = place(network, with_capacity("synapse_memory_bits_per_core", 10**9))
    (core,) = placement.cores
    assert core.synapses[0].format == format_name


def test_dense_memory_follows_the_formula():
    network = dense_net(64, 100, bits=8)
    (core,) = place(network, load_target("loihi1")).cores
    # prefix 10, index width 7 for 100 neurons, 100 weights of 8 bits, words of 64 bits
    assert core.synapse_bits == 64 * 64 * -(-(10 + 7 + 100 * 8) // 64)


def test_seven_bit_weights_are_stored_in_eight():
    seven, eight = (place(dense_net(64, 100, bits=b), load_target("loihi1")) for b in (7, 8))
    assert seven.cores[0].synapse_bits == eight.cores[0].synapse_bits


def test_shared_kernels_do_not_grow_with_the_image():
    def memory(size: int) -> int:
        weight = np.full((4, 2, 3, 3), 2, np.int32)
        layer = Layer("c", (Synapse("c", INPUT, weight, ConvGeometry(), 8),), NEURON,
                      (4, size - 2, size - 2))
        return place(Network("n", (2, size, size), 5, (layer,)), load_target("loihi2")).cores[
            0].synapse_bits

    assert memory(8) == memory(30) > 0


def test_an_axon_without_nonzero_weights_takes_nothing():
    network = dense_net(20, 16, density=1.0)
    weight = network.synapses[0].weight.copy()
    weight[:, 5] = 0
    pruned = Network("n", (20,), 5, (
        Layer("l0", (Synapse("l0", INPUT, weight, None, 8),), NEURON, (16,)),))
    (core,) = place(pruned, load_target("loihi1")).cores
    assert core.n_input_axons == 19
    assert core.synapses[0].executed_fan_out[5] == 0


def test_format_functions_are_deterministic():
    network = dense_net(30, 40, density=0.3)
    target = load_target("loihi1")
    first, second = place(network, target), place(network, target)
    assert [c.synapse_bits for c in first.cores] == [c.synapse_bits for c in second.cores]
