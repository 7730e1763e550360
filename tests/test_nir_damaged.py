"""A damaged or hostile NIR file is a CheckpointError: no traceback, no hang, bounded memory."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from nir_networks import random_network, same, without_metadata

from pipeline.errors import CheckpointError
from pipeline.export_nir import METADATA_KEY, write_nir
from pipeline.ingest.nir_graph import read_nir

ROOT = Path(__file__).parent.parent
WEIGHT = "node/nodes/fc0.synapse/weight"


@pytest.fixture
def path(dense_chain: Any, tmp_path: Path) -> Path:
    write_nir(dense_chain(), tmp_path / "a.nir", "")
    return tmp_path / "a.nir"


@pytest.mark.parametrize("content", [b"", b"not HDF5", b"\x89HDF\r\n\x1a\n" + bytes(200)])
def test_what_is_not_hdf5_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.nir").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"a\.nir: HDF5 structure: cannot be read"):
        read_nir(tmp_path / "a.nir")
    os.mkfifo(tmp_path / "pipe.nir")
    for name in ("b.nir", "pipe.nir", "."):
        with pytest.raises(CheckpointError, match=f"{name}: is not a file"):
            read_nir(tmp_path / name)


def test_another_kind_of_hdf5_file_is_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.nir", "w") as file:
        file["layer/0/weight"] = np.ones(3)
    with pytest.raises(CheckpointError, match="holds no NIR graph"):
        read_nir(tmp_path / "a.nir")


def absurd_shape(file: h5py.File) -> None:
    del file[WEIGHT]
    file.create_dataset(WEIGHT, shape=(10**6, 10**6), dtype="f4", compression="gzip")


def nothing_stored(file: h5py.File) -> None:
    del file[WEIGHT]
    file.create_dataset(WEIGHT, shape=(5000, 5000), dtype="f4", compression="gzip")


def bomb(file: h5py.File) -> None:
    """A chunk of 64 KiB that inflates to 64 MiB."""
    del file[WEIGHT]
    dataset = file.create_dataset(WEIGHT, shape=(128, 128), dtype="f4", chunks=(128, 128),
                                  compression="gzip")
    dataset.id.write_direct_chunk((0, 0), zlib.compress(bytes(1 << 26)))


def huge_chunk(file: h5py.File) -> None:
    del file[WEIGHT]
    dataset = file.create_dataset(WEIGHT, shape=(8, 8), dtype="f4", chunks=(1 << 14, 1 << 14),
                                  maxshape=(None, None), compression="gzip")
    dataset.id.write_direct_chunk((0, 0), b"x" * 1000)


def other_compression(file: h5py.File) -> None:
    del file[WEIGHT]
    file.create_dataset(WEIGHT, data=np.zeros((64, 64)), compression="lzf")


def soft_link(file: h5py.File) -> None:
    del file[WEIGHT]
    file[WEIGHT] = h5py.SoftLink("/node/nodes/fc1.synapse/weight")


def external_link(file: h5py.File) -> None:
    del file[WEIGHT]
    file[WEIGHT] = h5py.ExternalLink("/etc/passwd", "/")


def external_storage(file: h5py.File) -> None:
    del file[WEIGHT]
    file.create_dataset(WEIGHT, shape=(16, 12), dtype="u1", external=[("/etc/passwd", 0, 192)])


def virtual(file: h5py.File) -> None:
    del file[WEIGHT]
    layout = h5py.VirtualLayout((16, 12), dtype="f4")
    layout[...] = h5py.VirtualSource("/tmp/other.h5", "x", shape=(16, 12))
    file.create_virtual_dataset(WEIGHT, layout)


def reference(file: h5py.File) -> None:
    del file[WEIGHT]
    file.create_dataset(WEIGHT, data=file["node"].ref, dtype=h5py.ref_dtype)


def loop_of_groups(file: h5py.File) -> None:
    file["node/nodes/again"] = file["node"]


@pytest.mark.parametrize(("change", "shown"), [
    (absurd_shape, "declares an array of shape (1000000, 1000000)"),
    (nothing_stored, "of which 0 are stored"),
    (bomb, "does not inflate to its size"),
    (huge_chunk, "declares chunks"),
    (other_compression, "use gzip"),
    (soft_link, "a link to somewhere else"),
    (external_link, "a link to somewhere else"),
    (external_storage, "stored in other files"),
    (virtual, "stored in other files"),
    (reference, "not numbers or text"),
    (loop_of_groups, "holds itself"),
])
def test_hostile_files_are_refused_before_they_are_read(
    change: Callable[[h5py.File], None], shown: str, path: Path
) -> None:
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(CheckpointError) as error:
        read_nir(path)
    told = str(error.value)
    assert f"{path}: node/nodes/" in told and shown in told, told


def test_a_heap_that_sends_hdf5_into_a_loop_is_read(path: Path, dense_chain: Any) -> None:
    data = bytearray(path.read_bytes())
    begins = [at for at in range(len(data)) if data[at : at + 4] == b"GCOL"]
    for at in begins:
        at += 16
        while (index_and_size := struct.unpack_from("<H6xQ", data, at))[0] != 0:
            at += 16 + -(-index_and_size[1] // 8) * 8
        data[at + 8 : at + 16] = bytes(8)  # free space of no size: HDF5 2.0.0 steps on by nothing
    path.write_bytes(data)
    assert begins and same(read_nir(path)[0], dense_chain())


def test_metadata_of_a_later_version_are_refused(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file[f"node/metadata/{METADATA_KEY}/schema"][()] = 2
    with pytest.raises(CheckpointError, match="schema 2; this version reads schema 1"):
        read_nir(path)


# ---------------------------------------------------------------- mutated files

WORKER = """
import resource, shutil, sys, warnings
from pathlib import Path
import h5py, numpy as np
from nir_networks import random_network, same
from pipeline.errors import CheckpointError
from pipeline.ingest.nir_graph import read_nir

