"""Pruning keeps exactly what is asked, refits it optimally, and removes in the order of OBS."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.compress import prune
from pipeline.compress.obs import gather_square, keep_schedule, support_batches
from pipeline.errors import CalibrationError, CompressionError

Array = NDArray[np.float64]


def problem(rows: int, d_in: int, seed: int = 0, correlation: float = 0.8) -> tuple[Array, Array]:
    """Return weights (rows, d_in) and filtered inputs (m, d_in) with m > d_in and neighbors alike.
    """
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(4 * d_in, d_in))
    for i in range(1, d_in):
        A[:, i] = correlation * A[:, i - 1] + np.sqrt(1 - correlation**2) * A[:, i]
    return rng.normal(size=(rows, d_in)), A * rng.uniform(0.3, 2.0, d_in)


def hessian(A: Array) -> Array:
    return 2.0 * A.T @ A


def refitted(W: Array, A: Array, mask: NDArray[np.bool_]) -> Array:
    """Return the least-squares weights on the mask, from the inputs and not from the Hessian."""
    fitted = np.zeros_like(W)
    for row, kept in enumerate(mask):
        if kept.any():
            fitted[row, kept] = np.linalg.lstsq(A[:, kept], A @ W[row], rcond=None)[0]
    return fitted


def potential_error(A: Array, W: Array, other: Array) -> float:
    return float(np.square(A @ (W - other).T).sum())


# ---------------------------------------------------------------- how many, how well


@settings(max_examples=25)
@given(st.integers(1, 5), st.integers(2, 12), st.data())
def test_exactly_n_keep_weights_stay_and_they_are_the_least_squares_refit(
    rows: int, d_in: int, data: st.DataObject
) -> None:
    n_keep = data.draw(st.integers(1, rows * d_in))
    W, A = problem(rows, d_in, data.draw(st.integers(0, 10_000)))
    pruned = prune(W, hessian(A), n_keep)
    assert int(pruned.mask.sum()) == n_keep
    assert not pruned.weight[~pruned.mask].any()
    assert np.allclose(pruned.weight, refitted(W, A, pruned.mask), rtol=1e-6, atol=1e-8)
    assert pruned.loss == pytest.approx(potential_error(A, W, pruned.weight), rel=1e-6, abs=1e-8)


def test_keeping_everything_changes_nothing() -> None:
    W, A = problem(3, 7)
    pruned = prune(W, hessian(A), W.size)
    assert np.array_equal(pruned.weight, W) and pruned.mask.all()
    assert (pruned.loss, pruned.n_rounds) == (0.0, 0)


def test_the_callers_weights_are_not_changed() -> None:
    W, A = problem(3, 7)
    before = W.copy()
    prune(W, hessian(A), 5)
    prune(W, hessian(A), W.size).weight[:] = 0
    assert np.array_equal(W, before)


def test_loss_grows_as_fewer_weights_stay() -> None:
    W, A = problem(6, 20)
    losses = [prune(W, hessian(A), n).loss for n in (100, 60, 30, 10, 1)]
    assert losses == sorted(losses) and losses[0] > 0


def test_correlated_inputs_lose_less_than_by_magnitude_with_the_same_refit() -> None:
    by_obs, by_magnitude = [], []
    for seed in range(20):
        W, A = problem(6, 16, seed)
        n_keep = W.size // 5
        by_obs.append(prune(W, hessian(A), n_keep).loss)
        largest = np.argsort(-np.abs(W), axis=None)[:n_keep]
        mask = np.zeros(W.size, dtype=bool)
        mask[largest] = True
        mask = mask.reshape(W.shape)
        by_magnitude.append(potential_error(A, W, refitted(W, A, mask)))
    assert np.mean(by_obs) < 0.7 * np.mean(by_magnitude)
    assert sum(o < m for o, m in zip(by_obs, by_magnitude, strict=True)) == 20


def test_dead_inputs_keep_their_weights_where_their_neighbors_adapt() -> None:
    W, A = problem(2, 8)
    A[:, 3] = 0.0
    H = hessian(A) + 1e-3 * np.eye(8)
    pruned = prune(W, H, 15)
    kept = pruned.mask[:, 3]
    assert np.allclose(pruned.weight[kept, 3], W[kept, 3])


# ---------------------------------------------------------------- order


def textbook_obs(W: Array, H: Array, n_keep: int) -> tuple[Array, NDArray[np.bool_]]:
    """Return Hassibi and Stork's solution: one removal at a time, the inverse by elimination."""
    weight, mask = W.copy(), np.ones(W.shape, dtype=bool)
    inverse = np.stack([np.linalg.inv(H)] * len(W))
    while mask.sum() > n_keep:
        saliency = np.where(
            mask, weight**2 / np.where(mask, np.diagonal(inverse, axis1=1, axis2=2), 1.0), np.inf
        )
        row, p = np.unravel_index(np.argmin(saliency), W.shape)
        column = inverse[row][:, p].copy()
        weight[row] -= weight[row, p] / column[p] * column
        inverse[row] -= np.outer(column, column) / column[p]
        mask[row, p] = False
        weight[~mask] = 0.0
    return weight, mask


