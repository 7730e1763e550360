"""The package of targets stands alone: what it imports and the names it promises."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import hardware_targets

PACKAGE = Path(hardware_targets.__file__).parent


def test_hardware_targets_imports_nothing_from_the_pipeline() -> None:
    for path in PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
                assert node.level == 0, path
            else:
                continue
            assert not [n for n in names if n.split(".")[0] in ("pipeline", "models")], path


def test_importing_hardware_targets_loads_nothing_heavy() -> None:
    script = "import sys, hardware_targets; print(*sys.modules)"
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, cwd=PACKAGE.parent, capture_output=True, text=True, check=True, timeout=60
    )
    heavy = {"torch", "lava", "numpy", "h5py", "numba", "pipeline"}
    assert not heavy & set(done.stdout.split())


def test_public_names_are_the_promised_ones() -> None:
    assert sorted(hardware_targets.__all__) == [
        "EventTimes",
        "LayerFacts",
        "NeuronFamily",
        "PriceSet",
        "Quantity",
        "SynapseFormat",
        "System",
        "Target",
        "TargetFileError",
        "TimeTable",
        "Violation",
        "check_accumulation",
        "check_layers",
        "list_targets",
        "load_target",
    ]
    assert all(hasattr(hardware_targets, name) for name in hardware_targets.__all__)
