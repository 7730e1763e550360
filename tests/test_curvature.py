"""H is the exact Hessian of the squared error of the reset-free potential."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pipeline import calibrate as calibration
from pipeline.calibrate import calibrate
from pipeline.compress import accumulate_hessian, damped, filter_spikes
from pipeline.emulate import emulate
from pipeline.errors import CalibrationError
from pipeline.network import ConvGeometry, CubaNeuron

CUBA, LIF, IF = (1024, 128), (4096, 300), (4096, 0)
NEURONS = pytest.mark.parametrize("decays", [CUBA, LIF, IF, (0, 0), (700, 4096)])
GEOMETRIES = [
    ConvGeometry(),
    ConvGeometry(stride=(2, 1)),
    ConvGeometry(padding=(1, 2)),
    ConvGeometry(dilation=(2, 1)),
    ConvGeometry(stride=(1, 2), padding=(2, 0), dilation=(1, 2)),
    ConvGeometry(groups=2),
    ConvGeometry(stride=(2, 2), padding=(1, 1), groups=2),
]


def both_filters(n_steps: int, decays: tuple[int, int]) -> Tensor:
    """Return M (t, t): the product of the two lower triangular filters, entry by entry."""
    lag = np.arange(n_steps)[:, None] - np.arange(n_steps)[None, :]
    keep_u, keep_v = 1 - decays[0] / 4096, 1 - decays[1] / 4096
    filters = [np.where(lag >= 0, float(keep) ** np.maximum(lag, 0), 0.0)
               for keep in (keep_v, keep_u)]
    return torch.from_numpy(filters[0] @ filters[1])


def binary(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return torch.from_numpy((np.random.default_rng(seed).random(shape) < 0.3).astype(np.uint8))


# ---------------------------------------------------------------- filter


@NEURONS
def test_filtered_spikes_are_the_current_filter_then_the_voltage_filter(
    decays: tuple[int, int],
) -> None:
    spikes = binary((4, 3, 25))
    expected = spikes.double() @ both_filters(25, decays).T
    assert torch.allclose(filter_spikes(spikes, *decays), expected, rtol=1e-13, atol=0)


def test_lif_filter_is_one_exponential_and_if_filter_a_running_sum() -> None:
    impulse = torch.zeros(1, 6)
    impulse[0, 1] = 1
    keep = 1 - 300 / 4096
    assert filter_spikes(impulse, *LIF)[0].tolist() == pytest.approx(
        [0, 1, keep, keep**2, keep**3, keep**4]
    )
    assert filter_spikes(impulse, *IF)[0].tolist() == [0, 1, 1, 1, 1, 1]


# ---------------------------------------------------------------- Hessian against autograd


@NEURONS
def test_dense_curvature_is_the_autograd_hessian_of_the_potential_error(
    decays: tuple[int, int],
) -> None:
    spikes = binary((3, 6, 12))
    M = both_filters(12, decays)
    target = torch.from_numpy(np.random.default_rng(1).normal(size=(3, 12)))

    def error(weight: Tensor) -> Tensor:
        current = torch.einsum("i,nit->nt", weight, spikes.double())
        return (current @ M.T - target).square().sum()

    expected = torch.autograd.functional.hessian(error, torch.randn(6, dtype=torch.float64))
    found = accumulate_hessian(None, filter_spikes(spikes, *decays), (1, 1), None)
    assert found.shape == (1, 6, 6)
    assert torch.allclose(found[0], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("decays", [CUBA, LIF, IF])
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_conv_curvature_is_the_autograd_hessian_of_the_potential_error(
    geometry: ConvGeometry, decays: tuple[int, int]
) -> None:
    n_steps, kernel, groups = 6, (2, 3), geometry.groups
    spikes = binary((2, 4, 5, 6, n_steps))
    M = both_filters(n_steps, decays)

    def potential(weight: Tensor) -> Tensor:
        images = spikes.double().movedim(-1, 1).flatten(0, 1)
        current = torch.nn.functional.conv2d(
            images, weight, None, geometry.stride, geometry.padding, geometry.dilation, groups
        )
        by_step = current.unflatten(0, (2, n_steps))
        return torch.einsum("st,ntcyx->nscyx", M, by_step)

    shape = (groups, 4 // groups, *kernel)  # one output channel per group
    weight = torch.from_numpy(np.random.default_rng(3).normal(size=shape))
    target = torch.randn_like(potential(weight))
    hessian = torch.autograd.functional.hessian(
        lambda w: (potential(w) - target).square().sum(), weight
    )
    d_in = weight[0].numel()
    expected = hessian.reshape(groups, d_in, groups, d_in)
    found = accumulate_hessian(None, filter_spikes(spikes, *decays), kernel, geometry)
    assert found.shape == (groups, d_in, d_in)
    for g in range(groups):
        assert torch.allclose(found[g], expected[g, :, g], rtol=1e-12, atol=1e-12)
        for other in set(range(groups)) - {g}:
            assert not expected[g, :, other].any()  # groups do not interact: blocks suffice


@pytest.mark.parametrize("geometry", GEOMETRIES[:5], ids=str)
def test_filtering_commutes_with_unfolding(geometry: ConvGeometry) -> None:
    n_steps, kernel = 7, (2, 3)
    spikes = binary((2, 3, 5, 6, n_steps))
    images = spikes.double().movedim(-1, 1).flatten(0, 1)
    patches = torch.nn.functional.unfold(
        images, kernel, geometry.dilation, geometry.padding, geometry.stride
    )
    # each position under the kernel as a sample of its own: (n * positions, d_in, t)
    trains = patches.unflatten(0, (2, n_steps)).permute(0, 3, 2, 1).flatten(0, 1)
    unfolded_first = accumulate_hessian(None, filter_spikes(trains, *CUBA), (1, 1), None)
    filtered_first = accumulate_hessian(None, filter_spikes(spikes, *CUBA), kernel, geometry)
    assert torch.allclose(filtered_first, unfolded_first, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("geometry", [None, ConvGeometry(padding=(1, 1), groups=2)], ids=str)
def test_accumulating_batches_equals_one_batch(geometry: ConvGeometry | None) -> None:
    filtered = filter_spikes(binary((5, 4, 9) if geometry is None else (5, 4, 4, 5, 9)), *CUBA)
    whole = accumulate_hessian(None, filtered, (2, 2), geometry)
    partial = None
    for part in filtered.split([2, 1, 2]):
        partial = accumulate_hessian(partial, part, (2, 2), geometry)
    assert partial is not None
    assert torch.allclose(partial, whole, rtol=1e-13, atol=1e-12)


# ---------------------------------------------------------------- damping


@settings(max_examples=30)
@given(st.integers(2, 8), st.data())
def test_damping_makes_curvature_with_dead_inputs_positive_definite(
    d_in: int, data: st.DataObject
) -> None:
    dead = data.draw(st.lists(st.booleans(), min_size=d_in, max_size=d_in))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    rows = rng.integers(0, 2, (max(1, d_in // 2), d_in)) * ~np.array(dead)  # rank deficient, too
    H = damped(2.0 * (rows.T @ rows)[None].astype(np.float64), 0.01)
    assert np.linalg.eigvalsh(H[0]).min() > 0
    # a dead input stays alone: its weight is moved by no other
    for i in np.flatnonzero(dead):
        assert not np.delete(H[0, i], i).any()


def test_damping_is_a_fraction_of_the_mean_diagonal_of_live_inputs() -> None:
    H = np.diag([4.0, 0.0, 8.0])
    assert np.allclose(damped(H[None], 0.1)[0], H + 0.6 * np.eye(3))


def test_damping_is_separate_for_each_group() -> None:
    H = np.stack([np.diag([2.0, 2.0]), np.diag([20.0, 0.0]), np.zeros((2, 2))])
    damping = damped(H, 0.01) - H
    assert np.allclose(damping, np.array([0.02, 0.2, 1.0])[:, None, None] * np.eye(2))


# ---------------------------------------------------------------- calibration of a network


def test_calibration_averages_the_curvature_of_what_each_group_receives(
    dense_chain: Any, random_spikes: Any
) -> None:
    network = dense_chain()
    # the filters are those of the neurons that receive, not of those that send
    last = replace(network.layers[1], neuron=CubaNeuron(300, 2000, 120))
    network = network.with_layers((network.layers[0], last))
    spikes = random_spikes(network, n_samples=6)
    result = calibrate(network, spikes, "test spikes")
    received = emulate(network, spikes).spikes["fc0"]
    rows = (torch.from_numpy(received).double() @ both_filters(20, (300, 2000)).T).movedim(1, -1)
    expected = 2 * rows.reshape(-1, 16).T @ rows.reshape(-1, 16) / 6
    assert np.allclose(result.curvatures["fc1"].hessian[0], expected.numpy(), rtol=1e-12)
    assert result.rates["fc0"] == pytest.approx(received.mean())
    assert result.curvatures["fc1"].input_rate == pytest.approx(received.mean())
    assert result.curvatures["fc1"].n_rows == 6 * 20
    assert (result.n_samples, result.origin) == (6, "test spikes")


@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_curvature_does_not_depend_on_the_chunk_size(
    kind: str, dense_chain: Any, conv_chain: Any, random_spikes: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = dense_chain() if kind == "dense" else conv_chain()
    spikes = random_spikes(network, n_samples=5)
    whole = calibrate(network, spikes, "").curvatures
    monkeypatch.setattr(calibration, "_CHUNK_BYTES", 1)
    by_sample = calibrate(network, spikes, "").curvatures
    for name in whole:
        assert np.allclose(whole[name].hessian, by_sample[name].hessian, rtol=1e-12)


def test_inputs_that_never_spike_are_dead_and_advised_of(
    dense_chain: Any, random_spikes: Any
) -> None:
    network = dense_chain()
    spikes = random_spikes(network, n_samples=6)
    spikes[:, :5] = 0
    result = calibrate(network, spikes, "")
    assert result.curvatures["fc0"].is_dead[0].tolist() == [True] * 5 + [False] * 7
    (advice,) = result.advice
    assert advice.startswith("fc0: 42%")


def test_too_few_rows_for_the_inputs_are_advised_of(dense_chain: Any) -> None:
    network = dense_chain(sizes=(40, 4), n_steps=10)
    spikes = np.ones((1, 40, 10), dtype=np.uint8)
    (advice,) = calibrate(network, spikes, "").advice
    assert advice.startswith("fc0: 10 rows for 40 inputs")


def test_group_that_no_spike_reaches_is_an_error_that_names_it(
    dense_chain: Any, random_spikes: Any
) -> None:
    silent = CubaNeuron(4096, 4096, 4095)  # no input of a step reaches this threshold
    network = dense_chain(neuron=silent)
    with pytest.raises(CalibrationError, match="synapse 'fc1': its source 'fc0' never spikes"):
        calibrate(network, random_spikes(network), "")
