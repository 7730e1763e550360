"""Scales come from integer thresholds, and the search finds the best of its candidates."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.compress import (
    GptqQuantizer,
    Grid,
    NearestQuantizer,
    ScaledGrid,
    Scaling,
    damped,
    search_scale,
)
from pipeline.errors import CompressionError
from pipeline.fixedpoint import MAX_EXACT_VTH_MANT, code_range, full_scale_step_exp

Array = NDArray[np.float64]


def problem(rows: int, d_in: int, seed: int = 0) -> tuple[Array, Array]:
    """Return weights and a damped, correlated Hessian."""
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(3 * d_in, d_in)) @ (np.eye(d_in) + 0.6 * np.eye(d_in, k=1))
    return 20 * rng.normal(size=(rows, d_in)), damped((A.T @ A)[None], 0.01)[0]


def quadratic(H: Array, change: Array) -> float:
    return 0.5 * float(np.sum((change @ H) * change))


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
    threshold = int(2**step_exp * vth_mant / widest)
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


# ---------------------------------------------------------------- rules


def search(
    W: Array, H: Array, bits: int, rule: str, is_power_of_two: bool = False, vth_mant: int = 80,
    quantizer: Any = NearestQuantizer,
) -> ScaledGrid:
    maker = quantizer(W, H) if quantizer is NearestQuantizer else full(W, H)
    return search_scale(
        maker, W, vth_mant, code_range(bits), full_scale_step_exp(bits), MAX_EXACT_VTH_MANT,
        Scaling(rule, is_power_of_two))


@settings(max_examples=50)
@given(st.integers(2, 8), st.integers(20, 4000), st.floats(0.5, 20.0), st.integers(0, 1000))
def test_maximum_is_the_finest_scale_that_clips_nothing(
    bits: int, vth_mant: int, magnitude: float, seed: int
) -> None:
    W, H = problem(3, 8, seed)
    W = W * magnitude / 20
    found = search(W, H, bits, "maximum", vth_mant=vth_mant)
    assert found.quantized.n_out_of_grid == 0
    low, high = code_range(bits)
    if found.vth_mant < MAX_EXACT_VTH_MANT:  # one more would no longer hold the widest weight
        finer = 2**found.step_exp * vth_mant / (found.vth_mant + 1)
        assert W.max() > high * finer or W.min() < low * finer


def test_error_is_the_least_squared_rounding_error_of_the_candidates() -> None:
    for seed, bits in ((0, 2), (1, 3), (2, 4), (3, 8)):
        W, H = problem(5, 12, seed)
        found = search(W, H, bits, "error", quantizer=GptqQuantizer)
        low, high = code_range(bits)
        first = search(W, H, bits, "maximum").vth_mant
        candidates = sorted({round(first / s) for s in np.geomspace(1.0, 0.2, 24)})
        errors = []
        for vth_mant in candidates:
            step = 2**found.step_exp * 80 / vth_mant
            codes = np.clip(np.rint(W / step), low, high)
            errors.append(float(np.square(W - codes * step).sum()))
        assert found.vth_mant == candidates[int(np.argmin(errors))]
        # the grid is chosen by rounding; the codes on it are those of the quantizer
        assert np.array_equal(
            found.quantized.codes, full(W, H).quantize(found.grid).codes)


def test_each_rule_wins_by_its_own_measure() -> None:
    for seed in range(6):
        W, H = problem(6, 20, seed)
        by_rule = {rule: search(W, H, 3, rule) for rule in ("maximum", "error", "hessian")}
        losses = {rule: quadratic(H, W - f.grid.step * f.quantized.codes)
                  for rule, f in by_rule.items()}
        errors = {rule: float(np.square(W - f.grid.step * f.quantized.codes).sum())
                  for rule, f in by_rule.items()}
        assert losses["hessian"] <= min(losses.values()) * (1 + 1e-9)
        assert errors["error"] <= min(errors.values()) * (1 + 1e-9)
        assert losses["hessian"] < losses["maximum"]


@settings(max_examples=60)
@given(
    st.sampled_from(["maximum", "error", "hessian"]), st.integers(2, 8), st.integers(1, 4095),
    st.floats(0.5, 30.0), st.integers(0, 1000),
)
def test_powers_of_two_only_double_or_halve_the_threshold(
    rule: str, bits: int, vth_mant: int, magnitude: float, seed: int
) -> None:
    W, H = problem(3, 8, seed)
    W = W * magnitude / 20
    try:
        found = search(W, H, bits, rule, True, vth_mant)
    except CompressionError as error:
        assert "every weight rounds to zero" in str(error)
        return
    ratio = found.vth_mant / vth_mant
    assert math.frexp(ratio)[0] == 0.5 and found.vth_mant <= MAX_EXACT_VTH_MANT
    # on the chip the weights are the same ones, moved by whole bits
    assert math.frexp(found.grid.step)[0] == 0.5


def test_the_finest_power_of_two_that_clips_nothing_is_the_maximum() -> None:
    for seed in range(10):
        W, H = problem(4, 9, seed)
        found = search(W, H, 4, "maximum", True, 96)
        assert found.quantized.n_out_of_grid == 0
        step = found.grid.step / 2
        assert found.vth_mant * 2 > MAX_EXACT_VTH_MANT or W.max() > 7 * step or W.min() < -8 * step


def test_free_scales_lose_no_more_than_powers_of_two() -> None:
    ratios = []
    for seed in range(8):
        W, H = problem(6, 20, seed)
        free, bound = (search(W, H, 3, "hessian", p, quantizer=GptqQuantizer).quantized.loss
                       for p in (False, True))
        ratios.append(free / bound)
    assert np.mean(ratios) < 1.0


@pytest.mark.parametrize("rule", ["maximum", "error", "hessian"])
def test_ternary_codes_are_minus_one_zero_and_one(rule: str) -> None:
    W, H = problem(6, 20)
    found = search_scale(full(W, H), W, 80, (-1, 1), 7, MAX_EXACT_VTH_MANT, Scaling(rule))
    assert set(np.unique(found.quantized.codes)) == {-1, 0, 1}
    assert (found.grid.low, found.grid.high, found.step_exp) == (-1, 1, 7)


@pytest.mark.parametrize("rule", ["maximum", "error", "hessian"])
@pytest.mark.parametrize("is_power_of_two", [False, True])
def test_searching_twice_finds_the_same(rule: str, is_power_of_two: bool) -> None:
    W, H = problem(6, 20)
    first, second = (search(W, H, 3, rule, is_power_of_two) for _ in range(2))
    assert (first.vth_mant, first.step_exp) == (second.vth_mant, second.step_exp)
    assert np.array_equal(first.quantized.codes, second.quantized.codes)
