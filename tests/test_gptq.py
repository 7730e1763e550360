"""Quantization keeps the potential error small on each row's support; scale search never harms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.compress import GptqQuantizer, Grid, damped, prune, search_scale
from pipeline.errors import CalibrationError, CompressionError
from pipeline.fixedpoint import MAX_EXACT_VTH_MANT, code_range, full_scale_step_exp

Array = NDArray[np.float64]


def problem(rows: int, d_in: int, seed: int = 0) -> tuple[Array, Array]:
    """Return weights and a damped, correlated Hessian."""
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(3 * d_in, d_in)) @ (np.eye(d_in) + 0.6 * np.eye(d_in, k=1))
    return 20 * rng.normal(size=(rows, d_in)), damped((A.T @ A)[None], 0.01)[0]


def random_mask(shape: tuple[int, int], seed: int, density: float = 0.4) -> NDArray[np.bool_]:
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


# ---------------------------------------------------------------- the scale of the grid


def full(W: Array, H: Array) -> GptqQuantizer:
    return GptqQuantizer(W, H, np.ones(W.shape, dtype=bool))


@settings(max_examples=40)
@given(
    st.integers(2, 8), st.integers(1, 4095),
    st.floats(0.01, 100.0, allow_subnormal=False), st.integers(0, 1000),
)
def test_searched_step_is_an_exact_power_of_two_over_an_integer_threshold(
    bits: int, vth_mant: int, magnitude: float, seed: int
) -> None:
    W, H = problem(3, 8, seed)
    W *= magnitude / 20
    try:
        found = search_scale(
            full(W, H), W, vth_mant, code_range(bits), full_scale_step_exp(bits),
            MAX_EXACT_VTH_MANT,
        )
    except CompressionError as error:
        assert "every weight rounds to zero" in str(error)
        # only where the coarsest threshold allowed still makes too coarse a grid
        assert 2 * vth_mant / MAX_EXACT_VTH_MANT > np.abs(W).max()
        return
    assert isinstance(found.vth_mant, int) and 1 <= found.vth_mant <= MAX_EXACT_VTH_MANT
    assert 1 <= found.step_exp <= full_scale_step_exp(bits)
    assert found.grid.step == 2**found.step_exp * vth_mant / found.vth_mant
    assert (found.grid.low, found.grid.high) == code_range(bits)
    # the codes belong to that very grid
    change = W - found.grid.step * found.quantized.codes
    assert found.quantized.loss == pytest.approx(quadratic(H, change), rel=1e-7)


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("seed", range(3))
def test_searched_scale_is_no_worse_than_the_one_that_clips_nothing(bits: int, seed: int) -> None:
    W, H = problem(6, 20, seed)
    vth_mant, step_exp, (low, high) = 80, full_scale_step_exp(bits), code_range(bits)
    found = search_scale(full(W, H), W, vth_mant, (low, high), step_exp, MAX_EXACT_VTH_MANT)
    widest = max(W.max() / high, W.min() / low)
    threshold = round(2**step_exp * vth_mant / widest)
    unclipped = full(W, H).quantize(Grid(2**step_exp * vth_mant / threshold, low, high))
    assert found.step_exp == step_exp
    assert found.quantized.loss <= unclipped.loss * (1 + 1e-12)


def test_low_bits_gain_from_a_smaller_scale() -> None:
    W, H = problem(10, 30)
    found = search_scale(full(W, H), W, 80, (-2, 1), 7, MAX_EXACT_VTH_MANT)
    low, high = -2, 1
    widest = max(W.max() / high, W.min() / low)
    unclipped = full(W, H).quantize(Grid(128 * 80 / round(128 * 80 / widest), low, high))
    assert found.grid.step < 0.8 * widest
    assert found.quantized.loss < 0.8 * unclipped.loss


@pytest.mark.parametrize("magnitude", [1.0, 0.3, 0.1])
def test_tiny_weights_lower_the_step_so_that_the_threshold_fits(magnitude: float) -> None:
    W, H = problem(5, 12)
    W *= magnitude / np.abs(W).max()
    vth_mant, full_scale = 80, full_scale_step_exp(4)
    found = search_scale(full(W, H), W, vth_mant, code_range(4), full_scale, MAX_EXACT_VTH_MANT)
    assert found.step_exp < full_scale
    assert found.vth_mant <= MAX_EXACT_VTH_MANT
    # no lower than needed: one more doubling would leave too little room to search
    widest = max(W.max() / 7, W.min() / -8)
    if found.step_exp > 1:
        assert 2 ** (found.step_exp + 1) * vth_mant / (0.2 * widest) > MAX_EXACT_VTH_MANT
    assert found.quantized.codes.any()


def test_threshold_limit_is_respected_for_any_limit() -> None:
    W, H = problem(5, 12)
    for limit in (10, 100, 1000):
        found = search_scale(full(W, H), W, 80, code_range(8), 1, limit)
        assert found.vth_mant <= limit


def test_scaling_the_weights_and_threshold_together_gives_the_same_codes() -> None:
    W, H = problem(5, 12)
    one = search_scale(full(W, H), W, 80, code_range(4), 5, MAX_EXACT_VTH_MANT)
    two = search_scale(full(2 * W, H), 2 * W, 160, code_range(4), 5, MAX_EXACT_VTH_MANT)
    assert np.array_equal(one.quantized.codes, two.quantized.codes)
    assert (one.vth_mant, one.step_exp) == (two.vth_mant, two.step_exp)
    assert math.isclose(2 * one.grid.step, two.grid.step)


def test_one_bit_without_a_positive_weight_is_refused() -> None:
    W, H = problem(3, 6)
    W = -np.abs(W)
    with pytest.raises(CompressionError, match="no weight has a sign that codes 0..1 can hold"):
        search_scale(full(W, H), W, 80, code_range(1), 7, MAX_EXACT_VTH_MANT)


def test_weights_too_small_for_any_grid_are_refused() -> None:
    W, H = problem(3, 6)
    with pytest.raises(CompressionError, match="every weight rounds to zero"):
        search_scale(full(W * 1e-9, H), W * 1e-9, 4000, code_range(8), 1, MAX_EXACT_VTH_MANT)
