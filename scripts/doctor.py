"""Shows what the pipeline runs on and exits 1, with a remedy for each, if something is missing.

Imports neither torch nor lava, which take seconds to load and may be what is broken: versions come
from package metadata, CUDA from the driver itself.
"""

from __future__ import annotations

import ctypes
import importlib.metadata as metadata
import json
import os
import platform
import re
import shutil
import sys
from multiprocessing import shared_memory
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parent.parent
KEY_PACKAGES = ["lava-nc", "lava-dl", "torch", "numpy", "numba", "h5py", "pydantic", "typer"]
GIB = 2**30
MIN_FREE_GIB = 1.0  # a deployment writes some tens of MB; numba and pytest caches some hundreds


def main() -> int:
    """Print all findings, then the problems with their remedies; return the exit code."""
    installed = {
        _normalized(dist.metadata["Name"]): dist.version for dist in metadata.distributions()
    }
    problems = [
        *_show_interpreter(),
        *_show_machine(),
        *_show_packages(installed),
        *_show_project(installed),
    ]
    _row("CUDA", _cuda())
    for problem in problems:
        print(f"\nPROBLEM  {problem}")
    if not problems:
        print("\nnothing is missing")
    return 1 if problems else 0


def _show_interpreter() -> list[str]:
    version = platform.python_version()
    _row("Python", f"{version}  {sys.executable}  (from {sys.base_prefix})")
    if sys.version_info[:2] == (3, 10):
        return []
    return [f"Python is {version}, lava needs 3.10; remedy: make distclean setup"]


def _show_machine() -> list[str]:
    problems = []
    _row("platform", platform.platform())
    # A container or a batch system often grants fewer cores than the machine has.
    n_usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    _row("cores", f"{n_usable} usable of {os.cpu_count()}")
    memory_gib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB
    _row("memory", f"{memory_gib:.1f} GiB")

    free_gib = shutil.disk_usage(ROOT).free / GIB
    _row("free disk", f"{free_gib:.1f} GiB")
    if free_gib < MIN_FREE_GIB:
        problems.append(f"{free_gib:.1f} GiB of disk are free; remedy: make clean, or free some")

    try:
        block = shared_memory.SharedMemory(create=True, size=4096)
        block.close()
        block.unlink()
    except OSError as error:
        _row("shared memory", f"not usable ({error})")
        problems.append(
            "no shared memory, through which Lava's processes talk; remedy: make /dev/shm "
            "writable (mount -t tmpfs tmpfs /dev/shm; in Docker: --shm-size=1g)"
        )
    else:
        folder = Path("/dev/shm")  # absent on macOS, which needs no such folder
        size_gib = shutil.disk_usage(folder).free / GIB if folder.is_dir() else None
        _row("shared memory", "usable" if size_gib is None else f"usable, {size_gib:.1f} GiB free")
    return problems


def _show_packages(installed: dict[str, str]) -> list[str]:
    for name in KEY_PACKAGES:
        _row(name, installed.get(name, "missing"))

    locked = _locked_versions()
    if locked is None:
        return ["package 'packaging' is missing; remedy: make distclean setup"]
    differing = [
        f"{name} {installed.get(name, 'missing')} (locked: {version})"
        for name, version in locked.items()
        # A CPU build of torch calls itself 2.3.1+cpu.
        if installed.get(name, "").split("+")[0] != version
    ]
    beside = sorted(installed.keys() - locked.keys() - {"pip", "spikefit"})
    _row("lock", f"{len(locked) - len(differing)} of {len(locked)} packages as locked")
    _row("beside the lock", ", ".join(beside) or "nothing")
    if differing:
        return [
            "installed packages differ from requirements.lock; remedy: touch requirements.lock "
            "&& make setup\n         " + "\n         ".join(differing)
        ]
    return []


def _locked_versions() -> dict[str, str] | None:
    """Versions that the lock asks for on this platform; None if its markers cannot be read."""
    try:
        from packaging.requirements import Requirement
    except ImportError:
        return None
    choice = Path(sys.prefix, ".torch")
    is_cpu_only = choice.is_file() and choice.read_text().strip() == "cpu"
    locked = {}
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        if line.startswith((" ", "#")) or not line:
            continue
        entry = Requirement(line.rstrip("\\ "))
        if entry.marker is not None and not entry.marker.evaluate():
            continue
        if is_cpu_only and entry.name.startswith(("nvidia-", "triton")):
            continue
        locked[_normalized(entry.name)] = str(entry.specifier).removeprefix("==")
    return locked


def _show_project(installed: dict[str, str]) -> list[str]:
    if "spikefit" not in installed:
        _row("spikefit", "missing")
        return ["the project itself is not installed; remedy: make setup"]
    record = metadata.distribution("spikefit").read_text("direct_url.json")
    url = json.loads(record)["url"] if record else ""
    source = Path(unquote(urlsplit(url).path)).resolve()
    _row("spikefit", f"{installed['spikefit']}  from {source}")
    if source == ROOT:
        return []
    # The scripts in .venv/bin name their interpreter by its full path, so a moved .venv is lost.
    return [f".venv belongs to {source}, not to {ROOT}; remedy: make distclean setup"]


def _cuda() -> str:
    """Return what torch was built for and how many devices the driver offers; none is needed."""
    try:
        version_file = metadata.distribution("torch").locate_file("torch/version.py")
    except metadata.PackageNotFoundError:
        return "torch is missing"
    build = re.search(r"^cuda\b.*?= *'(.+)'", Path(str(version_file)).read_text(), re.MULTILINE)
    if build is None:
        return "no (torch is a CPU build)"
    n_devices = ctypes.c_int(0)
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return f"no (torch is built for CUDA {build[1]}, but there is no driver)"
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(n_devices)) != 0:
        return f"no (torch is built for CUDA {build[1]}, but the driver offers no device)"
    return f"{n_devices.value} device(s), torch built for CUDA {build[1]}"


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _row(label: str, value: str) -> None:
    print(f"{label:<16} {value}")


if __name__ == "__main__":
    sys.exit(main())
