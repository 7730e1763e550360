"""Damaged and hostile checkpoints are read or refused: no code runs, nothing crashes."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.errors import CheckpointError
from pipeline.ingest.checkpoint import read_state

ROOT = Path(__file__).resolve().parents[1]
# in a process of its own, whose memory is limited to 1 GB more than what its imports map
WORKER = """
import resource, sys
from pathlib import Path
import numpy as np
from pipeline.errors import CheckpointError
from pipeline.ingest.checkpoint import read_state

good, n_files = Path(sys.argv[1]), int(sys.argv[2])
content = np.fromfile(good, dtype=np.uint8)
mapped = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (mapped + (1 << 30),) * 2)
bad, n_read, n_refused = good.with_name("bad.pt"), 0, 0
for seed in range(n_files):
    rng, data = np.random.default_rng(seed), content.copy()
    if seed % 4 == 3:
        data = data[: rng.integers(len(data))]
    else:
        # the pickle and the directory of the archive, rather than the weights
        end = len(data) if seed % 2 else min(len(data), 1500)
        at = rng.integers(0, end, 1 + rng.integers(0, 20))
        data[at] = rng.integers(0, 256, len(at))
    data.tofile(bad)
    try:
        read_state(bad)
        n_read += 1
    except CheckpointError as error:
        assert "bad.pt" in str(error), (seed, error)
        n_refused += 1
    except BaseException:
        print("seed", seed, file=sys.stderr)
        raise
print(n_read, n_refused)
"""


class Evil:
    """Would write a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.touch, (self.path,))


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_mutated_checkpoints_are_read_or_refused(
    is_zip: bool, tmp_path: Path, n_mutated: int
) -> None:
    state = {"blocks.0.weight": torch.randn(8, 9), "blocks.0.scale": torch.ones(1)}
    torch.save(state, tmp_path / "good.pt", _use_new_zipfile_serialization=is_zip)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WORKER, str(tmp_path / "good.pt"), str(n_mutated)],
        cwd=ROOT, capture_output=True, text=True, timeout=2900)
    assert done.returncode == 0, done.stderr[-3000:]
    n_read, n_refused = map(int, done.stdout.split())
    assert n_read + n_refused == n_mutated and n_read > 0 and n_refused > 0.1 * n_mutated


def test_a_hostile_pickle_runs_no_code(tmp_path: Path) -> None:
    torch.save({"weight": Evil(tmp_path / "touched")}, tmp_path / "evil.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Evil(tmp_path / "touched")))
    for name in ("evil.pt", "plain.pt"):
        with pytest.raises(CheckpointError, match=f"{name}: not a readable state dict"):
            read_state(tmp_path / name)
    assert not (tmp_path / "touched").exists()


def test_a_file_that_holds_no_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save(torch.from_numpy(np.ones(3)), tmp_path / "tensor.pt")
    with pytest.raises(CheckpointError, match="holds a Tensor, not a state dict"):
        read_state(tmp_path / "tensor.pt")
