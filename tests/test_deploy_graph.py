"""A network with everything at once goes through the whole line, spike for spike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

pytestmark = pytest.mark.slow

NETWORK_PY = '''
import torch
from lava.lib.dl import slayer

cuba = slayer.block.cuba
NEURON = {"threshold": 0.6, "current_decay": 0.25, "voltage_decay": 0.03}


class Network(torch.nn.Module):
    """Batch norm, a skip, concatenation, delays of a convolution, pooling, recurrence, read-out."""

    def __init__(self):
        super().__init__()
        norm = slayer.neuron.norm.MeanOnlyBatchNorm
        options = {"padding": 1, "weight_scale": 3}
        self.a = cuba.Conv({**NEURON, "norm": norm}, 2, 4, 3, **options)
        self.b = cuba.Conv({**NEURON}, 4, 4, 3, delay=True, **options)
        self.pool = cuba.Pool({**NEURON, "threshold": 0.5}, 2)
        self.recurrent = cuba.Recurrent({**NEURON}, 8 * 4 * 4, 20, weight_scale=2)
        self.out = cuba.Affine({**NEURON}, 20, 5, weight_scale=2)

    def forward(self, spikes):
        a = self.a(spikes)
        b = self.b(a)
        pooled = self.pool(torch.cat([a + b, b], dim=1))
        return self.out(self.recurrent(pooled.flatten(1, 3)))
'''
RECIPE = {
    "calibration": {"n_samples": 30}, "compress": {"sparsity": 0.5, "bits": 5},
    "evaluate": {"n_validation": 30, "n_test": 30}, "verify": {"n_samples": 3},
    "energy": {"n_samples": 5},
}


@pytest.fixture
def graph(tmp_path: Path, fresh: Any) -> Path:
    """Return a model folder whose classes are rows of the image that flicker more."""
    import torch

    folder = tmp_path / "graph"
    folder.mkdir()
    (folder / "network.py").write_text(NETWORK_PY)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    (folder / "model.yaml").write_text(yaml.safe_dump({
        "input_shape": [2, 8, 8], "n_steps": 30, "data": {"kind": "npz", "file": "spikes.npz"}}))
    rng, arrays = np.random.default_rng(0), {}
    for split in ("calibration", "validation", "test"):
        labels = rng.integers(0, 5, 30)
        rate = np.full((30, 2, 8, 8, 30), 0.05)
        rate[np.arange(30), :, labels] = 0.5
        arrays[f"{split}_spikes"] = (rng.random(rate.shape) < rate).astype(np.uint8)
        arrays[f"{split}_labels"] = labels
    np.savez(folder / "spikes.npz", **arrays)
    torch.manual_seed(0)
    module = fresh(folder / "network.py", "Network", {}).eval()
    with torch.no_grad():
        module(torch.zeros(1, 2, 8, 8, 2))
    module.a.neuron.norm.running_mean = torch.tensor([0.05, -0.05, 0.1, -0.02])
    module.b.delay.delay.data = torch.tensor([0.0, 1.5, 3.0, 2.0])
    torch.save(module.state_dict(), folder / "checkpoint.pt")
    return folder


def test_a_graph_deploys_without_a_differing_spike(
    graph: Path, tmp_path: Path, deploy: Any, capsys: Any
) -> None:
    out = tmp_path / "out"
    (tmp_path / "out").mkdir()
    (out / "network.net").write_text("of another network")
    assert deploy(graph, out) == 0
    shown = capsys.readouterr().out
    assert "no network.net: layer 'b': NetX drops the delays of convolutions" in shown
    assert "wired by us" in shown and not (out / "network.net").exists()
    report = json.loads((out / "report.json").read_text())
    compared = {row["second_backend"]: row["n_spikes"] for row in report["equivalence"]
                if row["layer"] == "recurrent"}
    assert set(compared) == {"Lava", "SLAYER with the compressed weights"}
    assert all(row["n_differing"] == 0 for row in report["equivalence"])
    assert all(row["n_spikes"] > 100 for row in report["equivalence"])
    layers = {row["name"]: row for row in report["layers"]}
    assert layers["pool"]["mask_by"] == "left alone"
    assert layers["pool"]["source"] == "a, b, b"  # (a + b), b
    assert len(layers["pool"]["weight_shapes"]) == 3
    kept = sum(layers[name]["n_weights_kept"] for name in ("a", "b", "recurrent", "out"))
    assert kept == round(0.5 * (72 + 144 + 2560 + 100))
    told = {(row["layer"], row["what"].split(" that")[0]) for row in report["ledger"]}
    assert ("a", "biases") in told
    assert any(layer == "recurrent.recurrent" for layer, _ in told)
