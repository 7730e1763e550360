"""Sigma-delta networks in NetX files: those recorded in Lava's wheel, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from sigma_delta_networks import chain

from pipeline.emulate import emulate, output_scores
from pipeline.errors import CheckpointError, UnsupportedLayerError
from pipeline.export_netx import write_netx
from pipeline.fixedpoint import inferred_weight_bits
from pipeline.ingest.netx import read_netx
from pipeline.neuron import SigmaDeltaNeuron

TRUTH = Path(h5py.__file__).parents[1] / "tests/lava/lib/dl/netx/gts"


# ------------------------------------------------------------ networks recorded in Lava's wheel


def chw(array: NDArray[Any]) -> NDArray[np.int32]:
    """Return (c, y, x, t) from Lava's (x, y, c, t)."""
    return np.ascontiguousarray(array.transpose(2, 1, 0, 3)).astype(np.int32)


def file_of(path: Path, *layers: dict[str, Any]) -> Path:
    """Write a NetX file with these keys per entry."""
    with h5py.File(path, "w") as file:
        for index, keys in enumerate(layers):
            for key, value in keys.items():
                if value is not None:
                    file[f"layer/{index}/{key}"] = value
    return path


SDNN = {"neuron/type": b"SDNN", "neuron/activation": b"relu", "neuron/vThMant": 20}


def test_pilotnet_is_what_was_recorded() -> None:
    folder = TRUTH / "pilotnet_sdnn"
    network, ledger = read_netx(folder / "network.net", 20)
    assert ledger == ()
    data = np.repeat(chw(np.load(folder / "input.npy")), 20, axis=-1)[None]
    trace = emulate(network, data, with_states=True, bias_from="power_on")
    assert np.array_equal(trace.spikes["input0"][0], chw(np.load(folder / "act0.npy")))
    for k in (1, 2):
        # their first step is the one before the input
        recorded = chw(np.load(folder / f"sigma{k}.npy"))[..., 1:]
        assert np.array_equal(trace.u[f"conv{k}"][0][..., :-1], recorded)
    output = np.load(folder / "output.npy")
    assert np.array_equal(trace.spikes["dense9"][0][..., : output.shape[-1]], output)


def test_square_pilotnet_is_what_was_recorded() -> None:
    folder = TRUTH / "pilotnet_sdnn"
    network, _ = read_netx(folder / "square_network.net", 20)
    data = np.repeat(chw(np.load(folder / "input.npy")), 20, axis=-1)[None, :, :, :33]
    trace = emulate(network, data, with_states=True, bias_from="power_on")
    for k in (1, 2, 3, 4):
        recorded = chw(np.load(folder / f"sigma{k}_square.npy"))[..., 1:]
        assert np.array_equal(trace.u[f"conv{k}"][0][..., :-1], recorded)


def test_tinynet_is_what_was_recorded(tmp_path: Path) -> None:
    folder, path = TRUTH / "tinynet_sdnn", tmp_path / "tiny.net"
    amplitude = np.load(folder / "input_bias.npy")[..., None]
    data = chw((amplitude * np.sin(2 * np.pi * np.arange(15) / 15)).astype(int))
    network, _ = read_netx(file_of(path, {"type": b"input", "shape": [3, 16, 16], **SDNN}), 15)
    messages = emulate(network, data[None]).spikes["input0"]
    assert np.array_equal(messages[0], chw(np.load(folder / "input.npy")))

    # recorded from layers one by one, each fed with the recording of the one before
    kernel = np.load(folder / "layer1_kernel.npy").transpose(0, 3, 2, 1)[:, :, ::-1, ::-1]
    network, ledger = read_netx(file_of(path, {"type": b"input", "shape": [3, 16, 16]}, {
        "type": b"conv", "shape": [24, 6, 6], "weight": kernel, "stride": 2, "padding": 0,
        "dilation": 1, "groups": 1, "bias": np.load(folder / "layer1_bias.npy"), **SDNN}), 15)
    assert [entry.what for entry in ledger] == [
        "no input neurons: the input are messages, in 2^-12, not data"]
    sent = emulate(network, messages, bias_from="power_on").spikes["conv1"]
    recorded = chw(np.load(folder / "layer1.npy"))
    assert np.array_equal(sent[0][..., :1], recorded[..., :1])  # one step was run and recorded

    network, _ = read_netx(file_of(path, {
        "type": b"dense", "shape": [100], "weight": np.load(folder / "layer2_weight.npy"),
        "neuron/type": b"SDNN", "neuron/sigma_output": True}), 16)
    # recorded from a layer that takes its input as 0 and 1
    flat = (np.load(folder / "layer1.npy").reshape(1, -1, 16) != 0).astype(np.uint8)
    sent = emulate(network, flat).spikes["dense0"]
    assert np.array_equal(sent[0], np.load(folder / "layer2.npy"))


