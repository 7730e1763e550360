"""Sigma-delta neurons: Lava's arithmetic, its steps, and the recorded networks of its wheel."""

from __future__ import annotations

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
from pipeline.artifact import load_artifact, save_artifact
from pipeline.diverge import diverge
from pipeline.emulate import emulate, output_scores
from pipeline.errors import CheckpointError, ExportError, UnsupportedLayerError
from pipeline.export_netx import write_netx
from pipeline.fixedpoint import inferred_weight_bits
from pipeline.graded import depths, state_of
from pipeline.ingest.netx import read_netx
from pipeline.ingest.netx_graded import one_to_one
from pipeline.lower import without_joins
from pipeline.network import INPUT, ConvGeometry, Join, Layer, Network, Synapse
from pipeline.neuron import SigmaDeltaNeuron
from pipeline.quantize import as_trained

TRUTH = Path(h5py.__file__).parents[1] / "tests/lava/lib/dl/netx/gts"


def dense(name: str, source: str, weight: Any, **neuron: Any) -> Layer:
    array = np.array(weight, dtype=np.int32)
    parameters = SigmaDeltaNeuron(**{"vth_mant": 4, **neuron})
    return Layer(name, (Synapse(name, source, array),), parameters, (len(array),))


def encoder(shape: tuple[int, ...], vth_mant: int = 2) -> Layer:
    return Layer(
        "in", (one_to_one("in", shape),), SigmaDeltaNeuron(vth_mant, "delta"), shape)


def random_weight(rng: np.random.Generator, *shape: int) -> NDArray[np.int32]:
    return (2 * rng.integers(-30, 31, shape)).astype(np.int32)


def chain(seed: int = 0, n_steps: int = 24) -> Network:
    """Encoder, two layers, decoder on (12,)."""
    rng = np.random.default_rng(seed)
    bias = tuple(rng.integers(-40, 41, 9).tolist())
    return Network("chain", (12,), n_steps, (
        encoder((12,)), dense("a", "in", random_weight(rng, 9, 12), bias=bias, vth_mant=9),
        dense("b", "a", random_weight(rng, 7, 9), activation="none", bias=(6,) * 7),
        dense("out", "b", random_weight(rng, 5, 7), role="sigma")))


def data_for(network: Network, n_samples: int = 3, seed: int = 1) -> NDArray[np.int32]:
    """Return a random walk of even numbers in 2^-6, (n, *input_shape, n_steps)."""
    rng = np.random.default_rng(seed)
    shape: Any = (n_samples, *network.input_shape, network.n_steps)
    walk = 2 * np.cumsum(rng.integers(-6, 7, shape), axis=-1)
    return np.clip(walk, -256, 254).astype(np.int32)


# ------------------------------------------------------------ arithmetic


