"""ADMM finds a better mask than magnitude, and swaps never make a mask worse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.compress import admm
from pipeline.compress.admm import admm_mask, swap
from pipeline.compress.pattern import keep_best
from pipeline.errors import CalibrationError

Mask = NDArray[np.bool_]


def tensors(group: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    W = torch.from_numpy(group.W)
    return W, torch.from_numpy(group.H), torch.ones_like(W, dtype=torch.bool)


def by_magnitude(group: Any, n_keep: int) -> torch.Tensor:
    W, _, everything = tensors(group)
    return keep_best(W.abs(), everything, n_keep)


def test_admm_masks_beat_magnitude_after_the_same_refit(make_group: Any) -> None:
    ratios = []
    for seed in range(15):
        group = make_group(4, 24, seed)
        mask = admm_mask(*tensors(group), 24).numpy()
        ratios.append(group.error_on(mask) / group.error_on(by_magnitude(group, 24).numpy()))
    assert max(ratios) < 1.0 and np.mean(ratios) < 0.7


def test_without_correlation_admm_keeps_what_costs_most() -> None:
    rng = np.random.default_rng(0)
    W, diagonal = rng.normal(size=(4, 10)), rng.uniform(0.2, 5.0, 10)
    candidates = torch.ones(4, 10, dtype=torch.bool)
    mask = admm_mask(torch.from_numpy(W), torch.diag(torch.from_numpy(diagonal)), candidates, 13)
    cost = W**2 * diagonal
    assert np.array_equal(mask.numpy(), cost >= np.sort(cost.ravel())[-13])


def test_a_mask_does_not_depend_on_the_units_of_the_inputs(make_group: Any) -> None:
    group = make_group(4, 12)
    units = np.random.default_rng(1).uniform(0.1, 10.0, 12)
    rescaled = type(group)(group.W / units, group.A * units)
    assert torch.equal(admm_mask(*tensors(group), 15), admm_mask(*tensors(rescaled), 15))


@pytest.mark.parametrize("unit", [1e-60, 2.0**-140, 1e60])
def test_a_mask_does_not_depend_on_the_unit_of_the_weights(make_group: Any, unit: float) -> None:
    group = make_group(4, 12)
    rescaled = type(group)(group.W * unit, group.A)
    assert torch.equal(admm_mask(*tensors(group), 15), admm_mask(*tensors(rescaled), 15))


@settings(max_examples=40)
@given(st.integers(1, 5), st.integers(2, 12), st.integers(0, 10_000), st.data())
def test_swaps_never_increase_the_loss_and_keep_the_number(
    make_group: Any, rows: int, d_in: int, seed: int, data: st.DataObject
) -> None:
    group = make_group(rows, d_in, seed)
    W, H, candidates = tensors(group)
    rng = np.random.default_rng(seed)
    candidates &= torch.from_numpy(rng.random(group.W.shape) < 0.9)
    n_keep = data.draw(st.integers(0, int(candidates.sum())))
    start = keep_best(torch.from_numpy(rng.random(group.W.shape)), candidates, n_keep)
    mask = swap(W, H, start, candidates)
    assert int(mask.sum()) == n_keep and not (mask & ~candidates).any()
    assert group.error_on(mask.numpy()) <= group.error_on(start.numpy()) * (1 + 1e-9) + 1e-12


def test_swaps_improve_a_bad_mask_a_lot_and_a_good_one_a_little(make_group: Any) -> None:
    from_random: list[float] = []
    from_admm: list[float] = []
    for seed in range(8):
        group = make_group(4, 24, seed)
        W, H, everything = tensors(group)
        noise = torch.from_numpy(np.random.default_rng(seed).random(group.W.shape))
        for start, ratios in (
            (keep_best(noise, everything, 24), from_random),
            (admm_mask(W, H, everything, 24), from_admm),
        ):
            better = swap(W, H, start, everything)
            ratios.append(group.error_on(better.numpy()) / group.error_on(start.numpy()))
    assert np.mean(from_random) < 0.6
    assert np.mean(from_admm) < 0.99


def test_swaps_come_near_the_best_mask_there_is(make_group: Any) -> None:
    excess = []
    for seed in range(8):
        group = make_group(1, 8, seed)
        W, H, everything = tensors(group)
        masks = [np.array([[(code >> i) & 1 for i in range(8)]], dtype=bool) for code in range(256)]
        best = min(group.error_on(mask) for mask in masks if mask.sum() == 3)
        found = swap(W, H, admm_mask(W, H, everything, 3), everything)
        excess.append(group.error_on(found.numpy()) / best - 1)
    assert min(excess) > -1e-9 and np.mean(excess) < 0.1 and np.median(excess) < 1e-9


def test_swaps_stop_where_they_cost_too_much(
    make_group: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = make_group(4, 24)
    W, H, everything = tensors(group)
    start = by_magnitude(group, 24)
    assert not torch.equal(swap(W, H, start, everything), start)
    monkeypatch.setattr(admm, "_SWAP_BUDGET", 0.0)
    assert torch.equal(swap(W, H, start, everything), start)


@pytest.mark.parametrize("pattern", ["2:4", "1:3"])
def test_swaps_keep_the_pattern(make_group: Any, pattern: str) -> None:
    n, m = int(pattern[0]), int(pattern[2])
    for seed in range(5):
        group = make_group(3, 24, seed)
        W, H, everything = tensors(group)
        start = keep_best(W.abs(), everything, W.numel(), pattern)
        mask = swap(W, H, start, everything, pattern)
        assert (mask.view(3, -1, m).sum(dim=2) == n).all()
        assert group.error_on(mask.numpy()) <= group.error_on(start.numpy()) * (1 + 1e-9)


def test_swaps_refuse_a_curvature_that_is_not_positive_definite(make_group: Any) -> None:
    W, H, everything = tensors(make_group(2, 6))
    with pytest.raises(CalibrationError, match="not positive definite"):
        swap(W, -H, keep_best(W.abs(), everything, 5), everything)
