"""Resonate-and-fire neurons: Lava's arithmetic, and its recorded layers."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from resonator_networks import chain, file_of, resonators

from pipeline import emulate as emulator
from pipeline.emulate import emulate
from pipeline.graded import state_of
from pipeline.ingest.netx import read_netx
from pipeline.ingest.netx_graded import as_stock_netx_runs
from pipeline.network import INPUT, Layer, Network
from pipeline.neuron import ResonatorNeuron
from pipeline.synaptic_input import Accumulator

TRUTH = Path(h5py.__file__).parents[1] / "tests/lava/lib/dl/netx/gts/complex_dense"
NEURON = st.builds(
    ResonatorNeuron, st.sampled_from(["rf", "rf_iz"]), st.integers(0, 4096), st.integers(0, 4096),
    st.integers(0, 60) | st.integers(0, 1 << 17))


def spikes_for(network: Network, rate: float = 0.3) -> NDArray[np.uint8]:
    shape: Any = (3, *network.input_shape, network.n_steps)
    return (np.random.default_rng(1).random(shape) < rate).astype(np.uint8)


# ------------------------------------------------------------ arithmetic


def as_lava_computes(
    real_in: NDArray[np.int64], imag_in: NDArray[np.int64], neuron: ResonatorNeuron
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return spikes and both states, (t, out), by the statements of lava.proc.rf.models."""
    def scale_volt(voltage: Any) -> Any:
        return np.sign(voltage) * np.right_shift(np.abs(voltage), 12)

    real = imag = np.zeros(real_in.shape[1], dtype=np.int64)
    s, c, vth, limit = neuron.sin_decay, neuron.cos_decay, neuron.vth_mant << 6, (1 << 23) - 1
    steps = []
    for a_real, a_imag in zip(real_in, imag_in, strict=True):
        new_real = scale_volt(c * real) - scale_volt(s * imag) + (a_real << 6)
        new_imag = scale_volt(s * real) + scale_volt(c * imag) + (a_imag << 6)
        new_real, new_imag = (np.clip(x, -limit, limit) for x in (new_real, new_imag))
        if neuron.kind == "rf":
            s_out = (new_real >= vth) * (new_imag >= 0) * (imag < 0)
            real, imag = new_real, new_imag
        else:
            s_out = new_imag >= vth
            real = new_real * (1 - s_out)
            imag = s_out * (vth - 1) + (1 - s_out) * new_imag
        steps.append((s_out, real, imag))
    spikes, reals, imags = zip(*steps, strict=True)
    return np.array(spikes), np.array(reals), np.array(imags)


@given(NEURON, st.integers(0, 1000), st.sampled_from([100, 3000, 200_000]))
def test_kernels_compute_what_lava_does_also_where_24_bits_clip(
    neuron: ResonatorNeuron, seed: int, largest: int
) -> None:
    acc = np.random.default_rng(seed).integers(-largest, largest, (2, 1, 30, 4)).astype(np.int32)
    layer = Layer("a", (), neuron, (4,))
    spikes, real, imag = state_of(layer, 1).run(acc, with_states=True)
    expected, reals, imags = as_lava_computes(*acc[:, 0].astype(np.int64), neuron)
    assert np.array_equal(spikes[0].T[1:], expected[:-1])
    assert np.array_equal(real[0].T, reals) and np.array_equal(imag[0].T, imags)


@pytest.mark.parametrize("kind", ["rf", "rf_iz"])
def test_a_run_in_pieces_is_one_run(kind: str, monkeypatch: Any) -> None:
    network = chain(kind)
    spikes = spikes_for(network)
    whole = emulate(network, spikes, with_states=True)
    assert all(whole.spikes[layer.name].sum() > 5 for layer in network.layers)
    for n_at_once in (1, 7):
        monkeypatch.setattr(emulator, "ACC_BYTES", 4 * len(spikes) * 14 * n_at_once)
        pieces = emulate(network, spikes, with_states=True)
        for part in ("spikes", "u", "v", "n_active"):
            for name, values in getattr(whole, part).items():
                assert np.array_equal(values, getattr(pieces, part)[name])


def test_delays_of_channels_only_delay() -> None:
    network = chain()
    spikes = spikes_for(network)
    delayed = emulate(network, spikes).spikes["a"]
    undelayed = emulate(network.with_layers(
        (replace(network.layers[0], axonal_delay=None), network.layers[1])), spikes).spikes["a"]
    for channel in range(14):
        assert np.array_equal(
            delayed[:, channel, channel:], undelayed[:, channel, : 40 - channel])


def test_each_channel_resonates_as_it_would_with_shared_decays() -> None:
    layer = chain().layers[1]
    assert isinstance(layer.neuron, ResonatorNeuron) and layer.neuron.channel_sin_decay
    acc = np.random.default_rng(0).integers(-200, 200, (2, 1, 40, 9)).astype(np.int32)
    each, _, _ = state_of(layer, 1).run(acc)
    for o in range(9):
        sine, cosine = layer.neuron.channel_sin_decay[o], 3900 - 100 * o
        alone, _, _ = state_of(
            replace(layer, neuron=ResonatorNeuron("rf", sine, cosine, 30)), 1).run(acc)
        assert np.array_equal(each[:, o], alone[:, o])


# ------------------------------------------------------------ layers recorded in Lava's wheel


def integers(period: float, alpha: float) -> tuple[int, int]:
    """Return the decays that the process makes of period and decay."""
    sine, cosine = ((1 - alpha) * f(2 * np.pi / period) for f in (np.sin, np.cos))
    return int(sine * 4096), int(cosine * 4096)


