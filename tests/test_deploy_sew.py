"""A SEW-ResNet with published weights, on frames, goes through the line, spike for spike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from published_sew import PublishedSew, draw_exact

from models.deep import sew_resnet

pytestmark = pytest.mark.slow

ARGUMENTS = {
    "n_blocks": [2, 1], "widths": [4, 6], "n_classes": 3, "input_shape": [3, 16, 16],
    "is_balanced": True, "frame_scale": 16,
}
N_FRAME_STEPS = 4
DEPTHS = {"basic": 8, "bottleneck": 11}
RECIPE = {
    "calibration": {"n_samples": 20}, "compress": {"sparsity": 0.5, "bits": 5},
    "evaluate": {"n_validation": 20, "n_test": 20}, "verify": {"n_samples": 2},
    "energy": {"n_samples": 2},
}


@pytest.fixture(params=DEPTHS)
def published(tmp_path: Path, request: Any) -> Path:
    """Return a model folder whose checkpoint is a published state dict."""
    kind, folder = request.param, tmp_path / request.param
    n_steps = N_FRAME_STEPS + DEPTHS[kind]
    folder.mkdir()
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    (folder / "model.yaml").write_text(yaml.safe_dump({
        "network": f"{Path(sew_resnet.__file__)}:SewResNet",
        "arguments": {**ARGUMENTS, "block": kind},
        "checkpoint": "sew.pth", "input_shape": [3, 16, 16], "n_steps": n_steps,
        "data": {"kind": "npz", "file": "frames.npz"}}))
    net = PublishedSew(kind, (2, 1), (4, 6), 3)
    draw_exact(net, seed=2)
    torch.save(net.state_dict(), folder / "sew.pth")
    rng, arrays = np.random.default_rng(0), {}
    for split in ("calibration", "validation", "test"):
        images = rng.integers(-20, 21, (20, 3, 16, 16))
        frames = np.zeros((*images.shape, n_steps), dtype=np.int32)
        frames[..., :N_FRAME_STEPS] = images[..., None]
        arrays[f"{split}_spikes"], arrays[f"{split}_labels"] = frames, rng.integers(0, 3, 20)
    np.savez(folder / "frames.npz", **arrays)
    return folder


def test_published_weights_deploy_without_a_differing_spike(
    published: Path, tmp_path: Path, deploy: Any, capsys: Any
) -> None:
    out = tmp_path / "out"
    assert deploy(published, out, "--target", "loihi2") == 0
    assert "wired by us" in capsys.readouterr().out
    report = json.loads((out / "report.json").read_text())
    rows = report["equivalence"]
    assert {row["second_backend"] for row in rows} == {"Lava", "SLAYER with the compressed weights"}
    assert all(row["n_differing"] == 0 for row in rows)
    assert sum(row["n_spikes"] for row in rows) > 5000
    layers = {row["name"]: row for row in report["layers"]}
    assert layers["stages.0.blocks.1.relays.0"]["mask_by"] == "left alone"
    pruned = [row for row in layers.values() if row["mask_by"] != "left alone"]
    n_weights = sum(row["n_weights_dense"] for row in pruned)
    if published.name == "basic":
        assert n_weights == 4 * 3 * 49 + 4 * 4 * 9 * 4 + (6 * 4 + 6 * 6) * 9 + 6 * 4 + 3 * 24
    assert sum(row["n_weights_kept"] for row in pruned) == n_weights // 2
    told = [row["what"] for row in report["ledger"] if row["layer"] == "fc"]
    assert any(f"write them after step {DEPTHS[published.name]}" in what for what in told)


@pytest.mark.parametrize("model", ["sew_digits", "spike_digits"])
def test_a_trained_network_loses_little_at_a_quarter_of_its_weights(
    model: str, tmp_path: Path, spikefit: Any
) -> None:
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "out"
    recipe.write_text(yaml.safe_dump({
        "calibration": {"n_samples": 50}, "compress": {"sparsity": 0.75, "bits": 4},
        "evaluate": {"n_validation": 50, "n_test": 300}, "verify": {"n_samples": 2},
        "energy": {"n_samples": 2}}))
    assert spikefit("deploy", "--model", model, "--target", "loihi2", "--recipe", recipe,
                    "--out", out) == 0
    report = json.loads((out / "report.json").read_text())
    accuracy = report["accuracy"]["test"]
    assert accuracy["dense_frac"] >= 0.93 and accuracy["compressed_frac"] >= 0.9
    rows = report["equivalence"]
    assert {row["second_backend"] for row in rows} == {"Lava", "SLAYER with the compressed weights"}
    assert all(row["n_differing"] == 0 for row in rows)
    layers = {row["name"]: row for row in report["layers"]}
    if model == "spike_digits":
        assert layers["blocks.1.attended"]["source"] == "blocks.1.masked, blocks.0.perceived"
        return
    # shortcuts add: the second convolution of a stage receives two trains, by a copy for each
    layers = {row["name"]: row for row in report["layers"]}
    assert layers["stages.0.blocks.1.convs.0"]["source"] == "maxpool, stages.0.blocks.0.convs.1"
    assert all(row["relay"]["n_groups"] < row["copies"]["n_groups"] + 2 for row in report["joins"])
    heard = {name for row in report["joins"] for name in row["heard_by"]}
    assert "stages.0.blocks.1.convs.0" in heard
    assert "Sums of spikes" in (out / "report.html").read_text()
