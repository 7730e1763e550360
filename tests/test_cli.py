"""The command line as a user meets it: bad input, re-use, interruption, whole deployments."""

from __future__ import annotations

import json
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
import yaml

from pipeline.cli import main

REPOSITORY = Path(__file__).resolve().parents[1]

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


def write_spikes(path: Path, n_features: int = 40, rate: float = 0.2) -> None:
    rng = np.random.default_rng(0)
    arrays = {}
    for split in ("calibration", "validation", "test"):
        arrays[f"{split}_spikes"] = (rng.random((20, n_features, 30)) < rate).astype(np.uint8)
        arrays[f"{split}_labels"] = rng.integers(0, 5, 20)
    np.savez(path, **arrays)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
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
def model(folder: Path) -> Path:
    """Return the same folder with a real checkpoint; imports lava."""
    import torch

    torch.manual_seed(3)
    torch.save(instance(NETWORK_PY).state_dict(), folder / "checkpoint.pt")
    return folder


def instance(source: str):
    """Return the Network that ``source`` defines."""
    namespace: dict = {}
    exec(compile(source, "network.py", "exec"), namespace)
    return namespace["Network"]()


def edit_yaml(path: Path, **changes) -> None:
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}))


def run(*arguments: object) -> int:
    """Run the command line in this process and return its exit code."""
    argv, sys.argv = sys.argv, ["spikefit", *map(str, arguments)]
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        sys.argv = argv
    return 0


def deploy(folder: Path, out: Path, *more: object, last: str = "deploy") -> int:
    return run(last, "--model", folder, "--recipe", folder / "recipe.yaml", "--out", out, *more)


def expect_error(code: int, out: Path, capsys, *words: str) -> None:
    """Exit code 2, one message with all the words, no traceback, nothing half-written."""
    message = capsys.readouterr().err
    assert code == 2, message
    assert message.startswith("spikefit: ") and "Traceback" not in message
    for word in words:
        assert word in message, f"{word!r} not in: {message}"
    if out.is_dir():
        assert not list(out.rglob("*.tmp"))
        assert not (out / "report.json").exists()


# ---- checked before any work: fast, no torch, no lava

@pytest.mark.parametrize(("change", "words"), [
    ({"compres": {}}, ("compres: unknown key", "calibration, compress")),
    ({"compress": {"bitz": 4}}, ("compress.bitz: unknown key", "bits")),
    ({"compress": {"bits": 9}}, ("compress.bits", "8", "9")),
    ({"compress": {"bits": 0}}, ("compress.bits", "1", "0")),
    ({"compress": {"bits": 3.5}}, ("compress.bits", "3.5")),
    ({"compress": {"sparsity": 1.0}}, ("compress.sparsity", "less than 1")),
    ({"compress": {"sparsity": -0.1}}, ("compress.sparsity", "greater than or equal to 0")),
    ({"compress": {"sparsity": float("nan")}}, ("compress.sparsity",)),
    ({"compress": {"method": "magic"}}, ("compress.method: unknown key", "pruning, refit")),
    ({"compress": {"pruning": "magic"}}, ("compress.pruning", "'auto'", "'magnitude'", "magic")),
    ({"compress": {"pattern": "2 of 4"}}, ("compress.pattern", "2 of 4")),
    ({"compress": {"layers": {"blocks.0": {"bits": 12}}}}, ("compress.layers.blocks.0.bits",)),
    ({"calibration": {"n_samples": 0}}, ("calibration.n_samples", "0")),
    ({"calibration": {"damping": 0}}, ("calibration.damping",)),
    ({"verify": {"lava_time_limit_s": -1}}, ("verify.lava_time_limit_s",)),
])
def test_a_bad_recipe_names_the_key(tmp_path, capsys, change, words):
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(change))
    code = run("deploy", "--recipe", path, "--out", tmp_path / "out")
    expect_error(code, tmp_path / "out", capsys, str(path), *words)
    assert not (tmp_path / "out").exists()


def test_thresholds_per_channel_are_refused_before_any_work(tmp_path, capsys):
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({"compress": {"match_rates": "channel"}}))
    code = run("deploy", "--recipe", path, "--out", tmp_path / "out")
    expect_error(code, tmp_path / "out", capsys, "compress.match_rates", "one vThMant per layer",
                 "spikefit emulate")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["a: [1, 2", "- 1\n- 2\n", "\x00\x01"])