def recorded_keys(kind: bytes, vth_mant: int, decays: tuple[int, int]) -> dict[str, Any]:
    return {"type": b"dense", "neuron/type": kind, "neuron/vThMant": vth_mant,
            "neuron/sinDecay": decays[0], "neuron/cosDecay": decays[1]}


def test_dense_resonators_are_what_was_recorded(tmp_path: Path) -> None:
    network, _ = read_netx(file_of(tmp_path / "recorded.net", {
        **recorded_keys(b"RF_PHASE", 25, integers(11, 0.05)), "shape": [256],
        "weight/real": np.load(TRUTH / "weight_r.npy"),
        "weight/imag": np.load(TRUTH / "weight_img.npy")}), 2000)
    spikes = emulate(network, np.load(TRUTH / "in.npy").astype(np.uint8)[None]).spikes["dense0"]
    assert np.array_equal(spikes[0], np.load(TRUTH / "out.npy"))
    assert spikes.sum() == 41_512


def test_izhikevich_resonators_are_what_was_recorded(tmp_path: Path) -> None:
    # recorded with a threshold of 70 / 64 for inputs of 1: 1.1, truncated in units of the state
    network, _ = read_netx(file_of(tmp_path / "recorded.net", {
        **recorded_keys(b"RF_IZHIKEVICH", 1, integers(7, 0.05)), "shape": [200],
        "weight/real": np.eye(200), "weight/imag": np.eye(200)}), 2000)
    (layer,) = network.layers
    given = np.load(TRUTH / "in.npy").astype(np.uint8)[None]
    acc = Accumulator(network, layer).run({INPUT: given})
    spikes = _with_state_threshold(acc, layer, 70)
    assert np.array_equal(spikes[0][:, 1:], np.load(TRUTH / "current.npy")[:, :-1])
    assert spikes.sum() == 13_548


def _with_state_threshold(
    acc: NDArray[np.int32], layer: Layer, threshold: int
) -> NDArray[np.uint8]:
    """Return the spikes for a threshold that is no multiple of 64 in units of the state."""
    from pipeline import kernels_graded

    assert isinstance(layer.neuron, ResonatorNeuron)
    _, n, n_steps, n_out = acc.shape
    states = [np.zeros((n, n_out), dtype=np.int32) for _ in range(3)]
    spikes = np.zeros((n, n_out, n_steps), dtype=np.uint8)
    none = np.zeros((0, 0, 0), dtype=np.int32)
    decays = [np.full(n_out, d, np.int32) for d in (layer.neuron.sin_decay, layer.neuron.cos_decay)]
    kernels_graded.run_resonator(
        acc[0], acc[1], True, *decays, np.int64(threshold), np.zeros(n_out, dtype=np.int64),
        states[0], states[1], spikes, np.zeros((n, n_out, 1), dtype=np.uint8), states[2], none,
        none)
    return spikes


# ------------------------------------------------------------ what stock NetX makes of decays


# the process the stock loader builds, without running it; Lava wants a process of its own
BUILT = """
import json, sys
from lava.lib.dl.slayer.neuron.rf import neuron_params
from lava.proc.rf.process import RF
found = []
for sine, cosine in json.loads(sys.argv[1]):
    read = neuron_params({"sinDecay": sine, "cosDecay": cosine, "vThMant": 64})
    process = RF(shape=(1,), period=read["period"], alpha=read["decay"], state_exp=6,
                 decay_bits=12, vth=64)
    found.append([int(process.sin_decay.init), int(process.cos_decay.init)])
print("found", json.dumps(found))
"""


@pytest.mark.slow
def test_decays_of_stock_netx_are_those_of_the_process_it_builds() -> None:
    rng = np.random.default_rng(0)
    given = [
        [round(4096 * (1 - decay) * f(2 * np.pi / period)) for f in (np.sin, np.cos)]
        for period, decay in zip(
            rng.uniform(4, 60, 300), rng.choice([0.01, 0.05, 0.2, 0.5], 300), strict=True)
    ]
    ours = []
    for sine, cosine in given:
        layer = resonators("a", INPUT, 3, 2, neuron=ResonatorNeuron("rf", sine, cosine, 64))
        neuron = as_stock_netx_runs(Network("n", (3,), 2, (layer,))).layers[0].neuron
        assert isinstance(neuron, ResonatorNeuron)
        ours.append([neuron.sin_decay, neuron.cos_decay])
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BUILT, json.dumps(given)], capture_output=True,
        text=True, check=True)
    assert json.loads(result.stdout.rpartition("found")[2]) == ours
    lower = np.array(given) - np.array(ours)
    assert set(lower.ravel()) == {0, 1}
    assert 60 < lower.any(axis=1).sum() < 150  # 106 of 300 where this was written


def test_each_channel_is_recomputed() -> None:
    network = as_stock_netx_runs(chain())
    shared, each = (layer.neuron for layer in network.layers)
    assert isinstance(shared, ResonatorNeuron) and isinstance(each, ResonatorNeuron)
    assert each.channel_sin_decay is not None and each.channel_cos_decay is not None
    for o in range(9):
        alone = replace(chain().layers[0], neuron=ResonatorNeuron("rf", 500 + 100 * o,
                                                                  3900 - 100 * o, 30))
        (layer,) = as_stock_netx_runs(Network("n", (12,), 2, (alone,))).layers
        assert layer.neuron == ResonatorNeuron(
            "rf", each.channel_sin_decay[o], each.channel_cos_decay[o], 30)