@pytest.mark.parametrize(("rows", "d_in"), [(1, 9), (3, 8), (5, 9)])
@pytest.mark.parametrize("seed", range(6))
def test_small_matrices_are_pruned_as_by_textbook_obs(rows: int, d_in: int, seed: int) -> None:
    W, A = problem(rows, d_in, seed)
    for n_keep in (1, 3, W.size // 2, W.size - 1):
        expected, mask = textbook_obs(W, hessian(A), n_keep)
        pruned = prune(W, hessian(A), n_keep)
        assert np.array_equal(pruned.mask, mask)
        assert np.allclose(pruned.weight, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_the_last_weight_to_go_is_the_cheapest_by_brute_force(seed: int) -> None:
    W, A = problem(1, 7, seed)
    losses = []
    for p in range(7):
        mask = np.arange(7)[None, :] != p
        losses.append(potential_error(A, W, refitted(W, A, mask)))
    pruned = prune(W, hessian(A), 6)
    assert int(np.flatnonzero(~pruned.mask[0])[0]) == int(np.argmin(losses))
    assert pruned.loss == pytest.approx(min(losses))


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.data())
def test_permuting_inputs_and_rows_permutes_the_result(seed: int, data: st.DataObject) -> None:
    W, A = problem(4, 9, seed)
    columns = data.draw(st.permutations(range(9)))
    rows = data.draw(st.permutations(range(4)))
    straight = prune(W, hessian(A), 12)
    permuted = prune(
        np.ascontiguousarray(W[rows][:, columns]), hessian(A[:, columns]), 12
    )
    assert np.array_equal(straight.mask[rows][:, columns], permuted.mask)
    assert np.allclose(straight.weight[rows][:, columns], permuted.weight, rtol=1e-6, atol=1e-9)


def test_repeating_gives_the_same_bits_even_with_ties() -> None:
    rng = np.random.default_rng(4)
    W = 2.0 * rng.integers(-3, 4, (6, 40))  # hooked weights: many ties in magnitude
    H = np.eye(40)
    first, second = prune(W, H, 50), prune(W, H, 50)
    assert np.array_equal(first.mask, second.mask)
    assert np.array_equal(first.weight, second.weight)
    assert first.loss == second.loss


def test_with_independent_inputs_the_largest_weights_stay_and_keep_their_values() -> None:
    rng = np.random.default_rng(8)
    W = rng.permutation(np.arange(1.0, 61.0)).reshape(4, 15)
    pruned = prune(W, np.eye(15), 20)
    assert np.array_equal(pruned.mask, W > 40)
    assert np.allclose(pruned.weight[pruned.mask], W[W > 40])


# ---------------------------------------------------------------- rounds and batches


@pytest.mark.timeout(5)
@settings(max_examples=100)
@given(st.integers(1, 600), st.integers(1, 3000), st.floats(0.0, 1.0))
def test_rounds_only_shrink_and_end_where_asked(rows: int, d_in: int, frac: float) -> None:
    n_keep = max(1, round(frac * rows * d_in))
    schedule = keep_schedule((rows, d_in), n_keep)
    if n_keep == rows * d_in:
        assert schedule == []
        return
    assert schedule[-1] == n_keep
    assert all(a >= b for a, b in zip([rows * d_in, *schedule], schedule, strict=False))


def test_large_matrices_take_fewer_and_coarser_rounds_than_small_ones() -> None:
    n_keep = 512 * 4608 // 20
    small, large = keep_schedule((10, 100), 50), keep_schedule((512, 4608), n_keep)
    assert small[0] == 980 and len(small) > 100
    assert large[0] <= 4 * n_keep and len(large) < 20


@pytest.mark.timeout(1)  # an endless schedule also eats the memory
@pytest.mark.parametrize(
    ("shape", "n_keep"), [((512, 2312), 222_544), ((1000, 3000), 204_000), ((300, 5000), 102_000)]
)
def test_schedule_ends_where_the_share_to_keep_rounds_up(
    shape: tuple[int, int], n_keep: int
) -> None:
    assert shape[0] * shape[1] * (n_keep / (shape[0] * shape[1])) > n_keep  # in floating point
    assert keep_schedule(shape, n_keep)[-1] == n_keep


@settings(max_examples=60)
@given(
    st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=1, max_size=12),
    st.sampled_from([1, 300, 1000, 1 << 20]),
)
def test_batches_hold_every_row_once_with_its_support(
    rows: list[list[bool]], max_bytes: int
) -> None:
    found: dict[int, list[int]] = {}
    for batch_rows, support, valid in support_batches(torch.tensor(rows), max_bytes):
        assert len(batch_rows) == 1 or support.shape[1] ** 2 * 8 * len(batch_rows) <= max_bytes
        for row, columns, is_valid in zip(batch_rows, support, valid, strict=True):
            assert int(row) not in found
            found[int(row)] = columns[is_valid].tolist()
    expected = {n: np.flatnonzero(row).tolist() for n, row in enumerate(rows) if any(row)}
    assert found == expected


