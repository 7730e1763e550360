"""Placement under every limit of a core, and what is said of networks that do not fit."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from hardware_targets import Target, load_target
from pipeline.artifact import load_artifact, save_artifact
from pipeline.errors import DesignRuleError
from pipeline.mapping.place import check_rules, place
from pipeline.mapping.placement import Cut
from pipeline.network import INPUT, Join, Layer, Network, Synapse
from pipeline.neuron import CubaNeuron

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
        held = np.concatenate([core.neurons for core in placement.cores_of(layer.name)])
        assert np.array_equal(held, np.arange(layer.n_neurons))
    assert [core.index for core in placement.cores] == list(range(len(placement.cores)))


def test_no_core_exceeds_a_limit_and_one_core_fewer_would():
    network = dense_net(1500, 900, 10)
    target = load_target("loihi1")
    placement = place(network, target)
    limit = target.capacities.synapse_memory_bits_per_core.value
    cores, cut = placement.cores_of("l0"), placement.cuts["l0"]
    assert (cut.limit, cut.n_cores, cut.bound) == ("synapse memory", len(cores), limit)
    assert all(core.synapse_bits <= limit < cut.value for core in cores)
    # an independent lower bound: weights alone, 8 bits each
    assert len(cores) >= 1500 * 900 * 8 / limit


@pytest.mark.parametrize(("capacity", "value", "limit"), [
    ("neurons_per_core", 40, "neurons"),
    ("synapse_memory_bits_per_core", 65536, "synapse memory"),
    ("words_per_axon", 12, "words per axon"),
    ("output_axons_per_core", 50, "output axons"),
])
def test_the_limit_that_decides_is_named_with_value_and_bound_and_respected(
    capacity, value, limit
):
    placement = place(dense_net(100, 130, 90), with_capacity(capacity, value))
    cut = placement.cuts["l0"]
    assert cut.limit == limit and cut.value > cut.bound == value
    assert cut.n_cores == len(placement.cores_of("l0")) > 1
    for core in placement.cores:
        used = {"neurons_per_core": core.n_neurons, "output_axons_per_core": core.n_output_axons,
                "synapse_memory_bits_per_core": core.synapse_bits, "words_per_axon": 0}[capacity]
        assert used <= value


def test_a_layer_on_one_core_was_decided_by_no_limit():
    placement = place(dense_net(10, 10), load_target("loihi1"))
    assert placement.cuts["l0"] == Cut(1, "", 0, 0) and placement.n_chips == 1


def test_a_neuron_with_too_many_inputs_is_refused_with_value_limit_and_what_would_fit():
    network = dense_net(5000, 8)
    with pytest.raises(DesignRuleError) as error:
        place(network, load_target("loihi1"))
    assert re.search(r"layer 'l0'.*input axons: 5000 against.*4096", str(error.value))
    # what the message says is tried: with these zeros it fits, with a step fewer it does not
    sparsity = float(re.search(r"what would fit, in this layer: a sparsity of (0\.\d+)",
                               str(error.value))[1])
    for zeros, fits in ((sparsity, True), (sparsity - 0.05, False)):
        pruned = with_zeros(network, zeros)
        if fits:
            assert place(pruned, load_target("loihi1")).cores
        else:
            with pytest.raises(DesignRuleError):
                place(pruned, load_target("loihi1"))


def with_zeros(network: Network, frac: float) -> Network:
    layers = []
    for layer in network.layers:
        (synapse,) = layer.synapses
        weight = synapse.weight.copy()
        n_zeros = round(frac * weight.size)
        weight.ravel()[np.argsort(np.abs(weight), axis=None, kind="stable")[:n_zeros]] = 0
        layers.append(replace(layer, synapses=(replace(synapse, weight=weight),)))
    return network.with_layers(tuple(layers))


def few_cores(n_cores: int) -> Target:
    return with_capacity("cores_per_chip", n_cores)


def test_too_many_cores_says_how_many_too_many_and_what_would_fit():
    network = dense_net(600, 800, 700)
    n_cores = len(place(network, load_target("loihi1")).cores)
    with pytest.raises(DesignRuleError) as error:
        place(network, few_cores(n_cores - 2))
    text = str(error.value)
    assert f"needs {n_cores} cores, 2 more than the {n_cores - 2} of one 'loihi1' chip" in text
    assert re.search(r"l1 · \d+ cores · decided by synapse memory: \d+ against", text)
    bits, sparsity = re.search(
        r"in every layer: weights of (\d) bits, or a sparsity of (0\.\d+)", text).groups()
    assert place(narrower(network, int(bits)), few_cores(n_cores - 2)).cores
    assert place(with_zeros(network, float(sparsity)), few_cores(n_cores - 2)).cores
    with pytest.raises(DesignRuleError):
        place(with_zeros(network, float(sparsity) - 0.05), few_cores(n_cores - 2))


def narrower(network: Network, bits: int) -> Network:
    return network.with_layers(tuple(
        replace(layer, synapses=tuple(replace(s, weight_bits=bits) for s in layer.synapses))
        for layer in network.layers))


def test_where_nothing_would_fit_the_message_says_so():
    with pytest.raises(DesignRuleError, match="neither fewer bits nor 95% zeros in every layer"):
        place(dense_net(10, 4000, 10), few_cores(3))


def test_formats_that_are_in_the_way_are_named():
    network = dense_net(600, 800, density=0.1)
    with pytest.raises(DesignRuleError, match="or any format of the target"):
        place(network, few_cores(1), formats=("dense",))
    assert len(place(network, few_cores(1)).cores) == 1


def test_a_format_the_layer_cannot_have_is_refused():
    with pytest.raises(DesignRuleError, match="layer 'l0': dense synapses 'l0' cannot be stored"):
        place(dense_net(5, 5), load_target("loihi1"), formats=("conv",))


@pytest.mark.parametrize("name", ["dense", "run-length", "sparse"])
def test_a_format_can_be_fixed(name):
    placement = place(dense_net(60, 200, density=0.4), load_target("loihi1"), formats=(name,))
    assert {group.format for core in placement.cores for group in core.synapses} == {name}


def one_tile_chips(off_chip_axons: int | None = None) -> Target:
    """Return loihi1 with chips of four cores: nearly all neurons reach another chip."""
    target = load_target("loihi1")
    values = {"cores_per_chip": 4, "tile_columns": 1, "tile_rows": 1,
              "off_chip_axons_per_core": off_chip_axons}
    return target.model_copy(update={"capacities": target.capacities.model_copy(update={
        name: getattr(target.capacities, name).model_copy(update={"value": value})
        for name, value in values.items()})})


def test_several_chips_take_what_one_does_not_hold():
    network, target = dense_net(600, 800, 700), one_tile_chips()
    with pytest.raises(DesignRuleError, match=r"(?s)more than the 4 of one .*, it fits 3 chips:"):
        place(network, target)
    with pytest.raises(DesignRuleError, match=r"more than the 8 of 2 'loihi1' chips"):
        place(network, target, max_chips=2)
    placement = place(network, target, max_chips=8)
    assert placement.n_chips == 3 and {core.chip for core in placement.cores} == {0, 1, 2}
    chip_of = {core.index: core.chip for core in placement.cores}
    owner = {int(n): core.index for core in placement.cores_of("l0") for n in core.neurons}
    far = dict.fromkeys(chip_of, 0)
    for core in placement.cores_of("l1"):
        for source in core.synapses[0].sources:
            sender = owner[int(source)]
            far[sender] += chip_of[sender] != core.chip
    assert [core.n_off_chip_axons for core in placement.cores] == list(far.values())
    assert sum(far.values()) > 0


def test_layers_that_send_too_much_off_their_chip_are_cut_finer():
    network = dense_net(600, 800, 700)
    free = place(network, one_tile_chips(), max_chips=64)
    bound = max(core.n_off_chip_axons for core in free.cores) // 2
    placement = place(network, one_tile_chips(bound), max_chips=64)
    assert all(core.n_off_chip_axons <= bound for core in placement.cores)
    cut = placement.cuts["l0"]
    assert cut.n_cores > free.cuts["l0"].n_cores
    assert cut.limit == "off-chip axons" and cut.value > cut.bound == bound


def test_one_neuron_is_one_core():
    (core,) = place(dense_net(1, 1, density=1.0), load_target("loihi1")).cores
    assert core.region == ((0, 1),) and core.n_output_axons == 0


def test_driven_layers_store_nothing():
    relay = Synapse("in", INPUT, np.eye(6, dtype=np.int32), None, 8, is_fixed=True)
    network = Network("n", (6,), 5, (
        Layer("in", (relay,), CubaNeuron(4096, 0, 80), (6,)),
        Layer("out", (Synapse("out", "in", np.full((3, 6), 2, np.int32), None, 8),), NEURON, (3,)),
    ))
    first, second = place(network, load_target("loihi1")).cores
    assert first.synapses == () and first.n_output_axons == 6 and second.n_input_axons == 6


def test_a_recurrent_layer_reaches_its_own_cores():
    recurrent = Synapse("rec", "a", np.full((20, 20), 2, np.int32), None, 8)
    network = Network("n", (5,), 5, (Layer(
        "a", (Synapse("a", INPUT, np.full((20, 5), 2, np.int32), None, 8),), NEURON, (20,), None,
        recurrent),))
    placement = place(network, with_capacity("neurons_per_core", 8))
    assert [core.n_output_axons for core in placement.cores] == [
        3 * core.n_neurons for core in placement.cores]
    assert [group.synapse for group in placement.cores[0].synapses] == ["a", "rec"]


def test_joins_are_lowered_first():
    layers = (
        Layer("a", (Synapse("a", INPUT, np.full((4, 3), 2, np.int32), None, 8),), NEURON, (4,)),
        Layer("b", (Synapse("b", INPUT, np.full((2, 3), 2, np.int32), None, 8),), NEURON, (2,)),
        Layer("c", (Synapse("c", "both", np.full((5, 6), 2, np.int32), None, 8),), NEURON, (5,)),
    )
    network = Network("n", (3,), 5, layers, (Join("both", "concat", ("a", "b"), (6,)),))
    placement = place(network, load_target("loihi1"))
    (core,) = placement.cores_of("c")
    assert [len(group.sources) for group in core.synapses] == [4, 2]


def test_broken_rules_are_listed_together():
    layers = dense_net(10, 10, 10).layers
    hot = [Layer(x.name, x.synapses, CubaNeuron(0, 0, 1 << 17), x.shape) for x in layers]
    network = Network("test", (10,), 10, tuple(hot))
    with pytest.raises(DesignRuleError) as error:
        check_rules(network, load_target("loihi1"))
    assert "l0" in str(error.value) and "l1" in str(error.value) and "131071" in str(error.value)


def test_dense_memory_follows_the_formula():
    (core,) = place(dense_net(64, 100, bits=8), load_target("loihi1")).cores
    # entries of 60 and 40 weights of 8 bits, prefix 10, indices of 6 and 7 bits, 6 bits free
    assert core.synapse_bits == 64 * 64 * -(-(2 * 10 + 6 + 7 + 100 * 8 + 6) // 64)


def test_seven_bit_weights_are_stored_in_eight():
    seven, eight = (place(dense_net(64, 100, bits=b), load_target("loihi1")) for b in (7, 8))
    assert seven.cores[0].synapse_bits == eight.cores[0].synapse_bits


def test_an_axon_without_nonzero_weights_takes_nothing():
    network = dense_net(20, 16, density=1.0)
    weight = network.synapses[0].weight.copy()
    weight[:, 5] = 0
    pruned = Network("n", (20,), 5, (
        Layer("l0", (Synapse("l0", INPUT, weight, None, 8),), NEURON, (16,)),))
    (core,) = place(pruned, load_target("loihi1")).cores
    assert core.n_input_axons == 19 and 5 not in core.synapses[0].sources


def test_a_placement_depends_on_its_seed_only_and_is_saved_as_it_is(tmp_path):
    network, target = dense_net(300, 400, 300, density=0.3), with_capacity("neurons_per_core", 20)
    first, second = (place(network, target, seed=3) for _ in range(2))
    save_artifact(tmp_path / "place.npz", first, {})
    for other in (second, load_artifact(tmp_path / "place.npz")):
        for a, b in zip(first.cores, other.cores, strict=True):
            assert (a.region, a.chip, a.tile_x, a.tile_y) == (b.region, b.chip, b.tile_x, b.tile_y)
            assert all(np.array_equal(x.executed, y.executed)
                       for x, y in zip(a.synapses, b.synapses, strict=True))
