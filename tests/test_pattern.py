"""N of every M inputs of a row stay, also in a last group that is shorter."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.compress import Pruning, prune
from pipeline.compress.pattern import keep_best, most_kept, parse
from pipeline.errors import CompressionError

ALGORITHMS = ("auto", "obs", "blocks", "eliminate", "admm", "swaps", "magnitude")
PATTERNS = ("2:4", "1:4", "1:3", "4:4", "3:5")


def counts(mask: NDArray[np.bool_], m: int) -> NDArray[np.int64]:
    """Return how many stay in each group of m, (rows, groups)."""
    padded = np.pad(mask, ((0, 0), (0, -mask.shape[1] % m)))
    return np.asarray(padded.reshape(len(mask), -1, m).sum(axis=2))


@settings(max_examples=60)
@given(
    st.sampled_from(ALGORITHMS), st.sampled_from(PATTERNS), st.integers(1, 4), st.integers(1, 14),
    st.integers(0, 1000),
)
def test_as_many_stay_in_every_group_as_the_pattern_says(
    make_group: Any, algorithm: str, pattern: str, rows: int, d_in: int, seed: int
) -> None:
    group = make_group(rows, d_in, seed)
    n, m = parse(pattern)
    pruned = prune(group.W, group.H, 1, pruning=Pruning(algorithm, pattern))
    sizes = counts(np.ones((rows, d_in), dtype=bool), m)  # the last one may be shorter
    assert np.array_equal(counts(pruned.mask, m), np.minimum(sizes, n))
    assert pruned.mask.sum() == most_kept((rows, d_in), pattern)
    assert np.allclose(pruned.weight, group.refitted(pruned.mask), atol=1e-7)


@settings(max_examples=60)
@given(st.sampled_from(ALGORITHMS), st.sampled_from(PATTERNS), st.integers(0, 1000))
def test_a_pattern_holds_where_the_users_mask_leaves_groups_unequal(
    make_group: Any, algorithm: str, pattern: str, seed: int
) -> None:
    group = make_group(3, 10, seed)
    n, m = parse(pattern)
    allowed = np.random.default_rng(seed).random((3, 10)) < 0.5
    allowed[0, :m], allowed[0, m:] = True, False
    pruned = prune(np.where(allowed, group.W, 0.0), group.H, 30, allowed,
                   Pruning(algorithm, pattern))
    assert not (pruned.mask & ~allowed).any()
    assert np.array_equal(counts(pruned.mask, m), np.minimum(counts(allowed, m), n))


def test_the_order_of_obs_under_a_pattern_skips_what_must_stay(make_group: Any) -> None:
    for seed in range(6):
        group = make_group(1, 6, seed)
        mask, room = np.ones((1, 6), dtype=bool), [2, 2]
        while sum(room):
            errors = {}
            for p in np.flatnonzero(mask[0]):
                if room[p // 3]:
                    trial = mask.copy()
                    trial[0, p] = False
                    errors[int(p)] = group.error_on(trial)
            p = min(errors, key=lambda i: errors[i])
            mask[0, p] = False
            room[p // 3] -= 1
        assert np.array_equal(prune(group.W, group.H, 1, pruning=Pruning("obs", "1:3")).mask, mask)


@pytest.mark.parametrize("algorithm", ["obs", "admm", "swaps", "auto"])
def test_second_order_patterns_lose_less_than_by_magnitude(
    make_group: Any, algorithm: str
) -> None:
    ratios = []
    for seed in range(8):
        group = make_group(4, 24, seed)
        losses = [prune(group.W, group.H, 1, pruning=Pruning(a, "2:4")).loss
                  for a in (algorithm, "magnitude")]
        ratios.append(losses[0] / losses[1])
    assert np.mean(ratios) < 0.9


# ---------------------------------------------------------------- the best of scores


@settings(max_examples=50)
@given(st.lists(st.integers(-3, 3), min_size=6, max_size=6), st.integers(0, 8))
def test_the_highest_scores_of_the_candidates_stay_the_earlier_of_equals(
    scores: list[int], n_keep: int
) -> None:
    score = torch.tensor(scores, dtype=torch.float64).view(2, 3)
    candidates = torch.tensor([[True, True, False], [True, True, True]])
    ranked = sorted(
        (i for i in range(6) if candidates.flatten()[i]), key=lambda i: (-scores[i], i))
    found = torch.nonzero(keep_best(score, candidates, n_keep).flatten())[:, 0].tolist()
    assert found == sorted(ranked[:n_keep])


def test_the_best_of_a_group_are_the_best_by_brute_force() -> None:
    score = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 7)))
    everything = torch.ones(3, 7, dtype=torch.bool)
    mask = keep_best(score, everything, 21, "2:4")
    for row in range(3):
        for columns in (range(4), range(4, 7)):
            best = max(combinations(columns, 2), key=lambda c: sum(float(score[row, i]) for i in c))
            assert tuple(i for i in columns if mask[row, i]) == best
    assert keep_best(score, everything, 5, "2:4").sum() == 5  # a number may ask for fewer


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("pattern", ["4:2", "0:4", "2:0", "2:", "two of four", "2:4:6", "", "-1:4"])
def test_a_pattern_that_is_none_is_refused(make_group: Any, pattern: str) -> None:
    group = make_group(2, 8)
    with pytest.raises(CompressionError, match=f"compress.pattern: '{pattern}' is neither"):
        prune(group.W, group.H, 4, pruning=Pruning(pattern=pattern))