# ------------------------------------------------------------ entries of NetX files


INPUT_ENTRY = {"type": b"input", "shape": [3], **SDNN}


def layer_entry(kind: bytes = b"dense", **keys: Any) -> dict[str, Any]:
    return {"type": kind, "shape": [3], "weight": 2 * np.eye(3), **SDNN, **keys}


@pytest.mark.parametrize(("transform", "told"), [
    ({}, []), ({"weight": 64.0, "bias": 0}, []), ({"weight": 1, "bias": 0}, []),
    ({"weight": 36.0, "bias": 2.0}, ["input neurons encode what NetX wants set, 36 x + 2 of data "
                                     "x, as input of weight 1; the transform itself is not "
                                     "applied"]),
])
@pytest.mark.parametrize("shape", [(3,), (3, 2, 4)])
def test_the_input_of_a_file_is_an_encoder(
    transform: dict[str, Any], told: list[str], shape: tuple[int, ...], tmp_path: Path
) -> None:
    path = file_of(tmp_path / "a.net", {
        **INPUT_ENTRY, "shape": shape, "neuron/activation": b"sigmoid", **transform})
    network, ledger = read_netx(path, 5)
    assert network.layers[0].neuron == SigmaDeltaNeuron(20, "delta")
    assert network.layers[0].is_driven and network.layers[0].shape == shape
    assert [entry.what for entry in ledger] == told


@pytest.mark.parametrize(("entry", "neuron"), [
    (layer_entry(), SigmaDeltaNeuron(20)),
    (layer_entry(bias=np.float32([1, -2, 3])), SigmaDeltaNeuron(20, bias=(1, -2, 3))),
    (layer_entry(**{"neuron/activation": None, "neuron/vThMant": [5]}), SigmaDeltaNeuron(5)),
    (layer_entry(**{"neuron/sigma_output": True}), SigmaDeltaNeuron(20, "sigma")),
    (layer_entry(**{"neuron/sigma_output": True, "neuron/activation": b"sigmoid",
                    "neuron/vThMant": None}), SigmaDeltaNeuron(0, "sigma")),
], ids=range(5))
def test_neurons_after_the_input_are_read(
    entry: dict[str, Any], neuron: SigmaDeltaNeuron, tmp_path: Path
) -> None:
    network, ledger = read_netx(file_of(tmp_path / "a.net", INPUT_ENTRY, entry), 5)
    assert network.layers[1].neuron == neuron and ledger == ()


POOL: dict[str, Any] = {"type": b"pool", "shape": [2, 3, 2], "kernelSize": 2, "stride": 2,
                        "padding": 0, "dilation": 1, "weight": np.array(64)}


def test_pooling_and_an_average_of_messages_are_read(tmp_path: Path) -> None:
    """As SLAYER's sigma_delta.Pool and Average; 5 rows are padded to 6."""
    path = file_of(tmp_path / "a.net", {**INPUT_ENTRY, "shape": [2, 5, 4]}, {**POOL, **SDNN},
                   {"type": b"flatten"}, layer_entry(weight=2 * np.ones((3, 12))),
                   {"type": b"average", "shape": [1]})
    network, ledger = read_netx(path, 4)
    data = np.zeros((1, 2, 5, 4, 4), dtype=np.int32)
    data[0, :, 4, 3, :] = 100
    pooled = emulate(network, data).spikes["pool1"]
    assert np.argwhere(pooled).tolist() == [[0, c, 2, 1, 1] for c in range(2)]
    assert (pooled[0, :, 2, 1, 1] == 100 * 64).all()
    assert output_scores(network, data).shape == (1, 1)
    assert [entry.layer for entry in ledger] == ["pool1", "average4"]


def test_a_decoder_by_a_false_key_is_told(tmp_path: Path) -> None:
    entry = layer_entry(**{"neuron/sigma_output": False})
    network, ledger = read_netx(file_of(tmp_path / "a.net", INPUT_ENTRY, entry), 5)
    assert network.layers[1].neuron == SigmaDeltaNeuron(20, "sigma")
    assert "a decoder all the same, as in NetX" in ledger[0].what


