"""A NetX file without its SLAYER source goes through the whole line; bad model folders are told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from pipeline.errors import CheckpointError, RecipeError
from pipeline.export_netx import write_netx
from pipeline.export_nir import write_nir
from pipeline.model_folder import find_model

RECIPE = {
    "calibration": {"n_samples": 20}, "compress": {"sparsity": 0.5, "bits": 4},
    "evaluate": {"n_validation": 20, "n_test": 20}, "verify": {"n_samples": 3},
    "energy": {"n_samples": 5},
}


@pytest.fixture
def exported(tmp_path: Path, dense_chain: Any, write_spikes: Any) -> Path:
    """Return a model folder that holds NetX and NIR files of one network, and spikes."""
    network = dense_chain(sizes=(40, 30, 5), n_steps=30)
    write_netx(network, tmp_path / "exported.net", "test")
    write_nir(network, tmp_path / "exported.nir", "test")
    write_spikes(tmp_path / "spikes.npz")
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    describe(tmp_path, "exported.net")
    return tmp_path


def describe(folder: Path, network: str) -> None:
    (folder / "model.yaml").write_text(yaml.safe_dump({
        "network": network, "input_shape": [40], "n_steps": 30,
        "data": {"kind": "npz", "file": "spikes.npz"}}))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["exported.net", "exported.nir"])
def test_a_file_is_pruned_and_quantized_again_and_still_loads(
    name: str, exported: Path, deploy: Any
) -> None:
    describe(exported, name)
    out = exported / "out"
    assert deploy(exported, out) == 0
    report = json.loads((out / "report.json").read_text())
    assert {row["second_backend"] for row in report["equivalence"]} == {"Lava"}
    assert all(row["n_differing"] == 0 for row in report["equivalence"])
    assert report["verdict"]["weight_bits"] == [4]
    assert report["verdict"]["connection_sparsity_frac"] >= 0.5
    assert {file["name"] for file in report["artifacts"]["files"]} == {"network.net", "network.nir"}
    assert not (out / "checkpoint.pt").exists() and not (out / "thresholds.yaml").exists()


def test_both_files_are_the_network_that_was_written(exported: Path, dense_chain: Any) -> None:
    from pipeline.network_file import read_model

    written = dense_chain(sizes=(40, 30, 5), n_steps=30)
    for name in ("exported.net", "exported.nir"):
        describe(exported, name)
        read = read_model(find_model(str(exported)))
        assert read.ledger == () and read.network.n_steps == 30
        for ours, theirs in zip(written.synapses, read.network.synapses, strict=True):
            assert np.array_equal(ours.weight, theirs.weight)


@pytest.mark.parametrize(("network", "error", "problem"), [
    ("missing.net", CheckpointError, "network file"),
    ("exported.txt", RecipeError, "nor a .net or .nir file"),
])
def test_a_folder_without_its_file_is_refused_at_once(
    network: str, error: type[Exception], problem: str, exported: Path
) -> None:
    describe(exported, network)
    with pytest.raises(error, match=problem):
        find_model(str(exported))
