"""How many networks are generated and files mutated: ``--generated N``, ``--mutated N``."""

from __future__ import annotations

from typing import Any

import pytest

_AT_ONCE = 12  # by one Lava process
_TOTALS: dict[str, int] = {
    "networks": 0, "spikes": 0, "messages": 0, "runs of Lava, wired": 0,
    "runs of Lava, stock loader": 0}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take ``--generated N`` and ``--mutated N``."""
    parser.addoption("--generated", type=int, default=12, metavar="N",
                     help="generated networks that all backends run (make test-all: 300)")
    parser.addoption("--mutated", type=int, default=300, metavar="N",
                     help="damaged files of each kind that are read (make test-all: 10000)")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give ``seeds`` in portions."""
    if "seeds" in metafunc.fixturenames:
        n = metafunc.config.getoption("--generated")
        portions = [range(i, min(i + _AT_ONCE, n)) for i in range(0, n, _AT_ONCE)]
        metafunc.parametrize("seeds", portions, ids=lambda p: f"{p.start}-{p.stop - 1}")


@pytest.fixture
def generated_totals() -> dict[str, int]:
    """What the generated networks came to so far."""
    return _TOTALS


@pytest.fixture
def n_mutated(request: pytest.FixtureRequest) -> int:
    """How many damaged files of each kind are read."""
    return int(request.config.getoption("--mutated"))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the totals, for the README."""
    if _TOTALS["networks"]:
        terminalreporter.write_line(
            "generated: " + ", ".join(f"{n:,} {what}" for what, n in _TOTALS.items()))
