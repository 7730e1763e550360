"""Where optional oracles are installed: ``--sanafe PYTHON`` and ``--nengo-loihi PYTHON``."""

from __future__ import annotations

import subprocess
import sys

import pytest

_INSTALL = {
    "sanafe": "SANA-FE (GPL-3): pip install sanafe==2.2.9 numpy",
    "nengo_loihi": "nengo-loihi (Apache-2.0, of a nengo that is not): pip install "
                   "nengo-loihi==1.1.0 nengo==3.2.0 'numpy<1.24'",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the interpreters."""
    parser.addoption("--sanafe", default=sys.executable, metavar="PYTHON",
                     help="an interpreter with sanafe 2.2.9 and numpy (default: this one)")
    parser.addoption("--nengo-loihi", default=sys.executable, metavar="PYTHON",
                     help="an interpreter with nengo-loihi 1.1.0 (default: this one)")


@pytest.fixture(scope="session")
def sanafe_python(request: pytest.FixtureRequest) -> str:
    """Return an interpreter that has SANA-FE; skip where there is none."""
    return _python(request, "--sanafe", "sanafe")


@pytest.fixture(scope="session")
def nengo_python(request: pytest.FixtureRequest) -> str:
    """Return an interpreter that has nengo-loihi; skip where there is none."""
    return _python(request, "--nengo-loihi", "nengo_loihi")


def _python(request: pytest.FixtureRequest, option: str, module: str) -> str:
    python = str(request.config.getoption(option))
    found = subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False)
    if found.returncode:
        pytest.skip(f"{python} has no {_INSTALL[module]} into an environment of its own and give "
                    f"it as {option} PYTHON")
    return python
