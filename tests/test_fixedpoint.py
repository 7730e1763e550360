"""Integer arithmetic equals exact rational arithmetic, Lava's neuron model and NetX's inference."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.fixedpoint import (
    MIXED_WEIGHT_RANGE,
    code_range,
    full_scale_step_exp,
    inferred_weight_bits,
)
from pipeline.kernels import decay_toward_zero, saturate_voltage, wrap_current
from pipeline.network import Layer
from pipeline.neuron import CubaNeuron
from pipeline.neuron_state import NeuronState

LIMIT = 1 << 23
STATES = st.integers(-LIMIT, LIMIT)
DECAYS = st.integers(0, 4096)
EDGES = [0, 1, 2, 4095, 4096, 4097, 2049, 8191, LIMIT - 1, LIMIT]


def truncated_toward_zero(numerator: int, denominator: int) -> int:
    quotient = abs(numerator) // denominator
    return quotient if numerator >= 0 else -quotient


# ---------------------------------------------------------------- decay, wrap, saturation


@given(STATES, DECAYS)
def test_decay_is_the_exact_quotient_truncated_toward_zero(state: int, decay: int) -> None:
    expected = truncated_toward_zero(state * (4096 - decay), 4096)
    assert decay_toward_zero(state, decay) == expected


def test_decay_is_exact_at_the_edges_of_24_bits_for_every_decay() -> None:
    states = np.array(EDGES + [-edge for edge in EDGES], dtype=np.int32)
    for decay in range(0, 4097):
        for state in states:
            expected = truncated_toward_zero(int(state) * (4096 - decay), 4096)
            assert decay_toward_zero(state, decay) == expected, (state, decay)


@given(STATES, DECAYS)
def test_decay_is_odd_and_never_grows_a_state(state: int, decay: int) -> None:
    decayed = decay_toward_zero(state, decay)
    assert decay_toward_zero(-state, decay) == -decayed
    assert abs(decayed) <= abs(state)


@given(STATES)
def test_decay_0_keeps_a_state_and_4096_forgets_it(state: int) -> None:
    assert decay_toward_zero(state, 0) == state
    assert decay_toward_zero(state, 4096) == 0


@given(st.integers(-3 * LIMIT + 1, 3 * LIMIT))
def test_wrapped_current_is_congruent_and_in_range(u: int) -> None:
    wrapped = wrap_current(u)
    assert (wrapped - u) % (2 * LIMIT) == 0
    assert -LIMIT < wrapped <= LIMIT


@pytest.mark.parametrize(
    ("u", "wrapped"),
    [(LIMIT, LIMIT), (LIMIT + 1, -LIMIT + 1), (-LIMIT, LIMIT), (-LIMIT + 1, -LIMIT + 1)],
)
def test_current_wraps_at_lavas_limits(u: int, wrapped: int) -> None:
    assert wrap_current(u) == wrapped


@given(st.integers(-4 * LIMIT, 4 * LIMIT))
def test_saturated_voltage_is_the_nearest_in_range(v: int) -> None:
    assert saturate_voltage(v) == sorted((-LIMIT + 1, v, LIMIT - 1))[1]


LAVA_NEURONS = """
# lava-nc's own fixed-point LIF model, stepped outside its runtime
import sys
import numpy as np
from lava.proc.lif.models import PyLifModelBitAcc

given = np.load(sys.argv[1] + "/given.npz")
fired, highest, u, v = [], [], [], []
for acc, (current_decay, voltage_decay), bias in zip(
        given["acc"], given["decays"], given["bias"]):
    model, n = PyLifModelBitAcc({}), acc.shape[1]
    model.u, model.v = np.zeros(n, dtype=np.int32), np.zeros(n, dtype=np.int32)
    # NetX passes du = iDecay - 1, and lava adds its offset of 1 again
    model.du, model.dv = np.array([current_decay - 1]), np.array([voltage_decay])
    model.bias_mant, model.bias_exp = bias.astype(np.int16), np.full(n, 6, dtype=np.int16)
    model.vth = np.array([given["vth_mant"]], dtype=np.int32)
    model.scale_bias()
    model.scale_threshold()
    steps, reached = [], 0
    for received in acc:
        model.subthr_dynamics(activation_in=received)
        reached = max(reached, np.abs(model.v).max())
        spikes = model.spiking_activation()
        model.reset_voltage(spike_vector=spikes)
        steps.append(spikes)
        u.append(model.u.copy())
        v.append(model.v.copy())
    fired.append(steps)
    highest.append(reached)
shape = given["acc"].shape
np.savez(sys.argv[1] + "/found.npz", fired=fired, highest=highest, u=np.reshape(u, shape),
         v=np.reshape(v, shape))
"""

NETX_BITS = """
import sys
import numpy as np
from lava.lib.dl.netx.utils import optimize_weight_bits

