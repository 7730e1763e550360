"""What the tests of the command line share: a user's own network, and the command that runs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

NETWORK_PY = '''
import torch
from lava.lib.dl import slayer

NEURON = dict(threshold=0.6, current_decay=0.3, voltage_decay=0.05)


class Network(torch.nn.Module):
    def __init__(self, n_hidden=24, kind="cuba"):
        super().__init__()
        blocks = getattr(slayer.block, kind)
        self.blocks = torch.nn.ModuleList([
            blocks.Dense(NEURON, 40, n_hidden, weight_scale=3, weight_norm=True),
            blocks.Dense(NEURON, n_hidden, 5, weight_scale=3),
        ])

    def forward(self, spikes):
        for block in self.blocks:
            spikes = block(spikes)
        return spikes
'''

MODEL = {"input_shape": [40], "n_steps": 30, "data": {"kind": "npz", "file": "spikes.npz"}}
RECIPE = {
    "calibration": {"n_samples": 20}, "compress": {"sparsity": 0.5, "bits": 4},
    "evaluate": {"n_validation": 20, "n_test": 20}, "verify": {"n_samples": 5},
    "energy": {"n_samples": 10},
}


@pytest.fixture(scope="session")
def write_spikes() -> Callable[..., None]:
    """Writer of a file of random spikes and labels for every split."""

    def write(path: Path, n_features: int = 40, rate: float = 0.2) -> None:
        rng = np.random.default_rng(0)
        arrays = {}
        for split in ("calibration", "validation", "test"):
            arrays[f"{split}_spikes"] = (rng.random((20, n_features, 30)) < rate).astype(np.uint8)
            arrays[f"{split}_labels"] = rng.integers(0, 5, 20)
        np.savez(path, **arrays)

    return write


@pytest.fixture
def folder(tmp_path: Path, write_spikes: Callable[..., None]) -> Path:
    """Return a user's own model folder, outside the repository, whose checkpoint is empty."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "network.py").write_text(NETWORK_PY)
    (folder / "model.yaml").write_text(yaml.safe_dump(MODEL))
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    (folder / "checkpoint.pt").touch()
    write_spikes(folder / "spikes.npz")
    return folder


@pytest.fixture
def model(folder: Path, fresh: Callable[..., Any]) -> Path:
    """Return the same folder with a real checkpoint; imports lava."""
    import torch

    torch.manual_seed(3)
    module = fresh(folder / "network.py", "Network", {})
    torch.save(module.state_dict(), folder / "checkpoint.pt")
    return folder


@pytest.fixture(scope="session")
def edit_yaml() -> Callable[..., None]:
    """Change of keys in a YAML file."""

    def edit(path: Path, **changes: Any) -> None:
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}))

    return edit


@pytest.fixture(scope="session")
def spikefit() -> Callable[..., int]:
    """Run of the command line in this process; returns its exit code."""
    from pipeline.cli import main

    def run(*arguments: object) -> int:
        argv, sys.argv = sys.argv, ["spikefit", *map(str, arguments)]
        try:
            main()
        except SystemExit as stop:
            return int(stop.code or 0)
        finally:
            sys.argv = argv
        return 0

    return run


@pytest.fixture(scope="session")
def deploy(spikefit: Callable[..., int]) -> Callable[..., int]:
    """Run of the line to its end, or to the stage ``last``, on a model folder's own recipe."""

    def deploy(folder: Path, out: Path, *more: object, last: str = "deploy") -> int:
        recipe = folder / "recipe.yaml"
        return spikefit(last, "--model", folder, "--recipe", recipe, "--out", out, *more)

    return deploy
