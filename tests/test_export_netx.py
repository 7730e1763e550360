"""What is written is what is read; a file that differs is noticed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from pipeline.errors import ExportError
from pipeline.export_netx import compare_netx, write_netx
from pipeline.network import ConvGeometry, Network


@pytest.fixture(params=["dense", "conv"])
def network(request: pytest.FixtureRequest, dense_chain: Any, conv_chain: Any) -> Network:
    built: Network = dense_chain() if request.param == "dense" else conv_chain()
    return built


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
