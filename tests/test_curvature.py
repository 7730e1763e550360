"""H is the exact Hessian of the squared error of the reset-free potential."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pipeline.compress import accumulate_cross, accumulate_hessian, damped, filter_spikes
from pipeline.compress.curvature import asymmetric_target, damping
from pipeline.compress.filters import OBJECTIVES, delay_spikes, filter_decays
from pipeline.errors import CalibrationError
from pipeline.network import ConvGeometry
from pipeline.neuron import CubaNeuron

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


# ---------------------------------------------------------------- objectives and delays


def response(neuron: CubaNeuron, objective: str, current: Tensor) -> Tensor:
    """Return what an objective compares, step by step: potential, its voltage part, or current."""
    u, v = torch.zeros_like(current[..., 0]), torch.zeros_like(current[..., 0])
    values = []
    for t in range(current.shape[-1]):
        if objective == "obc":
            values.append(current[..., t])
            continue
        u = u * (1 - neuron.current_decay / 4096) + current[..., t]
        v = v * (1 - neuron.voltage_decay / 4096) + (u if objective == "smp" else current[..., t])
        values.append(v)
    return torch.stack(values, dim=-1)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("decays", [CUBA, LIF, IF])
def test_curvature_of_each_objective_is_the_autograd_hessian_of_what_it_compares(
    objective: str, decays: tuple[int, int]
) -> None:
    neuron = CubaNeuron(*decays, vth_mant=80)
    spikes = binary((3, 5, 12))

    def error(weight: Tensor) -> Tensor:
        current = torch.einsum("i,nit->nt", weight, spikes.double())
        return (response(neuron, objective, current) - 1.5).square().sum()

    expected = torch.autograd.functional.hessian(error, torch.ones(5, dtype=torch.float64))
    filtered = filter_spikes(spikes, *filter_decays(neuron, objective))
    found = accumulate_hessian(None, filtered, (1, 1), None)
    assert torch.allclose(found[0], expected, rtol=1e-12, atol=1e-12)


def test_an_objective_that_is_none_is_refused() -> None:
    with pytest.raises(KeyError):
        filter_decays(CubaNeuron(1024, 128, 80), "rate")


def test_curvature_of_delayed_spikes_is_the_autograd_hessian_with_delayed_input() -> None:
    spikes, delays, n_steps = binary((3, 5, 12)), [0, 1, 3, 11, 12], 12
    M = both_filters(n_steps, CUBA)

    def error(weight: Tensor) -> Tensor:
        current = torch.zeros(3, n_steps, dtype=torch.float64)
        for i, delay in enumerate(delays):
            arrived = torch.zeros(3, n_steps, dtype=torch.float64)
            arrived[:, delay:] = spikes[:, i, : n_steps - delay].double()
            current = current + weight[i] * arrived
        return (current @ M.T - 0.7).square().sum()

    expected = torch.autograd.functional.hessian(error, torch.ones(5, dtype=torch.float64))
    delayed = delay_spikes(spikes, torch.tensor(delays))
    assert delayed.shape == spikes.shape and delayed.dtype == spikes.dtype
    found = accumulate_hessian(None, filter_spikes(delayed, *CUBA), (1, 1), None)
    assert torch.allclose(found[0], expected, rtol=1e-12, atol=1e-12)
    assert not found[0, 4].any()  # its spikes all arrive after the sample has ended


def test_delaying_before_the_filter_is_delaying_after_it() -> None:
    spikes, delays = binary((2, 4, 15)), torch.tensor([0, 2, 5, 7])
    before = filter_spikes(delay_spikes(spikes, delays), *CUBA)
    assert torch.allclose(before, delay_spikes(filter_spikes(spikes, *CUBA), delays))


# ---------------------------------------------------------------- unfolding and batches


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


def test_damping_can_be_set_by_another_matrix() -> None:
    G, H = np.full((1, 2, 2), 9.0), np.diag([2.0, 4.0])[None]
    assert damping(H, 0.1).tolist() == pytest.approx([0.3])
    assert np.allclose(damped(G, 0.1, like=H)[0], G[0] + 0.3 * np.eye(2))


# ---------------------------------------------------------------- towards the dense potential


@pytest.mark.parametrize("geometry", [None, *GEOMETRIES], ids=str)
def test_the_cross_term_is_between_both_inputs(geometry: ConvGeometry | None) -> None:
    shape = (3, 4, 9) if geometry is None else (2, 4, 5, 6, 7)
    ours, theirs = (filter_spikes(binary(shape, seed), *CUBA) for seed in (1, 2))
    cross = accumulate_cross(None, ours, theirs, (2, 3), geometry)
    # |a + b|^2 - |a|^2 - |b|^2 = a.b + b.a, entry by entry
    squares = [accumulate_hessian(None, x, (2, 3), geometry) for x in (ours + theirs, ours, theirs)]
    assert torch.allclose(cross + cross.transpose(1, 2), squares[0] - squares[1] - squares[2])
    same = accumulate_cross(None, ours, ours, (2, 3), geometry)
    assert torch.allclose(same, squares[1])
    twice = accumulate_cross(cross, ours, theirs, (2, 3), geometry)
    assert torch.allclose(twice, 2 * cross)


@settings(max_examples=30)
@given(st.integers(1, 4), st.integers(1, 6), st.floats(0.01, 10.0), st.integers(0, 1000))
def test_the_target_is_ridge_least_squares_on_the_filtered_inputs(
    rows: int, d_in: int, strength: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    W = rng.normal(size=(rows, d_in))
    ours, theirs = (filter_spikes(binary((2, d_in, 9), s), *CUBA) for s in (seed, seed + 1))
    A, B = (x.movedim(1, -1).reshape(-1, d_in).numpy() for x in (ours, theirs))
    eye = strength * np.eye(d_in)
    H = accumulate_hessian(None, ours, (1, 1), None)[0].numpy() + eye
    G = accumulate_cross(None, ours, theirs, (1, 1), None)[0].numpy() + eye
    # |A w' - B w|^2 + strength / 2 |w' - w|^2
    root = np.sqrt(strength / 2) * np.eye(d_in)
    expected = np.linalg.lstsq(np.vstack([A, root]), np.vstack([B, root]) @ W.T, rcond=None)[0].T
    assert np.allclose(asymmetric_target(W, H, G), expected, rtol=1e-7, atol=1e-9)


def test_the_target_is_the_weights_themselves_where_the_inputs_are_the_same() -> None:
    W = np.random.default_rng(0).normal(size=(3, 5))
    H = accumulate_hessian(None, filter_spikes(binary((2, 5, 9)), *CUBA), (1, 1), None)[0].numpy()
    H = damped(H, 0.01)
    assert np.allclose(asymmetric_target(W, H, H), W, rtol=1e-12)


def test_a_target_from_a_curvature_that_is_not_positive_definite_is_refused() -> None:
    with pytest.raises(CalibrationError, match="not positive definite"):
        asymmetric_target(np.ones((2, 3)), np.zeros((3, 3)), np.eye(3))