given = np.load(sys.argv[1] + "/given.npz")
bits = [optimize_weight_bits(given[name])[1] for name in given.files]
np.savez(sys.argv[1] + "/found.npz", bits=bits)
"""


def ask_lava(script: str, folder: Path, **given: Any) -> dict[str, NDArray[Any]]:
    """Return what a script found in a process of its own: lava-nc cannot follow torch in one."""
    np.savez(folder / "given.npz", **given)
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(folder)], check=True, timeout=120
    )
    with np.load(folder / "found.npz") as found:
        return dict(found)


@pytest.mark.slow
def test_neurons_equal_lavas_own_model_through_wrap_and_saturation(tmp_path: Path) -> None:
    n_steps, n, vth_mant = 60, 500, 200
    cases = list(itertools.product(
        (254, 40_000, 400_000), ((0, 0), (4096, 4096), (1024, 128), (1, 4095), (4095, 1), (0, 4096))
    ))
    rng = np.random.default_rng(0)
    # drifts of either sign drive the states to their limits
    drift = np.linspace(-1, 1, n)[None, :]
    acc = np.stack([
        (largest * (drift + rng.uniform(-1, 1, (n_steps, n))) / 2).astype(np.int32)
        for largest, _ in cases
    ])
    bias = rng.integers(-4096, 4096, (len(cases), n))
    bias[::2] = 0
    lava = ask_lava(
        LAVA_NEURONS, tmp_path, acc=acc, decays=[decays for _, decays in cases], bias=bias,
        vth_mant=vth_mant
    )
    for index, (largest, decays) in enumerate(cases):
        neuron = CubaNeuron(*decays, vth_mant, bias=tuple(bias[index].tolist()))
        layer = Layer("n", (), neuron, (n,))
        spikes, u, v = NeuronState(layer, 1).run(acc[index][None], with_states=True)
        assert np.array_equal(u[0].T, lava["u"][index])
        assert np.array_equal(v[0].T, lava["v"][index])
        expected = lava["fired"][index].T
        assert expected.any()
        assert np.array_equal(spikes[0, :, 1:], expected[:, :-1]), (largest, decays)
        if largest == 400_000:
            assert lava["highest"][index] >= LIMIT - 1


# ---------------------------------------------------------------- weight grids


@pytest.mark.parametrize("bits", range(2, 9))
def test_grid_of_b_bits_spans_the_mixed_weight_range(bits: int) -> None:
    low, high = code_range(bits)
    step = 2 ** full_scale_step_exp(bits)
    assert high - low + 1 == 2**bits
    assert low * step == MIXED_WEIGHT_RANGE[0]
    assert (high + 1) * step == 256
    assert step >= 2  # Loihi holds even weights only, with mixed signs


def test_one_bit_has_no_sign_and_its_step_is_128() -> None:
    assert code_range(1) == (0, 1)
    assert 2 ** full_scale_step_exp(1) == 128


@pytest.mark.parametrize("bits", range(1, 9))
def test_full_range_grid_of_b_bits_infers_b(bits: int) -> None:
    low, high = code_range(bits)
    weight = np.arange(low, high + 1, dtype=np.int32)[None, :] << full_scale_step_exp(bits)
    assert inferred_weight_bits(weight) == bits


@given(st.integers(2, 8), st.data())
def test_grid_with_its_lowest_code_and_an_odd_one_infers_b(bits: int, data: st.DataObject) -> None:
    low, high = code_range(bits)
    some = data.draw(st.lists(st.integers(low, high), max_size=8))
    weight = np.array([[low, 1, *some]], dtype=np.int32) << full_scale_step_exp(bits)
    assert inferred_weight_bits(weight) == bits


@given(st.integers(1, 8), st.lists(st.integers(-128, 127), min_size=1, max_size=12))
def test_weights_on_a_grid_never_infer_more_bits_than_the_grid_has(
    bits: int, codes: list[int]
) -> None:
    low, high = code_range(bits)
    weight = np.clip([codes], low, high).astype(np.int32) << full_scale_step_exp(bits)
    if weight.any():
        assert inferred_weight_bits(weight) <= bits


def test_all_zero_weights_have_no_bits() -> None:
    with pytest.raises(ValueError, match="all weights are zero"):
        inferred_weight_bits(np.zeros((2, 3), dtype=np.int32))


def matrices() -> list[NDArray[np.int32]]:
    """Return random matrices of every kind a layer can hold."""
    rng, found = np.random.default_rng(5), []
    for bits in range(1, 9):
        low, high = code_range(bits)
        for density in (0.05, 0.5, 1.0):
            codes = rng.integers(low, high + 1, (6, 7)) * (rng.random((6, 7)) < density)
            found.append(codes << full_scale_step_exp(bits))
    for _ in range(300):
        reach = int(rng.integers(1, 255))
        shift = int(rng.integers(0, 9))
        weight = rng.integers(-reach, reach + 1, (4, 5)) >> shift << shift
        found += [weight, np.abs(weight), -np.abs(weight), -np.abs(weight) - (1 << shift)]
    found += [np.array([[value, other]]) for value in (-256, -128, -2, -1, 0, 1, 2, 127, 128, 254)
              for other in (-256, -255, -1, 0, 1, 64, 254)]
    low, high = MIXED_WEIGHT_RANGE
    return [m.astype(np.int32) for m in found if m.any() and low <= m.min() and m.max() <= high]


@pytest.mark.slow
def test_inferred_bits_equal_netx(tmp_path: Path) -> None:
    everything = {f"{n:05d}": weight for n, weight in enumerate(matrices())}
    assert len(everything) > 1000
    expected = ask_lava(NETX_BITS, tmp_path, **everything)["bits"].tolist()
    for weight, bits in zip(everything.values(), expected, strict=True):
        assert inferred_weight_bits(weight) == bits, weight.tolist()
