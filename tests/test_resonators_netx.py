"""Resonators in NetX files: read, written back equal, refused where nothing runs them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from resonator_networks import chain, file_of, resonators

from pipeline.errors import CheckpointError, ExportError, UnsupportedLayerError
from pipeline.export_netx import write_netx
from pipeline.fixedpoint import inferred_weight_bits
from pipeline.ingest.netx import read_netx
from pipeline.ingest.netx_graded import as_stock_netx_runs
from pipeline.network import INPUT, ConvGeometry, Network, Readout, Synapse
from pipeline.neuron import NEVER_VTH_MANT, ResonatorNeuron

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