def test_a_written_network_reads_back_equal(tmp_path: Path) -> None:
    network = chain()
    network = network.with_layers((*network.layers[:2], replace(
        network.layers[2], neuron=replace(network.layers[2].neuron, activation="relu")),
        network.layers[3]))
    network = network.with_layers(tuple(
        replace(layer, synapses=(replace(
            layer.synapses[0], weight_bits=inferred_weight_bits(layer.synapses[0].weight)),))
        for layer in network.layers))
    write_netx(network, tmp_path / "a.net", "test")
    found, ledger = read_netx(tmp_path / "a.net", network.n_steps)
    assert ledger == () and found.input_shape == network.input_shape
    for written, read in zip(network.layers, found.layers, strict=True):
        assert (read.neuron, read.shape) == (written.neuron, written.shape)
        assert np.array_equal(read.synapses[0].weight, written.synapses[0].weight)
        assert read.synapses[0].weight_bits == written.synapses[0].weight_bits


CUBA = {"neuron/type": b"CUBA", "neuron/iDecay": 1, "neuron/vDecay": 1, "neuron/activation": None}
REFUSED: list[tuple[list[dict[str, Any]], Any, str]] = [
    ([{**INPUT_ENTRY, "neuron/vThMant": None}], CheckpointError, "neuron/vThMant: is missing"),
    ([{**INPUT_ENTRY, "neuron/vThMant": -1}], CheckpointError, "-1 is outside 0"),
    ([{**INPUT_ENTRY, "neuron/vThMant": [1, 2]}], CheckpointError, "2 values do not fit 1"),
    ([{**INPUT_ENTRY, "neuron/sigma_output": True}], UnsupportedLayerError,
     "layer/0/neuron/sigma_output: a decoder at the input"),
    ([{**INPUT_ENTRY, "shape": [5000]}], UnsupportedLayerError, "5000 input neurons in a row"),
    ([INPUT_ENTRY, layer_entry(**{"neuron/activation": b"sigmoid"})], UnsupportedLayerError,
     "layer/1/neuron/activation: activation 'sigmoid' .*nearest: relu"),
    ([INPUT_ENTRY, layer_entry(bias=[1, 2, 3], **{"neuron/sigma_output": True})],
     UnsupportedLayerError, "layer/1/bias: biases of decoders .*nearest"),
    ([INPUT_ENTRY, layer_entry(bias=[0.5, 2, 3])], CheckpointError, "bias: 1 of 3 .*not whole"),
    ([INPUT_ENTRY, layer_entry(bias=[5000, 2, 3])], UnsupportedLayerError, "bias 5000 of a cha"),
    ([INPUT_ENTRY, layer_entry(delay=[1, 0, 0])], UnsupportedLayerError,
     "'dense1': axonal delays.*nearest"),
    ([INPUT_ENTRY, layer_entry(b"dense_rec", weight_rec=np.eye(3))], UnsupportedLayerError,
     "'dense_rec1': recurrent synapses .*nearest"),
    ([INPUT_ENTRY, layer_entry(weight=None, **{"weight/real": np.eye(3), "weight/imag": 1})],
     UnsupportedLayerError, "layer/1/weight: complex weights .* sigma-delta .*nearest"),
    ([INPUT_ENTRY, layer_entry(**CUBA)], UnsupportedLayerError,
     "layer/1: CUBA neurons after the sigma-delta neurons of input0.*nearest"),
    ([INPUT_ENTRY, layer_entry(**dict.fromkeys(SDNN))], UnsupportedLayerError,
     "layer/1: CUBA neurons after the sigma-delta neurons"),
    ([{**INPUT_ENTRY, **CUBA}, layer_entry()], UnsupportedLayerError,
     "layer/1: sigma-delta neurons after the CUBA neurons of input0.*nearest"),
    ([layer_entry(**CUBA), layer_entry()], UnsupportedLayerError,
     "layer/1: sigma-delta neurons after the CUBA neurons of dense0.*nearest"),
    ([INPUT_ENTRY, layer_entry(**{"neuron/sigma_output": True}), layer_entry()],
     UnsupportedLayerError, "layer/2: comes after a decoder .* dense1.*nearest"),
]


@pytest.mark.parametrize(("entries", "error", "message"), REFUSED, ids=range(len(REFUSED)))
def test_entries_that_nothing_runs_are_refused(
    entries: list[dict[str, Any]], error: Any, message: str, tmp_path: Path
) -> None:
    path = file_of(tmp_path / "a.net", *entries)
    with pytest.raises(error, match=f"a.net: (?s:.*){message}") as caught:
        read_netx(path, 5)
    assert caught.type is error
