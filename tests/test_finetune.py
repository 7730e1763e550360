"""Fine-tuning holds the mask, learns, and what it writes deploys with the zeros it had."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from models import finetune
from pipeline.artifact import load_artifact

pytestmark = pytest.mark.slow


def class_spikes(n: int, seed: int) -> tuple[Any, Any]:
    """Spikes (n, 40, 30) of five classes, each of which has eight busy inputs."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 5, n)
    is_busy = np.arange(40)[None, :] // 8 == labels[:, None]
    rates = np.where(is_busy, 0.35, 0.15)
    return (rng.random((n, 40, 30)) < rates[..., None]).astype(np.uint8), labels


@pytest.fixture
def tuned(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of what was tuned."""
    arrays = {}
    for seed, (split, n) in enumerate(
            (("train", 600), ("calibration", 40), ("validation", 100), ("test", 100))):
        arrays[f"{split}_spikes"], arrays[f"{split}_labels"] = class_spikes(n, seed)
    np.savez(model / "spikes.npz", **arrays)
    recipe = yaml.safe_load((model / "recipe.yaml").read_text())
    recipe["evaluate"] = {"n_validation": 100, "n_test": 100}
    (model / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    monkeypatch.setattr(finetune, "EXPORTS", tmp_path / "exports")
    out = tmp_path / "tuned"
    monkeypatch.setattr(sys, "argv", [
        "finetune", "--model", str(model), "--recipe", str(model / "recipe.yaml"), "--epochs", "4",
        "--learning-rate", "0.01", "--out", str(out)])
    finetune.main()
    return out


def test_zeros_stay_the_rest_learns_and_it_deploys(
    tuned: Path, model: Path, tmp_path: Path, deploy: Any, fresh: Any
) -> None:
    out = tuned
    (path,) = (tmp_path / "exports" / ".artifacts").glob("compress-*.npz")
    parts = load_artifact(path)
    module = fresh(model / "network.py", "Network", {})
    module.load_state_dict(torch.load(out / "model" / "checkpoint.pt", weights_only=True))
    module(torch.zeros(1, 40, 4))  # which folds weight_norm
    for name, part in parts.items():
        index = int(name.split(".")[1])
        weight = module.blocks[index].synapse.weight.detach().numpy().reshape(part.codes.shape)
        np.testing.assert_array_equal(weight != 0, part.codes != 0)
        assert not np.allclose(weight[weight != 0] * 64, part.weight[part.codes != 0])
    (out / "model" / "recipe.yaml").write_text((out / "recipe.yaml").read_text())
    assert deploy(out / "model", tmp_path / "out") == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    (one_shot,) = (tmp_path / "exports" / ".artifacts").glob("emulate-*.npz")
    before, after = load_artifact(one_shot).validation[1], report["accuracy"]["validation"]
    assert after["compressed_frac"] > before + 0.1  # it was never trained before
    for row, part in zip(report["layers"], parts.values(), strict=True):
        n_left = np.count_nonzero(part.codes)
        # rounded to 8 bits first, a few small ones are zero
        assert 0.97 * n_left <= row["n_weights_kept"] <= n_left
    assert all(row["n_differing"] == 0 for row in report["equivalence"])


@pytest.mark.parametrize(("change", "shown"), [
    ({"model": "no-such-model"}, "no-such-model"), ({"target": "no-chip"}, "no-chip"),
    ({"model": "without-train"}, "train_spikes"),
])
def test_what_cannot_be_tuned_is_refused(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any,
    change: dict[str, str], shown: str,
) -> None:
    monkeypatch.setattr(finetune, "EXPORTS", tmp_path / "exports")
    chosen = {"model": str(model), "target": "loihi1", **change}
    if chosen["model"] == "without-train":
        chosen["model"] = str(model)
    monkeypatch.setattr(sys, "argv", [
        "finetune", "--model", chosen["model"], "--target", chosen["target"], "--recipe",
        str(model / "recipe.yaml"), "--out", str(tmp_path / "tuned")])
    with pytest.raises(SystemExit) as stop:
        finetune.main()
    assert stop.value.code == 2 and shown in capsys.readouterr().err
