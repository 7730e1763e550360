"""Who may import what: Lava and torch stay behind their few doors, the command line is a leaf."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("pipeline", "hardware_targets", "models")
LAVA = {
    "pipeline/ingest/slayer_blocks.py", "pipeline/ingest/slayer_norm.py",
    "pipeline/lava_worker.py", "pipeline/lava_wiring.py", "pipeline/lava_models.py",
    "pipeline/lava_synapses.py",
}
NIR = {"pipeline/export_nir.py", "pipeline/ingest/nir_graph.py"}
TORCH = {
    "pipeline/curvatures.py", "pipeline/ingest/checkpoint.py", "pipeline/ingest/slayer.py",
    "pipeline/ingest/slayer_graded.py", "pipeline/ingest/slayer_relay.py",
    "pipeline/ingest/slayer_write_back.py",
    "pipeline/ingest/observe.py", "pipeline/neuron_pruning.py",
}


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


@cache
def imported(path: Path) -> frozenset[str]:
    """Return the dotted names a file imports anywhere, also inside functions."""
    names = set[str]()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            names |= {module} | {f"{module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
            ("import_module", "__import__")
        ):
            names |= {a.value for a in node.args
                      if isinstance(a, ast.Constant) and isinstance(a.value, str)}
    return frozenset(names)


def importers_of(package: str, *folders: str) -> set[str]:
    return {
        path.relative_to(ROOT).as_posix() for path in sources(*folders)
        if any(name == package or name.startswith(f"{package}.") for name in imported(path))
    }


def test_the_packages_are_found() -> None:
    assert {path.parts[len(ROOT.parts)] for path in sources(*PACKAGES)} == set(PACKAGES)
    assert importers_of("numpy", "pipeline")


def test_only_ingest_and_the_worker_import_lava() -> None:
    assert importers_of("lava", "pipeline", "hardware_targets") == LAVA


def test_only_compression_and_ingest_import_torch() -> None:
    found = importers_of("torch", "pipeline", "hardware_targets")
    allowed = {path for path in found if path.startswith("pipeline/compress/")} | LAVA | TORCH
    assert found <= allowed
    assert found & TORCH == TORCH


def test_only_the_reader_and_the_writer_of_nir_files_import_nir() -> None:
    assert importers_of("nir", *PACKAGES) == NIR


def test_only_searches_import_optuna() -> None:
    assert {Path(path).parts[:2] for path in importers_of("optuna", *PACKAGES)} == {
        ("pipeline", "search")}


def test_only_the_workers_of_a_cluster_import_dask() -> None:
    for package in ("dask", "distributed"):
        assert importers_of(package, *PACKAGES) <= {
            "pipeline/sweep/dask_workers.py", "pipeline/sweep/dask_client.py"}
    assert importers_of("distributed", *PACKAGES)
    # and are imported inside the one function that needs them
    found = importers_of("pipeline.sweep.dask_workers", *PACKAGES)
    assert found == {"pipeline/sweep/driver.py"}
    tree = ast.parse((ROOT / "pipeline/sweep/driver.py").read_text(encoding="utf-8"))
    assert not any("dask" in ast.unparse(node) for node in tree.body
                   if isinstance(node, (ast.Import, ast.ImportFrom)))


def test_hardware_targets_import_nothing_from_the_pipeline() -> None:
    for package in ("pipeline", "models"):
        assert importers_of(package, "hardware_targets") == set()


def test_nothing_imports_the_command_line() -> None:
    assert importers_of("pipeline.cli", *PACKAGES, "benchmarks", "scripts") <= {"pipeline/cli.py"}


def test_compression_knows_of_the_pipeline_only_errors_two_nouns_and_itself() -> None:
    nouns = {f"pipeline.{name}" for name in (
        "network", "network.ConvGeometry", "neuron", "neuron.Neuron", "neuron.CubaNeuron",
        "neuron.SigmaDeltaNeuron", "neuron.ResonatorNeuron", "neuron.RelayNeuron")}
    for path in sources("pipeline/compress"):
        own = {name for name in imported(path) if name.startswith("pipeline")} - nouns
        packages = {".".join(name.split(".")[:2]) for name in own}
        assert packages <= {"pipeline.errors", "pipeline.compress"}, path


@pytest.mark.parametrize(
    "module", ["pipeline.model_folder", "pipeline.emulate", "pipeline.export_netx",
               "pipeline.lava_backend", "pipeline.compare", "models.data.splits",
               "hardware_targets"],
)
def test_module_loads_without_torch_and_lava(module: str) -> None:
    code = f"import sys, {module}; print([m for m in ('torch', 'lava') if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
