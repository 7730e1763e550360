"""Resonate-and-fire neurons: Lava's arithmetic, its recorded layers, and its NetX files."""

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

from pipeline import emulate as emulator
from pipeline.emulate import emulate
from pipeline.errors import CheckpointError, ExportError, UnsupportedLayerError
from pipeline.export_netx import write_netx
from pipeline.fixedpoint import inferred_weight_bits
from pipeline.graded import state_of
from pipeline.ingest.netx import read_netx
from pipeline.ingest.netx_graded import as_stock_netx_runs
from pipeline.network import INPUT, ConvGeometry, Layer, Network, Readout, Synapse
from pipeline.neuron import NEVER_VTH_MANT, ResonatorNeuron
from pipeline.synaptic_input import Accumulator

TRUTH = Path(h5py.__file__).parents[1] / "tests/lava/lib/dl/netx/gts/complex_dense"
NEURON = st.builds(
    ResonatorNeuron, st.sampled_from(["rf", "rf_iz"]), st.integers(0, 4096), st.integers(0, 4096),
    st.integers(0, 60) | st.integers(0, 1 << 17))


def resonators(name: str, source: str, n_in: int, n_out: int, **options: Any) -> Layer:
    rng = np.random.default_rng(n_in)
    real, imag = ((2 * rng.integers(-30, 31, (n_out, n_in))).astype(np.int32) for _ in range(2))
    groups = (Synapse(name, source, real), Synapse(f"{name}.imag", source, imag, part="imag"))
    neuron = options.pop("neuron", ResonatorNeuron("rf", 1200, 3600, 30))
    return Layer(name, groups, neuron, (n_out,), **options)


def chain(kind: Any = "rf") -> Network:
    neuron = ResonatorNeuron(kind, 1200, 3600, 30)
    return Network("chain", (12,), 40, (
        resonators("a", INPUT, 12, 14, neuron=neuron, axonal_delay=tuple(range(14))),
        resonators("b", "a", 14, 9, neuron=replace(
            neuron, channel_sin_decay=tuple(range(500, 1400, 100)),
            channel_cos_decay=tuple(range(3900, 3000, -100))))))


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
        monkeypatch.setattr(emulator, "_ACC_BYTES", 4 * len(spikes) * 14 * n_at_once)
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


def file_of(path: Path, *layers: dict[str, Any]) -> Path:
    """Write a NetX file with these keys per entry."""
    with h5py.File(path, "w") as file:
        for index, keys in enumerate(layers):
            for key, value in keys.items():
                if value is not None:
                    file[f"layer/{index}/{key}"] = value
    return path


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


# ------------------------------------------------------------ entries of NetX files


REAL, IMAG = np.array([[2, -4, 6], [0, 8, -10]]), np.array([[1, 2, 3], [-4, 5, 6]])
RF = {"neuron/type": b"RF_PHASE", "neuron/sinDecay": 1234, "neuron/cosDecay": 3456,
      "neuron/vThMant": 7, "neuron/gradedSpike": False}
IMAGE = {"type": b"input", "shape": [2, 5, 4]}


def dense_entry(kind: bytes = b"dense", **keys: Any) -> dict[str, Any]:
    return {"type": kind, "shape": [2], "weight/real": REAL, "weight/imag": IMAG, **RF, **keys}


def spatial_entry(kind: bytes, size: int, **keys: Any) -> dict[str, Any]:
    kernels = np.arange(-8, 64, 2).reshape(2, 2, 3, 3)
    shape = [2, 3, 2] if kind == b"conv" else [2, 2, 2]
    weights = {"weight/real": kernels, "weight/imag": kernels + 2} if kind == b"conv" else {
        "weight/real": np.array(64), "weight/imag": np.full((1, 1, 2, 2), 32)}
    return {"type": kind, "shape": shape, "kernelSize": size, "padding": 0, "dilation": 1,
            "stride": 1 if kind == b"conv" else size, "groups": 1, **weights, **RF, **keys}


@pytest.mark.parametrize("kind", [b"dense", b"dense_comp"])
@pytest.mark.parametrize(("word", "neuron"), [(b"RF_PHASE", "rf"), (b"RF_IZHIKEVICH", "rf_iz")])
def test_an_entry_of_a_file_is_read(
    word: bytes, neuron: Any, kind: bytes, tmp_path: Path
) -> None:
    path = file_of(tmp_path / "a.net", dense_entry(kind, **{"neuron/type": word}))
    network, ledger = read_netx(path, 5)
    (layer,) = network.layers
    assert layer.neuron == ResonatorNeuron(neuron, 1234, 3456, 7)
    real, imag = layer.synapses
    assert (real.part, imag.part, imag.name) == ("real", "imag", f"{layer.name}.imag")
    assert np.array_equal(real.weight, REAL) and np.array_equal(imag.weight, IMAG)
    assert (real.weight_bits, imag.weight_bits) == (
        inferred_weight_bits(REAL), inferred_weight_bits(IMAG))
    (stock,) = as_stock_netx_runs(network).layers
    assert stock.neuron == ResonatorNeuron(neuron, 1233, 3456, 7)
    assert [entry.what for entry in ledger] == [
        "decays (sine, cosine) 1234, 3456: stock NetX recomputes and truncates them to 1233, 3456",
        *["of type dense_comp, read as dense; stock NetX fails at it"] * (kind == b"dense_comp")]


