"""Tiles against unrolled matrices; pieces of any layer keep to all limits and hold all of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_targets import Target, load_target
from pipeline.errors import DesignRuleError
from pipeline.mapping.connectivity import unrolled
from pipeline.mapping.conv_tiles import ConvTiles
from pipeline.mapping.place import place
from pipeline.mapping.placement import Placement, neurons_in
from pipeline.mapping.synapse_format import widths_of
from pipeline.network import INPUT, ConvGeometry, Layer, Network, Synapse
from pipeline.network_checks import conv_output_shape
from pipeline.neuron import CubaNeuron

NEURON = CubaNeuron(1024, 128, 80)
PAIR = st.tuples(st.integers(1, 3), st.integers(1, 3))


def limited(target_name: str, **values: Any) -> Target:
    """Return a target with other capacities; ``formats`` and others of its synapses too."""
    target = load_target(target_name)
    sections = {}
    for section in ("capacities", "synapses"):
        part = getattr(target, section)
        own = {}
        for name, value in values.items():
            if name in type(part).model_fields:
                old = getattr(part, name)
                own[name] = old.model_copy(update={"value": value}) if hasattr(
                    old, "value") else value
        sections[section] = part.model_copy(update=own)
    return target.model_copy(update=sections)


def drawn_weight(rng: np.random.Generator, shape: tuple[int, ...], density: float) -> np.ndarray:
    weight = 2 * rng.integers(1, 128, shape) * rng.choice((-1, 1), shape)
    return np.where(rng.random(shape) < density, weight, 0).astype(np.int32)


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Return convolutions, dense layers, a layer of two groups, recurrence and delays."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    density = draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    groups = draw(st.integers(1, 2))
    geometry = ConvGeometry(draw(PAIR), draw(st.tuples(st.integers(0, 2), st.integers(0, 2))),
                            draw(PAIR), groups)
    kernel = draw(PAIR)
    low = [max(1, geometry.dilation[a] * (kernel[a] - 1) + 1 - 2 * geometry.padding[a])
           for a in (0, 1)]
    shape = (groups * draw(st.integers(1, 2)), low[0] + draw(st.integers(0, 6)),
             low[1] + draw(st.integers(0, 6)))
    c_out = groups * draw(st.integers(1, 4))
    weight = drawn_weight(rng, (c_out, shape[0] // groups, *kernel), density)
    out = conv_output_shape(weight.shape, geometry, shape)
    delay = (draw(st.sampled_from([0, 3, 20])),) * c_out
    n_out = int(np.prod(out))
    sizes = draw(st.integers(1, 30)), draw(st.integers(1, 12))
    layers = [
        Layer("conv", (Synapse("conv", INPUT, weight, geometry, 8),), NEURON, out, delay),
        Layer("pointwise", (
            Synapse("pointwise", "conv", drawn_weight(rng, (3, c_out, 1, 1), density),
                    ConvGeometry(), 4),
        ), NEURON, (3, *out[1:])),
        Layer("dense", (
            Synapse("dense[0]", "pointwise", drawn_weight(rng, (sizes[0], n_out // c_out * 3),
                                                          density), None, 8),
            Synapse("dense[1]", "conv", drawn_weight(rng, (sizes[0], n_out), density), None, 5),
        ), NEURON, (sizes[0],), None,
            Synapse("rec", "dense", drawn_weight(rng, (sizes[0], sizes[0]), density), None, 8)),
        Layer("out", (Synapse("out", "dense", drawn_weight(rng, sizes[::-1], density), None, 3),),
              NEURON, (sizes[1],)),
    ]
    return Network("drawn", shape, 5, tuple(layers))


@st.composite
def targets(draw: st.DrawFn) -> Target:
    return limited(
        draw(st.sampled_from(["loihi1", "loihi2"])),
        neurons_per_core=draw(st.sampled_from([1, 3, 16, 1024])),
        synapse_memory_bits_per_core=draw(st.sampled_from([4096, 16384, 1048576])),
        input_axons_per_core=draw(st.sampled_from([60, 4096, None])),
        output_axons_per_core=draw(st.sampled_from([8, 64, None])),
        words_per_axon=draw(st.sampled_from([2, 256, None])),
        shares_conv_kernels=draw(st.booleans()),
    )


def check(placement: Placement, network: Network, target: Target) -> None:
    """Assert that no limit is exceeded and that the cores hold the network, all of it, once."""
    capacities = target.capacities
    for core in placement.cores:
        for used, limit in (
            (core.n_neurons, capacities.neurons_per_core.value),
            (core.synapse_bits, capacities.synapse_memory_bits_per_core.value),
            (core.n_input_axons, capacities.input_axons_per_core.value),
            (core.n_output_axons, capacities.output_axons_per_core.value),
            (core.n_off_chip_axons, capacities.off_chip_axons_per_core.value),
        ):
            assert limit is None or used <= limit
        for group in core.synapses:
            assert (np.diff(group.sources) > 0).all()
            assert (0 < group.effective).all() and (group.effective <= group.executed).all()
            if group.format in ("sparse", "run-length"):
                assert np.array_equal(group.effective, group.executed)
    assert [core.index for core in placement.cores] == list(range(len(placement.cores)))
    slots = [(core.chip, core.tile_x, core.tile_y) for core in placement.cores]
    assert max(map(slots.count, slots)) <= capacities.cores_per_tile.value
    for layer in network.layers:
        cores = placement.cores_of(layer.name)
        assert placement.cuts[layer.name].n_cores == len(cores)
        held = np.concatenate([core.neurons for core in cores])
        assert np.array_equal(np.sort(held), np.arange(layer.n_neurons))
        for index, group in enumerate(layer.stored_groups):
            matrix = unrolled(network, group).toarray() != 0
            for core in cores:
                stored = core.synapses[index]
                fan_out = matrix[:, core.neurons].sum(axis=1)
                assert stored.synapse == group.name
                assert np.array_equal(stored.sources, np.flatnonzero(fan_out))
                assert np.array_equal(stored.effective, fan_out[stored.sources])
    # every axon that ends at a core and begins on one leaves it
    sources = {g.name: g.source for layer in network.layers for g in layer.groups}
    assert sum(core.n_output_axons for core in placement.cores) == sum(
        len(group.sources) for core in placement.cores for group in core.synapses
        if sources[group.synapse] != INPUT)


@settings(max_examples=20, deadline=None)
@given(networks(), targets(), st.booleans())
def test_no_limit_is_exceeded_and_every_neuron_and_synapse_is_on_one_core(
    network, target, has_rates
):
    rates = None
    if has_rates:
        rng = np.random.default_rng(0)
        rates = {part.name: rng.random(part.n_neurons) for part in network.layers}
        rates[INPUT] = rng.random(int(np.prod(network.input_shape)))
    try:
        placement = place(network, target, rates=rates, max_chips=4)
    except DesignRuleError as error:
        text = str(error)
        assert "limit" in text and ("would fit" in text or "off-chip" in text)
        return
    check(placement, network, target)


@settings(max_examples=20, deadline=None)
@given(networks(), st.data())
def test_tiles_of_a_convolution_are_those_of_its_matrix(network, data):
    layer, target = network.layer("conv"), load_target("loihi1")
    (synapse,) = layer.synapses
    spans = []
    for size in layer.shape:
        begin = data.draw(st.integers(0, size - 1))
        spans.append((begin, data.draw(st.integers(begin + 1, size))))
    region = tuple(spans)
    matrix = unrolled(network, synapse).tocsc()[:, neurons_in(region, layer.shape)].tocsr()
    positions = np.diff(matrix.indptr)
    nonzero = np.bincount(
        matrix.nonzero()[0], minlength=matrix.shape[0])
    widths = widths_of(synapse, 0, target)
    tiles = ConvTiles(synapse, network.input_shape, layer.shape, widths, ("conv",), None)
    stored = tiles.stored(region)
    assert np.array_equal(stored.sources, np.flatnonzero(nonzero))
    assert np.array_equal(stored.effective, nonzero[stored.sources])
    assert np.array_equal(stored.executed, positions[stored.sources])
    box = tiles.reached_from(region)
    assert np.isin(stored.sources, neurons_in(box, network.input_shape)).all()
    sparse = ConvTiles(synapse, network.input_shape, layer.shape, widths, ("sparse",), None)
    assert np.array_equal(sparse.stored(region).effective, stored.effective)
    assert np.array_equal(
        tiles.fan_in(), np.count_nonzero(unrolled(network, synapse).toarray(), axis=0))


def conv_layer(size: int, channels: int = 4, kernel: int = 3, density: float = 1.0,
               bits: int = 8) -> Network:
    weight = drawn_weight(np.random.default_rng(0), (channels, 2, kernel, kernel), density)
    weight[0, 0, 0, 0] = 2
    out = (channels, size - kernel + 1, size - kernel + 1)
    layer = Layer("c", (Synapse("c", INPUT, weight, ConvGeometry(), bits),), NEURON, out)
    return Network("n", (2, size, size), 5, (layer,))


def test_a_tile_needs_only_the_input_under_its_window():
    placement = place(conv_layer(34), limited("loihi2", neurons_per_core=1024))
    assert len(placement.cores) == 4
    # rows of all columns or the like would need more: 16 x 16 tiles see 18 x 18 pixels
    assert {core.region[0] for core in placement.cores} == {(0, 4)}
    assert all(core.n_input_axons == 2 * 18 * 18 for core in placement.cores)


def test_channels_are_cut_where_kernels_fill_a_core():
    placement = place(conv_layer(6, channels=64, kernel=5),
                      limited("loihi2", synapse_memory_bits_per_core=20 * 50 * 8))
    assert placement.cuts["c"].limit == "synapse memory"
    assert sorted(core.region[0] for core in placement.cores) == [
        (0, 16), (16, 32), (32, 48), (48, 64)]


def test_kernels_are_stored_once_however_large_the_tile():
    bits = [place(conv_layer(size), load_target("loihi2")).cores[0].synapse_bits
            for size in (10, 40)]
    assert bits[0] == bits[1] == 2 * 9 * 4 * 8


def test_sparse_kernels_over_few_positions_are_unrolled():
    (core,) = place(conv_layer(4, channels=64, density=0.02), load_target("loihi1")).cores
    (shared,) = place(conv_layer(4, channels=64, density=0.02), load_target("loihi1"),
                      formats=("conv",)).cores
    assert shared.synapses[0].format == "conv"
    assert core.synapses[0].format in ("sparse", "run-length")
    assert core.synapse_bits < shared.synapse_bits


def test_neurons_that_wait_for_long_delays_are_fewer_on_a_core():
    def n_cores(steps: int) -> int:
        weight = np.full((1000, 3), 2, np.int32)
        network = Network("n", (3,), 5, (
            Layer("a", (Synapse("a", INPUT, np.full((3, 3), 2, np.int32), None, 8),), NEURON,
                  (3,), (steps,) * 3),
            Layer("b", (Synapse("b", "a", weight, None, 8),), NEURON, (1000,))))
        return place(network, load_target("loihi1")).cuts["b"].n_cores

    # 1,024 compartments up to 8 steps, 128 at 62: hardware.md 1.1
    assert [n_cores(steps) for steps in (0, 8, 16, 62)] == [1, 1, 2, 8]


def test_slices_balance_the_synaptic_operations_that_the_rates_give():
    rng = np.random.default_rng(0)
    weight = drawn_weight(rng, (200, 100), 1.0)
    weight[100:, 5:] = 0  # half of the neurons have few inputs
    network = Network("n", (100,), 5, (
        Layer("a", (Synapse("a", INPUT, weight, None, 8),), NEURON, (200,)),))
    target = limited("loihi1", neurons_per_core=150)
    cores = place(network, target, rates={INPUT: np.ones(100)}).cores
    executed = [int(core.synapses[0].executed.sum()) for core in cores]
    assert len(cores) == 2 and max(executed) < 0.7 * (100 * 100 + 5 * 100)