warnings.simplefilter("error", RuntimeWarning)
warnings.simplefilter("error", DeprecationWarning)
VALUES = [0, -1, 1, 3, 1e300, np.nan, np.inf, -0.5, 2**31, 2**62, 1e-300, "CubaLIF", "IF", "LI",
          "Linear", "Conv2d", "SumPool2d", "Delay", "Flatten", "NIRGraph", "", "x"]

def change_bytes(path, rng):
    data = bytearray(path.read_bytes())
    if rng.random() < 0.2:
        data = data[:rng.integers(len(data))]
    else:
        for _ in range(rng.integers(1, 2 ** rng.integers(1, 7))):
            at = rng.integers(len(data))
            data[at] = rng.choice([rng.integers(256), data[at] ^ 1 << rng.integers(8), 0, 255])
    path.write_bytes(data)

def change_items(path, rng):
    with h5py.File(path, "r+") as file:
        names = []
        file.visit(names.append)
        name = names[rng.integers(len(names))]
        item, choice = file[name], rng.integers(4)
        is_number = isinstance(item, h5py.Dataset) and item.dtype.kind in "iuf"
        old = np.array(item[()]) if is_number else np.ones(3)
        del file[name]
        if choice == 1:
            file[name] = VALUES[rng.integers(len(VALUES))]
        elif choice == 2:
            file[name] = np.resize(old, rng.integers(0, 6, rng.integers(0, 5)))
        elif choice == 3 and old.size:
            new = old.astype(float)
            new.flat[rng.integers(old.size)] = VALUES[rng.integers(11)]
            file[name] = new

folder, n_files = Path(sys.argv[1]), int(sys.argv[2])
networks = [random_network(seed) for seed in (3, 4)]
with open("/proc/self/statm") as statm:
    mapped = int(statm.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (mapped + (2 << 30),) * 2)  # torch maps 3 GB by itself
n_read = n_refused = 0
for seed in range(n_files):
    rng, which, is_ours = np.random.default_rng(seed), seed % 2, seed % 3 == 0
    path = folder / "mutated.nir"
    shutil.copy(folder / f"{'' if is_ours else 'foreign_'}{which}.nir", path)
    print(seed, flush=True)
    (change_bytes if seed % 5 < 2 else change_items)(path, rng)
    try:
        network, _ = read_nir(path, None if is_ours else 20)
        n_read += 1
    except CheckpointError as error:
        assert str(path) in str(error)
        n_refused += 1
    else:
        assert not is_ours or same(network, networks[which]) or "spikefit" not in str(
            list(h5py.File(path)["node/metadata"])), "read another network"
print("read", n_read, "refused", n_refused)
"""


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_mutated_files_are_read_or_refused_within_two_gigabytes(
    tmp_path: Path, n_mutated: int
) -> None:
    for index, seed in enumerate((3, 4)):
        write_nir(random_network(seed), tmp_path / f"{index}.nir", "")
        without_metadata(tmp_path / f"{index}.nir")
    n_files = n_mutated
    done = subprocess.run(
        [sys.executable, "-c", WORKER, str(tmp_path), str(n_files)], cwd=ROOT, text=True,
        capture_output=True, timeout=2900, env={"PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}"})
    assert done.returncode == 0, done.stdout[-20:] + done.stderr[-3000:]
    assert done.stderr == ""
    *_, (_, n_read, _, n_refused) = (line.split() for line in done.stdout.splitlines()
                                     if line.startswith("read"))
    assert int(n_read) + int(n_refused) == n_files
    assert int(n_read) > 0.1 * n_files and int(n_refused) > 0.3 * n_files
