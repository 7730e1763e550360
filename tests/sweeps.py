"""What the tests of sweeps share: a small network in a file, its spikes, and a run of a sweep."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
RECIPE = {
    "calibration": {"n_samples": 20}, "evaluate": {"n_validation": 20, "n_test": 20},
    "energy": {"n_samples": 10},
}
# the cheapest masks there are: most tests of sweeps ask nothing of them
CHEAP = {**RECIPE, "compress": {"pruning": "magnitude"}}
GRID = {"recipe": CHEAP, "sparsity": [0.3, 0.6], "bits": [3, 8],
        "target": ["loihi1", "loihi2"], "sensitivity": False}

# long enough to be killed in the middle
GROWN = {**GRID, "sparsity": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], "bits": [2, 4, 5, 6, 8],
         "target": ["loihi1"]}
N_GROWN = 30
PACE_S = 0.2


@pytest.fixture
def net_model(tmp_path: Path, dense_chain: Callable[..., Any]) -> Path:
    """A model folder whose network is a NetX file: no module, and so no Lava to wait for."""
    return write_net_model(tmp_path / "small", dense_chain((12, 16, 5), n_steps=20))


def write_net_model(folder: Path, network: Any) -> Path:
    from pipeline.export_netx import write_netx

    folder.mkdir()
    write_netx(network, folder / "network.net", "a test")
    rng, arrays = np.random.default_rng(1), {}
    for split in ("calibration", "validation", "test"):
        shape = (20, *network.input_shape, network.n_steps)
        arrays[f"{split}_spikes"] = (rng.random(shape) < 0.3).astype(np.uint8)
        arrays[f"{split}_labels"] = rng.integers(0, 5, 20)
    np.savez(folder / "spikes.npz", **arrays)
    (folder / "model.yaml").write_text(yaml.safe_dump({
        "network": "network.net", "input_shape": list(network.input_shape),
        "n_steps": network.n_steps, "data": {"kind": "npz", "file": "spikes.npz"}}))
    return folder


@pytest.fixture
def sweep(tmp_path: Path) -> Callable[..., Any]:
    """Run of a sweep of a model folder in this process, or with more workers; a dict of axes."""

    def run(model: Path, grid: dict[str, Any], out: Path | None = None, workers: int = 1,
            scheduler: str = "") -> Any:
        return run_sweep(model, grid, out or tmp_path / "out", workers, scheduler)

    return run


def run_sweep(
    model: Path, grid: dict[str, Any], out: Path, workers: int = 1, scheduler: str = ""
) -> Any:
    return sweep_of(model, grid, out, workers, scheduler).run()


def sweep_of(
    model: Path, grid: dict[str, Any], out: Path, workers: int = 1, scheduler: str = ""
) -> Any:
    from pipeline.model_folder import find_model
    from pipeline.sweep import space
    from pipeline.sweep.driver import Sweep
    from pipeline.sweep.progress import Progress

    path = model.with_name(f"{out.name}.yaml")
    path.write_text(yaml.safe_dump(grid, sort_keys=False))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(space, "find_target", _target)
        read = space.load_space(path, "loihi1")
    return Sweep(read, find_model(str(model)), out, workers, Progress(), scheduler)


@cache
def _target(name: str) -> Any:
    """Return a target read once: that takes longer than most sweeps here."""
    from hardware_targets import load_target

    return load_target(name)


@pytest.fixture(scope="session")
def grown(tmp_path_factory: Any, dense_chain: Callable[..., Any]) -> tuple[Path, Path]:
    """A model, and the folder of its whole study of ``GROWN``, computed in one process."""
    folder = tmp_path_factory.mktemp("grown")
    model = write_net_model(folder / "small", dense_chain((12, 16, 5), n_steps=20))
    out: Path = run_sweep(model, GROWN, folder / "out").out
    return model, out


@pytest.fixture
def start_driver(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start of a sweep in a process of its own, as a user starts it.

    Each outcome takes ``PACE_S`` longer than it would, in the driver and in its workers, who
    import the same file: the network is so small that all would be over before a kill arrives.
    """
    script = tmp_path / "driver.py"
    script.write_text(textwrap.dedent(f"""
        import sys
        import time
        sys.path.insert(0, {str(REPOSITORY)!r})
        from pipeline.sweep.results import Store

        def save_slowly(store, kind, key, result, save=Store.save):
            save(store, kind, key, result)
            time.sleep({PACE_S} if kind == "outcomes" else 0)

        Store.save = save_slowly

        if __name__ == "__main__":
            import typer
            from pipeline.errors import PipelineError
            from pipeline.sweep.command import sweep

            app = typer.Typer(pretty_exceptions_enable=False)
            app.command()(sweep)
            try:
                app()
            except PipelineError as error:
                print(f"spikefit: {{error}}", file=sys.stderr)
                sys.exit(2)
    """))

    def start(model: Path, grid: dict[str, Any], out: Path, *more: object, **popen: Any) -> Any:
        path = tmp_path / f"{out.name}.yaml"
        path.write_text(yaml.safe_dump(grid, sort_keys=False))
        return subprocess.Popen(
            [sys.executable, script, "--sweep", path, "--model", model, "--out", out,
             *map(str, more)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **popen)

    return start


@pytest.fixture(scope="session")
def results() -> Callable[[Path], dict[str, Any]]:
    """Every result of a study folder, without times."""

    def read(out: Path) -> dict[str, Any]:
        found = {}
        for kind in ("outcomes", "prices", "sensitivity", "dense"):
            for path in sorted((out / ".store" / kind).glob("*.json")):
                result = json.loads(path.read_text())
                result.pop("elapsed_s", None)
                found[f"{kind}/{path.name}"] = result
        return found

    return read


def n_outcomes(out: Path) -> int:
    return len(list((out / ".store" / "outcomes").glob("*.json")))


def n_levels_made(out: Path) -> int:
    return sum(json.loads(path.read_text())["n_levels"]
               for path in (out / ".store" / "compressed").glob("*.json"))


def wait_for(condition: Callable[[], bool], timeout_s: float = 120.0) -> None:
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, "it took too long"
        time.sleep(0.05)


@dataclass(frozen=True)
class Deadly:
    """Work that its process dies of."""

    key: str

    def run(self, bench: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Noting:
    """Work that notes what it has to compute with."""

    key: str

    def run(self, bench: Any) -> None:
        import numba
        import torch

        bench.store.save("noted", self.key, {
            "threads": [torch.get_num_threads(), numba.get_num_threads()], "bench": id(bench)})


@dataclass(frozen=True)
class Slow:
    """Work that takes longer than its test."""

    key: str

    def run(self, bench: Any) -> None:
        time.sleep(60)