def test_a_recipe_that_is_not_a_mapping_is_refused(tmp_path, capsys, text):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    expect_error(run("check", "--recipe", path), tmp_path / "out", capsys, str(path))


def test_a_missing_recipe_is_refused(tmp_path, capsys):
    expect_error(run("check", "--recipe", tmp_path / "no.yaml"), tmp_path, capsys, "no.yaml")


def test_an_unknown_target_lists_the_known_ones(tmp_path, capsys):
    expect_error(run("deploy", "--target", "loihi9"), tmp_path, capsys, "loihi9", "loihi1, loihi2")


def test_a_target_without_a_needed_field_names_it(tmp_path, capsys):
    content = yaml.safe_load((REPOSITORY / "hardware_targets" / "loihi1.yaml").read_text())
    del content["capacities"]["neurons_per_core"]
    path = tmp_path / "chip.yaml"
    path.write_text(yaml.safe_dump(content))
    expect_error(run("check", "--target", path), tmp_path, capsys, "neurons_per_core")


def test_an_unknown_model_lists_the_bundled_ones(tmp_path, capsys):
    expect_error(run("check", "--model", "nope"), tmp_path, capsys, "nope", "nmnist_cnn",
                 "nmnist_mlp")


def test_a_missing_checkpoint_is_named(folder, tmp_path, capsys):
    (folder / "checkpoint.pt").unlink()
    expect_error(deploy(folder, tmp_path / "out"), tmp_path / "out", capsys, "checkpoint.pt",
                 "does not exist")


def test_missing_data_are_named_before_any_work(folder, tmp_path, capsys):
    (folder / "spikes.npz").unlink()
    expect_error(deploy(folder, tmp_path / "out"), tmp_path / "out", capsys, "spikes.npz")


def test_an_unknown_option_is_a_usage_error_without_traceback(capsys):
    assert run("deploy", "--modell", "x") == 2
    assert "Traceback" not in capsys.readouterr().err


def test_check_prints_every_default(capsys):
    assert run("check") == 0
    shown = capsys.readouterr().out
    for key in ("n_samples: 100", "damping: 0.01", "sparsity: 0.9", "bits: 4", "lava_time_limit_s"):
        assert key in shown


