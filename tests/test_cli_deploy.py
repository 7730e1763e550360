"""Whole deployments as a user runs them: re-use, interruption, the bundled networks."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import h5py
import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.mark.slow
class TestDeployment:
    def test_second_run_only_prints_and_a_change_reruns_what_depends_on_it(
        self, model, tmp_path, capsys, deploy, edit_yaml
    ):
        out = tmp_path / "out"
        assert deploy(model, out) == 0
        first = capsys.readouterr().out
        assert "0 differences" in first and str(out / "report.html") in first
        names = {"network.net", "checkpoint.pt", "report.json", "report.html", "recipe.yaml",
                 "thresholds.yaml"}
        assert names <= {path.name for path in out.iterdir()}
        before = {path: path.stat().st_mtime_ns for path in out.iterdir() if path.is_file()}

        capsys.readouterr()
        assert deploy(model, out) == 0
        assert {path: path.stat().st_mtime_ns for path in before} == before
        assert ran(capsys) == []

        edit_yaml(model / "recipe.yaml", energy={"n_samples": 7})
        assert deploy(model, out) == 0
        assert ran(capsys) == ["energy", "report"]

        edit_yaml(model / "recipe.yaml", compress={"sparsity": 0.5, "bits": 3})
        assert deploy(model, out) == 0
        assert ran(capsys) == ["compress", "quantize", "place", "export", "emulate", "lava",
                               "compare", "energy", "report"]

        (out / "network.net").unlink()
        assert deploy(model, out) == 0
        assert ran(capsys) == ["export"]

    def test_the_written_checkpoint_loads_into_the_users_class(
        self, model, tmp_path, deploy, fresh
    ):
        import torch

        out = tmp_path / "out"
        assert deploy(model, out, last="compare") == 0
        module = fresh(model / "network.py", "Network", {})
        module.load_state_dict(torch.load(out / "checkpoint.pt", weights_only=True))
        weight = 64 * module.blocks[1].synapse.weight.detach().numpy().reshape(5, -1)
        with h5py.File(out / "network.net") as file:
            # a hidden neuron that nobody hears is in the user's class, but not deployed
            np.testing.assert_array_equal(weight[:, weight.any(axis=0)], file["layer/2/weight"])
        assert (weight == 0).any() and (weight != 0).any()

    def test_a_killed_run_continues_and_leaves_nothing_half_written(self, model, tmp_path):
        out = tmp_path / "out"
        command = [sys.executable, "-m", "pipeline.cli", "compare", "--model", str(model),
                   "--recipe", str(model / "recipe.yaml"), "--out", str(out)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, cwd=REPOSITORY) as process:
            assert process.stdout is not None
            wait_for("export", process.stdout)
            time.sleep(1.0)  # Lava has been started
            assert process.poll() is None
            process.send_signal(signal.SIGKILL)
        assert not [path for path in out.rglob("*.tmp")]
        done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=True)
        assert "reused  compress" in done.stdout and "0 differences" in done.stdout

    def test_ctrl_c_ends_lava_and_says_how_to_continue(self, model, tmp_path):
        out = tmp_path / "out"
        command = [sys.executable, "-m", "pipeline.cli", "lava", "--model", str(model),
                   "--recipe", str(model / "recipe.yaml"), "--out", str(out)]

        def workers() -> str:
            found = subprocess.run(
                ["pgrep", "-f", f"pipeline.lava_worker .*{tmp_path}.*spikefit-lava-"],
                capture_output=True, text=True)
            return found.stdout

        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, cwd=REPOSITORY,
                              env={**os.environ, "TMPDIR": str(tmp_path)}) as process:
            assert process.stdout is not None and process.stderr is not None
            wait_for("export", process.stdout)
            until = time.monotonic() + 60
            while not workers():
                assert time.monotonic() < until
                time.sleep(0.1)
            time.sleep(1.0)  # Lava is being built
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130
            assert "run the same command to continue" in process.stderr.read()
        assert workers() == ""


def wait_for(word: str, stream: IO[str]) -> None:
    """Read lines until one holds ``word``."""
    for line in stream:
        if word in line:
            return
    pytest.fail(f"the command ended without {word!r}")


def ran(capsys) -> list[str]:
    """Return the stages that ran, from what the command line printed."""
    return re.findall(r"^ *[0-9.]+ s  (\w+)", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "target", "allowed_loss"), [
    ("nmnist_mlp", "loihi1", 0.01), ("nmnist_cnn", "loihi2", 0.04),
])
def test_the_bundled_networks_deploy_within_their_allowed_loss(
    name, target, allowed_loss, tmp_path, spikefit
):
    out = tmp_path / "out"
    assert spikefit("deploy", "--model", name, "--target", target, "--out", out) == 0
    report = json.loads((out / "report.json").read_text())
    accuracy = report["accuracy"]["test"]
    assert accuracy["n_samples"] == 1000
    assert accuracy["dense_frac"] >= {"nmnist_mlp": 0.95, "nmnist_cnn": 0.94}[name]
    assert accuracy["dense_frac"] - accuracy["compressed_frac"] <= allowed_loss
    backends = {row["second_backend"] for row in report["equivalence"]}
    assert backends == {"Lava", "SLAYER with the compressed weights"}
    for row in report["equivalence"]:
        assert row["n_samples"] >= 20 and row["n_spikes"] > 0 and row["n_differing"] == 0
