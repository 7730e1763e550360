"""What stock NetX ruins or ignores is told or refused, with its layer; oddities are accepted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from pipeline.errors import CheckpointError, UnsupportedLayerError
from pipeline.ingest.netx import read_netx
from pipeline.ledger import Ledger
from pipeline.network import ConvGeometry, Layer, Network, Readout
from pipeline.neuron import NEVER_VTH_MANT, CubaNeuron

Entry = dict[str, Any]
NEURON = {"type": b"CUBA", "iDecay": 1024, "vDecay": 128, "vThMant": 80, "refDelay": 1,
          "gradedSpike": False}
CUBA = {f"neuron/{key}": value for key, value in NEURON.items()}
WEIGHT = np.array([[2, -4, 6], [0, 8, -10]])
KERNEL = np.arange(-8, 64, 2).reshape(2, 2, 3, 3)


def dense(weight: Any = WEIGHT, **keys: Any) -> Entry:
    return {"type": b"dense", "shape": [len(weight)], **CUBA, "weight": weight, **keys}


def conv(**keys: Any) -> Entry:
    return {"type": b"conv", "shape": [2, 3, 2], "weight": KERNEL, "stride": 1, "padding": 0,
            "dilation": 1, "groups": 1, **CUBA, **keys}


def pool(**keys: Any) -> Entry:
    return {"type": b"pool", "shape": [2, 2, 2], "weight": np.full((1, 1, 2, 2), 90),
            "kernelSize": [2, 2], "stride": [2, 2], "padding": [0, 0], "dilation": [1, 1],
            **CUBA, **keys}


IMAGE = {"type": b"input", "shape": [2, 5, 4]}  # (c, y, x)
FLATTEN = {"type": b"flatten", "shape": [12, 1, 1]}


def neuron(**keys: Any) -> Entry:
    return {f"neuron/{key}": value for key, value in keys.items()}


Read = Callable[..., tuple[Network, Ledger]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def write_and_read(*entries: Entry, **arguments: Any) -> tuple[Network, Ledger]:
        with h5py.File(tmp_path / "wild.net", "w") as file:
            for index, entry in enumerate(entries):
                for key, value in entry.items():
                    if value is not None:
                        file[f"layer/{index}/{key}"] = value
        return read_netx(tmp_path / "wild.net", 10, **arguments)

    return write_and_read


def only_layer(read: Read, *entries: Entry) -> Layer:
    network, ledger = read(*entries)
    assert ledger == ()
    (layer,) = network.layers
    return layer


# ---------------------------------------------------------------- oddities of real files


@pytest.mark.parametrize("keys", [
    {"type": "dense"}, {"type": np.array(["dense"], "S10")}, {"shape": 2}, {"shape": [2, 1, 1]},
    {"weight": WEIGHT.ravel(), "shape": 2}, {"weight": WEIGHT[..., None, None].astype(np.float32)},
    neuron(type="LOIHI"), neuron(vThMant=[80], iDecay=np.float32(1024)),
    neuron(refDelay=None, gradedSpike=None), {"bias": [0, 0]}, {"delay": np.zeros(2)},
    {"inFeatures": 3, "outFeatures": [2]},
], ids=lambda keys: " ".join(keys))
def test_spelling_of_files_in_the_wild_is_accepted(keys: Entry, read: Read) -> None:
    layer = only_layer(read, dense(**keys))
    assert np.array_equal(layer.synapses[0].weight, WEIGHT)
    assert layer.synapses[0].weight_bits == 4
    assert (layer.neuron, layer.axonal_delay) == (CubaNeuron(1024, 128, 80), None)


@pytest.mark.parametrize("keys", [
    {"weight": KERNEL[..., None].astype(np.float32)}, {"stride": [1, 1], "padding": [0]},
    {"inChannels": 2, "outChannels": 2, "kernelSize": [3, 3]}, {"kernelSize": 3},
])
def test_convolutions_of_files_in_the_wild_are_accepted(keys: Entry, read: Read) -> None:
    layer = only_layer(read, IMAGE, conv(**keys))
    assert np.array_equal(layer.synapses[0].weight, KERNEL)
    assert layer.synapses[0].geometry == ConvGeometry()


def test_entries_are_ordered_by_number(read: Read) -> None:
    matrices = [np.diag([2 * index + 2, -2, 2]) for index in range(12)]
    network, _ = read(*map(dense, matrices))
    assert [layer.name for layer in network.layers] == [f"dense{index}" for index in range(12)]
    assert [layer.synapses[0].weight[0, 0] for layer in network.layers] == list(range(2, 26, 2))


def test_shapes_and_pairs_are_y_before_x(read: Read) -> None:
    keys = {"stride": [2, 1], "padding": [1, 0], "shape": [2, 3, 2]}
    layer = only_layer(read, IMAGE, conv(**keys))
    assert layer.shape == (2, 3, 2)
    assert layer.synapses[0].geometry == ConvGeometry((2, 1), (1, 0))


def test_parameters_per_channel_keep_their_mean_as_nominal_value(read: Read) -> None:
    layer = only_layer(read, dense(**neuron(iDecay=[100, 201], vDecay=[5, 6], vThMant=[7, 8])))
    assert layer.neuron == CubaNeuron(150, 6, 8, (7, 8), (100, 201), (5, 6))


def test_bias_and_delay_belong_to_the_layer_that_has_them(read: Read) -> None:
    network, _ = read(dense(bias=np.float32([3, -4])), dense(np.diag([2, 4]), delay=[0, 62]),
                      dense(np.diag([2, 4]), bias=5), dense(np.diag([2, 4]), delay=7.0))
    biases = [layer.neuron.bias for layer in network.layers]
    assert biases == [(3, -4), None, (5, 5), None]
    assert [layer.axonal_delay for layer in network.layers] == [None, (0, 62), None, (7, 7)]


def test_recurrent_weights_are_read(read: Read) -> None:
    layer = only_layer(read, dense(type=b"dense_rec", weight_rec=[[0, 2], [4, 0]]))
    assert layer.recurrent is not None and layer.recurrent.weight.tolist() == [[0, 2], [4, 0]]


def test_input_shape_comes_from_the_file_then_from_the_caller_then_from_the_weights(
    read: Read,
) -> None:
    assert read(IMAGE, conv())[0].input_shape == (2, 5, 4)
    assert read({"type": b"input"}, conv(), input_shape=(2, 5, 4))[0].input_shape == (2, 5, 4)
    assert read(dense())[0].input_shape == (3,)
    with pytest.raises(CheckpointError, match=r"wild.net: layer/0: .*give input_shape"):
        read(conv())
    _, ledger = read(IMAGE, conv(), input_shape=(2, 4, 5))
    assert ledger[0].what == "input_shape (2, 4, 5) not used: the file says (2, 5, 4)"


def test_pooling_that_pads_at_the_end_is_a_convolution(read: Read) -> None:
    network, ledger = read(IMAGE, pool(shape=[2, 3, 2]))  # 5 rows, 4 columns
    synapse = network.layers[0].synapses[0]
    assert synapse.geometry == ConvGeometry((2, 2), (1, 0), groups=2) and synapse.is_fixed
    assert synapse.weight[:, 0].tolist() == [[[0, 0], [90, 90], [90, 90]]] * 2
    assert "pooling lowered" in ledger[0].what
    for entry in (pool(), pool(weight=90)):  # drops the last row; one value for the whole kernel
        synapse = read(IMAGE, entry)[0].layers[0].synapses[0]
        assert synapse.weight.tolist() == np.full((2, 1, 2, 2), 90).tolist()


@pytest.mark.parametrize(("keys", "decays"), [
    (dict.fromkeys(CUBA), (4096, 4096)), (neuron(vThMant=NEVER_VTH_MANT), (1024, 128)),
], ids=["without dynamics", "with dynamics"])
def test_an_affine_output_is_read_by_its_voltage(
    keys: Entry, decays: tuple[int, int], read: Read
) -> None:
    network, ledger = read(dense(**keys))
    assert network.readout == Readout("voltage")
    assert network.layers[0].neuron == CubaNeuron(*decays, NEVER_VTH_MANT)
    assert "never fires (threshold 262143)" in ledger[-1].what


def test_an_average_is_a_readout(read: Read) -> None:
    network, ledger = read(dense(), {"type": b"average", "shape": [1, 1, 1]})
    assert network.readout == Readout(n_outputs=1)
    assert [entry.layer for entry in ledger] == ["average1"]


@pytest.mark.parametrize("shape", [(3,), (3, 2, 2)])
def test_input_neurons_are_driven_with_weight_1(shape: tuple[int, ...], read: Read) -> None:
    entry = {"type": b"input", "shape": shape, "weight": [36.0], "bias": [34.0], **CUBA}
    network, ledger = read(entry, dense(np.full((2, int(np.prod(shape))), 2)))
    driven = network.layers[0]
    assert driven.neuron == CubaNeuron(4096, 128, 80) and driven.shape == shape
    expected = np.eye(3) if len(shape) == 1 else np.ones((3, 1, 1, 1))
    assert np.array_equal(driven.synapses[0].weight, expected)
    assert "36 x + 34" in ledger[0].what and "iDecay 1024 not used" in ledger[1].what


# ---------------------------------------------------------------- told in the ledger

IDENTITY = np.diag([2, -4])
TOLD: list[tuple[list[Entry], str, str, int]] = [
    ([dense(**{"neuron/theta": 5, "notes": 1, "neuron/messageBits": 0})], "dense0",
     "keys not read: notes, neuron/messageBits, neuron/theta", 3),
    ([dense(**neuron(weight_exp=2.0))], "dense0", "weight_exp 2 not applied", 1),
    ([dense(**neuron(wgtExp=1))], "dense0", "wgtExp 1 not applied", 1),
    ([dense(np.full((2, 3), 300))], "dense0", "of one sign up to 300: NetX shifts", 6),
    ([dense([[-300, 0]])], "dense0", "of one sign up to 300: NetX shifts", 1),
    ([dense([[-256, -2, -4]])], "dense0", "of -256 among negative ones: Lava clips", 1),
    ([dense([[255, -2], [-258, -256]])], "dense0", "outside -256..254: NetX clips", 2),
    ([dense([[253, -255], [2, 7]])], "dense0", "odd weights at full range", 3),
    ([dense(np.zeros((2, 3)))], "dense0", "all zero: stock NetX cannot load", 6),
    ([dense(type=b"dense_rec", weight_rec=[[0, 256], [4, 0]])], "dense_rec0",
     "outside -256..254: NetX clips", 1),
    ([IMAGE, conv(weight=KERNEL * 5)], "conv1", "NetX does not check convolutions", 6),
    ([IMAGE, conv(delay=[1, 2])], "conv1", "stock NetX drops the delays of convolutions", 2),
    ([dense(delay=[1, 2], bias=[1, 2])], "dense0", "stock NetX delays the input instead", 2),
    ([dense(delay=[1, 2], type=b"dense_rec", weight_rec=IDENTITY)], "dense_rec0",
     "stock NetX does not load recurrent layers with delays", 2),
    ([dense(delay=[1.5, 2])], "dense0", "delays cut to whole steps", 1),
    ([dense(**neuron(vThMant=4096))], "dense0", "threshold 4096 is above 4095", 1),
    ([dense(**neuron(vThMant=1 << 17)), dense(IDENTITY)], "dense0",
     "never fires (threshold 131072), yet layers follow", 1),
    ([dense(inFeatures=7)], "dense0", "inFeatures says [7], the weights [3]; not used", 1),
    ([IMAGE, conv(), dense(np.full((2, 12), 2))], "dense2", "no flatten before it", 1),
    ([IMAGE, conv(), {**FLATTEN, "shape": [7]}, dense(np.full((2, 12), 2))], "flatten2",
     "shape of 7 values not used, 12 arrive", 1),
]


@pytest.mark.parametrize(("entries", "layer", "what", "count"), TOLD, ids=lambda x: str(x)[:40])
def test_what_netx_would_pass_over_is_told(
    entries: list[Entry], layer: str, what: str, count: int, read: Read
) -> None:
    _, ledger = read(*entries)
    found = [entry for entry in ledger if what in entry.what]
    assert [(entry.layer, entry.count) for entry in found] == [(layer, count)]


def test_weights_no_core_holds_declare_no_bits(read: Read) -> None:
    for weight in ([[253, -255]], [[300, -2]], [[0, 0]]):
        assert read(dense(weight))[0].synapses[0].weight_bits is None


# ---------------------------------------------------------------- refused

REFUSED: list[tuple[list[Entry], type[CheckpointError], str]] = [
    *[([dense(**neuron(type=kind))], UnsupportedLayerError, f"layer/0/neuron: .*{what}.*nearest")
      for kind, what in {"ALIF": "adaptive", "ADRF_PHASE": "ADRF",
                         "ADRF_IZHIKEVICH": "loads as plain"}.items()],
    ([dense(**neuron(type="GLIF"))], UnsupportedLayerError, "'GLIF': this type is not known"),
    *[([IMAGE, {"type": kind}], UnsupportedLayerError, f"layer/1: layer type '{kind}' .*nearest")
      for kind in ("convT", "unpool", "concat", "kwta")],
    ([dense(**neuron(gradedSpike=True))], UnsupportedLayerError, "neuron/gradedSpike"),
    ([dense(**neuron(refDelay=2))], UnsupportedLayerError, "neuron/refDelay"),
    ([{**dense(), "weight": None, "weight/real": WEIGHT, "weight/imag": WEIGHT}],
     UnsupportedLayerError, "layer/0/weight: complex"),
    ([dense(WEIGHT + [[0.25, 0, 0], [0.75, 0, 0]])], CheckpointError,
     "layer/0/weight: 2 of 6 numbers are not whole, by up to 0.75"),
    ([dense(bias=[0.5, 1])], CheckpointError, "layer/0/bias: 1 of 2 numbers are not whole"),
    ([dense([[np.nan, 2], [np.inf, 2]])], CheckpointError, "weight: 2 of 4 .* not finite"),
    ([dense([[1 << 17]])], CheckpointError, "weight: 131072 is outside -131071..131071"),
    ([dense(delay=[0, 63])], UnsupportedLayerError, "'dense0': axonal delay 63 .*0..62"),
    ([dense(delay=[0, 63, 2])], UnsupportedLayerError, "layer/0/delay: .*one per input"),
    ([dense(delay=WEIGHT)], UnsupportedLayerError, "layer/0/delay: .*one per synapse"),
    ([IMAGE, conv(bias=np.arange(12))], UnsupportedLayerError, "layer/1/bias: .*per neuron"),
    ([dense(bias=[1, 2, 3])], CheckpointError, "layer/0/bias: 3 biases do not fit 2"),
    ([dense(bias=[0, 5000])], UnsupportedLayerError, "'dense0': bias 5000 .*-4096..4095"),
    ([dense(**neuron(iDecay=4097))], CheckpointError, "neuron/iDecay: 4097 is outside 0..4096"),
    ([dense(**neuron(vDecay=[1, 2, 3]))], CheckpointError, "neuron/vDecay: 3 values do not fit 2"),
    ([dense(**neuron(vThMant=[5, 5000]))], UnsupportedLayerError, "threshold mantissa 5000"),
    ([dense(), dense()], CheckpointError, r"layer/1/weight: .*\(2, 3\) .* 2 inputs to 2 neurons"),
    ([dense(shape=[4])], CheckpointError, "layer/0/weight: .* to 4 neurons"),
    ([IMAGE, conv(shape=[2, 2, 3])], CheckpointError, r"layer/1/shape: .*\(2, 3, 2\)"),
    ([IMAGE, conv(groups=2)], CheckpointError, "layer/1/weight: .* in 2 groups"),
    ([IMAGE, conv(stride=[0, 1])], CheckpointError, "layer/1/stride"),
    ([IMAGE, FLATTEN, conv()], CheckpointError, r"layer/2: needs \(c, y, x\), and \(40,\) arrives"),
    ([IMAGE, pool(stride=1)], UnsupportedLayerError, "layer/1: pooling .*nearest: conv"),
    ([IMAGE, pool(weight=[90, 90, 90])], CheckpointError, "layer/1/weight: .*not a kernel"),
    ([dense(), {"type": b"average", "shape": [3]}], CheckpointError, "layer/1/shape: 3 averages"),
    ([dense(), {"type": b"average", "shape": [2]}, dense(IDENTITY)], UnsupportedLayerError,
     "layer/2: comes after an average"),
    ([IMAGE, IMAGE], UnsupportedLayerError, "layer/1: a second input"),
    ([{"type": b"input", "shape": [2, 5]}, dense()], CheckpointError, "layer/0: input of shape"),
    ([{"type": b"input", "shape": [5000], **CUBA}], UnsupportedLayerError, "5000 input neurons"),
    ([IMAGE], CheckpointError, "no entry has weights"),
    ([dense(shape=[1 << 13, 1 << 13])], CheckpointError, "layer/0/shape: .* is not a shape"),
    ([dense(shape=[-2])], CheckpointError, "layer/0/shape: .* is not a shape"),
]


@pytest.mark.parametrize(("entries", "error", "message"), REFUSED, ids=lambda x: str(x)[:40])
def test_what_cannot_be_expressed_is_refused_with_its_place(
    entries: list[Entry], error: type[CheckpointError], message: str, read: Read
) -> None:
    with pytest.raises(error, match=f"wild.net: (?s:.*){message}") as caught:
        read(*entries)
    assert caught.type is error
