"""NetX files are read as what they are: our own, SLAYER's, and recordings made on Loihi."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from models.data.digits import load_digits
from pipeline.emulate import emulate, output_scores
from pipeline.export_netx import write_netx
from pipeline.ingest.netx import read_netx
from pipeline.network import INPUT, ConvGeometry, Network, Readout
from pipeline.neuron import NEVER_VTH_MANT, CubaNeuron

WHEEL = Path(str(distribution("lava-dl").locate_file("tests/lava/lib/dl/netx")))
RECORDED = WHEEL / "gts"
SIZES = [(5, 7), (12, 16, 10), (9, 30, 3, 8)]
GEOMETRIES = [
    ((2, 7, 6), (4, 2, 3, 2), ConvGeometry((2, 1), (1, 0))),
    ((4, 6, 11), (6, 2, 2, 3), ConvGeometry((1, 3), (0, 2), (2, 1), groups=2)),
    ((3, 1, 9), (5, 3, 1, 4), ConvGeometry(dilation=(1, 2))),
]


def recorded(name: str) -> NDArray[Any]:
    array: NDArray[Any] = np.load(RECORDED / name)
    return array


def in_lavas_order(array: NDArray[Any]) -> NDArray[Any]:
    """Return (x, y, c, t) of one sample's (c, y, x, t)."""
    return array.transpose(2, 1, 0, 3) if array.ndim == 4 else array


# ---------------------------------------------------------------- our own files


@pytest.fixture(params=[*SIZES, *GEOMETRIES], ids=str)
def network(request: pytest.FixtureRequest, dense_chain: Any, conv_chain: Any) -> Network:
    seed = [*SIZES, *GEOMETRIES].index(request.param)
    neuron = CubaNeuron(700 * seed, 20 * seed, 9 * seed + 20)
    built: Network = (
        dense_chain(request.param, seed=seed, neuron=neuron) if request.param in SIZES
        else conv_chain(*request.param, seed=seed, neuron=neuron)
    )
    return built


def test_a_written_network_reads_back_equal(
    network: Network, tmp_path: Path, random_spikes: Any
) -> None:
    write_netx(network, tmp_path / "a.net", "")
    found, ledger = read_netx(tmp_path / "a.net", network.n_steps)
    assert ledger == ()
    assert (found.name, found.input_shape, found.n_steps) == ("a", network.input_shape, 20)
    assert found.readout == Readout() and found.joins == ()
    spikes = random_spikes(network)
    traces = emulate(network, spikes), emulate(found, spikes)
    for written, read in zip(network.layers, found.layers, strict=True):
        assert (read.neuron, read.shape) == (written.neuron, written.shape)
        (ours,), (theirs,) = written.synapses, read.synapses
        assert theirs.weight.dtype == np.int32
        assert np.array_equal(ours.weight, theirs.weight)
        assert (ours.geometry, ours.weight_bits) == (theirs.geometry, theirs.weight_bits)
        same = traces[0].spikes[written.name], traces[1].spikes[read.name]
        assert same[0].any() and np.array_equal(*same)


# ---------------------------------------------------------------- files of the lava-dl wheel

REAL = {  # per layer: shape, smallest and largest weight, bits
    "mnist.net": [((784,), 0, 1, 1), ((512,), -38, 30, 6), ((512,), -58, 52, 6),
                  ((10,), -38, 42, 6)],
    "tiny.net": [((3, 16, 16), 1, 1, 1), ((24, 6, 6), -10, 10, 4), ((36, 1, 1), -8, 6, 3)],
    "gts/ntidigits/ntidigits.net": [((256,), -248, 254, 8), ((256,), -140, 254, 8),
                                    ((242,), -146, 176, 8)],
    "gts/pilotnet_lif/network.net": [
        ((3, 66, 200), 1, 1, 1), ((24, 32, 99), -20, 18, 5), ((36, 15, 49), -12, 10, 4),
        ((48, 7, 24), -10, 8, 4), ((64, 4, 22), -8, 8, 4), ((64, 2, 20), -8, 8, 4),
        ((100,), -6, 6, 3), ((50,), -14, 10, 4), ((10,), -24, 20, 5), ((1,), -24, 42, 6)],
}
INPUT_SHAPES = [(784,), (3, 16, 16), (1, 1, 64), (3, 66, 200)]
SHARES_OF_ZEROS = [0.27, 0.40, 0.04, 0.62]


@pytest.mark.parametrize(
    ("file", "input_shape", "zeros"), zip(REAL, INPUT_SHAPES, SHARES_OF_ZEROS, strict=True))
