"""A synapse group of any shape reaches its level: groups by their own curvature, on one grid."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.calibrate import calibrate
from pipeline.compress import INPUTS, Pruning, Scaling, damped, prune
from pipeline.compress.refit import refit_with_scores
from pipeline.compress_synapse import (
    CompressedSynapse,
    Level,
    Method,
    PrunedGroups,
    _shares,
    channel_size,
    naming,
    prune_synapse,
    quantize_synapse,
    quantizer_of,
)
from pipeline.emulate import emulate
from pipeline.errors import CalibrationError, CompressionError
from pipeline.fixedpoint import inferred_weight_bits
from pipeline.network import INPUT, ConvGeometry, CubaNeuron, Layer, Network, Synapse
from pipeline.quantize import as_trained, to_integers

BY_OBS = Pruning("obs")


def conv_net(groups: int, seed: int = 2) -> Network:
    rng = np.random.default_rng(seed)
    weight = (2 * rng.integers(-30, 31, (8, 4 // groups, 3, 3))).astype(np.int32)
    synapse = Synapse("c", INPUT, weight, ConvGeometry((2, 1), (1, 1), (1, 1), groups))
    layer = Layer("c", (synapse,), CubaNeuron(1024, 128, 150), (8, 4, 6))
    return as_trained(Network("n", (4, 7, 6), 25, (layer,)))[0]


def pruned_of(
    network: Network, spikes: Any, n_keep: int, pruning: Pruning = BY_OBS,
    importance: Any = None,
) -> PrunedGroups:
    (synapse,) = network.synapses
    hessian = damped(calibrate(network, spikes, "").curvatures[synapse.name].hessian, 0.01)
    return prune_synapse(
        network, synapse, synapse.weight, hessian, n_keep, pruning, importance)


def compressed(network: Network, spikes: Any, level: Level, method: Method) -> CompressedSynapse:
    pruned = pruned_of(network, spikes, level.n_keep, method.pruning)
    (synapse,) = network.synapses
    return quantize_synapse(
        network.layers[0], synapse, pruned, level, quantizer_of(pruned, method), method)


# ---------------------------------------------------------------- levels


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize(("share", "bits"), [(1.0, 8), (0.6, 4), (0.4, 2)])
def test_a_grouped_convolution_reaches_its_level(
    groups: int, share: float, bits: int, random_spikes: Any
) -> None:
    network = conv_net(groups)
    spikes = random_spikes(network, 12, seed=3)
    (synapse,) = network.synapses
    n_keep = round(share * synapse.weight.size)
    part = compressed(network, spikes, Level(n_keep, bits), Method())
    assert part.weight.shape == part.codes.shape == synapse.weight.shape
    assert part.n_kept == n_keep
    assert part.n_rounded_to_zero == n_keep - np.count_nonzero(part.codes) >= 0
    integer, _ = to_integers(network, {"c": part})
    assert integer.synapses[0].weight_bits == bits
    dense, ours = (emulate(n, spikes).spikes["c"].mean() for n in (network, integer))
    assert ours == pytest.approx(dense, rel={8: 0.02, 4: 0.3, 2: 0.6}[bits])


def test_at_eight_bits_without_pruning_hardly_a_spike_changes(random_spikes: Any) -> None:
    network = conv_net(2)
    spikes = random_spikes(network, 12, seed=3)
    part = compressed(network, spikes, Level(network.synapses[0].weight.size, 8), Method())
    assert part.algorithm == "nothing to remove" and part.pruning_loss == 0.0
    integer, _ = to_integers(network, {"c": part})
    before, after = (emulate(n, spikes).spikes["c"] for n in (network, integer))
    assert (before != after).sum() < 0.05 * before.sum()


@pytest.mark.parametrize("groups", [2, 4])
def test_each_convolution_group_is_pruned_by_its_own_curvature_and_all_share_one_grid(
    groups: int, random_spikes: Any
) -> None:
    network = conv_net(groups)
    (synapse,) = network.synapses
    spikes = random_spikes(network, 6)
    spikes[:, 0] &= spikes[:, 1]  # groups see unequal activity
    n_keep = synapse.weight.size // 3
    pruned = pruned_of(network, spikes, n_keep)
    assert pruned.n_kept == n_keep and len(pruned.parts) == groups
    W = synapse.weight.reshape(groups, 8 // groups, -1).astype(np.float64)
    for g, part in enumerate(pruned.parts):
        alone = prune(W[g], pruned.hessian[g], int(part.mask.sum()), pruning=Pruning("obs"))
        assert np.array_equal(part.mask, alone.mask)
        assert np.array_equal(part.weight, alone.weight)
    whole = compressed(network, spikes, Level(n_keep, 4), Method(BY_OBS))
    steps = whole.weight[whole.codes != 0] / whole.codes[whole.codes != 0]
    assert np.allclose(steps, 2**whole.step_exp * 150 / whole.vth_mant, rtol=1e-14)
    mask = np.stack([p.mask for p in pruned.parts]).reshape(synapse.weight.shape)
    assert not whole.codes[~mask].any()


def test_predicted_losses_add_up_to_the_quadratic_form(random_spikes: Any) -> None:
    network = conv_net(2)
    (synapse,) = network.synapses
    spikes = random_spikes(network, 6)
    level, method = Level(synapse.weight.size // 2, 3), Method()
    pruned = pruned_of(network, spikes, level.n_keep, method.pruning)
    part = compressed(network, spikes, level, method)
    change = (part.weight - synapse.weight).reshape(2, 4, -1)
    expected = 0.5 * np.einsum("gri,gij,grj->", change, pruned.hessian, change)
    assert part.pruning_loss + part.quantization_loss == pytest.approx(expected)


def test_rounding_is_a_switch(random_spikes: Any) -> None:
    network = conv_net(1)
    spikes = random_spikes(network, 6)
    level = Level(100, 3)
    gptq, nearest = (
        compressed(network, spikes, level, Method(rounding=r)) for r in ("gptq", "nearest"))
    pruned = pruned_of(network, spikes, 100, Pruning())
    (part,) = pruned.parts
    step = 2**nearest.step_exp * 150 / nearest.vth_mant
    expected = np.clip(np.rint(part.weight / step), -4, 3)
    assert np.array_equal(nearest.codes.reshape(8, -1), expected)
    assert gptq.quantization_loss < nearest.quantization_loss


@pytest.mark.parametrize(
    "scaling", [Scaling(), Scaling("maximum"), Scaling("error", True)], ids=str)
def test_ternary_codes_are_declared_as_two_bits_on_export(
    scaling: Scaling, random_spikes: Any
) -> None:
    network = conv_net(1)
    spikes = random_spikes(network, 6)
    part = compressed(network, spikes, Level(200, 2, True), Method(scaling=scaling))
    assert set(np.unique(part.codes)) == {-1, 0, 1}
    integer, ledger = to_integers(network, {"c": part})
    (synapse,) = integer.synapses
    assert synapse.weight_bits == inferred_weight_bits(synapse.weight) == 2
    assert len(np.unique(np.abs(synapse.weight))) == 2
    assert not any("codes need only" in entry.what for entry in ledger)


@pytest.mark.parametrize("bits", range(1, 9))
def test_codes_of_a_level_fit_its_bits(bits: int) -> None:
    low, high = Level(1, bits).codes
    assert high - low + 1 == 2**bits and low <= 0 <= high
    assert Level(1, 2, True).codes == (-1, 1)


# ---------------------------------------------------------------- importance


@settings(max_examples=25)
@given(st.integers(0, 1000), st.integers(5, 60), st.sampled_from(["obs", "admm", "auto"]))
def test_importance_changes_the_choice_and_not_the_refit(
    dense_chain: Any, random_spikes: Any, seed: int, n_keep: int, algorithm: str
) -> None:
    network = dense_chain(sizes=(12, 8), seed=seed)
    importance = np.exp(np.random.default_rng(seed).normal(scale=2.0, size=8))
    spikes = random_spikes(network, 6)
    pruned = pruned_of(network, spikes, n_keep, Pruning(algorithm), importance)
    (part,), W = pruned.parts, network.synapses[0].weight.astype(np.float64)
    import torch

    H, mask = torch.from_numpy(pruned.hessian[0]), torch.from_numpy(part.mask)
    plain = refit_with_scores(torch.from_numpy(W) @ H, H, mask)[0].numpy()
    assert int(part.mask.sum()) == n_keep
    assert np.allclose(part.weight, plain, rtol=1e-6, atol=1e-6)
    change = part.weight - W
    by_row = 0.5 * np.sum(change @ pruned.hessian[0] * change, axis=1)
    assert part.loss == pytest.approx(float(importance @ by_row), rel=1e-6)


def test_important_rows_keep_more(dense_chain: Any, random_spikes: Any) -> None:
    network = dense_chain(sizes=(12, 8))
    spikes = random_spikes(network, 6)
    importance = np.ones(8)
    importance[3] = 100.0
    plain, weighted = (
        pruned_of(network, spikes, 30, importance=i).parts[0] for i in (None, importance))
    assert weighted.mask[3].sum() > plain.mask[3].sum()
    equal = pruned_of(network, spikes, 30, importance=np.full(8, 7.0)).parts[0]
    assert np.array_equal(equal.mask, plain.mask) and equal.loss == pytest.approx(7 * plain.loss)


def test_importance_goes_to_the_rows_of_each_convolution_group(random_spikes: Any) -> None:
    network = conv_net(2)
    spikes = random_spikes(network, 6)
    importance = np.ones(8)
    importance[6] = 1000.0  # the third row of the second group
    pruned = pruned_of(network, spikes, 60, importance=importance)
    kept = np.stack([part.mask for part in pruned.parts]).sum(axis=2).ravel()
    assert kept.argmax() == 6 and kept[6] >= 16


# ---------------------------------------------------------------- shares of convolution groups


def test_each_group_keeps_its_share_of_the_highest_scores_and_at_least_one() -> None:
    W = np.array([[[9.0, -8.0, 1.0]], [[7.0, 2.0, -6.0]], [[0.1, 0.2, 0.3]]])
    H = np.stack([np.eye(3)] * 3)
    allowed = np.ones(W.shape, dtype=bool)
    assert _shares(W, H, allowed, 5) == [2, 2, 1]
    assert _shares(W, H, allowed, 9) == [3, 3, 3]
    # the score is w^2 / [H^-1]: a hundred times the activity is ten times the weight
    assert _shares(W, H * np.array([1, 1, 4e4])[:, None, None], allowed, 5) == [1, 1, 3]
    allowed[0, 0, :2] = False
    assert _shares(W, H, allowed, 5) == [1, 3, 1]


@settings(max_examples=30)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 5), st.integers(0, 1000), st.data())
def test_shares_add_up(groups: int, rows: int, d_in: int, seed: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    W, A = rng.normal(size=(groups, rows, d_in)), rng.normal(size=(groups, 9, d_in))
    n_keep = data.draw(st.integers(groups, W.size))
    shares = _shares(W, A.transpose(0, 2, 1) @ A, np.ones(W.shape, dtype=bool), n_keep)
    assert sum(shares) == n_keep and min(shares) >= 1 and max(shares) <= rows * d_in


# ---------------------------------------------------------------- channels


def test_a_channel_is_a_kernel_or_the_neurons_of_a_map(conv_chain: Any, dense_chain: Any) -> None:
    network = conv_chain()  # kernel 3 x 2; the layer behind is flattened
    shape = network.layer("conv").shape
    assert channel_size(network, network.synapse("conv")) == 6
    assert channel_size(network, network.synapse("fc")) == shape[1] * shape[2]
    assert channel_size(dense_chain(), dense_chain().synapse("fc1")) == 1


@pytest.mark.parametrize("groups", [1, 2])
def test_the_pattern_inputs_removes_whole_source_channels_of_a_convolution(
    groups: int, random_spikes: Any
) -> None:
    network = conv_net(groups)
    pruned = pruned_of(network, random_spikes(network, 6), 144 // groups, Pruning(pattern=INPUTS))
    for part in pruned.parts:
        by_channel = part.mask.reshape(8 // groups, 4 // groups, 9)
        assert (by_channel == by_channel[:1, :, :1]).all()
        assert by_channel[0, :, 0].sum() == 2 // groups


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("excess", [0, 1])
def test_counts_that_cannot_be_reached_are_refused_with_the_name_of_the_group(
    groups: int, excess: int, random_spikes: Any
) -> None:
    network = conv_net(groups)
    size = network.synapses[0].weight.size
    n_keep = size + 1 if excess else groups - 1
    with pytest.raises(CompressionError, match=f"^synapse 'c': {n_keep} of {size} weights to keep"):
        with naming("c"):
            pruned_of(network, random_spikes(network), n_keep)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
def test_a_singular_or_non_finite_curvature_is_refused(groups: int, bad: float) -> None:
    network = conv_net(groups)
    (synapse,) = network.synapses
    d_in = 36 // groups
    hessian = np.stack([np.eye(d_in)] * groups)
    hessian[-1, -1, -1] = bad
    with pytest.raises(CalibrationError, match="not positive definite"):
        prune_synapse(network, synapse, synapse.weight, hessian, 50, Pruning())


def test_errors_are_named_once_and_keep_their_kind() -> None:
    for kind in (CompressionError, CalibrationError):
        with pytest.raises(kind, match="^synapse 'a': too little$"), naming("a"), naming("a"):
            raise kind("too little")
    with pytest.raises(ValueError, match="^other$"), naming("a"):
        raise ValueError("other")


def test_one_bit_without_a_positive_weight_is_refused(random_spikes: Any) -> None:
    network = conv_net(1)
    layer = network.layers[0]
    negative = replace(layer.synapses[0], weight=-np.abs(layer.synapses[0].weight) - 2)
    network = network.with_layers((replace(layer, synapses=(negative,)),))
    with pytest.raises(CompressionError, match="no weight has a sign that codes 0..1 can hold"):
        compressed(network, random_spikes(network), Level(288, 1), Method())