@pytest.mark.parametrize(("entry", "told"), [
    (spatial_entry(b"conv", 3), "complex weights; stock NetX does not load it"),
    (spatial_entry(b"pool", 2), "pooling lowered")], ids=["conv", "pool"])
def test_convolutions_and_pooling_with_complex_weights_are_read(
    entry: dict[str, Any], told: str, tmp_path: Path
) -> None:
    network, ledger = read_netx(file_of(tmp_path / "a.net", IMAGE, entry), 5)
    real, imag = network.layers[0].synapses
    assert real.geometry == imag.geometry and isinstance(real.geometry, ConvGeometry)
    assert real.part == "real" and imag.part == "imag" and (real.weight != imag.weight).any()
    assert any(told in entry.what for entry in ledger)


def test_resonators_stand_among_cuba_neurons(tmp_path: Path) -> None:
    cuba = {"type": b"dense", "shape": [3], "weight": np.eye(3), "neuron/type": b"CUBA",
            "neuron/iDecay": 4096, "neuron/vDecay": 0, "neuron/vThMant": 1}
    path = file_of(tmp_path / "a.net", cuba, dense_entry(delay=np.arange(2.0)),
                   {**cuba, "weight": np.ones((3, 2))})
    network, ledger = read_netx(path, 5)
    assert network.layers[1].axonal_delay == (0, 1)
    assert any("stock NetX drops the delays of resonators" in entry.what for entry in ledger)


def test_decays_per_channel_are_read_and_noted(tmp_path: Path) -> None:
    keys = {"neuron/sinDecay": np.array([10, 20]), "neuron/cosDecay": np.array([30, 50])}
    network, ledger = read_netx(file_of(tmp_path / "a.net", dense_entry(**keys)), 5)
    assert network.layers[0].neuron == ResonatorNeuron("rf", 15, 40, 7, (10, 20), (30, 50))
    assert "stock NetX runs the first only" in ledger[0].what
    keys["neuron/cosDecay"] = np.array(30)
    network, _ = read_netx(file_of(tmp_path / "a.net", dense_entry(**keys)), 5)
    assert network.layers[0].neuron == ResonatorNeuron("rf", 15, 30, 7, (10, 20), (30, 30))
    assert isinstance(as_stock_netx_runs(network).layers[0].neuron, ResonatorNeuron)


@pytest.mark.parametrize("sine", [0, 1, 4096])
def test_a_resonator_may_have_a_period_without_end(sine: int, tmp_path: Path) -> None:
    keys = {"neuron/sinDecay": sine, "neuron/cosDecay": 0}
    network, _ = read_netx(file_of(tmp_path / "a.net", dense_entry(**keys)), 5)
    assert network.layers[0].neuron == ResonatorNeuron("rf", sine, 0, 7)


@pytest.mark.parametrize("kind", ["rf", "rf_iz"])
def test_a_written_network_reads_back_equal(kind: Any, tmp_path: Path) -> None:
    """Also decays that come out of stock NetX only if written half a step higher."""
    rng = np.random.default_rng(0)
    for index in range(20):
        sine, cosine = (int(x) for x in rng.integers(1, 2800, 2))
        layer = resonators("dense1", INPUT, 6, 4, neuron=ResonatorNeuron(kind, sine, cosine, 30))
        layer = replace(layer, synapses=tuple(
            replace(s, weight_bits=inferred_weight_bits(s.weight)) for s in layer.synapses))
        path = tmp_path / f"{index}.net"
        write_netx(Network("n", (6,), 5, (layer,)), path, "test")
        network, ledger = read_netx(path, 5)
        assert network.layers[0].neuron == layer.neuron
        assert as_stock_netx_runs(network).layers[0].neuron == layer.neuron or ledger
        for ours, theirs in zip(layer.synapses, network.layers[0].synapses, strict=True):
            assert np.array_equal(ours.weight, theirs.weight)
            assert (ours.part, ours.weight_bits) == (theirs.part, theirs.weight_bits)


def test_an_affine_output_is_read_by_its_imaginary_state(tmp_path: Path) -> None:
    path = file_of(tmp_path / "a.net", dense_entry(**{"neuron/vThMant": NEVER_VTH_MANT}))
    network, ledger = read_netx(path, 5)
    assert network.readout == Readout("voltage")
    assert ledger[-1].what == "never fires (threshold 262143), the imaginary state is read"


