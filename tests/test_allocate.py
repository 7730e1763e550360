"""LAMPS scores are the paper's formula, and counts add up to the sparsity asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.allocate import lamps_counts, lamps_scores
from pipeline.network import INPUT, CubaNeuron, Layer, Network, Synapse

NEURON = CubaNeuron(1024, 128, 80)


def network_of(weights: list[NDArray[Any]]) -> Network:
    """Return a network whose layers all hang on the input."""
    layers = tuple(
        Layer(f"fc{i}", (Synapse(f"fc{i}", INPUT, w),), NEURON, (len(w),))
        for i, w in enumerate(weights)
    )
    return Network("parallel", (weights[0].shape[1],), 5, layers)


def distinct(shape: tuple[int, int], seed: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    size = shape[0] * shape[1]
    signs = rng.choice([-1.0, 1.0], size)
    return (signs * rng.permutation(np.arange(1.0, size + 1) ** 1.5)).reshape(shape)


@settings(max_examples=30)
@given(st.integers(1, 6), st.integers(1, 8), st.integers(0, 1000))
def test_scores_are_the_square_over_the_squares_that_are_not_smaller(
    rows: int, d_in: int, seed: int
) -> None:
    weight = distinct((rows, d_in), seed)
    square = weight.ravel() ** 2
    expected = [w / sum(other for other in square if other >= w) for w in square]
    assert np.allclose(lamps_scores(weight), expected, rtol=1e-12)


def test_tied_weights_are_counted_in_the_order_they_stand() -> None:
    # sorted as in the paper, the first of two equal weights is divided by both, the second by one
    assert lamps_scores(np.array([[2, -2, 1]])).tolist() == pytest.approx([4 / 8, 4 / 4, 1 / 9])


@given(st.lists(st.integers(-128, 127), min_size=1, max_size=20))
def test_zero_weights_score_zero_and_the_largest_scores_one(codes: list[int]) -> None:
    scores = lamps_scores(np.array([codes], dtype=np.int32))
    assert np.array_equal(scores == 0, np.array(codes) == 0)
    if any(codes):
        assert scores.max() == 1.0
        assert np.sum(scores == 1.0) == 1


def test_scores_do_not_depend_on_the_scale_of_a_group() -> None:
    weight = distinct((4, 5), 0)
    assert np.allclose(lamps_scores(weight), lamps_scores(64 * weight), rtol=1e-12)


@settings(max_examples=60)
@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=4), st.floats(0.0, 0.999),
    st.integers(0, 1000),
)
def test_counts_add_up_to_the_target_and_none_is_zero(
    rows: list[int], sparsity: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    weights = []
    for n in rows:
        weight = 2 * rng.integers(-20, 21, (n, 6)).astype(np.int32)
        weight[0, 0] = 2
        weights.append(weight * int(rng.integers(1, 5)))
    network = network_of(weights)
    counts = lamps_counts(network, sparsity, {})
    size = 6 * sum(rows)
    assert sum(counts.values()) == max(len(rows), round(size * (1 - sparsity)))
    assert min(counts.values()) >= 1
    assert all(counts[f"fc{i}"] <= 6 * n for i, n in enumerate(rows))


def test_each_group_keeps_its_highest_scores_of_the_whole_network() -> None:
    weights = [distinct((5, 6), 1), 100 * distinct((2, 6), 2), distinct((9, 6), 3)]
    counts = lamps_counts(network_of(weights), 0.8, {})
    scores = [(score, i) for i, w in enumerate(weights) for score in lamps_scores(w)]
    kept = sorted(scores, reverse=True)[: round(96 * 0.2)]
    assert counts == {f"fc{i}": sum(owner == i for _, owner in kept) for i in range(3)}


def test_sparsity_zero_keeps_everything() -> None:
    assert lamps_counts(network_of([distinct((3, 4), 0), distinct((2, 4), 1)]), 0.0, {}) == {
        "fc0": 12, "fc1": 8,
    }


def test_fixed_groups_keep_their_own_sparsity_and_leave_the_rest_its_target() -> None:
    weights = [distinct((10, 6), 1), distinct((20, 6), 2), distinct((30, 6), 3)]
    counts = lamps_counts(network_of(weights), 0.9, {"fc1": 0.5})
    assert counts["fc1"] == 60
    assert counts["fc0"] + counts["fc2"] == round(240 * 0.1)
    fixed = {"fc0": 0.25, "fc1": 0.5, "fc2": 0.999}
    assert lamps_counts(network_of(weights), 0.9, fixed) == {"fc0": 45, "fc1": 60, "fc2": 1}


def test_counts_are_listed_for_every_group_of_a_real_chain(conv_chain: Any) -> None:
    network = conv_chain()
    counts = lamps_counts(network, 0.7, {})
    assert set(counts) == {"conv", "fc"}
    n_weights = sum(s.weight.size for s in network.synapses)
    assert sum(counts.values()) == round(0.3 * n_weights)


def test_equal_weights_go_to_the_same_groups_every_time() -> None:
    weights = [np.full((4, 6), 2, dtype=np.int32)] * 3
    network = network_of([w.copy() for w in weights])
    first = lamps_counts(network, 0.7, {})
    assert first == lamps_counts(replace(network, name="again"), 0.7, {})
    assert first["fc0"] >= first["fc1"] >= first["fc2"]
