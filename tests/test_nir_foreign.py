"""Graphs of plain nir nodes, as another framework writes them, do what their equations say.

The simulations below are of the equations in the docstrings of nir 1.0.8, by forward Euler with the
current of the same step, as NIR's own Lava example (docs/source/examples/lava/nir_to_lava.py) and
snnTorch (snntorch/import_nir.py) discretize them. A layer's spikes leave a step later here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from nir_networks import N_STEPS, cuba, ends, impulse, read
from numpy.typing import NDArray

from pipeline.emulate import emulate
from pipeline.export_nir import DT


def euler(node: nir.CubaLIF, received: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return spikes and voltages before reset, (n, neurons, t), of what arrives each step."""
    i, v = np.zeros(received.shape[:2]), np.zeros(received.shape[:2])
    spikes, voltages = np.zeros_like(received), np.zeros_like(received)
    for t in range(received.shape[-1]):
        i = i + DT / node.tau_syn * (-i + node.w_in * received[..., t])
        v = v + DT / node.tau_mem * ((node.v_leak - v) + node.r * i)
        spikes[..., t], voltages[..., t] = v > node.v_threshold, v
        v = np.where(v > node.v_threshold, node.v_reset, v)
    return spikes, voltages


def spikes_in(*shape: int, rate: float = 0.3, seed: int = 0) -> NDArray[np.uint8]:
    return (np.random.default_rng(seed).random((3, *shape, N_STEPS)) < rate).astype(np.uint8)


def late(spikes: NDArray[Any], steps: int = 1) -> NDArray[Any]:
    return np.concatenate([np.zeros_like(spikes[..., :steps]), spikes[..., :-steps]], axis=-1)


# ---------------------------------------------------------------- behavior


