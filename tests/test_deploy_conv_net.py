"""Narrow networks of the plain deep families go through the line, spike for spike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from models.deep import conv_net

pytestmark = pytest.mark.slow

RECIPE = {
    "calibration": {"n_samples": 8}, "compress": {"sparsity": 0.3, "bits": 6},
    "evaluate": {"n_validation": 8, "n_test": 8}, "verify": {"n_samples": 2},
    "energy": {"n_samples": 2},
}


@pytest.mark.parametrize(("name", "arguments", "n_steps"), [
    ("Vgg16", {"n_classes": 5, "width_frac": 1 / 16}, 24),
    ("CifarDvs", {"n_channels": 4, "n_hidden": 20, "input_shape": [2, 48, 48], "n_votes": 2}, 18),
    ("DvsGesture", {"n_channels": 4, "n_hidden": 20, "input_shape": [2, 64, 64]}, 20),
])
def test_a_narrow_network_deploys_without_a_differing_spike(
    name: str, arguments: dict[str, Any], n_steps: int, tmp_path: Path, deploy: Any
) -> None:
    torch.manual_seed(0)
    net: conv_net.ConvNet = getattr(conv_net, name)(**arguments)
    shape, rng = tuple(arguments.get("input_shape", (3, 32, 32))), np.random.default_rng(0)
    n_shown = n_steps - net.depth
    arrays: dict[str, Any] = {}
    for split in ("calibration", "validation", "test"):
        data = np.zeros((8, *shape, n_steps), dtype=np.int32)
        data[..., :n_shown] = rng.integers(-3, 4, (8, *shape, 1)) if name == "Vgg16" \
            else rng.random((8, *shape, n_shown)) < 0.2
        arrays[f"{split}_spikes"], arrays[f"{split}_labels"] = data, rng.integers(0, 5, 8)
    with torch.no_grad():
        # a network as it is drawn is silent after a few layers
        for block in net.convs:
            if not hasattr(block, "has_fixed_weights"):
                block.neuron.norm.bias += 0.6
                block.neuron.norm.momentum = 1.0
        for block in net.denses:
            if hasattr(block, "synapse"):
                block.synapse.weight += 0.2
        net(torch.from_numpy(arrays["calibration_spikes"]).float())  # statistics of its norm
    net.eval().fit_scales()
    folder = tmp_path / "model"
    folder.mkdir()
    torch.save(net.state_dict(), folder / "checkpoint.pt")
    np.savez(folder / "data.npz", **arrays)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    (folder / "model.yaml").write_text(yaml.safe_dump({
        "network": f"{conv_net.__file__}:{name}", "arguments": arguments,
        "input_shape": list(shape), "n_steps": n_steps,
        "data": {"kind": "npz", "file": "data.npz"}}))
    assert deploy(folder, tmp_path / "out", "--target", "loihi2") == 0
    rows = json.loads((tmp_path / "out" / "report.json").read_text())["equivalence"]
    assert {row["second_backend"] for row in rows} == {"Lava", "SLAYER with the compressed weights"}
    assert all(row["n_differing"] == 0 for row in rows)
    assert all(row["n_spikes"] > 0 for row in rows)