def as_lava_computes(
    acc: NDArray[np.int32], neuron: SigmaDeltaNeuron
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return messages and sigma, (t, out), by the statements of lava.proc.sdn.models."""
    zero = np.zeros(acc.shape[1], dtype=np.int32)
    sigma, act, residue, error = zero, zero, zero, zero
    vth, bias = (np.array(x, dtype=np.int32) << 12 for x in (neuron.vth_mant, neuron.bias or 0))
    sent, sigmas = [], []
    for a_in in acc:
        if neuron.role == "delta":
            new = np.left_shift(a_in, 12)
        else:
            sigma = a_in + sigma
            new = sigma + bias
            new = np.maximum(new, 0) if neuron.activation == "relu" else new
        delta = new - act + residue
        if neuron.is_cumulative:
            error = error + delta
            s_out = np.where(np.abs(error) >= vth, delta, 0)
            error = error * (1 - (np.abs(s_out) > 0)).astype(np.int32)
        else:
            s_out = np.where(np.abs(delta) >= vth, delta, 0)
        residue, act = delta - s_out, new
        sent.append(sigma if neuron.role == "sigma" else np.right_shift(s_out, 6))
        sigmas.append(sigma)
    return np.array(sent), np.array(sigmas)


NEURON = st.builds(
    SigmaDeltaNeuron, vth_mant=st.integers(0, 40) | st.integers(0, 1 << 17),
    role=st.sampled_from(["delta", "sigma_delta", "sigma"]),
    activation=st.sampled_from(["relu", "none"]), is_cumulative=st.booleans(),
    bias=st.none() | st.tuples(*[st.integers(-4096, 4095)] * 3))


@given(NEURON, st.integers(0, 1000), st.sampled_from([1 << 6, 1 << 18, 1 << 30]))
def test_kernels_compute_what_lava_does_also_where_32_bits_wrap(
    neuron: SigmaDeltaNeuron, seed: int, largest: int
) -> None:
    acc = np.random.default_rng(seed).integers(-largest, largest, (2, 12, 3)).astype(np.int32)
    layer = Layer("a", (), neuron, (3,))
    sent, sigma, _ = state_of(layer, 2).run(acc, with_states=True)
    for n in range(2):
        expected, sigmas = as_lava_computes(acc[n], neuron)
        if neuron.role == "delta":
            assert np.array_equal(sent[n].T, expected)
        else:
            assert np.array_equal(sent[n].T[1:], expected[:-1]) and not sent[n, :, 0].any()
            assert np.array_equal(sigma[n].T, sigmas)


@given(st.integers(0, 1000))
def test_all_that_changes_arrives_if_nothing_is_below_the_threshold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    acc = 64 * rng.integers(-1000, 1000, (1, 20, 3)).astype(np.int32)  # nothing to cut off
    layer = Layer("a", (), SigmaDeltaNeuron(0), (3,))
    messages, _, act = state_of(layer, 1).run(acc, with_states=True)
    assert np.array_equal(np.cumsum(messages, axis=-1)[..., 1:] << 6, act[..., :-1])


@pytest.mark.parametrize("n_at_once", [1, 5])
def test_a_run_in_pieces_is_one_run(n_at_once: int, monkeypatch: Any) -> None:
    network = chain()
    data = data_for(network)
    for bias_from in ("first_input", "power_on"):
        whole = emulate(network, data, with_states=True, bias_from=bias_from)
        monkeypatch.setattr(emulator, "_ACC_BYTES", 4 * len(data) * 12 * n_at_once)
        pieces = emulate(network, data, with_states=True, bias_from=bias_from)
        monkeypatch.undo()
        for part in ("spikes", "u", "v", "n_active"):
            for name, values in getattr(whole, part).items():
                assert np.array_equal(values, getattr(pieces, part)[name]), (part, name)


def test_sums_of_a_convolution_wrap_at_24_bits() -> None:
    kernel = np.full((1, 1, 1, 1), 254, dtype=np.int32)
    synapse = Synapse("c", INPUT, kernel, ConvGeometry())
    conv = Layer("c", (synapse,), SigmaDeltaNeuron(0, "sigma"), (1, 1, 1))
    network = Network("wraps", (1, 1, 1), 3, (conv,))
    data = np.full((1, 1, 1, 1, 3), 40_000, dtype=np.int32)
    wrapped = 254 * 40_000 - (1 << 24)
    assert emulate(network, data).spikes["c"].ravel().tolist() == [0, wrapped, 2 * wrapped]


# ------------------------------------------------------------ steps, biases, joins


def test_each_layer_but_the_encoder_takes_one_step() -> None:
    network = chain()
    assert depths(network) == {INPUT: 0, "in": 0, "a": 1, "b": 2, "out": 3}
    joined = Network("joined", (12,), 4, (
        encoder((12,)), dense("a", "in", np.eye(12)), dense("b", "a", np.eye(12)),
        dense("c", "sum", np.eye(12))), (Join("sum", "add", ("a", "b"), (12,)),))
    assert depths(joined)["sum"] == 1 and depths(joined)["c"] == 2


def test_biases_act_when_the_input_arrives_or_from_power_on() -> None:
    network = Network("biased", (2,), 6, (
        encoder((2,)), dense("a", "in", np.eye(2), bias=(8, 8)),
        dense("b", "a", 0 * np.eye(2), bias=(8, 8))))
    silence = np.zeros((1, 2, 6), dtype=np.int32)
    for bias_from, first in (("first_input", (1, 2)), ("power_on", (0, 0))):
        sent = emulate(network, silence, bias_from=bias_from).spikes  # type: ignore[arg-type]
        for name, step in zip("ab", first, strict=True):
            assert np.argwhere(sent[name][0, 0]).ravel().tolist() == [step]
            assert sent[name][0, 0, step] == 8 * 64


def test_joined_messages_are_those_of_the_lowered_network() -> None:
    rng = np.random.default_rng(3)
    network = Network("joined", (12,), 24, (
        encoder((12,)), dense("a", "in", random_weight(rng, 8, 12)),
        dense("b", "in", random_weight(rng, 8, 12)),
        dense("c", "cat", random_weight(rng, 4, 16), role="sigma"),
        dense("d", "sum", random_weight(rng, 4, 8), role="sigma")), (
        Join("cat", "concat", ("a", "b"), (16,)), Join("sum", "add", ("a", "b"), (8,))))
    data = data_for(network)
    joined, lowered = emulate(network, data), emulate(without_joins(network), data)
    for name, values in joined.spikes.items():
        assert np.array_equal(values, lowered.spikes[name])
    assert np.abs(joined.spikes["d"]).max() > 255


def test_the_score_of_an_output_is_what_it_sent() -> None:
    network = chain()
    data = data_for(network)
    sent = emulate(network, data).spikes["out"]
    assert np.array_equal(output_scores(network, data), sent.sum(axis=-1, dtype=np.int64))


def test_two_sigma_delta_networks_are_compared(tmp_path: Path) -> None:
    network = chain()
    save_artifact(tmp_path / "n.npz", network, {})
    twin = load_artifact(tmp_path / "n.npz")
    changed = replace(twin.layers[2], synapses=(replace(
        twin.layers[2].synapses[0], weight=twin.layers[2].synapses[0].weight + 2),))
    twin = twin.with_layers((*twin.layers[:2], changed, twin.layers[3]))
    data = data_for(network)
    rows = diverge(network, emulate(network, data), twin, emulate(twin, data))
    assert [row.n_differing_isolated > 0 for row in rows] == [False, False, True, False]
    assert "63 of 63 weights differ" in rows[2].causes[0]


# ------------------------------------------------------------ what is refused


@pytest.mark.parametrize(("changes", "message"), [
    ({"axonal_delay": (1, 0)}, "'a': axonal delays, .*sigma-delta"),
    ({"recurrent": Synapse("r", "a", np.eye(2, dtype=np.int32))}, "'a': recurrent synapses of sig"),
    ({"neuron": SigmaDeltaNeuron(1 << 18)}, "'a': threshold mantissa 262144 is outside"),
    ({"neuron": SigmaDeltaNeuron(1, bias=(1,))}, "'a': 1 biases for 2 channels"),
    ({"neuron": SigmaDeltaNeuron(1, bias=(1, 5000))}, "'a': bias 5000 of a channel is outside"),
])
def test_what_no_process_has_is_refused(changes: dict[str, Any], message: str) -> None:
    layer = replace(dense("a", INPUT, np.eye(2)), **changes)
    with pytest.raises(UnsupportedLayerError, match=message):
        Network("n", (2,), 4, (layer,))


def test_what_takes_cuba_neurons_only_says_so() -> None:
    with pytest.raises(UnsupportedLayerError, match="'a': sigma-delta neurons .*cuba"):
        _ = chain().layers[1].cuba


def test_what_a_file_cannot_say_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="'b': NetX gives every sigma-delta layer .* relu"):
        write_netx(chain(), tmp_path / "n.net", "test")


def test_rounding_to_8_bits_leaves_other_families_alone() -> None:
    network = chain()
    assert as_trained(network) == (network, ())


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