def test_padding_of_a_gathered_square_is_the_identity() -> None:
    H = torch.arange(16.0, dtype=torch.float64).reshape(4, 4)
    support = torch.tensor([[1, 3], [2, 0]])
    valid = torch.tensor([[True, True], [True, False]])
    square = gather_square(H, support, valid)
    assert square.tolist() == [[[5.0, 7.0], [13.0, 15.0]], [[10.0, 0.0], [0.0, 1.0]]]


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("n_keep", [-1, 0, 22])
def test_number_to_keep_out_of_range_is_refused(n_keep: int) -> None:
    W, A = problem(3, 7)
    with pytest.raises(CompressionError, match=f"^{n_keep} of 21 weights to keep"):
        prune(W, hessian(A), n_keep)


@pytest.mark.parametrize(
    "H", [np.zeros((7, 7)), -np.eye(7), np.diag([1.0] * 6 + [-1e-3]), np.full((7, 7), np.nan)],
    ids=["zero", "negative", "indefinite", "nan"],
)
@pytest.mark.parametrize("n_keep", [5, 21])
def test_curvature_that_is_not_positive_definite_is_refused(H: Any, n_keep: int) -> None:
    with pytest.raises(CalibrationError, match="not positive definite"):
        prune(problem(3, 7)[0], H, n_keep)


def test_zero_weights_are_removed_first() -> None:
    rng = np.random.default_rng(4)
    W = rng.normal(size=(6, 10))
    W[:, ::3] = 0.0
    A = rng.normal(size=(10, 40))
    pruned = prune(W, A @ A.T, 35)
    assert pruned.mask.sum() == 35 and (W[pruned.mask] != 0).all()


def test_a_matrix_that_is_sparse_enough_is_left_as_it_is() -> None:
    rng = np.random.default_rng(5)
    W = np.where(rng.random((6, 9)) < 0.3, rng.normal(size=(6, 9)), 0.0)
    pruned = prune(W, np.eye(9) + 0.3, 30)
    np.testing.assert_array_equal(pruned.weight, W)
    np.testing.assert_array_equal(pruned.mask, W != 0)
    assert pruned.loss == 0.0


def test_no_more_weights_are_kept_than_are_allowed() -> None:
    rng = np.random.default_rng(4)
    allowed = rng.random((5, 8)) < 0.5
    W = np.where(allowed, rng.normal(size=(5, 8)), 0.0)
    pruned = prune(W, np.eye(8), 39, allowed)
    np.testing.assert_array_equal(pruned.mask, allowed)
    np.testing.assert_allclose(pruned.weight, W)
