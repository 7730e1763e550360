"""Calibration gives each group the curvature of what it receives, and says what that is worth."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pipeline import calibrate as calibration
from pipeline import curvatures, emulate_layers, kept_parts
from pipeline.artifact import require_space
from pipeline.calibrate import calibrate, curvature_bytes
from pipeline.compress import filter_spikes
from pipeline.curvatures import asymmetric_curvature
from pipeline.emulate import emulate
from pipeline.errors import CalibrationError, DeviceError, OutputError
from pipeline.kept_parts import KeptParts
from pipeline.network import ConvGeometry
from pipeline.neuron import CubaNeuron

KINDS = pytest.mark.parametrize("kind", ["dense", "conv"])



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
    rows = filter_spikes(torch.from_numpy(received), 300, 2000).movedim(1, -1).reshape(-1, 16)
    expected = 2 * rows.T @ rows / 6
    assert np.allclose(result.curvatures["fc1"].hessian[0], expected.numpy(), rtol=1e-12)
    assert np.array_equal(result.rates["fc0"], received.mean(axis=(0, 2)))
    # nothing can reach it in the first step
    assert result.curvatures["fc1"].input_rate == pytest.approx(received[..., 1:].mean())
    assert result.curvatures["fc1"].n_rows == 6 * 19
    assert (result.n_samples, result.origin) == (6, "test spikes")


@KINDS
def test_curvature_does_not_depend_on_the_chunk_size(
    kind: str, dense_chain: Any, conv_chain: Any, random_spikes: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = dense_chain() if kind == "dense" else conv_chain()
    spikes = random_spikes(network, n_samples=5)
    whole = calibrate(network, spikes, "").curvatures
    monkeypatch.setattr(curvatures, "_CHUNK_BYTES", 1)
    by_sample = calibrate(network, spikes, "").curvatures
    for name in whole:
        assert np.allclose(whole[name].hessian, by_sample[name].hessian, rtol=1e-12)


@KINDS
@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_calibrating_a_few_samples_at_a_time_equals_one_pass(
    kind: str, at_once: int, dense_chain: Any, conv_chain: Any, random_spikes: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = dense_chain() if kind == "dense" else conv_chain()
    spikes = random_spikes(network, n_samples=5)
    whole = calibrate(network, spikes, "")
    monkeypatch.setattr(emulate_layers, "_SAMPLES_AT_ONCE", at_once)
    said: list[str] = []
    parts = calibrate(network, spikes, "", said.append)
    assert sum("samples" in line for line in said) == -(-5 // at_once)
    assert parts.n_samples == 5
    for name, curvature in whole.curvatures.items():
        found = parts.curvatures[name]
        assert np.allclose(found.hessian, curvature.hessian, rtol=1e-12)
        assert np.array_equal(found.is_dead, curvature.is_dead)
        assert (found.input_rate, found.n_rows, found.rank) == (
            curvature.input_rate, curvature.n_rows, curvature.rank)
        assert found.condition == pytest.approx(curvature.condition)
    for layer in network.layers:
        assert np.allclose(parts.rates[layer.name], whole.rates[layer.name], rtol=1e-12)


def test_rates_of_a_convolution_are_per_channel(conv_chain: Any, random_spikes: Any) -> None:
    network = conv_chain()
    spikes = random_spikes(network, 5)
    rates = calibrate(network, spikes, "").rates
    received = emulate(network, spikes).spikes
    assert rates["conv"].shape == (4,)
    assert np.allclose(rates["conv"], received["conv"].mean(axis=(0, 2, 3, 4)), rtol=1e-12)
    assert np.allclose(rates["fc"], received["fc"].mean(axis=(0, 2)), rtol=1e-12)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("objective", ["smp", "voltage", "obc"])
def test_a_convolution_has_one_curvature_of_its_objective_per_group(
    groups: int, objective: str, conv_chain: Any, random_spikes: Any
) -> None:
    network = conv_chain(weight_shape=(4, 2 // groups, 3, 2), geometry=ConvGeometry(groups=groups))
    spikes = random_spikes(network, 3)
    result = calibrate(network, spikes, "", objective=objective)
    decays = {"smp": (1024, 128), "voltage": (4096, 128), "obc": (4096, 4096)}[objective]
    filtered = filter_spikes(torch.from_numpy(spikes), *decays).numpy()
    found = result.curvatures["conv"].hessian
    assert (found.shape, result.objective) == ((groups, 12 // groups, 12 // groups), objective)
    view: Any = np.lib.stride_tricks.sliding_window_view  # its stub lacks several axes
    windows = view(filtered, (3, 2), axis=(2, 3))
    per = 2 // groups
    for g in range(groups):  # (n, c, y, x, t, ky, kx)
        patches = windows[:, g * per : (g + 1) * per].transpose(0, 2, 3, 4, 1, 5, 6)
        rows = patches.reshape(-1, per * 6)
        assert np.allclose(found[g], 2 * rows.T @ rows / 3, rtol=1e-12)


# ---------------------------------------------------------------- two inputs


@KINDS
def test_curvature_of_two_inputs_is_what_calibration_finds_where_they_are_the_same(
    kind: str, dense_chain: Any, conv_chain: Any, random_spikes: Any
) -> None:
    network = dense_chain() if kind == "dense" else conv_chain()
    spikes = random_spikes(network, 4)
    layer = network.layers[0]
    hessian, cross = asymmetric_curvature(layer, layer.synapses[0], spikes, spikes, "smp")
    expected = calibrate(network, spikes, "").curvatures[layer.synapses[0].name].hessian
    assert np.allclose(hessian, expected, rtol=1e-12)
    assert np.allclose(cross, expected, rtol=1e-12)


def test_curvature_is_of_our_input_and_the_cross_term_of_both(
    dense_chain: Any, random_spikes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = dense_chain()
    layer = network.layers[0]
    ours, theirs = (random_spikes(network, 4, seed=seed) for seed in (1, 2))
    A, B = (filter_spikes(torch.from_numpy(x), 1024, 128).movedim(1, -1).reshape(-1, 12).numpy()
            for x in (ours, theirs))
    for chunk in (1 << 20, 1):
        monkeypatch.setattr(curvatures, "_CHUNK_BYTES", chunk)
        hessian, cross = asymmetric_curvature(layer, layer.synapses[0], ours, theirs, "smp")
        assert np.allclose(hessian[0], 2 * A.T @ A / 4, rtol=1e-12)
        assert np.allclose(cross[0], 2 * A.T @ B / 4, rtol=1e-12)


# ---------------------------------------------------------------- health


def test_rank_counts_independent_inputs_and_condition_is_after_damping(dense_chain: Any) -> None:
    network = dense_chain(sizes=(12, 4))
    spikes = (np.random.default_rng(0).random((5, 12, 20)) < 0.3).astype(np.uint8)
    spikes[:, 1] = spikes[:, 0]  # a copy
    spikes[:, 3] *= spikes[:, 2] == 0  # disjoint from its neighbor
    spikes[:, 4] = spikes[:, 2] | spikes[:, 3]  # the sum of two
    spikes[:, 5] = 0  # dead
    result = calibrate(network, spikes, "", damping_frac=0.05).curvatures["fc0"]
    assert result.rank == 12 - 3
    assert np.linalg.matrix_rank(result.hessian[0], hermitian=True) == 9
    strength = 0.05 * np.trace(result.hessian[0]) / 11
    largest = np.linalg.eigvalsh(result.hessian[0]).max()
    assert result.condition == pytest.approx((largest + strength) / strength)


def test_the_worst_group_of_a_convolution_speaks_for_it(conv_chain: Any) -> None:
    network = conv_chain(weight_shape=(4, 1, 3, 2), geometry=ConvGeometry(groups=2))
    spikes = (np.random.default_rng(0).random((5, 2, 7, 6, 20)) < 0.3).astype(np.uint8)
    spikes[:, 1] = spikes[:, 1, :, :1]  # equal along x: two columns of the kernel see the same
    result = calibrate(network, spikes, "").curvatures["conv"]
    ranks = [np.linalg.matrix_rank(H, hermitian=True) for H in result.hessian]
    assert ranks == [6, 3] and result.rank == 3
    conditions = []
    for H in result.hessian:
        eigenvalues = np.linalg.eigvalsh(H)
        strength = 0.01 * eigenvalues.mean()
        conditions.append((eigenvalues[-1] + strength) / (max(eigenvalues[0], 0) + strength))
    assert result.condition == pytest.approx(max(conditions))
    assert max(conditions) > 2 * min(conditions)


def test_healthy_calibration_gives_no_advice(dense_chain: Any, random_spikes: Any) -> None:
    network = dense_chain()
    assert calibrate(network, random_spikes(network, 20, 0.3), "").advice == ()


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
    spikes = (np.random.default_rng(0).random((1, 40, 10)) < 0.5).astype(np.uint8)
    (advice,) = calibrate(network, spikes, "").advice
    assert advice.startswith("fc0: rank 10 for 40 live of 40 inputs (10 rows)")


def test_group_that_no_spike_reaches_is_an_error_that_names_it(
    dense_chain: Any, random_spikes: Any
) -> None:
    silent = CubaNeuron(4096, 4096, 4095)  # no input of a step reaches this threshold
    network = dense_chain(neuron=silent)
    with pytest.raises(CalibrationError, match="synapse 'fc1': its source 'fc0' never spikes"):
        calibrate(network, random_spikes(network), "")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_asked_for_and_absent_is_an_error(dense_chain: Any, random_spikes: Any) -> None:
    network = dense_chain()
    with pytest.raises(DeviceError, match="'cuda' was asked for"):
        calibrate(network, random_spikes(network), "", device="cuda")


def test_groups_that_hear_the_same_share_one_sum(
    dense_chain: Any, random_spikes: Any, monkeypatch: Any
) -> None:
    network = dense_chain()
    first, last = network.layers
    # queries, keys, values: three layers on one source; one of them has other neurons
    twin = replace(first, name="twin", synapses=(replace(first.synapses[0], name="twin"),))
    other = replace(first, name="other", synapses=(replace(first.synapses[0], name="other"),),
                    neuron=CubaNeuron(300, 2000, 120))
    spikes = random_spikes(network, n_samples=5)
    alone = {
        layer.name: calibrate(network.with_layers((layer,)), spikes, "").curvatures[layer.name]
        for layer in (first, twin, other)}
    summed, made = [], curvatures.input_sum
    monkeypatch.setattr(calibration, "input_sum", lambda layer, synapse, *rest: (
        summed.append(synapse.name), made(layer, synapse, *rest))[1])
    monkeypatch.setattr(emulate_layers, "_SAMPLES_AT_ONCE", 2)
    together = calibrate(
        network.with_layers((first, twin, other, last)), spikes, "").curvatures
    assert set(together) == {"fc0", "twin", "other", "fc1"}
    assert summed == 3 * ["fc0", "other", "fc1"]
    for name, curvature in alone.items():
        assert np.allclose(together[name].hessian, curvature.hessian, rtol=1e-12)
        assert together[name].n_rows == curvature.n_rows
    assert not np.allclose(together["other"].hessian, together["fc0"].hessian)


def test_an_interrupted_calibration_goes_on_where_it_was(
    dense_chain: Any, random_spikes: Any, monkeypatch: Any, tmp_path: Any
) -> None:
    network = dense_chain()
    spikes = random_spikes(network, n_samples=5)
    whole = calibrate(network, spikes, "").curvatures
    monkeypatch.setattr(emulate_layers, "_SAMPLES_AT_ONCE", 2)
    monkeypatch.setattr(kept_parts, "_WORTH_S", -1.0)
    made, n_made = curvatures.input_sum, []

    def stop_at_the_fourth(*given: Any) -> Any:
        n_made.append(1)
        if len(n_made) == 4:
            raise KeyboardInterrupt
        return made(*given)

    monkeypatch.setattr(calibration, "input_sum", stop_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        calibrate(network, spikes, "", kept=KeptParts(tmp_path))
    again = calibrate(network, spikes, "", kept=KeptParts(tmp_path)).curvatures
    assert len(n_made) == 4 + 3  # two groups, three batches, three sums kept
    for name, curvature in whole.items():
        assert np.allclose(again[name].hessian, curvature.hessian, rtol=1e-12)
        assert again[name].input_rate == curvature.input_rate
        assert again[name].n_rows == curvature.n_rows


def test_too_little_disk_is_said_before_starting(
    dense_chain: Any, random_spikes: Any, monkeypatch: Any, tmp_path: Any
) -> None:
    network = dense_chain()
    n_bytes = curvature_bytes(network, random_spikes(network, n_samples=5))
    assert n_bytes == 2 * 8 * sum(s.weight.shape[1] ** 2 for s in network.synapses)
    require_space(tmp_path, n_bytes, "curvatures")
    free = shutil.disk_usage(tmp_path)._replace(free=n_bytes - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    with pytest.raises(OutputError, match="curvatures of this network take up to .* GB are free"):
        require_space(tmp_path, n_bytes, "curvatures")


@KINDS
@pytest.mark.parametrize("neuron", [
    CubaNeuron(4096, 0, 120), CubaNeuron(4096, 700, 120), CubaNeuron(700, 4096, 120),
    CubaNeuron(300, 700, 120)], ids=["IF", "LIF", "current only", "CUBA"])
@pytest.mark.parametrize("objective", ["smp", "obc"])
def test_steps_without_input_are_left_out_and_change_nothing(
    kind: str, neuron: CubaNeuron, objective: str, dense_chain: Any, conv_chain: Any,
    random_spikes: Any, monkeypatch: Any
) -> None:
    network = dense_chain() if kind == "dense" else conv_chain()
    layer = replace(network.layers[0], neuron=neuron)
    network = network.with_layers((layer,))
    spikes = random_spikes(network, n_samples=3)
    spikes[..., [0, 1, 5, 6, 7, 8, 9, 10, 12]] = 0
    spikes[..., 14:] = 0
    other = np.roll(spikes, 2, axis=-1)
    rows = []
    accumulate = curvatures.accumulate_hessian
    monkeypatch.setattr(curvatures, "accumulate_hessian", lambda hessian, filtered, *rest: (
        rows.append(filtered.shape[-1]), accumulate(hessian, filtered, *rest))[1])
    few = calibrate(network, spikes, "", objective=objective).curvatures[layer.name]
    n_few = rows.copy()
    both = asymmetric_curvature(layer, layer.synapses[0], spikes, other, objective)
    monkeypatch.setattr(curvatures, "_MOSTLY_SILENT_FRAC", -1.0)
    all_steps = calibrate(network, spikes, "", objective=objective).curvatures[layer.name]
    is_two = objective == "smp" and neuron == CubaNeuron(300, 700, 120)
    assert max(n_few) == (18 if is_two else 5) and rows[-1] == 18  # of 20, two before the first
    assert np.allclose(few.hessian, all_steps.hessian, rtol=1e-12)
    assert few.hessian.any() and few.n_rows == all_steps.n_rows
    for found, expected in zip(
            both, asymmetric_curvature(layer, layer.synapses[0], spikes, other, objective),
            strict=True):
        assert found.any() and np.allclose(found, expected, rtol=1e-12)
