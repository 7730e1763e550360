"""Counts and bits add up to what is asked, and go where they save most."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.allocate import (
    LossCurve,
    lamps_counts,
    lamps_scores,
    least_loss_bits,
    least_loss_counts,
    uniform_counts,
)
from pipeline.errors import CompressionError
from pipeline.network import INPUT, Layer, Network, Synapse
from pipeline.neuron import CubaNeuron

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


def test_what_is_no_weight_is_not_counted() -> None:
    weight, other = distinct((4, 6), 1), distinct((4, 6), 2)
    allowed = np.ones(weight.shape, dtype=np.bool_)
    allowed[:, 2:] = False
    network = network_of([weight * allowed, other])
    first, second = network.layers
    group = replace(first.synapses[0], allowed=allowed, n_absent=16)
    network = network.with_layers((replace(first, synapses=(group,)), second))
    counts = lamps_counts(network, 0.5, {})
    assert sum(counts.values()) == (8 + 24) // 2 and counts["fc0"] <= 8


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


# ---------------------------------------------------------------- uniform


def test_uniform_takes_the_same_share_of_every_group_but_leaves_one() -> None:
    weights = [distinct((10, 6), 1), distinct((20, 6), 2), distinct((1, 6), 3)]
    assert uniform_counts(network_of(weights), 0.9, {}) == {"fc0": 6, "fc1": 12, "fc2": 1}
    assert uniform_counts(network_of(weights), 0.99, {"fc1": 0.5}) == {
        "fc0": 1, "fc1": 60, "fc2": 1}


# ---------------------------------------------------------------- least loss


def convex(rng: np.random.Generator, n: int) -> LossCurve:
    """Return a convex falling curve at every number from 1 to n."""
    drops = np.sort(rng.exponential(size=n - 1))[::-1]
    return LossCurve(np.arange(1, n + 1), np.concatenate([np.cumsum(drops[::-1])[::-1], [0.0]]))


@settings(max_examples=60)
@given(st.lists(st.integers(2, 7), min_size=1, max_size=3), st.integers(0, 1000), st.data())
def test_counts_by_loss_are_the_best_there_are_on_small_convex_curves(
    sizes: list[int], seed: int, data: st.DataObject
) -> None:
    rng = np.random.default_rng(seed)
    curves = {f"g{i}": convex(rng, n) for i, n in enumerate(sizes)}
    n_total = data.draw(st.integers(len(sizes), sum(sizes)))
    counts = least_loss_counts(curves, n_total)
    assert sum(counts.values()) == n_total
    best = min(
        sum(c.loss[n - 1] for c, n in zip(curves.values(), trial, strict=True))
        for trial in product(*(range(1, n + 1) for n in sizes)) if sum(trial) == n_total
    )
    found = sum(curves[name].loss[n - 1] for name, n in counts.items())
    assert found == pytest.approx(best, rel=1e-6, abs=1e-6)


@settings(max_examples=80)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(1, 5000), st.floats(0, 1e6)), min_size=1, max_size=6),
        min_size=1, max_size=4),
    st.integers(1, 20_000),
)
def test_counts_by_loss_meet_the_total_whatever_the_curves(
    points: list[list[tuple[int, float]]], n_total: int
) -> None:
    curves = {}
    for i, pairs in enumerate(points):
        by_count = dict(pairs)  # measured curves are neither convex nor falling
        n_keep = np.array(sorted(by_count))
        curves[f"g{i}"] = LossCurve(n_keep, np.array([by_count[int(n)] for n in n_keep]))
    most = sum(int(c.n_keep[-1]) for c in curves.values())
    counts = least_loss_counts(curves, n_total)
    assert sum(counts.values()) == max(min(n_total, most), len(curves))
    assert all(1 <= n <= curves[name].n_keep[-1] for name, n in counts.items())


def test_below_the_beginning_of_the_curves_groups_share_in_proportion() -> None:
    curves = {name: LossCurve(np.array([n, 10 * n]), np.array([1.0, 0.0]))
              for name, n in (("a", 40), ("b", 80), ("c", 2))}
    assert least_loss_counts(curves, 61) == {"a": 20, "b": 40, "c": 1}
    assert least_loss_counts(curves, 3) == {"a": 1, "b": 1, "c": 1}


def test_weights_go_where_they_save_most() -> None:
    steep = LossCurve(np.array([1, 10, 100]), np.array([100.0, 10.0, 1.0]))
    flat = LossCurve(np.array([1, 10, 100]), np.array([10.0, 9.0, 8.0]))
    counts = least_loss_counts({"steep": steep, "flat": flat}, 60)
    assert counts["steep"] > 45 and counts["flat"] < 15


# ---------------------------------------------------------------- bits by least loss


@settings(max_examples=80)
@given(st.integers(1, 4), st.integers(2, 8), st.integers(0, 1000))
def test_shared_out_bits_stay_within_their_mean_and_leave_no_step_that_fits_and_helps(
    n_groups: int, mean_bits: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    losses = {f"g{i}": {b: float(rng.exponential()) * 4.0**-b for b in range(2, 9)}
              for i in range(n_groups)}
    n_keep = {name: int(rng.integers(1, 100)) for name in losses}
    bits = least_loss_bits(losses, n_keep, mean_bits)
    left = mean_bits * sum(n_keep.values()) - sum(bits[n] * n_keep[n] for n in bits)
    assert left >= 0
    for name, now in bits.items():
        for more in range(now + 1, 9):
            fits = (more - now) * n_keep[name] <= left
            assert not (fits and losses[name][more] < losses[name][now])


def test_bits_go_to_the_group_that_gains_most_by_them() -> None:
    gains = {b: 4.0**-b for b in range(2, 9)}
    losses = {"loud": {b: 100 * x for b, x in gains.items()}, "quiet": gains}
    found = least_loss_bits(losses, {"loud": 10, "quiet": 10}, 4)
    assert found["loud"] > 4 > found["quiet"] and sum(found.values()) == 8
    equal = {"a": gains, "b": gains}
    assert least_loss_bits(equal, {"a": 10, "b": 10}, 4) == {"a": 4, "b": 4}
    useless = {"a": {2: 1.0, 3: 1.0, 4: 2.0}, "b": {2: 1.0, 3: 0.5, 4: 0.25}}
    assert least_loss_bits(useless, {"a": 5, "b": 5}, 4)["a"] == 2


def test_a_step_that_only_pays_with_the_next_one_is_found() -> None:
    losses = {"a": {2: 1.0, 3: 1.0, 4: 0.0}, "b": {2: 0.1, 3: 0.05, 4: 0.0}}
    assert least_loss_bits(losses, {"a": 10, "b": 10}, 3) == {"a": 4, "b": 2}


def test_a_mean_below_the_fewest_bits_is_refused() -> None:
    with pytest.raises(CompressionError, match="a mean of 1 cannot be shared out.*at least 2 bits"):
        least_loss_bits({"a": {2: 1.0, 3: 0.5}}, {"a": 7}, 1)
