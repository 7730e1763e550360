"""The greedy order of OBS: always the cheapest removal left, whichever way it is computed."""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.compress import Pruning, obs, prune
from pipeline.compress.kernels_rows import remove_greedily
from pipeline.compress.obs import Greedy, obs_mask, obs_rows

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


ONE_BY_ONE = Greedy()


def mask_of(
    group: Any, n_keep: int, greedy: Greedy = ONE_BY_ONE, candidates: Mask | None = None
) -> Mask:
    allowed = np.ones(group.W.shape, dtype=bool) if candidates is None else candidates
    found: Mask = obs_mask(
        torch.from_numpy(group.W), torch.from_numpy(group.H), torch.from_numpy(allowed), n_keep,
        greedy,
    ).numpy()
    return found


# ---------------------------------------------------------------- against the definition


def textbook_obs(W: Array, H: Array, n_keep: int) -> tuple[Array, Mask]:
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
def test_one_at_a_time_is_textbook_obs(
    make_group: Any, rows: int, d_in: int, seed: int
) -> None:
    group = make_group(rows, d_in, seed)
    for n_keep in (1, 3, group.W.size // 2, group.W.size - 1):
        expected, mask = textbook_obs(group.W, group.H, n_keep)
        pruned = prune(group.W, group.H, n_keep, pruning=Pruning("obs"))
        assert np.array_equal(pruned.mask, mask)
        assert np.allclose(pruned.weight, expected, rtol=1e-6, atol=1e-9)


def removals(group: Any, row: int) -> list[tuple[float, int]]:
    """Return (increase of the error, input) of a row's removals in greedy order, by least squares.
    """
    alone = type(group)(group.W[[row]], group.A)
    mask = np.ones((1, group.W.shape[1]), dtype=bool)
    order, before = [], 0.0
    while mask.any():
        errors = {}
        for p in np.flatnonzero(mask[0]):
            trial = mask.copy()
            trial[0, p] = False
            errors[int(p)] = alone.error_on(trial)
        p = min(errors, key=lambda i: errors[i])
        order.append((errors[p] - before, p))
        before = errors[p]
        mask[0, p] = False
    return order


@settings(max_examples=20)
@given(st.integers(1, 4), st.integers(2, 6), st.integers(0, 10_000), st.data())
def test_rows_compete_by_the_cheapest_next_removal_of_any_row(
    make_group: Any, rows: int, d_in: int, seed: int, data: st.DataObject
) -> None:
    group = make_group(rows, d_in, seed, 0.95)  # strongly correlated: scores rise and fall
    n_keep = data.draw(st.integers(1, group.W.size - 1))
    traces = [removals(group, row) for row in range(rows)]
    heap = [(trace[0][0], row, 0) for row, trace in enumerate(traces)]
    heapq.heapify(heap)
    expected = np.ones(group.W.shape, dtype=bool)
    for _ in range(group.W.size - n_keep):
        _, row, i = heapq.heappop(heap)
        expected[row, traces[row][i][1]] = False
        if i + 1 < d_in:
            heapq.heappush(heap, (traces[row][i + 1][0], row, i + 1))
    assert np.array_equal(mask_of(group, n_keep), expected)


def test_a_cheap_removal_behind_a_dear_one_waits_for_it(make_group: Any) -> None:
    found = 0
    for seed in range(40):
        group = make_group(1, 6, seed, 0.95)
        increases = [increase for increase, _ in removals(group, 0)]
        found += any(b < a for a, b in zip(increases, increases[1:], strict=False))
    assert found > 5  # the competition above is not that of sorted scores


@pytest.mark.parametrize("seed", range(5))
def test_the_last_weight_to_go_is_the_cheapest_by_brute_force(make_group: Any, seed: int) -> None:
    group = make_group(1, 7, seed)
    losses = [group.error_on(np.arange(7)[None, :] != p) for p in range(7)]
    pruned = prune(group.W, group.H, 6, pruning=Pruning("obs"))
    assert int(np.flatnonzero(~pruned.mask[0])[0]) == int(np.argmin(losses))
    assert pruned.loss == pytest.approx(min(losses))


def test_with_independent_inputs_the_largest_weights_stay_and_keep_their_values() -> None:
    rng = np.random.default_rng(8)
    W = rng.permutation(np.arange(1.0, 61.0)).reshape(4, 15)
    pruned = prune(W, np.eye(15), 20, pruning=Pruning("obs"))
    assert np.array_equal(pruned.mask, W > 40)
    assert np.allclose(pruned.weight[pruned.mask], W[W > 40])


# ---------------------------------------------------------------- blocks


def test_blocks_of_one_are_one_at_a_time(make_group: Any) -> None:
    for seed in range(5):
        group = make_group(4, 30, seed)
        assert Greedy(0.03).block(30) == 1 and Greedy(0.1).block(30) == 3
        assert np.array_equal(mask_of(group, 40, Greedy(0.03)), mask_of(group, 40))


@pytest.mark.parametrize(
    ("greedy", "limit"), [(Greedy(0.02), 1.03), (Greedy(0.05), 1.12), (Greedy(0.02, 0.75), 1.2)],
    ids=str,
)
def test_blocks_and_elimination_lose_little_against_one_at_a_time(
    make_group: Any, greedy: Greedy, limit: float
) -> None:
    ratios = []
    for seed in range(5):
        group = make_group(4, 100, seed)
        mask = mask_of(group, 40, greedy)
        assert mask.sum() == 40
        ratios.append(group.error_on(mask) / group.error_on(mask_of(group, 40)))
    assert max(ratios) > 1.0 and np.mean(ratios) < limit


def test_elimination_is_a_share_of_the_removals_and_not_of_the_inputs(make_group: Any) -> None:
    ratios = []
    for seed in range(5):
        group = make_group(4, 60, seed)
        n_keep = int(0.7 * group.W.size)
        exact, eliminated = (
            prune(group.W, group.H, n_keep, pruning=Pruning(name)).loss
            for name in ("obs", "eliminate")
        )
        ratios.append(eliminated / exact)
    # one shot to a quarter of the inputs, whatever is asked, loses several times this
    assert np.mean(ratios) < 1.3


def test_one_shot_elimination_takes_the_first_scores() -> None:
    group_W, H = np.array([[1.0, 4.0, 2.0, 3.0]]), np.diag([1.0, 1.0, 100.0, 1.0])
    whole = torch.ones(1, 4, dtype=torch.bool)
    W, hessian = torch.from_numpy(group_W), torch.from_numpy(H)
    assert obs_mask(W, hessian, whole, 2, Greedy(0.0, 1.0)).tolist() == [[False, True, True, False]]


# ---------------------------------------------------------------- candidates and rows


@pytest.mark.parametrize("seed", range(6))
def test_what_is_gone_already_counts_as_gone(make_group: Any, seed: int) -> None:
    group = make_group(3, 8, seed)
    candidates = np.random.default_rng(seed).random((3, 8)) < 0.6
    candidates[:, 0] = True
    W = np.where(candidates, group.W, 0.0)
    for row in range(3):
        alive = candidates[row]
        # a row without the others is a smaller problem of its own
        smaller = type(group)(W[[row]][:, alive], group.A[:, alive])
        n_keep = max(1, int(alive.sum()) // 2)
        expected = mask_of(smaller, n_keep)
        alone = type(group)(W[[row]], group.A)
        found = mask_of(alone, n_keep, candidates=candidates[[row]])
        assert np.array_equal(found[:, alive], expected) and not found[:, ~alive].any()


def test_weights_that_adapted_to_a_loss_are_judged_by_their_new_values(make_group: Any) -> None:
    candidates = np.arange(12)[None, :] % 3 != 0
    n_differing = 0
    for seed in range(10):
        group = make_group(1, 12, seed)
        smaller = group.A[:, candidates[0]]
        adapted = type(group)(group.refitted(candidates)[:, candidates[0]], smaller)
        found = mask_of(group, 3, candidates=candidates)[:, candidates[0]]
        assert np.array_equal(found, mask_of(adapted, 3))
        n_differing += not np.array_equal(
            found, mask_of(type(group)(group.W[:, candidates[0]], smaller), 3))
    assert n_differing > 2  # the old values would have given others


def test_each_row_loses_its_own_number(make_group: Any) -> None:
    group = make_group(4, 9)
    n_keep = torch.tensor([0, 3, 8, 9])
    whole = torch.ones(4, 9, dtype=torch.bool)
    found = obs_rows(
        torch.from_numpy(group.W), torch.from_numpy(group.H), whole, n_keep).numpy()
    assert found.sum(axis=1).tolist() == n_keep.tolist()
    for row in (1, 2):
        alone = type(group)(group.W[[row]], group.A)
        assert np.array_equal(found[[row]], mask_of(alone, int(n_keep[row])))


# ---------------------------------------------------------------- compiled, and by BLAS


@pytest.mark.parametrize("greedy", [Greedy(), Greedy(0.1), Greedy(0.1, 0.5), Greedy(0.4)])
@pytest.mark.parametrize("is_whole", [True, False])
def test_small_matrices_lose_the_same_weights_compiled_as_by_blas(
    greedy: Greedy, is_whole: bool, make_group: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = make_group(rows=12, d_in=40, seed=3)
    candidates = np.random.default_rng(0).random(group.W.shape) < (1.0 if is_whole else 0.7)
    weight, hessian, allowed = map(torch.from_numpy, (group.W, group.H, candidates))
    n_left = torch.arange(1, 13)
    found = []
    for up_to in (0, 1024):
        monkeypatch.setattr(obs, "_COMPILED_UP_TO", up_to)
        found.append((mask_of(group, 200, greedy, candidates), obs_rows(
            weight, hessian, allowed, n_left, greedy.block(40)).numpy()))
    for by_blas, compiled in zip(*found, strict=True):
        np.testing.assert_array_equal(by_blas, compiled)
    assert found[1][0].sum() == 200 and (found[1][1].sum(axis=1) == n_left.numpy()).all()
    np.testing.assert_array_equal(group.W, weight.numpy())


def test_a_pivot_that_is_not_positive_is_refused() -> None:
    weight, order, scores = np.ones(3), np.empty(2, dtype=np.int64), np.empty(2)
    inverse = np.array([[1.0, 2.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert not remove_greedily(weight, inverse, 2, 1, order, scores)
