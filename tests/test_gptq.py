"""Quantization carries the error of each input into those that are still free, on each support."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.compress import GptqQuantizer, Grid, NearestQuantizer, damped, prune
from pipeline.errors import CalibrationError, DeviceError
from pipeline.fixedpoint import code_range

Array = NDArray[np.float64]


def problem(rows: int, d_in: int, seed: int = 0) -> tuple[Array, Array]:
    """Return weights and a damped, correlated Hessian."""
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(3 * d_in, d_in)) @ (np.eye(d_in) + 0.6 * np.eye(d_in, k=1))
    return 20 * rng.normal(size=(rows, d_in)), damped((A.T @ A)[None], 0.01)[0]


def random_mask(shape: tuple[int, ...], seed: int, density: float = 0.4) -> NDArray[np.bool_]:
    mask = np.random.default_rng(seed).random(shape) < density
    mask[0, 0] = True
    return mask


def quadratic(H: Array, change: Array) -> float:
    return 0.5 * float(np.sum((change @ H) * change))


def rounded(W: Array, grid: Grid) -> NDArray[np.int16]:
    return np.clip(np.rint(W / grid.step), grid.low, grid.high).astype(np.int16)


# ---------------------------------------------------------------- the column loop


@pytest.mark.parametrize("d_in", [9, 130])
def test_without_correlation_quantization_is_plain_rounding(d_in: int) -> None:
    W, _ = problem(5, d_in)
    scales = np.diag(np.random.default_rng(1).uniform(0.5, 2.0, d_in))
    grid = Grid(3.0, -8, 7)
    found = GptqQuantizer(W, scales, np.ones(W.shape, dtype=bool)).quantize(grid)
    assert np.array_equal(found.codes, rounded(W, grid))
    assert found.n_out_of_grid == int((np.rint(W / 3.0) != rounded(W, grid)).sum()) > 0
    assert found.loss == pytest.approx(quadratic(scales, W - 3.0 * found.codes))


@settings(max_examples=40)
@given(
    st.integers(1, 5), st.integers(1, 12), st.integers(1, 8), st.floats(0.2, 30.0),
    st.sampled_from([0.2, 0.7, 1.0]), st.integers(0, 10_000),
)
def test_loss_is_the_quadratic_form_on_the_support_and_codes_stay_on_the_grid(
    rows: int, d_in: int, bits: int, step: float, density: float, seed: int
) -> None:
    W, H = problem(rows, d_in, seed)
    mask = random_mask(W.shape, seed, density)
    W = W * mask
    grid = Grid(step, *code_range(bits))
    found = GptqQuantizer(W, H, mask).quantize(grid)
    assert found.codes.min() >= grid.low and found.codes.max() <= grid.high
    assert not found.codes[~mask].any()
    assert found.loss == pytest.approx(quadratic(H, W - grid.step * found.codes), rel=1e-7)


@pytest.mark.parametrize("density", [0.5, 1.0])
def test_loss_is_the_quadratic_form_across_column_blocks(density: float) -> None:
    W, H = problem(4, 200)  # four blocks of columns
    mask = random_mask(W.shape, 0, density)
    found = GptqQuantizer(W * mask, H, mask).quantize(Grid(8.0, -8, 7))
    assert found.loss == pytest.approx(quadratic(H, W * mask - 8.0 * found.codes), rel=1e-9)


def test_pruned_weights_stay_zero_even_if_the_weights_there_are_not() -> None:
    W, H = problem(6, 20)
    mask = random_mask(W.shape, 2)
    found = GptqQuantizer(W, H, mask).quantize(Grid(2.0, -128, 127))
    assert not found.codes[~mask].any()
    assert np.count_nonzero(found.codes) > 0.8 * mask.sum()


def test_rows_without_support_are_zero() -> None:
    W, H = problem(4, 8)
    mask = np.ones(W.shape, dtype=bool)
    mask[[1, 3]] = False
    found = GptqQuantizer(W * mask, H, mask).quantize(Grid(1.0, -128, 127))
    assert not found.codes[[1, 3]].any() and found.codes[[0, 2]].any(axis=1).all()


@pytest.mark.parametrize("d_in", [10, 140])
def test_shared_factor_of_a_full_mask_equals_a_factor_per_row(d_in: int) -> None:
    W, H = problem(6, d_in)
    mask = np.ones(W.shape, dtype=bool)
    grid = Grid(4.0, -8, 7)
    shared = GptqQuantizer(W[:5], H, mask[:5]).quantize(grid)
    mask[5, 1:] = False  # one sparse row sends all rows down the other path
    per_row = GptqQuantizer(W * mask, H, mask).quantize(grid)
    last = GptqQuantizer((W * mask)[5:], H, mask[5:]).quantize(grid)
    assert np.array_equal(shared.codes, per_row.codes[:5])
    assert shared.loss + last.loss == pytest.approx(per_row.loss, rel=1e-9)
    assert shared.n_out_of_grid + last.n_out_of_grid == per_row.n_out_of_grid


def test_a_row_gets_the_same_codes_alone_and_among_rows_of_other_supports() -> None:
    W, H = problem(9, 80)
    mask = random_mask(W.shape, 3)
    mask[4] = True
    grid = Grid(4.0, -8, 7)
    together = GptqQuantizer(W * mask, H, mask).quantize(grid)
    losses = []
    for row in range(9):
        alone = slice(row, row + 1)
        found = GptqQuantizer((W * mask)[alone], H, mask[alone]).quantize(grid)
        assert np.array_equal(found.codes[0], together.codes[row])
        losses.append(found.loss)
    assert sum(losses) == pytest.approx(together.loss)


def test_correlated_inputs_lose_less_than_by_rounding() -> None:
    by_gptq, by_rounding = [], []
    for seed in range(20):
        W, H = problem(8, 30, seed)
        grid = Grid(20.0, -4, 3)
        by_gptq.append(GptqQuantizer(W, H, np.ones(W.shape, dtype=bool)).quantize(grid).loss)
        by_rounding.append(quadratic(H, W - grid.step * rounded(W, grid)))
    assert np.mean(by_gptq) < 0.9 * np.mean(by_rounding)


def test_losses_of_pruning_and_quantization_add_up_to_the_loss_of_both() -> None:
    W, H = problem(6, 20)
    pruned = prune(W, H, 40)
    found = GptqQuantizer(pruned.weight, H, pruned.mask).quantize(Grid(6.0, -8, 7))
    both = quadratic(H, W - 6.0 * found.codes)
    assert pruned.loss + found.loss == pytest.approx(both, rel=1e-9)


def test_quantizing_twice_gives_the_same_codes() -> None:
    W, H = problem(6, 20)
    quantizer = GptqQuantizer(W, H, np.ones(W.shape, dtype=bool))
    first = quantizer.quantize(Grid(6.0, -8, 7))
    quantizer.quantize(Grid(1.0, -2, 1))
    second = quantizer.quantize(Grid(6.0, -8, 7))
    assert np.array_equal(first.codes, second.codes) and first.loss == second.loss


@pytest.mark.parametrize("density", [0.4, 1.0])
def test_curvature_that_is_not_positive_definite_is_refused(density: float) -> None:
    W, _ = problem(3, 7)
    with pytest.raises(CalibrationError, match="not positive definite"):
        GptqQuantizer(W, -np.eye(7), random_mask(W.shape, 0, density))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_asked_for_and_absent_is_an_error() -> None:
    W, H = problem(3, 7)
    with pytest.raises(DeviceError, match="'cuda' was asked for"):
        GptqQuantizer(W, H, np.ones(W.shape, dtype=bool), device="cuda")


# ---------------------------------------------------------------- against the definition


def textbook_gptq(W: Array, H: Array, grid: Grid, order: list[int]) -> NDArray[np.int16]:
    """Return the codes of OBQ in a fixed order: after each input, all others are refitted.

    Quantizing input j with error e moves the free inputs F by -H_FF^-1 H_Fj e, the least-squares
    answer to it.
    """
    codes = np.zeros(W.shape, dtype=np.int16)
    for row, weight in enumerate(W.copy()):
        for i, j in enumerate(order):
            code = np.clip(np.rint(weight[j] / grid.step), grid.low, grid.high)
            codes[row, j] = code
            free = order[i + 1 :]
            error = code * grid.step - weight[j]
            if free:
                weight[free] -= np.linalg.solve(H[np.ix_(free, free)], H[free, j]) * error
    return codes


@pytest.mark.parametrize("is_act_ordered", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_each_error_is_answered_by_the_least_squares_move_of_what_is_free(
    is_act_ordered: bool, seed: int
) -> None:
    W, H = problem(4, 10, seed)
    units = np.random.default_rng(seed).uniform(0.3, 3.0, 10)
    H = H * np.outer(units, units)
    order = np.argsort(-np.diag(H)).tolist() if is_act_ordered else list(range(10))
    grid = Grid(9.0, -4, 3)
    found = GptqQuantizer(W, H, np.ones(W.shape, dtype=bool), is_act_ordered).quantize(grid)
    assert np.array_equal(found.codes, textbook_gptq(W, H, grid, order))


@pytest.mark.parametrize("is_act_ordered", [False, True])
def test_a_pruned_row_is_quantized_as_a_smaller_problem(is_act_ordered: bool) -> None:
    W, H = problem(3, 12)
    mask = random_mask(W.shape, 7, 0.5)
    found = GptqQuantizer(W * mask, H, mask, is_act_ordered).quantize(Grid(9.0, -4, 3))
    for row in range(3):
        S = np.flatnonzero(mask[row])
        H_SS = np.ascontiguousarray(H[np.ix_(S, S)])
        order = np.argsort(-np.diag(H_SS), kind="stable") if is_act_ordered else range(len(S))
        expected = textbook_gptq(W[[row]][:, S], H_SS, Grid(9.0, -4, 3), [int(j) for j in order])
        assert np.array_equal(found.codes[row, S], expected[0])


@pytest.mark.parametrize("step", [0.5, 1.0])
def test_at_eight_bits_with_identity_curvature_gptq_is_rounding(step: float) -> None:
    W, _ = problem(6, 30)
    mask = random_mask(W.shape, 1)
    grid = Grid(step, *code_range(8))
    by_gptq = GptqQuantizer(W * mask, np.eye(30), mask).quantize(grid)
    by_rounding = NearestQuantizer(W * mask, np.eye(30)).quantize(grid)
    assert np.array_equal(by_gptq.codes, rounded(W * mask, grid))
    assert np.array_equal(by_gptq.codes, by_rounding.codes)
    assert by_gptq.loss == pytest.approx(by_rounding.loss)
    assert by_gptq.n_out_of_grid == by_rounding.n_out_of_grid


def test_rounding_states_its_loss_and_what_it_clipped() -> None:
    W, H = problem(5, 9)
    grid = Grid(4.0, -8, 7)
    found = NearestQuantizer(W, H).quantize(grid)
    assert np.array_equal(found.codes, rounded(W, grid)) and found.codes.dtype == np.int16
    assert found.loss == pytest.approx(quadratic(H, W - 4.0 * found.codes))
    assert found.n_out_of_grid == int(((W < -8.5 * 4) | (W > 7.5 * 4)).sum()) > 0


# ---------------------------------------------------------------- the order of inputs


@pytest.mark.parametrize("density", [0.5, 1.0])
def test_the_order_makes_no_difference_without_correlation(density: float) -> None:
    W, _ = problem(5, 20)
    H = np.diag(np.random.default_rng(1).uniform(0.1, 5.0, 20))
    mask = random_mask(W.shape, 2, density)
    plain, ordered = (
        GptqQuantizer(W * mask, H, mask, is_act_ordered).quantize(Grid(7.0, -4, 3))
        for is_act_ordered in (False, True)
    )
    assert np.array_equal(plain.codes, ordered.codes)
    assert plain.loss == pytest.approx(ordered.loss)


def test_the_most_active_inputs_first_lose_less_on_average() -> None:
    ratios = []
    for seed in range(40):
        W, H = problem(6, 24, seed)
        units = np.exp(np.random.default_rng(seed).normal(size=24))  # unequally active
        H = H * np.outer(units, units)
        mask = random_mask(W.shape, seed, 0.6)
        plain, ordered = (
            GptqQuantizer(W * mask, H, mask, is_act_ordered).quantize(Grid(9.0, -4, 3)).loss
            for is_act_ordered in (False, True)
        )
        ratios.append(ordered / plain)
    assert np.mean(ratios) < 0.97 and np.median(ratios) < 1.0


def test_with_the_most_active_first_permuting_inputs_permutes_the_codes() -> None:
    W, H = problem(5, 15)
    units = np.random.default_rng(3).uniform(0.3, 3.0, 15)
    H, mask = H * np.outer(units, units), random_mask(W.shape, 3, 0.6)
    order = np.random.default_rng(4).permutation(15)
    grid = Grid(9.0, -4, 3)
    straight = GptqQuantizer(W * mask, H, mask, True).quantize(grid)
    permuted = GptqQuantizer(
        np.ascontiguousarray((W * mask)[:, order]), H[np.ix_(order, order)],
        np.ascontiguousarray(mask[:, order]), True).quantize(grid)
    assert np.array_equal(straight.codes[:, order], permuted.codes)
