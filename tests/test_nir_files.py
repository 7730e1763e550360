"""NIR files that contradict themselves are refused; they are written whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest
from nir_networks import same

from pipeline.errors import CheckpointError, ExportError, OutputError
from pipeline.export_nir import METADATA_KEY, to_graph, write_nir
from pipeline.ingest.nir_graph import read_nir

# ---------------------------------------------------------------- disagreement


def scale_weight(file: h5py.File) -> None:
    file["node/nodes/fc0.synapse/weight"][...] *= 2


def raise_threshold(file: h5py.File) -> None:
    file["node/nodes/fc1/v_threshold"][3] += 1


def change_decay(file: h5py.File) -> None:
    file["node/nodes/fc0/tau_syn"][0] *= 1024 / 1025


def drop_node(file: h5py.File) -> None:
    del file["node/nodes/fc1"]


def drop_edge(file: h5py.File) -> None:
    edges = [edge for edge in file["node/edges"][()] if edge[0] != b"fc0"]
    del file["node/edges"]
    file["node/edges"] = edges


def change_integers(file: h5py.File) -> None:
    file[f"node/metadata/{METADATA_KEY}/network/layers/0/synapses/0/weight"][0, 0] += 2


def change_steps(file: h5py.File) -> None:
    file[f"node/metadata/{METADATA_KEY}/network/n_steps"][()] = 21


@pytest.mark.parametrize(("change", "shown"), [
    (scale_weight, ("node 'fc0.synapse'", "key 'weight'")),
    (raise_threshold, ("node 'fc1'", "key 'v_threshold'")),
    (change_decay, ("node 'fc0'", "key 'tau_syn'")),
    (drop_node, ("node 'fc1'",)),
    (drop_edge, ("edges",)),
    (change_integers, ("sha256",)),
    (change_steps, ("sha256",)),
])
def test_nodes_that_contradict_the_metadata_are_refused(
    change: Callable[[h5py.File], None], shown: tuple[str, ...], dense_chain: Any, tmp_path: Path
) -> None:
    path = tmp_path / "a.nir"
    write_nir(dense_chain(), path, "")
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(CheckpointError) as error:
        read_nir(path)
    assert str(path) in str(error.value) and all(part in str(error.value) for part in shown)


def test_nodes_saved_again_in_single_precision_still_agree(
    dense_chain: Any, tmp_path: Path
) -> None:
    network, path = dense_chain(), tmp_path / "a.nir"
    write_nir(network, path, "")
    graph = nir.read(path)
    for node in graph.nodes.values():
        for key, value in vars(node).items():
            if isinstance(value, np.ndarray) and value.dtype == np.float64:
                setattr(node, key, value.astype(np.float32))
    nir.write(path, graph)
    assert same(read_nir(path)[0], network)


def test_other_steps_are_taken_and_noted(dense_chain: Any, tmp_path: Path) -> None:
    network = dense_chain()
    write_nir(network, tmp_path / "a.nir", "")
    read, (entry,) = read_nir(tmp_path / "a.nir", 7)
    assert same(read, replace(network, n_steps=7)) and entry.what == "steps 20 -> 7"


# ---------------------------------------------------------------- writing


def test_writing_twice_gives_identical_bytes(conv_chain: Any, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_nir(conv_chain(), tmp_path / f"{name}.nir", "same")
    assert (tmp_path / "a.nir").read_bytes() == (tmp_path / "b.nir").read_bytes()


def test_dense_synapses_into_feature_maps_are_refused(conv_chain: Any, tmp_path: Path) -> None:
    conv, fc = conv_chain().layers
    network = conv_chain().with_layers((conv, replace(fc, shape=(5, 1, 1))))
    with pytest.raises(ExportError, match=r"layer 'fc'.*\(5,\)"):
        write_nir(network, tmp_path / "a.nir", "")
    assert not list(tmp_path.iterdir())


def test_what_does_not_read_back_is_not_kept(
    dense_chain: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.nir"
    write_nir(dense_chain(seed=1), path, "")
    before, other = path.read_bytes(), to_graph(dense_chain(seed=2))
    monkeypatch.setattr(nir, "read", lambda *_, **__: other)
    with pytest.raises(ExportError, match="node 'fc0.synapse', key 'weight' does not read back"):
        write_nir(dense_chain(seed=3), path, "")
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_named(dense_chain: Any, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="nowhere"):
        write_nir(dense_chain(), tmp_path / "nowhere" / "a.nir", "")
