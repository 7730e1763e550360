"""Which weights of a group stay: by importance, in shares, and by whole inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synapse_groups import conv_net, pruned_of

from pipeline.compress import INPUTS, Pruning
from pipeline.compress.refit import refit_with_scores
from pipeline.compress_synapse import (
    _shares,
    channel_size,
)

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
