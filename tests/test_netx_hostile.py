"""Damaged and malicious NetX files are refused in words: no traceback, no hang, no other file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from pipeline.errors import CheckpointError
from pipeline.ingest.netx import read_netx

ROOT = Path(__file__).parent.parent


def write_good(path: Path) -> None:
    """Write a small network that uses every kind of key."""
    cuba = {"type": b"CUBA", "iDecay": 1024, "vDecay": 128, "vThMant": 80, "refDelay": 1,
            "gradedSpike": False}
    rng = np.random.default_rng(0)
    layers: list[dict[str, Any]] = [
        {"type": b"input", "shape": [2, 6, 5], "weight": [36.0], "bias": 3.0},
        {"type": np.array([b"conv"], "S10"), "shape": [4, 4, 3], "stride": [1, 1],
         "padding": [0, 0], "dilation": [1, 1], "groups": 1, "bias": np.arange(4),
         "weight": 2.0 * rng.integers(-9, 9, (4, 2, 3, 3, 1)), "inChannels": 2},
        {"type": b"pool", "shape": [4, 2, 2], "kernelSize": 2, "stride": 2, "padding": 0,
         "dilation": 1, "weight": 70},
        {"type": b"flatten", "shape": [16, 1, 1]},
        {"type": b"dense_rec", "shape": [6], "weight": 2 * rng.integers(-9, 9, (6, 16)),
         "weight_rec": 2 * rng.integers(-9, 9, 36), "delay": np.arange(6.0), "inFeatures": 16},
        {"type": b"dense", "shape": [4], "weight": 2 * rng.integers(-9, 9, (4, 6))},
        {"type": b"average", "shape": [2]},
    ]
    with h5py.File(path, "w") as file:
        for index, keys in enumerate(layers):
            for key, value in keys.items():
                file[f"layer/{index}/{key}"] = value
            if index in (0, 1, 2, 4, 5):
                for key, value in cuba.items():
                    file[f"layer/{index}/neuron/{key}"] = value


def write_good_messages(path: Path) -> None:
    """Write a small network of sigma-delta neurons that uses every kind of key."""
    sdnn = {"neuron/type": b"SDNN", "neuron/activation": b"relu", "neuron/vThMant": 7}
    rng = np.random.default_rng(0)
    layers: list[dict[str, Any]] = [
        {"type": b"input", "shape": [2, 6, 5], "weight": [36.0], "bias": 3.0, **sdnn},
        {"type": np.array([b"conv"], "S10"), "shape": [4, 4, 3], "stride": [1, 1],
         "padding": [0, 0], "dilation": [1, 1], "groups": 1, "bias": np.arange(4),
         "weight": 2.0 * rng.integers(-9, 9, (4, 2, 3, 3, 1)), **sdnn},
        {"type": b"pool", "shape": [4, 2, 2], "kernelSize": 2, "stride": 2, "padding": 0,
         "dilation": 1, "weight": 70, **sdnn},
        {"type": b"flatten", "shape": [16, 1, 1]},
        {"type": b"dense", "shape": [6], "weight": 2 * rng.integers(-9, 9, (6, 16)),
         "bias": np.arange(6.0), "neuron/weight_exp": 1, **sdnn},
        {"type": b"dense", "shape": [4], "weight": 2 * rng.integers(-9, 9, 24),
         "neuron/sigma_output": True, **sdnn},
        {"type": b"average", "shape": [2]},
    ]
    write(path, layers)


def write_good_complex(path: Path) -> None:
    """Write a small network of resonators that uses every kind of key."""
    rf = {"neuron/type": b"RF_PHASE", "neuron/sinDecay": 1234, "neuron/cosDecay": 3456,
          "neuron/vThMant": 7, "neuron/gradedSpike": False}
    rng = np.random.default_rng(0)

    def weights(*shape: int) -> dict[str, Any]:
        return {f"weight/{part}": 2 * rng.integers(-9, 9, shape) for part in ("real", "imag")}

    layers: list[dict[str, Any]] = [
        {"type": b"input", "shape": [2, 6, 5]},
        {"type": b"conv", "shape": [4, 4, 3], "stride": [1, 1], "padding": 0, "dilation": 1,
         "groups": 1, **weights(4, 2, 3, 3, 1), **rf, "neuron/sinDecay": np.arange(4)},
        {"type": b"pool", "shape": [4, 2, 2], "kernelSize": 2, "stride": 2, "padding": 0,
         "dilation": 1, **weights(2, 2), **rf},
        {"type": b"flatten", "shape": [16, 1, 1]},
        {"type": b"dense_comp", "shape": [6], **weights(6, 16), **rf,
         "neuron/type": b"RF_IZHIKEVICH", "delay": np.arange(6.0)},
        {"type": b"dense", "shape": [4], **weights(24), **rf, "neuron/sinDecay": 1200.5},
    ]
    write(path, layers)


def write(path: Path, layers: list[dict[str, Any]]) -> None:
    with h5py.File(path, "w") as file:
        for index, keys in enumerate(layers):
            for key, value in keys.items():
                file[f"layer/{index}/{key}"] = value


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_good(tmp_path / "good.net")
    read_netx(tmp_path / "good.net", 5)
    return tmp_path / "good.net"


Change = Callable[[h5py.File], Any]
WEIGHT = "layer/5/weight"


def put(key: str, *arguments: Any, **options: Any) -> Change:
    """Return a change that puts another dataset in the place of ``key``."""

    def change(file: h5py.File) -> None:
        del file[key]
        file.create_dataset(key, *arguments, **options)

    return change


def link(key: str, target: Any) -> Change:
    def change(file: h5py.File) -> None:
        del file[key]
        file[key] = target(file) if callable(target) else target

    return change


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4, 6), "f4")
    layout[:] = h5py.VirtualSource("/etc/hostname", "x", (4, 6))
    del file[WEIGHT]
    file.create_virtual_dataset(WEIGHT, layout)


def number_wrongly(file: h5py.File) -> None:
    file.move("layer/5", "layer/05")


REFUSED: dict[str, tuple[Change, str]] = {
    "external link": (link(WEIGHT, h5py.ExternalLink("/etc/hosts", "x")), f"{WEIGHT}: is a link"),
    "soft link": (link(WEIGHT, h5py.SoftLink("/layer/4/weight")), f"{WEIGHT}: is a link"),
    "dangling link": (link("layer/5", h5py.SoftLink("/no")), "layer/5: is a link"),
    "soft cycle": (link("layer/5", h5py.SoftLink("/layer/5")), "layer/5: is a link"),
    "hard cycle": (link("layer/5", lambda file: file["layer"]), "layer/5/type: is missing"),
    "root as neuron": (link("layer/5/neuron", lambda file: file["/"]),
                       "layer/5/neuron/type: is missing"),
    "virtual": (virtual, f"{WEIGHT}: is stored in other files"),
    "external storage": (put(WEIGHT, (4, 6), "f4", external=[("/etc/hostname", 0, 96)]),
                         f"{WEIGHT}: is stored in other files"),
    "reference": (put(WEIGHT, (4, 6), h5py.ref_dtype), f"{WEIGHT}: holds object, not numbers"),
    "compressed": (put(WEIGHT, (4, 6), "f4", compression="gzip"), f"{WEIGHT}: is stored in chunks"),
    "10^12 elements": (put(WEIGHT, (10**6, 10**6), "f4"), f"{WEIGHT}: declares .* 4000000000000"),
    "2^63 elements": (put(WEIGHT, (2**31, 2**30), "i1"), f"{WEIGHT}: declares"),
    "long string": (put("layer/5/type", (), "S9999999"), "layer/5/type: declares"),
    "no elements": (put(WEIGHT, (0, 6), "f4"), f"{WEIGHT}: is empty"),
    "no space": (put(WEIGHT, data=h5py.Empty("f4")), f"{WEIGHT}: is empty"),
    "complex": (put(WEIGHT, (4, 6), "c8"), f"{WEIGHT}: holds complex64, not numbers"),
    "compound": (put(WEIGHT, (4, 6), [("a", "f4")]), f"{WEIGHT}: holds .*, not numbers"),
    "strings": (put(WEIGHT, data=[[b"2"] * 6] * 4), f"{WEIGHT}: holds .*, not numbers"),
    "number as word": (put("layer/5/type", data=3), "layer/5/type: is not one word"),
    "two words": (put("layer/5/type", data=[b"dense", b"conv"]), "layer/5/type: is not one word"),
    "array as group": (put("layer/5/neuron", data=3), "layer/5/neuron: is not a group"),
    "group as array": (link("layer/5/shape", lambda file: file["layer/4"]),
                       "layer/5/shape: is not an array"),
    "wrong number": (number_wrongly, "layer: 7 entries must be numbered 0 to 6; found 05"),
    "no layers": (lambda file: file.__delitem__("layer"), "layer: is missing"),
    "empty layers": (link("layer", lambda file: file.create_group("x")), "layer: holds 0 entries"),
}


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED)
def test_a_malicious_file_is_refused_with_its_key(
    change: Change, message: str, path: Path
) -> None:
    with h5py.File(path, "r+") as file:
        change(file)
    begin = time.perf_counter()
    with pytest.raises(CheckpointError, match=f"good.net: {message}"):
        read_netx(path, 5)
    assert time.perf_counter() - begin < 2
    with h5py.File(path, "r+"):  # which fails while it is open elsewhere
        pass


@pytest.mark.parametrize("key", ["type", "shape", "weight", "neuron/type", "neuron/vThMant",
                                 "neuron/iDecay", "neuron/vDecay"])
def test_a_missing_key_is_named(key: str, path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file[f"layer/5/{key}"]
    with pytest.raises(CheckpointError, match=f"good.net: layer/5/{key}: is missing"):
        read_netx(path, 5)


def test_layers_linked_to_one_matrix_cannot_take_more_than_the_file_has(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["layer/5/shape"][()] = 6
        put(WEIGHT, data=2.0 * np.eye(6))(file)
        del file["layer/6"]
        for index in range(6, 900):
            file[f"layer/{index}"] = file["layer/5"]
    with pytest.raises(CheckpointError, match=r"layer/\d+/.*: declares .* left in the file"):
        read_netx(path, 5)


def test_what_is_no_hdf5_file_is_refused(path: Path, tmp_path: Path) -> None:
    text, pipe = tmp_path / "text.net", tmp_path / "pipe.net"
    text.write_text("layer")
    os.mkfifo(pipe)
    with pytest.raises(CheckpointError, match="text.net: HDF5 structure: .*signature"):
        read_netx(text, 5)
    for file in (tmp_path, tmp_path / "absent.net", pipe):
        with pytest.raises(CheckpointError, match=f"{file.name}: is not a file"):
            read_netx(file, 5)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.7, 0.99])
def test_a_truncated_file_is_refused(share: float, path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match="good.net: .*the file is damaged"):
        read_netx(path, 5)


def reference_of(path: Path, key: str) -> int:
    """Return where a file refers to a word: its length, its heap and its place there."""
    with h5py.File(path, "r") as file:
        return int(file[key].id.get_offset())


def test_a_word_of_absurd_length_takes_no_memory(path: Path) -> None:
    """HDF5 itself allocates what the length says."""
    content = bytearray(path.read_bytes())
    at = reference_of(path, "layer/5/type")
    content[at : at + 4] = b"\xff" * 4
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="layer/5/type: .*a word of 4294967295 bytes"):
        read_netx(path, 5)


@pytest.mark.parametrize(
    ("begin", "end", "message"),
    [(16, 600, "not in its heap"), (8, 16, "not in its heap"), (0, 4, "no heap of words")],
    ids=["objects", "size", "signature"])
def test_a_damaged_heap_of_words_does_not_hang(
    begin: int, end: int, message: str, path: Path
) -> None:
    """HDF5 itself loops forever where all objects have no size."""
    content = bytearray(path.read_bytes())
    heap = content.index(b"GCOL")
    content[heap + begin : heap + end] = bytes(end - begin)
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"layer/0/type: .*{message}"):
        read_netx(path, 5)


def test_words_are_found_behind_a_user_block(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "block.net", "w", userblock_size=1024) as file:
        file["layer/0/type"], file["layer/0/shape"], file["layer/0/weight"] = "dense", 2, np.eye(2)
    assert read_netx(tmp_path / "block.net", 5)[0].layers[0].name == "dense0"


def test_names_that_are_no_text_can_be_printed(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        h5py.h5d.create(file["layer/5"].id, b"\xff\x1b[2J\xe9", h5py.h5t.NATIVE_INT8,
                        h5py.h5s.create(h5py.h5s.SCALAR))
    _, ledger = read_netx(path, 5)
    (told,) = (entry.what for entry in ledger if entry.layer == "dense5")
    assert told.isprintable() and told.isascii()


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("write_file", [write_good, write_good_messages, write_good_complex])
def test_mutated_files_are_read_or_refused(
    write_file: Callable[[Path], None], tmp_path: Path, n_mutated: int
) -> None:
    path = tmp_path / "good.net"
    write_file(path)
    read_netx(path, 5)
    result = subprocess.run(
        [sys.executable, "-W", "error", ROOT / "tests/fuzz_netx.py", path, "0", str(n_mutated)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=2900,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    counts = json.loads(result.stdout)
    assert counts["read"] + counts["refused"] == n_mutated
    assert min(counts.values()) > n_mutated / 20
