"""Damages copies of a NetX file at random and reads them: ``fuzz_netx.py GOOD SEED N_FILES``.

Prints how many were read and how many refused; ends with an error on anything else. Run in a
process of its own, because HDF5 can crash, hang or take memory in native code.
"""

from __future__ import annotations

import json
import resource
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from pipeline.errors import PipelineError
from pipeline.ingest.netx import read_netx


def main(good: Path, seed: int, n_files: int) -> None:
    # torch's libraries alone map 3 GB: a limit of 1 GB more than what is mapped now
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + (1 << 30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    rng = np.random.default_rng(seed)
    bad = good.with_name("bad.net")
    counts = {"read": 0, "refused": 0}
    for index in range(n_files):
        shutil.copy(good, bad)
        what = (damage_bytes if index % 2 else damage_structure)(bad, rng)
        try:
            read_netx(bad, 5)
        except PipelineError as error:
            counts["refused"] += 1
            assert str(error).isprintable() and "bad.net" in str(error), (index, what, str(error))
        except BaseException:
            print(f"file {index} of seed {seed}: {what}", file=sys.stderr)
            raise
        else:
            counts["read"] += 1
    print(json.dumps(counts))


def damage_bytes(path: Path, rng: np.random.Generator) -> str:
    content = np.fromfile(path, dtype=np.uint8)
    kind = rng.choice(["flip", "flip", "flip", "run", "truncate"])
    if kind == "flip":
        # half of them where the structure is densest, in the first part of the file
        end = len(content) if rng.random() < 0.5 else 2048
        at = rng.integers(0, end, 1 + rng.integers(0, 24))
        content[at] = rng.integers(0, 256, len(at))
    elif kind == "run":
        begin, length = rng.integers(0, len(content)), rng.integers(1, 200)
        content[begin : begin + length] = rng.choice([0, 1, 0x7F, 0xFF])
    else:
        content = content[: rng.integers(0, len(content))]
    content.tofile(path)
    return str(kind)


STRANGE: list[tuple[Any, ...]] = [
    ((), "f4"), ((), "i8"), ((3,), "f2"), ((2, 2, 2, 2, 2), "u8"), ((4, 6), "c16"), ((), "S3"),
    ((), h5py.string_dtype()), ((2,), h5py.ref_dtype), ((4,), "?"), ((10**5, 10**7), "f8"),
    ((0,), "i4"), ((4, 6), [("x", "i4")]), ((), "V7"), ((4, 6), h5py.vlen_dtype("i4")),
    ((), np.longdouble), ((4, 6), ">f4"), ((6,), "i1"),
]
VALUES: list[Any] = [
    0, 1, -1, 2, 7, 1e300, -1e300, np.nan, np.inf, 2**31, -(2**63), 2**64 - 1, 0.5, 1 << 18,
    [1, 2], [3] * 4, [-1] * 6, [[]], b"", b"conv", b"pool", b"flatten", b"SDNN", b"\xff",
    b"RF_PHASE", b"CUBA", b"dense_comp", 4096.9, [4097, 0.5],
]


def damage_structure(path: Path, rng: np.random.Generator) -> str:
    names: list[str] = []
    done = []
    with h5py.File(path, "r+") as file:
        file.visit(names.append)
        for _ in range(1 + rng.integers(0, 3)):
            name, other = (names[rng.integers(len(names))] for _ in range(2))
            kind = str(rng.choice(["delete", "type", "value", "value", "value", "link", "swap"]))
            done.append(f"{kind} {name} {other}")
            with suppress(RuntimeError, KeyError):  # what an earlier link made unreachable
                target = file[other]
                del file[name]
                if kind == "swap":
                    file[name] = target
                elif kind == "type":
                    shape, dtype = STRANGE[rng.integers(len(STRANGE))]
                    file.create_dataset(name, shape, dtype)
                elif kind == "value":
                    file[name] = VALUES[rng.integers(len(VALUES))]
                elif kind == "link":
                    file[name] = h5py.SoftLink(f"/{other}")
    return "; ".join(done)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
