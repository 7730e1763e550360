"""What is written is what is read; what NetX would ruin is refused; nothing is left behind."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.errors import ExportError, OutputError
from pipeline.export_netx import compare_netx, write_netx
from pipeline.network import INPUT, ConvGeometry, Layer, Network, Synapse


@pytest.fixture(params=["dense", "conv"])
def network(request: pytest.FixtureRequest, dense_chain: Any, conv_chain: Any) -> Network:
    built: Network = dense_chain() if request.param == "dense" else conv_chain()
    return built


def with_weight(network: Network, index: int, weight: NDArray[Any], bits: int | None) -> Network:
    layer = network.layers[index]
    synapse = replace(layer.synapses[0], weight=weight, weight_bits=bits)
    layers = list(network.layers)
    layers[index] = replace(layer, synapses=(synapse,))
    return network.with_layers(tuple(layers))


# ---------------------------------------------------------------- written and read back


def test_written_file_reads_back_as_the_network(network: Network, tmp_path: Path) -> None:
    path = tmp_path / "network.net"
    write_netx(network, path, "made by a test")
    compare_netx(network, path)
    with h5py.File(path) as file:
        assert file.attrs["origin"] == "made by a test"
        weights = [
            file[f"layer/{i}/weight"][()] for i in range(len(file["layer"]))
            if "weight" in file[f"layer/{i}"]
        ]
    assert [w.shape for w in weights] == [s.weight.shape for s in network.synapses]
    assert all(np.array_equal(w, s.weight) for w, s in zip(weights, network.synapses, strict=True))
    assert list(tmp_path.iterdir()) == [path]


def test_dense_file_has_the_keys_slayer_writes(dense_chain: Any, tmp_path: Path) -> None:
    network = dense_chain()
    write_netx(network, tmp_path / "a.net", "")
    with h5py.File(tmp_path / "a.net") as file:
        types = [file[f"layer/{i}/type"][0] for i in range(len(file["layer"]))]
        assert types == [b"input", b"dense", b"dense"]
        layer = file["layer/1"]
        assert (layer["inFeatures"][()], layer["outFeatures"][()]) == (12, 16)
        neuron = {key: layer[f"neuron/{key}"][()] for key in layer["neuron"]}
        assert neuron == {
            "type": b"CUBA", "iDecay": 1024, "vDecay": 128, "vThMant": 120, "refDelay": 1,
            "gradedSpike": False,
        }


def test_conv_file_has_geometry_and_a_flatten_before_the_dense_layer(
    conv_chain: Any, tmp_path: Path
) -> None:
    geometry = ConvGeometry(stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2)
    network = conv_chain(weight_shape=(4, 1, 3, 2), geometry=geometry)
    write_netx(network, tmp_path / "a.net", "")
    with h5py.File(tmp_path / "a.net") as file:
        types = [file[f"layer/{i}/type"][0] for i in range(len(file["layer"]))]
        assert types == [b"input", b"conv", b"flatten", b"dense"]
        assert file["layer/0/shape"][()].tolist() == [2, 7, 6]
        conv = file["layer/1"]
        assert conv["shape"][()].tolist() == list(network.layers[0].shape)
        assert (conv["inChannels"][()], conv["outChannels"][()], conv["groups"][()]) == (2, 4, 2)
        found = {key: conv[key][()].tolist() for key in ("kernelSize", "stride", "padding",
                                                         "dilation")}
        assert found == {
            "kernelSize": [3, 2], "stride": [2, 1], "padding": [1, 0], "dilation": [1, 2],
        }
        n_flat = int(np.prod(network.layers[0].shape))
        assert file["layer/2/shape"][()].tolist() == [n_flat, 1, 1]


def test_writing_twice_gives_identical_bytes(
    dense_chain: Any, conv_chain: Any, tmp_path: Path
) -> None:
    networks = [dense_chain(), conv_chain()]
    for index, network in enumerate(networks):
        write_netx(network, tmp_path / f"first{index}.net", "same")
    time.sleep(1.1)  # HDF5 can store modification times, in seconds
    for index, network in enumerate(networks):
        write_netx(network, tmp_path / f"second{index}.net", "same")
        first, second = (tmp_path / f"{name}{index}.net" for name in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()


def test_writing_replaces_an_older_file(dense_chain: Any, tmp_path: Path) -> None:
    path = tmp_path / "network.net"
    write_netx(dense_chain(seed=1), path, "")
    write_netx(dense_chain(seed=2), path, "")
    compare_netx(dense_chain(seed=2), path)


# ---------------------------------------------------------------- damage is noticed


def change_weight(file: h5py.File) -> None:
    file["layer/1/weight"][(0,) * file["layer/1/weight"].ndim] += 2


def change_threshold(file: h5py.File) -> None:
    file["layer/1/neuron/vThMant"][()] = 81


def change_decay(file: h5py.File) -> None:
    file["layer/1/neuron/iDecay"][()] = 1025


def change_type(file: h5py.File) -> None:
    file["layer/1/type"][0] = b"input"


def drop_key(file: h5py.File) -> None:
    del file["layer/1/weight"]


def drop_layer(file: h5py.File) -> None:
    del file[f"layer/{len(file['layer']) - 1}"]


def reshape_weight(file: h5py.File) -> None:
    weight = file["layer/1/weight"][()]
    del file["layer/1/weight"]
    file["layer/1"].create_dataset("weight", data=weight.reshape(-1, weight.shape[0]))


def add_bias(file: h5py.File) -> None:
    file["layer/1"].create_dataset("bias", data=np.full(4, 64))


def add_delay(file: h5py.File) -> None:
    file["layer/1"].create_dataset("delay", data=np.full(4, 3))


@pytest.mark.parametrize(
    "damage",
    [change_weight, change_threshold, change_decay, change_type, drop_key, drop_layer,
     reshape_weight, add_bias, add_delay],
    ids=lambda damage: damage.__name__,
)
def test_file_that_differs_from_the_network_is_noticed(
    damage: Callable[[h5py.File], None], network: Network, tmp_path: Path
) -> None:
    path = tmp_path / "network.net"
    write_netx(network, path, "")
    with h5py.File(path, "r+") as file:
        damage(file)
    with pytest.raises(ExportError, match="network.net"):
        compare_netx(network, path)


def test_message_names_the_entry_that_does_not_read_back(
    dense_chain: Any, tmp_path: Path
) -> None:
    path = tmp_path / "network.net"
    write_netx(dense_chain(), path, "")
    with h5py.File(path, "r+") as file:
        file["layer/2/weight"][3, 1] -= 2
    with pytest.raises(ExportError, match="layer/2/weight does not read back"):
        compare_netx(dense_chain(), path)


# ---------------------------------------------------------------- refusals


def refused(network: Network, tmp_path: Path) -> str:
    """Return the message with which the network is refused, having left nothing behind."""
    with pytest.raises(ExportError) as error:
        write_netx(network, tmp_path / "network.net", "")
    assert list(tmp_path.iterdir()) == []
    return str(error.value)


def test_layer_with_two_synapse_groups_is_refused(dense_chain: Any, tmp_path: Path) -> None:
    network = dense_chain()
    last = network.layers[1]
    skip = Synapse("fc1.skip", INPUT, np.full((10, 12), 2, dtype=np.int32), weight_bits=1)
    two = network.with_layers((network.layers[0], replace(last, synapses=(*last.synapses, skip))))
    message = refused(two, tmp_path)
    assert "layer 'fc1'" in message and "chains only" in message and "fc0, input" in message


def test_layer_that_skips_its_neighbor_is_refused(dense_chain: Any, tmp_path: Path) -> None:
    network = dense_chain(sizes=(12, 12, 5))
    branch = Layer(
        "fc1", (replace(network.layers[1].synapses[0], source=INPUT),),
        network.layers[1].neuron, (5,),
    )
    assert "chains only" in refused(network.with_layers((network.layers[0], branch)), tmp_path)


@pytest.mark.parametrize(("value", "shown"), [(3, "even integers"), (256, "256"), (-258, "-258")])
def test_weight_the_chip_cannot_hold_is_refused(
    value: int, shown: str, dense_chain: Any, tmp_path: Path
) -> None:
    network = dense_chain()
    weight = network.layers[1].synapses[0].weight.copy()
    weight[2, 3] = value
    message = refused(with_weight(network, 1, weight, 8), tmp_path)
    assert "layer 'fc1'" in message and shown in message


def test_float_weights_are_refused(dense_chain: Any, tmp_path: Path) -> None:
    network = dense_chain()
    weight = network.layers[0].synapses[0].weight.astype(np.float64)
    assert "layer 'fc0'" in refused(with_weight(network, 0, weight, 6), tmp_path)


@pytest.mark.parametrize("bits", [None, 3])
def test_bits_other_than_netx_will_infer_are_refused(
    bits: int | None, dense_chain: Any, tmp_path: Path
) -> None:
    network = dense_chain()
    weight = network.layers[1].synapses[0].weight
    message = refused(with_weight(network, 1, weight, bits), tmp_path)
    assert "layer 'fc1'" in message and f"declared are {bits}" in message


def test_all_zero_layer_is_refused(dense_chain: Any, tmp_path: Path) -> None:
    network = dense_chain()
    nothing = np.zeros((10, 16), dtype=np.int32)
    assert "layer 'fc1'" in refused(with_weight(network, 1, nothing, 8), tmp_path)


def test_thresholds_per_channel_are_refused_with_the_way_out(
    network: Network, tmp_path: Path
) -> None:
    path = tmp_path / "network.net"
    write_netx(network, path, "")
    first = network.layers[0]
    neuron = replace(first.neuron, channel_vth_mant=(90,) * first.n_channels)
    mixed = network.with_layers((replace(first, neuron=neuron), *network.layers[1:]))
    with pytest.raises(ExportError):
        compare_netx(mixed, path)
    path.unlink()
    message = refused(mixed, tmp_path)
    for part in (f"layer '{first.name}'", "one threshold per channel", "one vThMant per layer",
                 "array of thresholds", "compress.match_rates: layer"):
        assert part in message


# ---------------------------------------------------------------- places that cannot be written


def test_missing_folder_is_an_output_error(dense_chain: Any, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="missing/network.net: cannot be written"):
        write_netx(dense_chain(), tmp_path / "missing" / "network.net", "")
    assert list(tmp_path.iterdir()) == []


def test_file_in_place_of_the_folder_is_an_output_error(dense_chain: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="file/network.net: cannot be written"):
        write_netx(dense_chain(), tmp_path / "file" / "network.net", "")
    assert (tmp_path / "file").read_text() == "in the way"


def test_folder_in_place_of_the_file_is_an_output_error_and_leaves_nothing(
    dense_chain: Any, tmp_path: Path
) -> None:
    target = tmp_path / "network.net"
    target.mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        write_netx(dense_chain(), target, "")
    assert list(tmp_path.iterdir()) == [target]


def test_failed_write_leaves_the_older_file_alone(dense_chain: Any, tmp_path: Path) -> None:
    path = tmp_path / "network.net"
    write_netx(dense_chain(), path, "")
    before = path.read_bytes()
    weight = dense_chain().layers[0].synapses[0].weight + 1
    with pytest.raises(ExportError):
        write_netx(with_weight(dense_chain(), 0, weight, 8), path, "")
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_weights_of_one_sign_that_lava_would_clip_are_refused(
    dense_chain: Any, tmp_path: Path
) -> None:
    network = dense_chain(sizes=(12, 4))
    (layer,) = network.layers
    weight = np.where(layer.synapses[0].weight < 0, -256, 0).astype(np.int32)
    synapse = replace(layer.synapses[0], weight=weight, weight_bits=8)
    with pytest.raises(ExportError, match="have one sign, for which Lava clips at -255"):
        write_netx(network.with_layers((replace(layer, synapses=(synapse,)),)),
                   tmp_path / "a.net", "")
