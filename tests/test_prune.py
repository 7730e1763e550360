"""Pruning keeps exactly what is asked, refits it optimally, and says how it was done."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.compress import Pruning, prune
from pipeline.errors import CalibrationError, CompressionError, DeviceError

ALGORITHMS = ("auto", "obs", "blocks", "eliminate", "admm", "swaps", "magnitude")
EACH = pytest.mark.parametrize("algorithm", ALGORITHMS)
LADDER = ("admm", "swaps", "eliminate", "blocks")


# ---------------------------------------------------------------- how many, how well


@settings(max_examples=60)
@given(st.sampled_from(ALGORITHMS), st.integers(1, 5), st.integers(2, 12), st.data())
def test_exactly_n_keep_weights_stay_and_they_are_the_least_squares_refit(
    make_group: Any, algorithm: str, rows: int, d_in: int, data: st.DataObject
) -> None:
    n_keep = data.draw(st.integers(1, rows * d_in))
    group = make_group(rows, d_in, data.draw(st.integers(0, 10_000)))
    pruned = prune(group.W, group.H, n_keep, pruning=Pruning(algorithm))
    assert int(pruned.mask.sum()) == n_keep
    assert not pruned.weight[~pruned.mask].any()
    assert np.allclose(pruned.weight, group.refitted(pruned.mask), rtol=1e-6, atol=1e-8)
    assert pruned.loss == pytest.approx(group.error(pruned.weight), rel=1e-6, abs=1e-8)


@EACH
def test_keeping_everything_changes_nothing(make_group: Any, algorithm: str) -> None:
    group = make_group(3, 7)
    pruned = prune(group.W, group.H, group.W.size, pruning=Pruning(algorithm))
    assert np.array_equal(pruned.weight, group.W) and pruned.mask.all()
    assert (pruned.loss, pruned.algorithm) == (0.0, "nothing to remove")
    assert pruned.relative_loss is None


@EACH
def test_the_callers_weights_are_not_changed(make_group: Any, algorithm: str) -> None:
    group = make_group(3, 7)
    W, H = group.W.copy(), group.H
    pruning = Pruning(algorithm)
    for n_keep in (5, 21):
        prune(W, H, n_keep, pruning=pruning).weight[:] = 0
    assert np.array_equal(W, group.W) and np.array_equal(H, group.H)


@EACH
def test_loss_grows_as_fewer_weights_stay(make_group: Any, algorithm: str) -> None:
    group = make_group(6, 20)
    losses = [prune(group.W, group.H, n, pruning=Pruning(algorithm)).loss
              for n in (100, 60, 30, 10, 1)]
    assert losses == sorted(losses) and losses[0] > 0


@pytest.mark.parametrize("algorithm", [a for a in ALGORITHMS if a != "magnitude"])
def test_correlated_inputs_lose_less_than_by_magnitude_with_the_same_refit(
    make_group: Any, algorithm: str
) -> None:
    losses: dict[str, list[float]] = {algorithm: [], "magnitude": []}
    for seed in range(12):
        group = make_group(6, 16, seed)
        for name in losses:
            pruned = prune(group.W, group.H, group.W.size // 5, pruning=Pruning(name))
            losses[name].append(pruned.loss)
    assert np.mean(losses[algorithm]) < 0.8 * np.mean(losses["magnitude"])


def test_magnitude_keeps_the_largest_weights(make_group: Any) -> None:
    group = make_group(4, 9)
    mask = prune(group.W, group.H, 11, pruning=Pruning("magnitude")).mask
    assert np.abs(group.W[mask]).min() > np.abs(group.W[~mask]).max()


@EACH
def test_without_refit_the_weights_that_stay_keep_their_values(
    make_group: Any, algorithm: str
) -> None:
    group = make_group(4, 9)
    pruned = prune(group.W, group.H, 14, pruning=Pruning(algorithm, is_refitted=False))
    assert np.array_equal(pruned.weight, np.where(pruned.mask, group.W, 0.0))
    assert pruned.loss == pytest.approx(group.error(pruned.weight))
    assert pruned.loss > prune(group.W, group.H, 14, pruning=Pruning(algorithm)).loss


def test_dead_inputs_keep_their_weights_where_their_neighbors_adapt(make_group: Any) -> None:
    group = make_group(2, 8)
    group.A[:, 3] = 0.0
    pruned = prune(group.W, group.H + 1e-3 * np.eye(8), 15)
    kept = pruned.mask[:, 3]
    assert np.allclose(pruned.weight[kept, 3], group.W[kept, 3])


# ---------------------------------------------------------------- the ladder of auto


def greedy_loss(group: Any, mask: Any) -> float:
    """Return the loss of rank-1 OBS with as many weights in each row as the mask has."""
    return sum(
        prune(group.W[[row]], group.H, int(mask[row].sum()), pruning=Pruning("obs")).loss
        for row in range(len(mask)) if mask[row].any()
    ) + sum(float(np.square(group.A @ group.W[row]).sum())
            for row in range(len(mask)) if not mask[row].any())


def is_within(group: Any, n_keep: int, margin: float, algorithm: str) -> bool:
    pruned = prune(group.W, group.H, n_keep, pruning=Pruning(algorithm))
    return pruned.loss <= (1 + margin) * greedy_loss(group, pruned.mask) * (1 + 1e-9)


@settings(max_examples=12)
@given(st.floats(-0.5, 0.5), st.integers(0, 10_000), st.floats(0.05, 0.9))
def test_auto_stays_within_its_margin_of_greedy_obs_unless_every_rung_exceeds_it(
    make_group: Any, loss_margin: float, seed: int, kept_frac: float
) -> None:
    group = make_group(5, 14, seed)  # few rows: all of them are sampled
    n_keep = max(1, int(kept_frac * group.W.size))
    pruned = prune(group.W, group.H, n_keep, pruning=Pruning(loss_margin=loss_margin))
    assert pruned.algorithm in LADDER
    assert pruned.relative_loss == pytest.approx(
        pruned.loss / greedy_loss(group, pruned.mask), rel=1e-6)
    assert pruned.relative_loss is not None
    if pruned.relative_loss > 1 + loss_margin:
        assert not any(is_within(group, n_keep, loss_margin - 1e-6, rung) for rung in LADDER)


def test_auto_takes_the_cheapest_rung_that_serves(make_group: Any) -> None:
    found = set()
    for seed in range(6):
        group = make_group(5, 14, seed)
        for margin in (10.0, 0.0, -0.05):
            pruned = prune(group.W, group.H, 20, pruning=Pruning(loss_margin=margin))
            found.add(pruned.algorithm)
            cheaper = LADDER[:LADDER.index(pruned.algorithm)]
            assert not any(is_within(group, 20, margin, rung) for rung in cheaper)
    assert {"admm", "swaps"} <= found


@pytest.mark.parametrize("seed", range(4))
def test_where_no_rung_serves_the_best_one_is_taken(make_group: Any, seed: int) -> None:
    group = make_group(5, 14, seed)
    pruned = prune(group.W, group.H, 20, pruning=Pruning(loss_margin=-0.5))
    ratios = []
    for rung in LADDER:
        of_rung = prune(group.W, group.H, 20, pruning=Pruning(rung))
        ratios.append(of_rung.loss / greedy_loss(group, of_rung.mask))
    assert pruned.relative_loss == pytest.approx(min(ratios), rel=1e-6)


def test_the_ladder_ends_before_greedy_rungs_that_would_take_minutes(
    make_group: Any, monkeypatch: Any
) -> None:
    group, never = make_group(5, 14, 0), Pruning(loss_margin=-0.99)  # nothing is ever good enough
    everything = prune(group.W, group.H, 20, pruning=never)
    module = sys.modules[prune.__module__]  # the package exports the function of this name
    monkeypatch.setattr(module, "_CLIMB_BUDGET", 5 * 14**3 - 1)
    cheap = prune(group.W, group.H, 20, pruning=never)
    assert cheap.algorithm in ("admm", "swaps") and cheap.relative_loss is not None
    assert everything.relative_loss is not None
    assert everything.relative_loss <= cheap.relative_loss
    monkeypatch.setattr(module, "_CLIMB_BUDGET", 5 * 14**3)
    assert prune(group.W, group.H, 20, pruning=never).algorithm == everything.algorithm


@pytest.mark.parametrize("algorithm", ALGORITHMS[1:])
def test_an_algorithm_asked_for_by_name_is_the_one_that_runs(
    make_group: Any, algorithm: str
) -> None:
    group = make_group(4, 9)
    pruned = prune(group.W, group.H, 14, pruning=Pruning(algorithm))
    assert (pruned.algorithm, pruned.relative_loss) == (algorithm, None)


# ---------------------------------------------------------------- symmetry


@settings(max_examples=12)
@given(
    st.sampled_from(("obs", "admm", "swaps", "magnitude")), st.integers(0, 10_000), st.data()
)
def test_permuting_inputs_and_rows_permutes_the_result(
    make_group: Any, algorithm: str, seed: int, data: st.DataObject
) -> None:
    group = make_group(4, 9, seed)
    columns = data.draw(st.permutations(range(9)))
    rows = data.draw(st.permutations(range(4)))
    straight = prune(group.W, group.H, 12, pruning=Pruning(algorithm))
    permuted = prune(
        group.W[rows][:, columns], group.H[columns][:, columns], 12, pruning=Pruning(algorithm)
    )
    assert np.array_equal(straight.mask[rows][:, columns], permuted.mask)
    assert np.allclose(straight.weight[rows][:, columns], permuted.weight, rtol=1e-6, atol=1e-9)


@EACH
def test_repeating_gives_the_same_bits_even_with_ties(algorithm: str) -> None:
    rng = np.random.default_rng(4)
    W = 2.0 * rng.integers(-3, 4, (6, 40))  # hooked weights: many ties in magnitude
    H = np.eye(40) + 0.2
    first, second = (prune(W, H, 50, pruning=Pruning(algorithm)) for _ in range(2))
    assert np.array_equal(first.mask, second.mask)
    assert np.array_equal(first.weight, second.weight)
    assert (first.loss, first.algorithm) == (second.loss, second.algorithm)


@pytest.mark.parametrize(
    ("algorithm", "expected"), [("obs", np.arange(12) >= 7), ("magnitude", np.arange(12) < 5)])
def test_of_equal_scores_the_first_is_removed_or_kept_first(algorithm: str, expected: Any) -> None:
    mask = prune(np.full((3, 4), 2.0), np.eye(4), 5, pruning=Pruning(algorithm)).mask
    assert np.array_equal(mask.ravel(), expected)


# ---------------------------------------------------------------- zeros and masks


@pytest.mark.parametrize("algorithm", ["obs", "magnitude"])
def test_zero_weights_are_removed_first(algorithm: str) -> None:
    rng = np.random.default_rng(4)
    W = rng.normal(size=(6, 10))
    W[:, ::3] = 0.0
    A = rng.normal(size=(10, 40))
    pruned = prune(W, A @ A.T, 35, pruning=Pruning(algorithm))
    assert pruned.mask.sum() == 35 and (W[pruned.mask] != 0).all()


@EACH
def test_a_matrix_that_is_sparse_enough_is_left_as_it_is(algorithm: str) -> None:
    rng = np.random.default_rng(5)
    W = np.where(rng.random((6, 9)) < 0.3, rng.normal(size=(6, 9)), 0.0)
    pruned = prune(W, np.eye(9) + 0.3, 30, pruning=Pruning(algorithm))
    np.testing.assert_array_equal(pruned.weight, W)
    np.testing.assert_array_equal(pruned.mask, W != 0)
    assert pruned.loss == 0.0 and pruned.algorithm == "nothing to remove"


@settings(max_examples=40)
@given(st.sampled_from(ALGORITHMS), st.integers(0, 10_000), st.integers(1, 40))
def test_weights_that_are_not_allowed_stay_zero(
    make_group: Any, algorithm: str, seed: int, n_keep: int
) -> None:
    group = make_group(5, 8, seed)
    allowed = np.random.default_rng(seed).random((5, 8)) < 0.5
    allowed[3] = False  # a row without any
    pruned = prune(np.where(allowed, group.W, 0.0), group.H, n_keep, allowed, Pruning(algorithm))
    assert not (pruned.mask & ~allowed).any() and not pruned.weight[~allowed].any()
    assert pruned.mask.sum() == min(n_keep, allowed.sum())


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("n_keep", [-1, 0, 22])
@pytest.mark.parametrize("pattern", ["unstructured", "2:4", "inputs"])
def test_number_to_keep_out_of_range_is_refused(
    make_group: Any, n_keep: int, pattern: str
) -> None:
    group = make_group(3, 7)
    with pytest.raises(CompressionError, match=f"^{n_keep} of 21 weights to keep"):
        prune(group.W, group.H, n_keep, pruning=Pruning(pattern=pattern))


@pytest.mark.parametrize(
    "H",
    [np.zeros((7, 7)), -np.eye(7), np.diag([1.0] * 6 + [-1e-3]), np.full((7, 7), np.nan),
     np.diag([1.0] * 6 + [np.inf])],
    ids=["zero", "negative", "indefinite", "nan", "inf"],
)
@pytest.mark.parametrize("n_keep", [5, 21])
@pytest.mark.parametrize(
    "pruning",
    [*(Pruning(a) for a in ALGORITHMS), Pruning(pattern="inputs"), Pruning("admm", "2:4"),
     Pruning("magnitude", is_refitted=False)],
    ids=str,
)
def test_curvature_that_is_not_positive_definite_is_refused(
    make_group: Any, H: Any, n_keep: int, pruning: Pruning
) -> None:
    with pytest.raises(CalibrationError, match="not positive definite"):
        prune(make_group(3, 7).W, H, n_keep, pruning=pruning)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_asked_for_and_absent_is_an_error_that_says_what_to_do(make_group: Any) -> None:
    group = make_group(3, 7)
    with pytest.raises(DeviceError, match="'cuda' was asked for.*use 'cpu', or install a CUDA"):
        prune(group.W, group.H, 5, pruning=Pruning(device="cuda"))