REFUSED: list[tuple[list[dict[str, Any]], Any, str]] = [
    ([dense_entry(**{"neuron/gradedSpike": True})], UnsupportedLayerError,
     "layer/0/neuron/gradedSpike: SLAYER's graded spikes .*nearest"),
    ([dense_entry(**{"neuron/sinDecay": 4097})], CheckpointError,
     "sinDecay: 4097 is outside 0..4096"),
    ([dense_entry(**{"neuron/sinDecay": -0.5})], CheckpointError,
     "sinDecay: -0.5 is outside 0..4096"),
    ([dense_entry(**{"neuron/cosDecay": np.nan})], CheckpointError, "cosDecay: .*not finite"),
    ([dense_entry(**{"neuron/cosDecay": np.arange(3)})], CheckpointError,
     "cosDecay: 3 values do not fit 2"),
    ([dense_entry(**{"neuron/vThMant": None})], CheckpointError, "vThMant: is missing"),
    ([dense_entry(**{"weight/imag": np.ones((2, 4))})], CheckpointError,
     "layer/0/weight/imag: of shape .* not connect"),
    ([dense_entry(**{"weight/imag": None})], CheckpointError, "layer/0/weight/imag: is missing"),
    ([{"type": b"input", "shape": [3], **RF}], UnsupportedLayerError,
     "layer/0: input of resonators .*nearest"),
    ([dense_entry(bias=np.ones(2))], UnsupportedLayerError,
     "layer/0/bias: biases of resonators .*nearest"),
    ([dense_entry(**{"weight/real": None, "weight/imag": None, "weight": REAL})],
     UnsupportedLayerError, "layer/0/weight: real weights of resonators.*nearest"),
    ([dense_entry(**dict.fromkeys(RF))], UnsupportedLayerError,
     "layer/0/weight: complex weights .*nearest"),
    ([dense_entry(**{"neuron/type": b"CUBA", "neuron/iDecay": 1, "neuron/vDecay": 1})],
     UnsupportedLayerError, "layer/0/weight: complex weights .* CUBA .*nearest"),
    ([dense_entry(b"dense_rec", weight_rec=np.eye(2))], UnsupportedLayerError,
     "'dense_rec0': recurrent synapses .*nearest"),
    ([dense_entry(), {"type": b"dense", "shape": [2], "weight": np.eye(2),
                      "neuron/type": b"SDNN", "neuron/vThMant": 1}], UnsupportedLayerError,
     "layer/1: sigma-delta neurons after the resonate-and-fire neurons of dense0.*nearest"),
    ([{"type": b"input", "shape": [3], "neuron/type": b"SDNN", "neuron/vThMant": 1},
      dense_entry()], UnsupportedLayerError,
     "layer/1: resonate-and-fire neurons after the sigma-delta neurons of input0.*nearest"),
    *[([dense_entry(**{"neuron/type": word})], UnsupportedLayerError,
       f"layer/0/neuron: type '{word}': {what}.*nearest")
      for word, what in (("ADRF_PHASE", "adaptive resonators"), ("ALIF", "adaptive thresholds"))],
    ([dense_entry(**{"neuron/type": b"RF_OTHER"})], UnsupportedLayerError,
     "type 'RF_OTHER': resonators of a kind .*supported are RF_PHASE"),
]


@pytest.mark.parametrize(("entries", "error", "message"), REFUSED, ids=range(len(REFUSED)))
def test_entries_that_nothing_runs_are_refused(
    entries: list[dict[str, Any]], error: Any, message: str, tmp_path: Path
) -> None:
    path = file_of(tmp_path / "a.net", *entries)
    with pytest.raises(error, match=f"a.net: (?s:.*){message}") as caught:
        read_netx(path, 5)
    assert caught.type is error


# ------------------------------------------------------------ what is refused


@pytest.mark.parametrize(("changes", "message"), [
    ({"recurrent": Synapse("r", "a", np.eye(4, dtype=np.int32))}, "'a': recurrent synapses of res"),
    ({"neuron": ResonatorNeuron("rf", 1, 1, -1)}, "'a': threshold mantissa -1 is outside"),
    ({"neuron": ResonatorNeuron("rf", 1, 1, 1, (1,))}, "'a': 1 sine decays for 4 channels"),
    ({"neuron": ResonatorNeuron("rf", 1, 1, 1, None, (1, 2, 3, 5000))}, "cosine decay 5000"),
])
def test_what_no_process_has_is_refused(changes: dict[str, Any], message: str) -> None:
    layer = replace(resonators("a", INPUT, 3, 4), **changes)
    with pytest.raises(UnsupportedLayerError, match=message):
        Network("n", (3,), 4, (layer,))


def test_what_takes_cuba_neurons_only_says_so() -> None:
    with pytest.raises(UnsupportedLayerError, match="'a': resonate-and-fire neurons .*cuba"):
        _ = chain().layers[0].cuba


def test_what_a_file_cannot_say_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="'a': NetX has no delays of complex weights"):
        write_netx(chain(), tmp_path / "n.net", "test")