def test_exact_parameters_give_the_same_spikes_through_two_layers(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    w1, w2 = rng.integers(-20, 30, (8, 12)) / 8, rng.integers(-20, 30, (5, 8)) / 16
    integrates = impulse((8,), 3.0)
    forgets = cuba((5,), DT, DT, 1.25)  # neither current nor voltage outlast a step
    network, ledger = read(tmp_path, ends(
        12, 5, fc1=nir.Linear(w1), a=integrates, fc2=nir.Linear(w2), b=forgets))
    assert network.is_integer and [e.what for e in ledger if "times" in e.what] == [
        "weights, threshold and bias times 64", "weights, threshold and bias times 128"]
    spikes = spikes_in(12)
    trace = emulate(network, spikes)
    ideal, v = np.zeros((3, 8, N_STEPS)), np.zeros((3, 8))
    for t in range(N_STEPS):
        v = v + spikes[..., t] @ w1.T
        ideal[..., t], v = v > 3.0, np.where(v > 3.0, 0.0, v)
    assert ideal.sum() > 50 and np.array_equal(trace.spikes["a"], late(ideal))
    second, _ = euler(forgets, np.einsum("oi,nit->not", w2, late(ideal)))
    assert second.sum() > 50 and np.array_equal(trace.spikes["b"], late(second))


@pytest.mark.parametrize("seed", range(4))
def test_leaky_neurons_differ_by_no_more_than_truncation_makes_them(
    seed: int, tmp_path: Path
) -> None:
    rng = np.random.default_rng(seed)
    weight = np.round(rng.normal(3, 20, (10, 12))) / 50
    node = cuba((10,), 4 * DT, 8 * DT, 6.0 + rng.integers(0, 4, 10) / 50, leak=0.4 * 8)
    network, ledger = read(tmp_path, ends(12, 10, fc=nir.Linear(weight), a=node))
    scale = float(network.synapses[0].weight.flat[0] / weight.flat[0])
    assert network.is_integer and not [e for e in ledger if "rounded" in e.what]
    spikes = spikes_in(12, seed=seed)
    ideal, voltages = euler(node, np.einsum("oi,nit->not", weight, spikes))
    # each truncation is below one unit of 1/64 weight: u is off by less than 4 of them, v by 8 * 5
    bound = 8 * (1 + 4) / 64 / scale
    # where a voltage never comes that close to its threshold, no spike may differ
    safe = np.abs(voltages - node.v_threshold[:, None]).min(axis=-1) > bound
    trace = emulate(network, spikes, with_states=True)
    ours = trace.v["a"] / 64 / scale
    assert safe.mean() > 0.5 and ideal[safe].sum() > 50
    assert np.array_equal(trace.spikes["a"][safe], late(ideal)[safe])
    assert np.abs(ours - np.where(ideal, 0.0, voltages))[safe].max() < bound


def test_r_and_w_in_scale_what_arrives(tmp_path: Path) -> None:
    weight = np.arange(12.0).reshape(3, 4) - 5.5
    node = cuba((3,), 2 * DT, 4 * DT, 2.25, r=[1.0, 2.0, 4.0], w_in=[3.0, 3.0, 1.5])
    network, ledger = read(tmp_path, ends(4, 3, fc=nir.Linear(weight), a=node))
    gain = np.array([3.0, 6.0, 6.0]) / 8
    assert network.is_integer and "weights times w_in and r" in [e.what for e in ledger]
    ratio = network.synapses[0].weight / (weight * gain[:, None])
    assert np.allclose(ratio, network.layers[0].neuron.vth_mant / 2.25)
    assert network.layers[0].neuron.current_decay == 2048


def test_lif_neurons_are_cuba_neurons_whose_current_decays_at_once(tmp_path: Path) -> None:
    lif = nir.LIF(tau=np.full(3, 8 * DT), r=np.full(3, 8.0), v_leak=np.full(3, 16.0),
                  v_threshold=np.full(3, 20.0))
    network, _ = read(tmp_path, ends(4, 3, fc=nir.Affine(2 * np.ones((3, 4)), np.ones(3)), a=lif))
    neuron = network.layers[0].neuron
    scale = neuron.vth_mant / 20
    assert (neuron.current_decay, neuron.voltage_decay) == (4096, 512)
    assert neuron.bias == (3 * scale,) * 3 and (network.synapses[0].weight == 2 * scale).all()


def test_convolution_pooling_and_a_loop_are_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    kernel, loop = rng.integers(-2, 4, (4, 1, 3, 3)).astype(float), -np.eye(5)
    conv = nir.Conv2d((6, 8), kernel, (1, 2), (1, 1), 1, 2, np.zeros(4))
    nodes = ends((2, 6, 8), 5, conv=conv, a=impulse((4, 6, 4), 5.0),
                 pool=nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
                 b=impulse((1,), 1.5), flat=nir.Flatten({"input": np.array([4, 3, 2])}, 0),
                 fc=nir.Linear(rng.integers(-3, 5, (5, 24)).astype(float)), c=impulse((5,), 6.0))
    names = list(nodes)
    nodes["rec"] = nir.Linear(loop)
    edges = [*zip(names, names[1:], strict=False), ("c", "rec"), ("rec", "c")]
    network, _ = read(tmp_path, nodes, edges)
    assert [layer.shape for layer in network.layers] == [(4, 6, 4), (4, 3, 2), (5,)]
    assert network.layers[1].synapses[0].is_fixed and network.layers[2].recurrent is not None
    spikes = spikes_in(2, 6, 8)
    trace = emulate(network, spikes)
    windows = trace.spikes["a"].reshape(3, 4, 3, 2, 2, 2, N_STEPS).sum(axis=(3, 5), dtype=int)
    v, fired = np.zeros((3, 4, 3, 2)), np.zeros(windows.shape)
    for t in range(N_STEPS):
        v = v + windows[..., t]
        fired[..., t], v = v > 1.5, np.where(v > 1.5, 0.0, v)
    assert fired.sum() > 50 and np.array_equal(trace.spikes["b"], late(fired))
    assert trace.spikes["c"].any()


def test_delays_become_axonal_delays(tmp_path: Path) -> None:
    nodes = ends(4, 3, fc=nir.Linear(np.eye(4)[:3]), a=impulse((3,), 0.5),
                 wait=nir.Delay(np.array([0, 2, 3.4]) * DT))
    network, ledger = read(tmp_path, nodes)
    assert network.layers[0].axonal_delay == (0, 2, 3)
    assert "delays in steps rounded, by 0.4 at most" in [e.what for e in ledger]
    spikes = spikes_in(4)
    assert np.array_equal(emulate(network, spikes).spikes["a"][:, 1], late(spikes[:, 1], 3))


def test_several_sources_are_summed_and_the_shorter_path_waits(tmp_path: Path) -> None:
    nodes = ends(3, 3, fc1=nir.Linear(2 * np.eye(3)), a=impulse((3,), 1.0),
                 fc2=nir.Linear(2 * np.eye(3)), b=impulse((3,), 3.0))
    names = list(nodes)
    edges = [*zip(names, names[1:], strict=False), ("input", "fc2")]
    network, ledger = read(tmp_path, nodes, edges)
    (join,) = network.joins
    assert (join.kind, set(join.sources)) == ("add", {"a", "input.relay1"})
    assert [e.what for e in ledger if e.layer == "input"] == [
        "repeated by a relay 1 step later, to meet the spikes of deeper layers"]
    spikes = spikes_in(3)
    received = 4.0 * late(spikes)  # every spike of 2 > 1 passes the first layer, and the relay
    v, fired = np.zeros((3, 3)), np.zeros(received.shape)
    for t in range(N_STEPS):
        v = v + received[..., t]
        fired[..., t], v = v > 3.0, np.where(v > 3.0, 0.0, v)
    assert np.array_equal(emulate(network, spikes).spikes["b"], late(fired))


def test_padding_may_be_given_by_name(tmp_path: Path) -> None:
    for padding, shape in (("same", (3, 4, 5)), ("valid", (3, 2, 3))):
        conv = nir.Conv2d((4, 5), np.ones((3, 1, 3, 3)), 1, padding, 1, 1, np.zeros(3))
        network, _ = read(tmp_path, ends((1, 4, 5), shape, conv=conv, a=impulse((1,), 1.0)))
        assert network.layers[0].shape == shape


# ---------------------------------------------------------------- what is rounded is said


def test_weights_without_a_common_step_stay_floats(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).normal(size=(3, 4))
    network, ledger = read(tmp_path, ends(4, 3, fc=nir.Linear(weight), a=impulse((3,), 1.0)))
    assert "a spike to an IF taken to add r W, without dt" in [e.what for e in ledger]
    scaled = network.synapses[0].weight
    assert scaled.dtype == np.float64 and 120 < np.abs(scaled).max() <= 254
    assert np.allclose(scaled, weight * network.layers[0].neuron.vth_mant)
    assert any("stay floats" in e.what and e.count == 12 for e in ledger)


def test_each_rounding_is_in_the_ledger(tmp_path: Path) -> None:
    weight = np.array([[1.0, -3.0], [5.0, 127.0]])  # only a scale of 2 keeps them in range
    node = cuba((2,), 3.3 * DT, [7 * DT, 10.1 * DT], [10.3, 11.0], leak=[3.0, 0.0])
    network, ledger = read(tmp_path, ends(2, 2, fc=nir.Linear(weight), a=node))
    counts = {e.what.split(",")[0]: (e.count, e.total) for e in ledger if "rounded" in e.what}
    assert counts == {
        "current decays rounded": (2, 2), "voltage decays rounded": (2, 2),
        "thresholds rounded": (1, 2), "biases rounded": (1, 2)}
    neuron = network.layers[0].neuron
    assert neuron.channel_vth_mant == (21, 22) and neuron.current_decay == round(4096 / 3.3)
    assert neuron.channel_voltage_decay == (round(4096 / 7), round(4096 / 10.1))


@pytest.mark.parametrize("dt", [1e-4, 1e-3])
def test_the_step_is_named_and_may_be_given(dt: float, tmp_path: Path) -> None:
    node = cuba((3,), 4e-3, 8e-3, 1.0, r=1.0, w_in=1.0)
    network, ledger = read(tmp_path, ends(3, 3, fc=nir.Linear(np.eye(3)), a=node), dt=dt)
    assert network.layers[0].neuron.current_decay == round(4096 * dt / 4e-3)
    assert any(f"a step taken as {dt:g} s" in e.what for e in ledger)
