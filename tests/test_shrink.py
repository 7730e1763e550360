"""Shrinking changes no spike: what is left spikes as before, and only what is idle goes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.deployment import Integers
from pipeline.emulate import Trace, emulate
from pipeline.export_netx import write_netx
from pipeline.fixedpoint import inferred_weight_bits
from pipeline.lava_backend import run_lava
from pipeline.network import (
    INPUT,
    ConvGeometry,
    CubaNeuron,
    Layer,
    Network,
    Synapse,
    conv_output_shape,
)
from pipeline.quantize import LedgerEntry
from pipeline.shrink import Shrunk, kept_only, removals, shrink

NEURON = CubaNeuron(current_decay=1500, voltage_decay=300, vth_mant=60)
INPUT_SHAPE = (2, 6, 5)

# a layer is its number of features, or (channels, kernel, geometry)
Plan = tuple[Any, ...]


def build(
    plan: Plan, seed: int, p_silent: float = 0.4, input_shape: tuple[int, ...] = INPUT_SHAPE,
    neuron: CubaNeuron = NEURON,
) -> Network:
    """Return a chain in which a share of rows and of a source's channels is zero."""
    rng = np.random.default_rng(seed)
    layers: list[Layer] = []
    source, in_shape = INPUT, input_shape
    for index, step in enumerate(plan):
        name, geometry = f"l{index}", None if isinstance(step, int) else step[2]
        shape: tuple[int, ...]
        if isinstance(step, int):
            by_channel = weights(rng, (step, in_shape[0], int(np.prod(in_shape[1:])), 1), p_silent)
            weight, shape = by_channel.reshape(step, -1), (step,)
        else:
            n_channels, kernel, geometry = step
            weight = weights(
                rng, (n_channels, in_shape[0] // geometry.groups, *kernel), p_silent)
            shape = conv_output_shape(weight.shape, geometry, in_shape)
        allowed = (weight != 0) | (rng.random(weight.shape) < 0.5)
        group = Synapse(name, source, weight, geometry, inferred_weight_bits(weight), allowed)
        layers.append(Layer(name, (group,), neuron, shape))
        source, in_shape = name, shape
    return Network("chain", input_shape, 16, tuple(layers))


def weights(
    rng: np.random.Generator, shape: tuple[int, ...], p_silent: float
) -> NDArray[np.int32]:
    weight = 2 * rng.integers(-30, 40, shape).astype(np.int32)
    weight[rng.random(shape) < 0.3] = 0
    weight[rng.random(shape[0]) < p_silent] = 0
    weight[:, rng.random(shape[1]) < p_silent] = 0
    weight.flat[0] = 64  # never all zero
    return weight


CONV = (5, (3, 2), ConvGeometry(stride=(2, 1), padding=(1, 0)))
WIDE = (6, (2, 2), ConvGeometry(padding=(1, 1), dilation=(1, 2)))
GROUPED = (4, (2, 2), ConvGeometry(groups=2))
PLANS: list[Plan] = [
    (12, 10, 9, 4), (CONV, WIDE, 5), (CONV, 8, 4), (WIDE, CONV, WIDE, 7, 3), (CONV,), (6,),
    (WIDE, CONV),
]


def require_same_spikes(network: Network, shrunk: Shrunk, spikes: NDArray[np.uint8]) -> Trace:
    """Require equal spikes, and equally busy neurons, in all that is left; return the trace."""
    before, after = emulate(network, spikes), emulate(shrunk.network, spikes)
    expected = kept_only(before, shrunk.kept)
    for layer in shrunk.network.layers:
        np.testing.assert_array_equal(after.spikes[layer.name], expected.spikes[layer.name])
        np.testing.assert_array_equal(after.n_active[layer.name], expected.n_active[layer.name])
    output = network.layers[-1].name
    np.testing.assert_array_equal(after.spikes[output], before.spikes[output])
    return before


def sizes(network: Network) -> list[int]:
    return [layer.shape[0] for layer in network.layers]


def idle_channels(network: Network) -> dict[str, set[int]]:
    """Remove channels one after another until none is idle: the definition, channel by channel."""
    alive = {layer.name: set(range(layer.shape[0])) for layer in network.layers}
    alive[INPUT] = set(range(network.input_shape[0]))
    removed: dict[str, set[int]] = {layer.name: set() for layer in network.layers}

    def has_weight(layer: Layer, channels: set[int], sources: set[int]) -> bool:
        (synapse,) = layer.synapses
        n_in = network.shape_of(synapse.source)[0]
        weight = synapse.weight.reshape(layer.shape[0], n_in, -1)
        return bool(weight[np.ix_(sorted(channels), sorted(sources))].any())

    changed = True
    while changed:
        changed = False
        for layer, listener in zip(network.layers, network.layers[1:], strict=False):
            for channel in sorted(alive[layer.name]):
                is_fed = has_weight(layer, {channel}, alive[layer.synapses[0].source])
                is_heard = has_weight(listener, alive[listener.name], {channel})
                if not (is_fed and is_heard):
                    alive[layer.name].discard(channel)
                    removed[layer.name].add(channel)
                    changed = True
    return removed


# ---------------------------------------------------------------- exactness


@settings(max_examples=60)
@given(plan=st.sampled_from(PLANS), seed=st.integers(0, 10**6), p=st.sampled_from([0.1, 0.3, 0.5]))
def test_every_neuron_that_is_left_spikes_as_before(plan: Plan, seed: int, p: float) -> None:
    network = build(plan, seed, p)
    rng = np.random.default_rng(seed)
    spikes = (rng.random((3, *network.input_shape, network.n_steps)) < 0.3).astype(np.uint8)
    shrunk = shrink(network)
    require_same_spikes(network, shrunk, spikes)
    assert set(shrunk.kept) == {layer.name for layer in network.layers}
    assert [len(shrunk.kept[layer.name]) for layer in network.layers] == sizes(shrunk.network)
    assert min(sizes(shrunk.network)) > 0
    assert len(shrunk.kept[network.layers[-1].name]) == network.layers[-1].shape[0]


@settings(max_examples=60)
@given(plan=st.sampled_from(PLANS[:4]), seed=st.integers(0, 10**6))
def test_exactly_those_go_that_removal_one_by_one_would_remove(plan: Plan, seed: int) -> None:
    network = build(plan, seed, 0.3)
    removed, shrunk = idle_channels(network), shrink(network)
    kept = {layer.name: set(range(layer.shape[0])) - removed[layer.name]
            for layer in network.layers}
    # the other case, a network without a path to its output, has its own test
    if sizes(shrunk.network) != sizes(network):
        assert {name: set(channels) for name, channels in shrunk.kept.items()} == kept
    else:
        assert not any(removed.values()) or not all(
            (s.weight > 0).any() for s in without(network, kept).synapses)


def without(network: Network, kept: dict[str, set[int]]) -> Network:
    """Return the network with zeros in place of the weights of all that is not kept."""
    kept = {**kept, INPUT: set(range(network.input_shape[0]))}
    layers = []
    for layer in network.layers:
        (synapse,) = layer.synapses
        shape = (layer.shape[0], network.shape_of(synapse.source)[0], -1)
        is_kept = np.zeros(shape[:2], dtype=bool)
        is_kept[np.ix_(sorted(kept[layer.name]), sorted(kept[synapse.source]))] = True
        weight = (synapse.weight.reshape(shape) * is_kept[..., None]).reshape(synapse.weight.shape)
        layers.append(replace(layer, synapses=(replace(synapse, weight=weight),)))
    return network.with_layers(tuple(layers))


@pytest.mark.parametrize("plan", PLANS[:5], ids=lambda plan: f"{len(plan)} layers")
def test_spikes_were_compared_and_neurons_removed(plan: Plan) -> None:
    n_spikes = n_removed = 0
    for seed in range(20):
        network = build(plan, seed, 0.25)
        rng = np.random.default_rng(seed)
        spikes = (rng.random((3, *network.input_shape, network.n_steps)) < 0.3).astype(np.uint8)
        shrunk = shrink(network)
        trace = require_same_spikes(network, shrunk, spikes)
        n_spikes += int(trace.spikes[network.layers[-1].name].sum())
        n_removed += sum(sizes(network)) - sum(sizes(shrunk.network))
    assert n_spikes > 500
    assert n_removed > 20 or len(plan) == 1


def test_masks_are_sliced_with_their_weights_and_bits_inferred_anew() -> None:
    network = silenced(build((CONV, WIDE, 6), 0, 0.0), "l1", [3])
    network = silenced(network, "l2", [1, 2])
    coarse = np.where(network.synapses[0].weight > 0, 64, 0).astype(np.int32)
    coarse[:, 0, 0, 0], coarse[3, 0, 0, 0] = 64, -126  # the one fine weight goes with its channel
    network = with_weight(network, 0, coarse)
    bits = inferred_weight_bits(coarse)
    shrunk = shrink(network)
    kept = [np.arange(2), np.array([0, 1, 2, 4]), np.array([0, 3, 4, 5]), np.arange(6)]
    n_positions = int(np.prod(network.layers[1].shape[1:]))
    for before, after, columns, rows in zip(
        network.synapses, shrunk.network.synapses, kept, kept[1:], strict=False
    ):
        assert np.array_equal(shrunk.kept[before.name], rows)
        if before.geometry is None:  # all positions of a channel, one channel after another
            columns = (columns[:, None] * n_positions + np.arange(n_positions)).ravel()
        assert before.allowed is not None and after.allowed is not None
        assert np.array_equal(after.weight, before.weight[np.ix_(rows, columns)])
        assert np.array_equal(after.allowed, before.allowed[np.ix_(rows, columns)])
        assert after.weight.dtype == np.int32 and after.weight.flags.c_contiguous
        assert after.weight_bits == inferred_weight_bits(after.weight)
    assert shrunk.network.synapses[0].weight_bits == 1 < bits


def test_thresholds_of_channels_go_with_their_channels() -> None:
    thresholds = (40, 60, 80, 100, 120)
    network = build((CONV, 6), 1, 0.0)
    conv = network.layers[0]
    neuron = replace(conv.neuron, channel_vth_mant=thresholds)
    network = silenced(network.with_layers((replace(conv, neuron=neuron), *network.layers[1:])),
                       "l1", [0, 3])
    shrunk = shrink(network)
    assert shrunk.network.layers[0].neuron.channel_vth_mant == (60, 80, 120)
    spikes = (np.random.default_rng(0).random((3, *INPUT_SHAPE, 16)) < 0.3).astype(np.uint8)
    require_same_spikes(network, shrunk, spikes)


# ---------------------------------------------------------------- what goes and what stays


def silenced(network: Network, listener: str, sources: list[int]) -> Network:
    """Return the network in which ``listener`` hears none of the given source channels."""
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


def full_chain(*n_features: int) -> Network:
    """Return dense layers without a single zero weight."""
    layers, n_in, source = [], 4, INPUT
    for index, n in enumerate(n_features):
        weight = (2 + 2 * np.arange(n * n_in, dtype=np.int32).reshape(n, n_in)) % 100 + 2
        weight = weight - weight % 2
        group = Synapse(f"l{index}", source, weight, None, inferred_weight_bits(weight))
        layers.append(Layer(f"l{index}", (group,), NEURON, (n,)))
        n_in, source = n, f"l{index}"
    return Network("full", (4,), 16, tuple(layers))


def with_weight(network: Network, index: int, weight: NDArray[np.int32]) -> Network:
    layers = list(network.layers)
    (synapse,) = layers[index].synapses
    layers[index] = replace(layers[index], synapses=(replace(synapse, weight=weight),))
    return network.with_layers(tuple(layers))


def test_a_network_in_which_every_neuron_counts_is_returned_itself() -> None:
    network = full_chain(5, 4, 3)
    shrunk = shrink(network)
    assert shrunk.network is network
    assert {name: list(kept) for name, kept in shrunk.kept.items()} == {
        "l0": [0, 1, 2, 3, 4], "l1": [0, 1, 2, 3], "l2": [0, 1, 2]}
    assert removals(network, shrunk) == ()


def test_a_neuron_heard_only_by_unheard_neurons_goes_too() -> None:
    network = silenced(full_chain(5, 4, 3), "l2", [1])
    weight = network.layers[1].synapses[0].weight.copy()
    weight[[0, 2, 3], 4] = 0  # neuron 4 of l0 now speaks to neuron 1 of l1 alone
    shrunk = shrink(with_weight(network, 1, weight))
    assert list(shrunk.kept["l1"]) == [0, 2, 3]
    assert list(shrunk.kept["l0"]) == [0, 1, 2, 3]
    assert removals(network, shrunk) == tuple(
        LedgerEntry(name, "neurons removed, nobody listens or they never spike", 1, total)
        for name, total in (("l0", 5), ("l1", 4))
    )


def test_a_neuron_that_hears_only_silent_neurons_goes_too() -> None:
    network = full_chain(5, 4, 3)
    first, second = (layer.synapses[0].weight.copy() for layer in network.layers[:2])
    first[2] = 0  # never spikes
    second[3, [0, 1, 3, 4]] = 0  # hears only that one
    shrunk = shrink(with_weight(with_weight(network, 0, first), 1, second))
    assert list(shrunk.kept["l0"]) == [0, 1, 3, 4]
    assert list(shrunk.kept["l1"]) == [0, 1, 2]


def test_output_neurons_stay_even_without_input() -> None:
    network = full_chain(5, 3)
    weight = network.layers[1].synapses[0].weight.copy()
    weight[1] = 0
    shrunk = shrink(with_weight(network, 1, weight))
    assert sizes(shrunk.network) == [5, 3]


def test_one_neuron_of_a_layer_can_be_left() -> None:
    shrunk = shrink(silenced(full_chain(5, 4, 3), "l2", [0, 1, 3]))
    assert sizes(shrunk.network) == [5, 1, 3]
    assert list(shrunk.kept["l1"]) == [2]


@pytest.mark.parametrize("sources", [[0, 1, 2, 3], [1, 2, 3]])
def test_no_layer_is_emptied_when_nothing_leads_to_the_output(sources: list[int]) -> None:
    network = silenced(full_chain(5, 4, 3), "l2", sources)
    weight = network.layers[1].synapses[0].weight.copy()
    weight[0] = 0  # the only neuron that l2 may still hear never spikes
    network = with_weight(network, 1, weight)
    shrunk = shrink(network)
    assert shrunk.network is network and sizes(shrunk.network) == [5, 4, 3]
    assert [len(kept) for kept in shrunk.kept.values()] == [5, 4, 3]


def test_no_layer_is_left_without_positive_weights() -> None:
    # NetX counts bits of one-sign matrices otherwise; such a layer is silent in any case
    network = silenced(full_chain(3, 4, 3), "l2", [0, 1])
    weight = network.layers[1].synapses[0].weight.copy()
    weight[2:] = -256
    network = with_weight(network, 1, weight)
    assert shrink(network).network is network


def test_a_channel_stays_while_any_of_its_positions_is_heard() -> None:
    network = silenced(build((CONV, 4), 3, 0.0), "l1", [2])
    weight = network.layers[1].synapses[0].weight.copy()
    n_positions = int(np.prod(network.layers[0].shape[1:]))
    weight[3, 2 * n_positions + 5] = 2
    assert 2 in shrink(with_weight(network, 1, weight)).kept["l0"]
    shrunk = shrink(network)
    assert list(shrunk.kept["l0"]) == [0, 1, 3, 4]
    assert shrunk.network.layers[0].shape == (4, *network.layers[0].shape[1:])
    (entry,) = removals(network, shrunk)
    assert (entry.count, entry.total) == (n_positions, 5 * n_positions)


def test_a_grouped_convolution_and_what_it_reads_are_left_alone() -> None:
    wide = (4, (2, 2), ConvGeometry())
    network = build((wide, GROUPED, wide, 5), 5, 0.0)
    for listener in ("l1", "l2", "l3"):
        network = silenced(network, listener, [1])
    shrunk = shrink(network)
    assert sizes(network) == [4, 4, 4, 5] and sizes(shrunk.network) == [4, 4, 3, 5]
    spikes = (np.random.default_rng(0).random((3, *INPUT_SHAPE, 16)) < 0.3).astype(np.uint8)
    require_same_spikes(network, shrunk, spikes)
    assert np.array_equal(shrunk.network.layers[1].synapses[0].weight,
                          network.layers[1].synapses[0].weight)


def test_a_source_of_two_layers_stays_while_one_of_them_hears_it() -> None:
    network = full_chain(5, 4, 3)
    weight = np.full((3, 5), 20, dtype=np.int32)
    weight[:, [0, 1]] = 0
    skip = Synapse("skip", "l0", weight, None, inferred_weight_bits(weight))
    network = silenced(network, "l1", [1, 2])
    last = network.layers[2]
    network = network.with_layers(
        (*network.layers[:2], replace(last, synapses=(*last.synapses, skip))))
    shrunk = shrink(network)
    assert list(shrunk.kept["l0"]) == [0, 2, 3, 4]
    spikes = (np.random.default_rng(0).random((3, 4, 16)) < 0.5).astype(np.uint8)
    require_same_spikes(network, shrunk, spikes)


def test_channels_of_an_image_after_dense_synapses_go_with_all_their_positions() -> None:
    rng = np.random.default_rng(2)
    weight = 2 * rng.integers(-20, 40, (3 * 2 * 2, 9)).astype(np.int32)
    group = Synapse("image", INPUT, weight, None, inferred_weight_bits(weight))
    fan_out = 2 * rng.integers(-20, 40, (4, 12)).astype(np.int32)
    fan_out[:, 4:8] = 0  # channel 1
    fan_out[:, 1] = 0  # one position of channel 0
    out = Synapse("out", "image", fan_out, None, inferred_weight_bits(fan_out))
    network = Network("image", (9,), 16, (
        Layer("image", (group,), NEURON, (3, 2, 2)), Layer("out", (out,), NEURON, (4,))))
    shrunk = shrink(network)
    assert list(shrunk.kept["image"]) == [0, 2]
    assert shrunk.network.layers[0].shape == (2, 2, 2)
    require_same_spikes(network, shrunk, (rng.random((3, 9, 16)) < 0.3).astype(np.uint8))


def test_float_networks_are_refused() -> None:
    network = with_weight(full_chain(3, 2), 0, np.ones((3, 4)))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="integer network"):
        shrink(network)


def test_sparsity_is_of_the_weights_before_shrinking() -> None:
    network = silenced(full_chain(5, 4, 3), "l2", [0, 1, 3])
    shrunk = shrink(network)
    integers = Integers(shrunk.network, network, shrunk.kept, ())
    # gone with the neurons: 3 of 4 rows of l1 and 3 of 4 columns of l2
    assert integers.sparsity == pytest.approx((15 + 9) / (20 + 20 + 12))
    assert shrunk.network.sparsity == 0.0
    assert "46.2% zeros" in integers.summary and "9 of 12 neurons left" in integers.summary


# ---------------------------------------------------------------- Lava and SLAYER


@pytest.mark.slow
@pytest.mark.parametrize("plan", [(7, 5, 3), (CONV, WIDE, 6, 4)], ids=["dense", "conv"])
def test_lava_equals_the_emulator_where_one_channel_is_left(plan: Plan, tmp_path: Path) -> None:
    network = build(plan, 3, 0.0)
    for listener in ("l1", "l2"):
        n_sources = network.shape_of(network.layer_of(listener).synapses[0].source)[0]
        network = silenced(network, listener, list(range(1, n_sources)))
    shrunk = shrink(network)
    assert sizes(shrunk.network)[:2] == [1, 1]
    write_netx(shrunk.network, tmp_path / "small.net", "")
    spikes = (np.random.default_rng(0).random((4, *INPUT_SHAPE, 16)) < 0.3).astype(np.uint8)
    run = run_lava(tmp_path / "small.net", shrunk.network, spikes, 120.0)
    before = require_same_spikes(network, shrunk, spikes)
    expected = kept_only(before, shrunk.kept)
    for layer in network.layers:
        assert expected.spikes[layer.name].sum() > 10
        np.testing.assert_array_equal(run.trace.spikes[layer.name], expected.spikes[layer.name])


@pytest.mark.slow
def test_lava_equals_the_emulator_where_shrinking_leaves_one_sign(tmp_path: Path) -> None:
    network = silenced(full_chain(6, 5, 3), "l1", [2])
    weight = 64 * (network.synapses[0].weight > 10).astype(np.int32)
    weight[2] = -126
    network = with_weight(network, 0, weight)
    shrunk = shrink(network)
    assert shrunk.network.synapses[0].weight_bits == 1 and (weight < 0).any()
    write_netx(shrunk.network, tmp_path / "small.net", "")
    spikes = (np.random.default_rng(0).random((4, 4, 16)) < 0.3).astype(np.uint8)
    run = run_lava(tmp_path / "small.net", shrunk.network, spikes, 120.0)
    expected = kept_only(require_same_spikes(network, shrunk, spikes), shrunk.kept)
    for layer in network.layers:
        assert expected.spikes[layer.name].sum() > 10
        np.testing.assert_array_equal(run.trace.spikes[layer.name], expected.spikes[layer.name])


DEPLOYED_PY = '''
import torch
from lava.lib.dl import slayer

NEURON = dict(threshold=0.6, current_decay=0.3, voltage_decay=0.05)


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        cuba = slayer.block.cuba
        self.blocks = torch.nn.ModuleList([
            cuba.Conv(NEURON, 2, 6, 3, padding=1, weight_scale=3, weight_norm=True),
            cuba.Flatten(),
            cuba.Dense(NEURON, 6 * 5 * 4, 20, weight_scale=3, weight_norm=True),
            cuba.Dense(NEURON, 20, 5, weight_scale=3),
        ])

    def forward(self, spikes):
        for block in self.blocks:
            spikes = block(spikes)
        return spikes
'''


@pytest.mark.slow
@pytest.mark.parametrize("compress", [
    # zeros stay zeros, so that neurons unheard as trained stay unheard
    {"pruning": "magnitude", "refit": False, "sequential": False}, {"pattern": "neurons"},
], ids=["unheard as trained", "pruned by neurons"])
def test_a_network_with_unheard_neurons_deploys_smaller_and_equal(
    tmp_path: Path, fresh: Any, monkeypatch: pytest.MonkeyPatch, compress: dict[str, Any]
) -> None:
    import torch

    from pipeline.cli import main

    folder, out = tmp_path / "mine", tmp_path / "out"
    folder.mkdir()
    (folder / "network.py").write_text(DEPLOYED_PY)
    (folder / "model.yaml").write_text(yaml.safe_dump({
        "input_shape": [2, 5, 4], "n_steps": 24, "data": {"kind": "npz", "file": "spikes.npz"}}))
    (folder / "recipe.yaml").write_text(yaml.safe_dump({
        "calibration": {"n_samples": 20}, "compress": {"sparsity": 0.5, "bits": 6, **compress},
        "evaluate": {"n_validation": 20, "n_test": 20}, "verify": {"n_samples": 5},
        "energy": {"n_samples": 5}}))
    rng, arrays = np.random.default_rng(0), {}
    for split in ("calibration", "validation", "test"):
        arrays[f"{split}_spikes"] = (rng.random((20, 2, 5, 4, 24)) < 0.3).astype(np.uint8)
        arrays[f"{split}_labels"] = rng.integers(0, 5, 20)
    np.savez(folder / "spikes.npz", **arrays)
    torch.manual_seed(3)
    module = fresh(folder / "network.py", "Network", {})
    with torch.no_grad():
        # nobody hears channels 1 and 4 of the first layer, nor neurons 0..11 of the second
        for by_neuron in module.blocks[2].synapse.weight_v.reshape(20, 6, -1).unbind(0):
            by_neuron[[1, 4]] = 0
        module.blocks[3].synapse.weight[:, :12] = 0
    torch.save(module.state_dict(), folder / "checkpoint.pt")

    monkeypatch.setattr("sys.argv", [
        "spikefit", "deploy", "--model", str(folder), "--recipe", str(folder / "recipe.yaml"),
        "--out", str(out)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
    report = json.loads((out / "report.json").read_text())
    conv, hidden, output = report["layers"]
    assert conv["n_neurons_dense"] == 120 and conv["n_neurons"] <= 4 * 20
    assert hidden["n_neurons_dense"] == 20
    # half of the weights go: about 0.7 of the hidden neurons stay
    assert hidden["n_neurons"] <= (8 if "pruning" in compress else 15)
    assert output["n_neurons_dense"] == output["n_neurons"] == 5
    assert hidden["weight_shape"] == [hidden["n_neurons"], conv["n_neurons"]]
    backends = {row["second_backend"] for row in report["equivalence"]}
    assert backends == {"Lava", "SLAYER with the compressed weights"}
    for row in report["equivalence"]:
        assert row["n_spikes"] > 0 and row["n_differing"] == 0
    removed = {row["layer"]: (row["count"], row["total"]) for row in report["ledger"]
               if row["what"].startswith("neurons removed")}
    assert removed == {row["name"]: (row["n_neurons_dense"] - row["n_neurons"],
                                     row["n_neurons_dense"]) for row in (conv, hidden)}
    # shares are of all the weights that were trained
    n_weights = 6 * 2 * 9 + 120 * 20 + 20 * 5
    n_nonzero = sum(row["n_weights_nonzero"] for row in report["layers"])
    assert report["verdict"]["connection_sparsity_frac"] == pytest.approx(1 - n_nonzero / n_weights)
    # the user's class takes the checkpoint as before
    module.load_state_dict(torch.load(out / "checkpoint.pt", weights_only=True))
