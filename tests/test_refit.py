"""Group OBS is the least-squares refit, from the weights that stay and from those that go."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.compress.refit import _from_removed, loss, refit, refit_with_scores
from pipeline.errors import CalibrationError


def tensors(group: Any, mask: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.from_numpy(group.W), torch.from_numpy(group.H), torch.from_numpy(mask)


@settings(max_examples=60)
@given(st.integers(1, 6), st.integers(1, 12), st.floats(0.0, 1.0), st.integers(0, 10_000))
def test_both_forms_are_least_squares_on_the_inputs(
    make_group: Any, rows: int, d_in: int, density: float, seed: int
) -> None:
    group = make_group(rows, d_in, seed)
    mask = np.random.default_rng(seed).random((rows, d_in)) < density
    W, H, kept = tensors(group, mask)
    expected = group.refitted(mask)
    from_kept = refit_with_scores(W @ H, H, kept)[0].numpy()
    from_removed = _from_removed(W, H, kept).numpy()
    for found in (from_kept, from_removed, refit(W, H, kept).numpy()):
        assert np.allclose(found, expected, rtol=1e-6, atol=1e-8)
        assert not found[~mask].any()


def test_group_obs_is_the_formula_of_the_paper(make_group: Any) -> None:
    group = make_group(1, 9)
    mask = np.arange(9)[None, :] % 3 != 1
    P, H_inv = np.flatnonzero(~mask[0]), np.linalg.inv(group.H)
    correction = H_inv[:, P] @ np.linalg.inv(H_inv[np.ix_(P, P)]) @ group.W[0, P]
    found = refit(*tensors(group, mask)).numpy()[0]
    assert np.allclose(found, group.W[0] - correction, atol=1e-10)


def test_no_other_weights_on_the_mask_lose_less(make_group: Any) -> None:
    group = make_group(3, 8)
    mask = np.random.default_rng(1).random((3, 8)) < 0.5
    W, H, kept = tensors(group, mask)
    best = refit(W, H, kept)
    least = float(loss(best, W, H).sum())
    for seed in range(20):
        step = 0.1 * np.random.default_rng(seed).normal(size=(3, 8)) * mask
        assert float(loss(best + torch.from_numpy(step), W, H).sum()) > least


@pytest.mark.parametrize("density", [0.3, 0.9])
def test_scores_are_the_diagonal_of_the_inverse_on_the_support(
    make_group: Any, density: float
) -> None:
    group = make_group(4, 9)
    mask = np.random.default_rng(2).random((4, 9)) < density
    W, H, kept = tensors(group, mask)
    found = refit_with_scores(W @ H, H, kept)[1].numpy()
    for row in range(4):
        S = np.flatnonzero(mask[row])
        expected = np.diag(np.linalg.inv(group.H[np.ix_(S, S)]))
        assert np.allclose(found[row, S], expected, rtol=1e-9)
    # the score of OBS built from it is the loss of the next removal
    weight = group.refitted(mask)
    row, p = 1, int(np.flatnonzero(mask[1])[0])
    without = mask[[row]].copy()
    without[0, p] = False
    alone = type(group)(group.W[[row]], group.A)
    increase = alone.error_on(without) - alone.error_on(mask[[row]])
    assert 0.5 * weight[row, p] ** 2 / found[row, p] == pytest.approx(increase)


def test_without_scores_the_weights_are_the_same(make_group: Any) -> None:
    group = make_group(4, 9)
    W, H, kept = tensors(group, np.random.default_rng(2).random((4, 9)) < 0.4)
    with_scores = refit_with_scores(W @ H, H, kept)[0]
    assert torch.allclose(refit_with_scores(W @ H, H, kept, needs_inverse=False)[0], with_scores)


@pytest.mark.parametrize("density", [0.3, 0.9])
def test_rows_with_nothing_left_or_nothing_lost_are_refitted_with_the_others(
    make_group: Any, density: float
) -> None:
    group = make_group(5, 9)
    mask = np.random.default_rng(3).random((5, 9)) < density
    mask[1], mask[3] = False, True
    found = refit(*tensors(group, mask)).numpy()
    assert not found[1].any()
    assert np.allclose(found, group.refitted(mask), atol=1e-8)


def test_loss_is_half_the_quadratic_form_of_each_row(make_group: Any) -> None:
    group = make_group(3, 7)
    other = np.random.default_rng(5).normal(size=(3, 7))
    found = loss(torch.from_numpy(other), torch.from_numpy(group.W), torch.from_numpy(group.H))
    expected = np.square(group.A @ (other - group.W).T).sum(axis=0)
    assert np.allclose(found.numpy(), expected)


@pytest.mark.parametrize("density", [0.3, 0.9])
def test_a_curvature_that_is_not_positive_definite_is_refused(
    make_group: Any, density: float
) -> None:
    W, _, kept = tensors(make_group(4, 9), np.random.default_rng(2).random((4, 9)) < density)
    with pytest.raises(CalibrationError, match="not positive definite"):
        refit(W, -torch.eye(9, dtype=torch.float64), kept)
