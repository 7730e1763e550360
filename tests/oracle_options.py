"""Where optional oracles are installed: ``--sanafe PYTHON``."""

from __future__ import annotations

import subprocess
import sys

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take ``--sanafe PYTHON``."""
    parser.addoption("--sanafe", default=sys.executable, metavar="PYTHON",
                     help="an interpreter with sanafe 2.2.9 and numpy (default: this one)")


@pytest.fixture(scope="session")
def sanafe_python(request: pytest.FixtureRequest) -> str:
    """Return an interpreter that has SANA-FE; skip where there is none."""
    python = str(request.config.getoption("--sanafe"))
    found = subprocess.run([python, "-c", "import sanafe"], capture_output=True, check=False)
    if found.returncode:
        pytest.skip(f"{python} has no SANA-FE (GPL-3): pip install sanafe==2.2.9 numpy into an "
                    "environment of its own and give it as --sanafe PYTHON")
    return python
