"""Modules of sigma-delta neurons and of resonators go through the whole line, exactly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

pytestmark = pytest.mark.slow

SIGMA_DELTA = '''
import torch
from lava.lib.dl import slayer

sigma_delta = slayer.block.sigma_delta
NEURON = {"threshold": 0.125, "activation": torch.nn.functional.relu}


class Network(torch.nn.Module):
    """A convolution with a normalization, a dense layer, a decoder."""

    def __init__(self):
        super().__init__()
        norm = slayer.neuron.norm.MeanOnlyBatchNorm
        self.blocks = torch.nn.ModuleList([
            sigma_delta.Input({**NEURON}),
            sigma_delta.Conv({**NEURON, "norm": norm}, 2, 6, 3, padding=1, weight_scale=2),
            sigma_delta.Flatten(),
            sigma_delta.Dense({**NEURON}, 6 * 6 * 6, 20, weight_scale=2),
            sigma_delta.Output({**NEURON}, 20, 5, weight_scale=2),
        ])

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x
'''
RESONATORS = '''
import torch
from lava.lib.dl import slayer

RF = {"threshold": 0.5, "period": 7, "decay": 0.1}


class Network(torch.nn.Module):
    """Two layers of resonators, the first with delays."""

    def __init__(self, kind, delay):
        super().__init__()
        block = getattr(slayer.block, kind)
        self.a = block.Dense({**RF}, 72, 30, weight_scale=4, delay=delay)
        self.b = block.Dense({**RF}, 30, 5, weight_scale=4)

    def forward(self, spikes):
        return self.b(self.a(spikes.flatten(1, 3)))
'''


def model_folder(
    folder: Path, code: str, fresh: Any, arguments: dict[str, Any], is_graded: bool
) -> Path:
    """Return a model folder with its checkpoint; classes are rows of the image that do more."""
    import torch

    folder.mkdir()
    (folder / "network.py").write_text(code)
    (folder / "recipe.yaml").write_text(yaml.safe_dump({
        "calibration": {"n_samples": 20}, "compress": {"sparsity": 0.6, "bits": 5},
        "evaluate": {"n_validation": 20, "n_test": 20}, "verify": {"n_samples": 3},
        "energy": {"n_samples": 5}}))
    (folder / "model.yaml").write_text(yaml.safe_dump({
        "input_shape": [2, 6, 6], "n_steps": 30, "arguments": arguments,
        "data": {"kind": "npz", "file": "spikes.npz"}}))
    rng, arrays = np.random.default_rng(0), {}
    for split in ("calibration", "validation", "test"):
        labels = rng.integers(0, 5, 20)
        if is_graded:
            size = np.full((20, 2, 6, 6, 1), 2)
            size[np.arange(20), :, labels] = 8
            steps = rng.integers(-size, size + 1, (20, 2, 6, 6, 30))
            values = np.clip(2 * np.cumsum(steps, axis=-1), -256, 254)
        else:
            rate = np.full((20, 2, 6, 6, 30), 0.1)
            rate[np.arange(20), :, labels] = 0.6
            values = (rng.random(rate.shape) < rate).astype(np.uint8)
        arrays[f"{split}_spikes"], arrays[f"{split}_labels"] = values, labels
    np.savez(folder / "spikes.npz", **arrays)
    torch.manual_seed(0)
    module = fresh(folder / "network.py", "Network", arguments).eval()
    with torch.no_grad():
        module(torch.zeros(1, 2, 6, 6, 2))
    for block in module.modules():
        if hasattr(block, "running_mean"):
            block.running_mean = torch.linspace(-0.2, 0.2, 6)
    torch.save(module.state_dict(), folder / "checkpoint.pt")
    return folder


def deployed(folder: Path, out: Path, deploy: Any) -> dict[str, Any]:
    assert deploy(folder, out, "--target", "loihi2") == 0
    report: dict[str, Any] = json.loads((out / "report.json").read_text())
    backends = {row["second_backend"] for row in report["equivalence"]}
    assert backends == {"Lava", "SLAYER with the compressed weights"}
    assert all(row["n_differing"] == 0 for row in report["equivalence"])
    assert sum(row["n_spikes"] for row in report["equivalence"]) > 500
    assert report["verdict"]["connection_sparsity_frac"] >= 0.6
    return report


def test_a_sigma_delta_module_deploys_without_a_differing_message(
    tmp_path: Path, fresh: Any, deploy: Any
) -> None:
    folder = model_folder(tmp_path / "sdnn", SIGMA_DELTA, fresh, {}, is_graded=True)
    report = deployed(folder, tmp_path / "out", deploy)
    assert {file["name"] for file in report["artifacts"]["files"]} == {
        "network.net", "checkpoint.pt"}
    assert any("biases" in entry["what"] for entry in report["ledger"])


@pytest.mark.parametrize(("kind", "delay"), [("rf", True), ("rf_iz", False)])
def test_resonators_deploy_without_a_differing_spike(
    kind: str, delay: bool, tmp_path: Path, fresh: Any, deploy: Any
) -> None:
    folder = model_folder(
        tmp_path / kind, RESONATORS, fresh, {"kind": kind, "delay": delay}, is_graded=False)
    report = deployed(folder, tmp_path / "out", deploy)
    files = {file["name"] for file in report["artifacts"]["files"]}
    assert ("network.net" in files) == (not delay)  # NetX has no delays of complex weights


def test_loihi_1_runs_no_sigma_delta_neurons(
    tmp_path: Path, fresh: Any, deploy: Any, capsys: Any
) -> None:
    folder = model_folder(tmp_path / "sdnn", SIGMA_DELTA, fresh, {}, is_graded=True)
    assert deploy(folder, tmp_path / "out", "--target", "loihi1") == 2
    assert "family_supported · sigma-delta neurons" in capsys.readouterr().err