def test_layers_of_a_real_file(file: str, input_shape: tuple[int, ...], zeros: float) -> None:
    network, ledger = read_netx(WHEEL / file, 16)
    assert network.input_shape == input_shape and network.is_chain
    found = [
        (layer.shape, int(synapse.weight.min()), int(synapse.weight.max()), synapse.weight_bits)
        for layer in network.layers for synapse in layer.synapses
    ]
    assert found == REAL[file]
    trained = [s.weight for s in network.synapses if not s.is_fixed]
    share = sum(int((w == 0).sum()) for w in trained) / sum(w.size for w in trained)
    assert share == pytest.approx(zeros, abs=0.006)
    assert ledger[-1].what == "keys not read: simulation"


def test_neurons_of_real_files() -> None:
    mnist, _ = read_netx(WHEEL / "mnist.net", 16)
    driven, hidden, _, output = (layer.neuron for layer in mnist.layers)
    assert driven == hidden == CubaNeuron(4096, 123, 80)
    assert output == CubaNeuron(4096, 4096, NEVER_VTH_MANT)
    assert mnist.readout == Readout("voltage")
    pilot, _ = read_netx(WHEEL / "gts/pilotnet_lif/network.net", 16)
    assert pilot.readout == Readout("voltage")
    assert pilot.layers[-1].neuron == CubaNeuron(4096, 0, 131071)
    conv = pilot.layer("conv4")
    assert conv.synapses[0].geometry == ConvGeometry((2, 1), (1, 0))
    assert conv.neuron.bias is not None and (min(conv.neuron.bias), max(conv.neuron.bias)) == (
        -8, 34)
    digits, _ = read_netx(WHEEL / "gts/ntidigits/ntidigits.net", 16)
    assert digits.readout == Readout(n_outputs=11)
    delays = [layer.axonal_delay for layer in digits.layers]
    assert [delay and max(delay) for delay in delays] == [62, 62, None]


def test_what_is_interpreted_in_a_real_file_is_in_the_ledger() -> None:
    _, ledger = read_netx(WHEEL / "mnist.net", 16)
    told = [(entry.layer, entry.what.split(",")[0].split(":")[0]) for entry in ledger]
    assert told == [
        ("input0", "input neurons take the bias that NetX wants set"),
        ("dense3", "no neurons"), ("dense3", "never fires (threshold 262143)"),
        ("mnist.net", "keys not read"),
    ]
    assert "76 x + 64" in ledger[0].what
    _, ledger = read_netx(WHEEL / "tiny.net", 16)
    assert [entry.count for entry in ledger if "neuron/theta" in entry.what] == [3, 3, 3]


# ---------------------------------------------------------------- recordings


def test_recorded_ntidigits_spikes_are_all_equal() -> None:
    network, _ = read_netx(RECORDED / "ntidigits/ntidigits.net", 3000)
    spikes = recorded("ntidigits/input.npy").astype(np.uint8).reshape(1, 1, 1, 64, 3000)
    # the recording is one step later than the network's own steps
    later = np.concatenate([np.zeros_like(spikes[..., :1]), spikes], axis=-1)[..., :-1]
    expected = recorded("ntidigits/output.npy")
    found = emulate(network, later).spikes["dense4"][0]
    assert expected.shape == found.shape == (242, 3000) and expected.sum() == 22572
    assert np.array_equal(found, expected)


def test_recorded_dense_layer_is_equal(tmp_path: Path) -> None:
    entry = {"type": "dense", "shape": 256, "weight": recorded("dense/weight.npy"),
             "neuron/type": "LOIHI", "neuron/iDecay": 4096, "neuron/vDecay": 415,
             "neuron/vThMant": 6}  # as test_blocks.py of the wheel has them
    with h5py.File(tmp_path / "dense.net", "w") as file:
        for key, value in entry.items():
            file[f"layer/0/{key}"] = value
    network, ledger = read_netx(tmp_path / "dense.net", 2000)
    assert network.input_shape == (200,) and ledger == ()
    spikes = recorded("dense/in.npy").astype(np.uint8)[None]
    trace = emulate(network, spikes, with_states=True)
    expected = recorded("dense/out.npy")
    assert expected.sum() == 1826
    assert np.array_equal(trace.spikes["dense0"][0], expected)
    current = recorded("dense/current.npy")  # one step later
    assert np.array_equal(trace.u["dense0"][0, :, :-1], 64 * current[:, 1:])
    assert not current[:, 0].any()


Recording = dict[str, tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]


