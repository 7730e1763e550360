"""A NetX file without its SLAYER source goes through the whole line; bad model folders are told."""

from __future__ import annotations

import json
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from pipeline.errors import CheckpointError, RecipeError
from pipeline.export_netx import write_netx
from pipeline.export_nir import write_nir
from pipeline.ingest.netx import read_netx
from pipeline.model_folder import find_model

WHEEL = Path(str(distribution("lava-dl").locate_file("tests/lava/lib/dl/netx")))
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


@pytest.mark.slow
def test_a_real_network_with_delays_is_pruned_quantized_and_still_loads(
    tmp_path: Path, deploy: Any
) -> None:
    """Spoken digits of the lava-dl wheel, 64-256-256-242 with delays up to 62 steps."""
    recorded = np.load(WHEEL / "gts/ntidigits/input.npy")
    windows = np.stack([recorded[:, t : t + 100] for t in range(0, 2900, 100)]).astype(np.uint8)
    arrays: dict[str, Any] = {}
    for index, split in enumerate(("calibration", "validation", "test")):
        arrays[f"{split}_spikes"] = windows[index::3][:8].reshape(8, 1, 1, 64, 100)
        arrays[f"{split}_labels"] = np.arange(8)
    np.savez(tmp_path / "spikes.npz", **arrays)
    recipe = {
        "calibration": {"n_samples": 8},
        "compress": {"sparsity": 0.9, "bits": 6, "pruning": "admm"},
        "evaluate": {"n_validation": 8, "n_test": 8}, "verify": {"n_samples": 2},
        "energy": {"n_samples": 2},
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    (tmp_path / "model.yaml").write_text(yaml.safe_dump({
        "network": str(WHEEL / "gts/ntidigits/ntidigits.net"), "input_shape": [1, 1, 64],
        "n_steps": 100, "data": {"kind": "npz", "file": "spikes.npz"}}))
    out = tmp_path / "out"
    assert deploy(tmp_path, out, "--target", "loihi2") == 0  # loihi1 has delays of up to 8 steps
    report = json.loads((out / "report.json").read_text())
    assert [row["n_neurons"] for row in report["layers"]][-1] == 242
    assert report["verdict"]["weight_bits"] == [6]
    assert all(row["n_differing"] == 0 for row in report["equivalence"])
    assert sum(row["n_spikes"] for row in report["equivalence"]) > 5000
    found, _ = read_netx(out / "network.net", 100)
    assert [layer.axonal_delay is not None for layer in found.layers] == [True, True, False]


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