def test_help_starts_fast_and_without_heavy_imports():
    script = (
        "import sys\nfrom pipeline.cli import main\nsys.argv = ['spikefit', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'lava', 'numba', 'scipy', 'h5py'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)


# ---- found while working

@pytest.mark.slow
class TestBadInputFoundWhileWorking:
    def test_a_truncated_checkpoint(self, model, tmp_path, capsys):
        data = (model / "checkpoint.pt").read_bytes()
        (model / "checkpoint.pt").write_bytes(data[: len(data) // 2])
        expect_error(deploy(model, tmp_path / "out"), tmp_path / "out", capsys, "checkpoint.pt",
                     "not a readable state dict")

    def test_the_wrong_class(self, model, tmp_path, capsys):
        edit_yaml(model / "model.yaml", network="network.py:Nothing")
        expect_error(deploy(model, tmp_path / "out"), tmp_path / "out", capsys, "Nothing")

    def test_a_checkpoint_of_another_class(self, model, tmp_path, capsys):
        edit_yaml(model / "model.yaml", arguments={"n_hidden": 30})
        expect_error(deploy(model, tmp_path / "out"), tmp_path / "out", capsys, "does not fit",
                     "blocks.0")

    def test_a_layer_kind_that_is_not_supported(self, model, tmp_path, capsys):
        import torch

        source = NETWORK_PY.replace('blocks.Dense(NEURON, n_hidden, 5, weight_scale=3)',
                                    'slayer.block.alif.Dense(dict(NEURON, threshold_step=0.1, '
                                    'threshold_decay=0.1, refractory_decay=0.1), n_hidden, 5)')
        (model / "network.py").write_text(source)
        torch.save(instance(source).state_dict(), model / "checkpoint.pt")
        expect_error(deploy(model, tmp_path / "out"), tmp_path / "out", capsys, "blocks.1",
                     "alif.Dense", "supported are cuba.Dense")

    def test_non_finite_weights(self, model, tmp_path, capsys):
        import torch

        state = torch.load(model / "checkpoint.pt", weights_only=True)
        state["blocks.1.synapse.weight"][0, 0] = float("nan")
        torch.save(state, model / "checkpoint.pt")
        expect_error(deploy(model, tmp_path / "out"), tmp_path / "out", capsys,
                     "blocks.1.synapse.weight", "non-finite")

    def test_spikes_of_the_wrong_shape(self, model, tmp_path, capsys):
        write_spikes(model / "spikes.npz", n_features=39)
        expect_error(deploy(model, tmp_path / "out"), tmp_path / "out", capsys, "39", "40",
                     "input_shape")

    def test_calibration_without_a_spike(self, model, tmp_path, capsys):
        write_spikes(model / "spikes.npz", rate=0.0)
        expect_error(deploy(model, tmp_path / "out"), tmp_path / "out", capsys,
                     "without a single spike")

    def test_more_samples_than_there_are(self, model, tmp_path, capsys):
        edit_yaml(model / "recipe.yaml", calibration={"n_samples": 21})
        expect_error(deploy(model, tmp_path / "out"), tmp_path / "out", capsys, "20", "21")

    def test_a_pattern_that_matches_no_layer(self, model, tmp_path, capsys):
        edit_yaml(model / "recipe.yaml", compress={"layers": {"conv*": {"bits": 2}}})
        expect_error(deploy(model, tmp_path / "out"), tmp_path / "out", capsys, "conv*",
                     "blocks.0, blocks.1")

    def test_a_network_that_does_not_fit(self, model, tmp_path, capsys):
        content = yaml.safe_load((REPOSITORY / "hardware_targets" / "loihi1.yaml").read_text())
        content["capacities"]["neurons_per_core"]["value"] = 3
        content["capacities"]["cores_per_chip"]["value"] = 8
        content["capacities"]["tile_columns"]["value"] = 2
        content["capacities"]["tile_rows"]["value"] = 1
        path = tmp_path / "chip.yaml"
        path.write_text(yaml.safe_dump(content))
        expect_error(deploy(model, tmp_path / "out", "--target", path), tmp_path / "out", capsys,
                     "10 cores, 2 more than the 8", "blocks.0 · 8 cores · decided by neurons")

    def test_an_output_folder_that_cannot_be_written(self, model, tmp_path, capsys):
        (tmp_path / "file").write_text("")
        out = tmp_path / "file" / "out"
        expect_error(deploy(model, out), out, capsys, str(out), "cannot be written")

    def test_lava_beyond_its_time_limit(self, model, tmp_path, capsys):
        edit_yaml(model / "recipe.yaml", verify={"n_samples": 5, "lava_time_limit_s": 0.5})
        expect_error(deploy(model, tmp_path / "out"), tmp_path / "out", capsys,
                     "did not finish within", "lava_time_limit_s")


@pytest.mark.slow
class TestDeployment:
    def test_second_run_only_prints_and_a_change_reruns_what_depends_on_it(
        self, model, tmp_path, capsys
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

    def test_the_written_checkpoint_loads_into_the_users_class(self, model, tmp_path):
        import torch

        out = tmp_path / "out"
        assert deploy(model, out, last="compare") == 0
        module = instance(NETWORK_PY)
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
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, cwd=REPOSITORY) as process:
            assert process.stdout is not None and process.stderr is not None
            wait_for("export", process.stdout)
            time.sleep(1.5)  # Lava has been started
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130
            assert "run the same command to continue" in process.stderr.read()
        left = subprocess.run(["pgrep", "-f", "pipeline.lava_worker .*spikefit-lava-"],
                              capture_output=True, text=True)
        assert left.stdout == ""


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
    name, target, allowed_loss, tmp_path
):
    out = tmp_path / "out"
    assert run("deploy", "--model", name, "--target", target, "--out", out) == 0
    report = json.loads((out / "report.json").read_text())
    accuracy = report["accuracy"]["test"]
    assert accuracy["n_samples"] == 1000
    assert accuracy["dense_frac"] >= {"nmnist_mlp": 0.95, "nmnist_cnn": 0.94}[name]
    assert accuracy["dense_frac"] - accuracy["compressed_frac"] <= allowed_loss
    backends = {row["second_backend"] for row in report["equivalence"]}
    assert backends == {"Lava", "SLAYER with the compressed weights"}
    for row in report["equivalence"]:
        assert row["n_samples"] >= 20 and row["n_spikes"] > 0 and row["n_differing"] == 0