def run_with_resets(network: Network, bias: NDArray[Any], n_steps: int, resets: Any) -> Recording:
    """Return per layer the spikes in the step they are fired in, u and v, under a constant input.

    Parameters
    ----------
    bias : of the input neurons, in Lava's order (x, y, c)
    resets : steps at which the layer of a depth starts from rest
    """
    arriving = np.repeat(bias.transpose(2, 1, 0)[..., None], n_steps, axis=-1).astype(np.uint8)
    found: Recording = {}
    shape = network.input_shape
    for depth, layer in enumerate(network.layers):
        alone = replace(layer, synapses=(replace(layer.synapses[0], source=INPUT),))
        cuts = sorted({0, n_steps, *(step for step in resets(depth) if 0 < step < n_steps)})
        lengths = np.diff(cuts)
        parts = np.zeros((len(lengths), *shape, lengths.max() + 1), dtype=np.uint8)
        for part, begin, length in zip(parts, cuts, lengths, strict=False):
            part[..., :length] = arriving[..., begin : begin + length]
        trace = emulate(Network("alone", shape, parts.shape[-1], (alone,)), parts, with_states=True)
        # spikes are counted when they leave, one step later
        recorders = trace.spikes[layer.name][..., 1:], trace.u[layer.name], trace.v[layer.name]
        fired, u, v = (
            np.concatenate([p[..., :n] for p, n in zip(array, lengths, strict=True)], axis=-1)
            for array in recorders
        )
        found[layer.name] = in_lavas_order(fired), in_lavas_order(u), in_lavas_order(v)
        arriving = np.concatenate([np.zeros_like(fired[..., :1]), fired[..., :-1]], axis=-1)
        shape = layer.shape
    return found


def test_recorded_tiny_network_is_equal() -> None:
    network, _ = read_netx(WHEEL / "tiny.net", 16)
    bias = recorded("tinynet/input_bias.npy")
    # each layer is at rest when its first input reaches it; all are recorded from their own start
    found = run_with_resets(network, bias, 18, lambda depth: [depth])
    names = {"input0": ("input", 0), "conv1": ("layer1", 1), "conv2": ("output", 2)}
    n_spikes = []
    for layer, (file, start) in names.items():
        expected = in_lavas_order(recorded(f"tinynet/{file}.npy")[0])
        assert not expected[..., 0].any()
        assert np.array_equal(found[layer][0][..., start : start + 15], expected[..., 1:])
        n_spikes.append(int(expected.sum()))
    assert n_spikes == [6783, 1633, 92]
    current = in_lavas_order(recorded("tinynet/current.npy")[0])
    assert np.array_equal(found["conv1"][1][..., :16], 64 * current)


PILOT = {"conv1": "conv-0", "conv2": "conv-1", "conv3": "conv-2", "conv4": "conv-3",
         "conv5": "conv-4", "dense7": "fc-0", "dense8": "fc-1", "dense9": "fc-2"}


@pytest.mark.slow
def test_recorded_pilotnet_spikes_currents_and_voltages_are_equal() -> None:
    network, _ = read_netx(RECORDED / "pilotnet_lif/network.net", 24)
    image = recorded("pilotnet_lif/image.npy")
    # this chip reset each layer every 17 steps, the first time when its first input reached it
    found = run_with_resets(network, image, 24, lambda depth: [depth, depth + 17])
    assert np.array_equal(found["input0"][0], recorded("pilotnet_lif/input.npy"))
    n_spikes = []
    for layer, name in PILOT.items():
        fired, u, v = found[layer]
        expected = recorded(f"pilotnet_lif/{name}.npy")
        assert np.array_equal(fired, expected), layer
        assert np.array_equal(u, recorded(f"pilotnet_lif/{name}-u.npy")), layer
        voltage = recorded(f"pilotnet_lif/{name}-v.npy")
        assert (voltage[expected] == 128).all()  # where Loihi counts the refractory step
        assert np.array_equal(v, np.where(expected, 0, voltage)), layer
        n_spikes.append(int(expected.sum()))
    assert n_spikes == [166897, 63672, 23247, 14567, 6770, 226, 49, 8]


@pytest.mark.slow
def test_recorded_pilotnet_output_is_equal() -> None:
    network, _ = read_netx(RECORDED / "pilotnet_lif/network.net", 25)
    image = recorded("pilotnet_lif/image.npy")
    # another run: every 16 steps, the first time one step earlier
    found = run_with_resets(network, image, 25, lambda depth: range((depth - 1) % 16, 25, 16))
    fired, u, v = found["dense10"]
    assert np.array_equal(u, recorded("pilotnet_lif/fc-3-u.npy"))
    assert np.array_equal(v, recorded("pilotnet_lif/fc-3-v.npy"))
    assert np.array_equal(fired, recorded("pilotnet_lif/fc-3-s.npy")) and not fired.any()
    assert np.unique(v).tolist() == [-5376, -4736, -3200, 0, 640]


def test_mnist_net_knows_our_digits() -> None:
    """Static digits as the bias of its input neurons, 76 x + 64 of x in [-1, 1], for 16 steps."""
    network, ledger = read_netx(WHEEL / "mnist.net", 16)
    assert any("76 x + 64" in entry.what for entry in ledger)
    images, labels = load_digits(range(7500, 8000))
    driven = np.floor(76 * (images.reshape(500, 784) / 127.5 - 1) + 64).astype(np.int32)
    right = output_scores(network, driven[..., None].repeat(16, axis=-1)).argmax(axis=1) == labels
    assert right.mean() >= 0.99
