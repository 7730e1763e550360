"""Whole input channels go for all rows at once, cheapest first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.compress import INPUTS, Pruning, prune
from pipeline.compress.linalg import inverse
from pipeline.compress.structured import _joint_score, input_mask

SIZES = pytest.mark.parametrize("size", [1, 2, 3])


def without(group: Any, size: int, channels: list[int]) -> NDArray[np.bool_]:
    mask = np.ones(group.W.shape, dtype=bool).reshape(len(group.W), -1, size)
    mask[:, channels] = False
    return mask.reshape(group.W.shape)


def found_mask(group: Any, size: int, n_channels: int) -> NDArray[np.bool_]:
    kept: NDArray[np.bool_] = input_mask(
        torch.from_numpy(group.W), torch.from_numpy(group.H), size, n_channels).numpy()
    return kept


@SIZES
@pytest.mark.parametrize("seed", range(3))
def test_the_joint_score_is_the_loss_of_removing_a_channel(
    make_group: Any, size: int, seed: int
) -> None:
    group = make_group(4, 12, seed)
    score = _joint_score(
        torch.from_numpy(group.W), inverse(torch.from_numpy(group.H)), size).numpy()
    losses = [group.error_on(without(group, size, [g])) for g in range(12 // size)]
    assert np.allclose(score, losses, rtol=1e-7)


@SIZES
def test_channels_go_one_by_one_the_cheapest_first(make_group: Any, size: int) -> None:
    group = make_group(3, 12)
    gone: list[int] = []
    for n_channels in range(12 // size - 1, 0, -1):
        left = [g for g in range(12 // size) if g not in gone]
        losses = [group.error_on(without(group, size, [*gone, g])) for g in left]
        gone.append(left[int(np.argmin(losses))])
        expected = without(group, size, gone)[0]
        assert np.array_equal(found_mask(group, size, n_channels), expected)


def test_many_channels_go_in_small_blocks(make_group: Any) -> None:
    group = make_group(2, 400)  # four at a time at first
    kept = found_mask(group, 1, 100)
    assert kept.sum() == 100
    largest = np.argsort(-np.square(group.A @ np.diag(group.W[0])).sum(axis=0))[:100]
    by_activity = np.isin(np.arange(400), largest)
    errors = [group.error_on(np.tile(mask, (2, 1))) for mask in (kept, by_activity)]
    assert errors[0] < 0.7 * errors[1]


@settings(max_examples=30)
@given(st.integers(1, 4), st.sampled_from([1, 2, 3, 4]), st.integers(0, 1000), st.data())
def test_the_pattern_removes_whole_channels_and_refits_the_rest(
    make_group: Any, rows: int, size: int, seed: int, data: st.DataObject
) -> None:
    group = make_group(rows, 12, seed)
    n_keep = data.draw(st.integers(1, group.W.size))
    pruned = prune(group.W, group.H, n_keep, None, Pruning(pattern=INPUTS), size)
    by_channel = pruned.mask.reshape(rows, -1, size)
    assert (by_channel == by_channel[:1, :, :1]).all()
    n_channels = by_channel[0, :, 0].sum()
    assert n_channels == max(1, round(n_keep / (rows * size)))
    assert np.allclose(pruned.weight, group.refitted(pruned.mask), atol=1e-8)
    assert pruned.algorithm == "whole inputs by joint OBS"
    assert pruned.relative_loss is None


def test_channels_that_weigh_nothing_go_first(make_group: Any) -> None:
    group = make_group(3, 12)
    group.W.reshape(3, 6, 2)[:, [1, 4]] = 0.0
    pruned = prune(group.W, group.H, 24, None, Pruning(pattern=INPUTS), 2)
    assert np.array_equal(pruned.mask, without(group, 2, [1, 4]))
    assert pruned.loss == pytest.approx(0.0, abs=1e-12)


def test_a_channel_without_allowed_weights_is_no_loss(make_group: Any) -> None:
    group = make_group(3, 6)
    allowed = np.ones((3, 6), dtype=bool)
    allowed[:, 2], allowed[1, 4] = False, False
    W = np.where(allowed, group.W, 0.0)
    pruned = prune(W, group.H, 15, allowed, Pruning(pattern=INPUTS))
    assert not pruned.mask[:, 2].any() and not (pruned.mask & ~allowed).any()
    assert np.allclose(pruned.weight, W)
