"""What pipeline/sweep/README.md tells to run on many machines, run as far as one machine goes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from sweeps import CHEAP, REPOSITORY, n_outcomes

README = (REPOSITORY / "pipeline" / "sweep" / "README.md").read_text()


def block(heading: str, language: str) -> str:
    section = README.split(f"### {heading}\n")[1].split("\n##")[0]
    (found,) = re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)
    return str(found)


@pytest.mark.parametrize(("heading", "language"), [("ssh", "sh"), ("Slurm", "bash")])
def test_scripts_are_shell(heading: str, language: str) -> None:
    done = subprocess.run(["bash", "-n"], input=block(heading, language), text=True,
                          capture_output=True)
    assert done.returncode == 0 and done.stderr == ""


def test_slurm_options_stand_before_the_first_command() -> None:
    lines = block("Slurm", "bash").splitlines()
    options = [n for n, line in enumerate(lines) if line.startswith("#SBATCH")]
    assert lines[0] == "#!/bin/bash" and options == list(range(1, len(options) + 1))


def test_the_manifest_fits_together() -> None:
    documents = list(yaml.safe_load_all(block("Kubernetes", "yaml")))
    of: dict[str, list[Any]] = {}
    for document in documents:
        assert set(document) == {"apiVersion", "kind", "metadata", "spec"}
        of.setdefault(document["kind"], []).append(document)
    (volume,), (service,), (job,) = of["PersistentVolumeClaim"], of["Service"], of["Job"]
    assert volume["spec"]["accessModes"] == ["ReadWriteMany"]
    by_name = {d["metadata"]["name"]: d["spec"]["template"] for d in of["Deployment"]}
    for deployment in of["Deployment"]:
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert deployment["spec"]["selector"]["matchLabels"] == labels
    scheduler = by_name[service["metadata"]["name"]]
    assert service["spec"]["selector"] == scheduler["metadata"]["labels"]
    address = f"tcp://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    pods = [by_name["spikefit-worker"]["spec"], job["spec"]["template"]["spec"]]
    for pod in pods:
        (container,) = pod["containers"]
        assert address in container["command"]
        (mount,) = container["volumeMounts"]
        (source,) = pod["volumes"]
        assert mount["name"] == source["name"]
        assert source["persistentVolumeClaim"]["claimName"] == volume["metadata"]["name"]
    mounts = {pod["containers"][0]["volumeMounts"][0]["mountPath"] for pod in pods}
    assert len(mounts) == 1  # one path on every machine
    for pod in (*pods, scheduler["spec"]):
        command = pod["containers"][0]["command"]
        assert all(isinstance(word, str) for word in command) and command[0] in (
            "dask", "spikefit")


def test_the_driver_of_the_manifest_is_a_command_that_exists() -> None:
    from typer.testing import CliRunner

    from pipeline.cli import app

    (job,) = [d for d in yaml.safe_load_all(block("Kubernetes", "yaml")) if d["kind"] == "Job"]
    command = job["spec"]["template"]["spec"]["containers"][0]["command"]
    done = CliRunner().invoke(app, [*command[1:], "--help"])
    assert done.exit_code == 0


@pytest.mark.slow
def test_the_script_for_slurm_runs_and_leaves_no_process(net_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    stub = tmp_path / "bin" / "srun"
    stub.parent.mkdir()
    stub.write_text('#!/bin/sh\n"$@" --no-nanny & a=$!\n"$@" --no-nanny & b=$!\n'
                    'trap "kill $a $b" TERM\nwait\nwait\n')
    stub.chmod(0o755)
    place = tmp_path / "checkout"
    place.mkdir()
    (place / ".venv").symlink_to(Path(sys.prefix))
    (place / "grid.yaml").write_text(yaml.safe_dump(
        {"recipe": CHEAP, "sparsity": [0.3, 0.6], "bits": [4], "sensitivity": False}))
    done = subprocess.run(
        ["bash", "-c", block("Slurm", "bash")], capture_output=True, text=True, timeout=300,
        env={**os.environ, "PATH": f"{stub.parent}:{os.environ['PATH']}", "SLURM_JOB_ID": "7",
             "SLURM_SUBMIT_DIR": str(place), "MODEL": str(net_model), "OMP_NUM_THREADS": "1",
             "TMPDIR": str(tmp_path)})
    out = place / "netx_exports" / "sweep-slurm"
    assert done.returncode == 0, done.stderr[-2000:]
    assert "2 of 2 configurations" in done.stdout and n_outcomes(out) == 2
    assert not list(out.glob("scheduler-*.json"))
    left = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True).stdout
    assert left == "", left
