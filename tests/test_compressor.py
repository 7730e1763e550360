"""Every group is compressed as the recipe asks, by itself or for the input it will really get."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline import compressor
from pipeline.bank import LayerBank
from pipeline.calibrate import Calibration, calibrate
from pipeline.compress import INPUTS, damped
from pipeline.compress.curvature import asymmetric_target
from pipeline.compress_synapse import CompressedSynapse
from pipeline.compressor import compress_network, method_of
from pipeline.curvatures import asymmetric_curvature
from pipeline.emulate import emulate
from pipeline.errors import CompressionError, DeviceError
from pipeline.network import Network
from pipeline.quantize import to_integers
from pipeline.recipe import Recipe

PLAIN = {"importance": "uniform", "match_rates": "none", "allocation": "uniform"}
ALONE = {**PLAIN, "sequential": False}


@pytest.fixture(scope="module", params=["dense", "conv"])
def network(request: Any, dense_chain: Any, conv_chain: Any) -> Any:
    return dense_chain(sizes=(12, 14, 12, 8)) if request.param == "dense" else conv_chain(
        input_shape=(2, 5, 4))


@pytest.fixture(scope="module")
def spikes(network: Network, random_spikes: Any) -> Any:
    return random_spikes(network, 8)


@pytest.fixture(scope="module")
def calibration(network: Network, spikes: Any) -> Calibration:
    return calibrate(network, spikes, "")


def same(a: CompressedSynapse, b: CompressedSynapse) -> bool:
    return np.array_equal(a.codes, b.codes) and (a.vth_mant, a.step_exp) == (b.vth_mant, b.step_exp)


# ---------------------------------------------------------------- settings


def test_every_switch_of_the_recipe_reaches_the_method(make_recipe: Any) -> None:
    recipe = make_recipe(
        pruning="blocks", pattern="2:4", refit=False, loss_margin=0.25, device="cuda",
        rounding="nearest", grid="error", scale="power_of_two", act_order=True,
        importance="uniform",
    )
    method = method_of(recipe.model_copy(update={
        "calibration": recipe.calibration.model_copy(update={"damping": 0.07})}))
    pruning = method.pruning
    assert (pruning.algorithm, pruning.pattern, pruning.is_refitted) == ("blocks", "2:4", False)
    assert (pruning.loss_margin, pruning.device) == (0.25, "cuda")
    assert (method.scaling.rule, method.scaling.is_power_of_two) == ("error", True)
    assert (method.rounding, method.is_act_ordered) == ("nearest", True)
    assert (method.importance, method.damping_frac) == ("uniform", 0.07)
    assert method_of(make_recipe(pattern="neurons")).pruning.pattern == INPUTS


@pytest.mark.parametrize("settings", [
    {"sparsity": 0.5, "bits": 3, "allocation": "lamps"}, {"bits": "ternary"}, {"bits": 1},
    {"pattern": "2:4"}, {"pattern": "inputs", "sparsity": 0.6},
    {"importance": "output", "rounding": "nearest", "grid": "maximum"},
], ids=str)
def test_by_themselves_groups_are_what_the_bank_holds_at_their_level(
    network: Network, calibration: Calibration, spikes: Any, make_recipe: Any,
    settings: dict[str, Any],
) -> None:
    recipe = make_recipe(**{**ALONE, "sparsity": 0.8, **settings})
    said: list[str] = []
    parts = compress_network(network, calibration, recipe, spikes, said.append)
    assert list(parts) == [s.name for s in network.synapses]
    bank = LayerBank(network, calibration, method_of(recipe))
    for synapse in network.synapses:
        part = parts[synapse.name]
        assert same(part, bank.get(synapse.name, part.level))
        assert part.level.bits == (2 if recipe.compress.bits == "ternary" else recipe.compress.bits)
        assert part.level.is_ternary == (recipe.compress.bits == "ternary")
        assert any(f", {synapse.name}: {part.level.n_keep:,} of" in line for line in said)
        assert np.count_nonzero(part.codes) <= part.n_kept
        if settings.get("pattern") != "inputs":  # that keeps the nearest number of whole channels
            assert part.n_kept <= part.level.n_keep
    if settings.get("pattern") != "2:4":
        n_weights = sum(s.weight.size for s in network.synapses)
        n_asked = sum(p.level.n_keep for p in parts.values())
        assert n_asked == pytest.approx((1 - recipe.compress.sparsity) * n_weights, abs=2)


def test_a_bank_at_hand_is_used(
    network: Network, calibration: Calibration, spikes: Any, make_recipe: Any
) -> None:
    recipe = make_recipe(**ALONE, sparsity=0.7)
    bank = LayerBank(network, calibration, method_of(recipe))
    parts = compress_network(network, calibration, recipe, spikes, bank=bank)
    for name, part in parts.items():
        assert bank.get(name, part.level) is part


def test_compressing_twice_gives_the_same_bits(
    network: Network, calibration: Calibration, spikes: Any
) -> None:
    recipe = Recipe()
    first, second = (compress_network(network, calibration, recipe, spikes) for _ in range(2))
    for name in first:
        assert first[name].weight.tobytes() == second[name].weight.tobytes()


# ---------------------------------------------------------------- sequential


def test_sequentially_the_first_layer_is_that_of_the_bank(
    network: Network, calibration: Calibration, spikes: Any, make_recipe: Any
) -> None:
    alone, after = (
        compress_network(network, calibration, make_recipe(
            sparsity=0.7, bits=3, sequential=sequential), spikes)
        for sequential in (False, True)
    )
    first, last = network.synapses[0].name, network.synapses[-1].name
    assert same(alone[first], after[first])
    assert not same(alone[last], after[last])
    assert [p.level for p in alone.values()] == [p.level for p in after.values()]


def test_sequentially_a_layer_aims_at_the_dense_potential_from_the_input_it_gets(
    network: Network, calibration: Calibration, spikes: Any, make_recipe: Any
) -> None:
    recipe = make_recipe(**PLAIN, sparsity=0.7, bits=3, sequential=True)
    parts = compress_network(network, calibration, recipe, spikes)
    integer, _ = to_integers(network, parts)
    ours, theirs = emulate(integer, spikes).spikes, emulate(network, spikes).spikes
    layer, layer_before = network.layers[1], network.layers[0]
    (synapse,) = layer.synapses
    raw, cross = asymmetric_curvature(
        layer, synapse, ours[layer_before.name], theirs[layer_before.name], "smp")
    target = asymmetric_target(
        synapse.weight.astype(np.float64), damped(raw, compressor._PULL_FRAC)[0],
        damped(cross, compressor._PULL_FRAC, like=raw)[0])
    # the same curvature and target, compressed by hand through the bank
    curvature = replace(calibration.curvatures[synapse.name], hessian=raw)
    aimed = network.with_layers(tuple(
        replace(x, synapses=(replace(synapse, weight=target, weight_bits=None),))
        if x is layer else x for x in network.layers))
    bank = LayerBank(
        aimed, replace(calibration, curvatures={synapse.name: curvature}), method_of(recipe))
    assert same(parts[synapse.name], bank.get(synapse.name, parts[synapse.name].level))


def test_sequentially_the_potential_behind_a_compressed_layer_is_nearer_to_the_dense_one(
    dense_chain: Any, random_spikes: Any, make_recipe: Any
) -> None:
    ratios = []
    for seed in range(6):
        network = dense_chain(sizes=(16, 24, 10), seed=seed)
        spikes = random_spikes(network, 20, seed=seed)
        calibration = calibrate(network, spikes, "")
        theirs = emulate(network, spikes).spikes["fc0"]
        errors = []
        for sequential in (False, True):
            recipe = make_recipe(**PLAIN, sparsity=0.6, bits=4, sequential=sequential)
            parts = compress_network(network, calibration, recipe, spikes)
            ours = emulate(to_integers(network, parts)[0], spikes).spikes["fc0"]
            layer = network.layers[1]
            W, Q = layer.synapses[0].weight.astype(np.float64), parts["fc1"].weight
            raw, cross = asymmetric_curvature(layer, layer.synapses[0], ours, theirs, "smp")
            dense = calibration.curvatures["fc1"].hessian[0]
            # |X' Q - X W|^2, expanded
            errors.append(np.sum(Q @ raw[0] * Q) - 2 * np.sum(Q @ cross[0] * W)
                          + np.sum(W @ dense * W))
        ratios.append(errors[1] / errors[0])
    assert np.mean(ratios) < 0.95


def test_where_nothing_has_changed_sequential_is_the_bank(
    dense_chain: Any, random_spikes: Any, make_recipe: Any
) -> None:
    network = dense_chain(largest=254)
    spikes = random_spikes(network, 5)
    recipe = make_recipe(**PLAIN, sparsity=0.0, bits=8, sequential=True, grid="maximum",
                         scale="power_of_two")
    parts = compress_network(network, calibrate(network, spikes, ""), recipe, spikes)
    for synapse in network.synapses:
        assert np.array_equal(parts[synapse.name].weight, synapse.weight)


@pytest.mark.parametrize("match_rates", ["none", "layer", "channel"])
def test_sequentially_thresholds_may_be_matched_on_the_way(
    network: Network, calibration: Calibration, spikes: Any, make_recipe: Any, match_rates: str
) -> None:
    recipe = make_recipe(sparsity=0.7, bits=3, sequential=True, match_rates=match_rates)
    parts = compress_network(network, calibration, recipe, spikes)
    assert all(part.codes.any() for part in parts.values())


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("sequential", [False, True])
def test_a_pattern_that_is_none_is_refused_with_the_name_of_a_group(
    network: Network, calibration: Calibration, spikes: Any, sequential: bool
) -> None:
    compress = Recipe().compress.model_copy(update={
        "pattern": "4:2", "sequential": sequential, "allocation": "uniform"})
    recipe = Recipe().model_copy(update={"compress": compress})
    with pytest.raises(CompressionError, match="'4:2' is neither") as error:
        compress_network(network, calibration, recipe, spikes)
    assert str(error.value).count("synapse '") <= 1


@pytest.mark.parametrize("sequential", [False, True])
def test_a_device_that_is_absent_is_refused(
    network: Network, calibration: Calibration, spikes: Any, make_recipe: Any, sequential: bool
) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(DeviceError, match="'cuda' was asked for"):
        compress_network(
            network, calibration, make_recipe(device="cuda", sequential=sequential), spikes)
