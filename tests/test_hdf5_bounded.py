"""What an HDF5 file declares cannot take more memory or time than the file can account for."""

from __future__ import annotations

import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from pipeline.errors import CheckpointError
from pipeline.ingest.hdf5_bounded import Array, Group, open_bounded
from pipeline.ingest.hdf5_tree import read_tree

MEGABYTE = 1 << 20
OPTIONS: list[dict[str, Any]] = [
    {}, {"chunks": (7, 5)}, {"compression": "gzip"}, {"fletcher32": True},
    {"compression": "gzip", "shuffle": True, "fletcher32": True}]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.h5"


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_arrays_are_read_however_h5py_stores_them(options: dict[str, Any], path: Path) -> None:
    stored = np.random.default_rng(0).normal(size=(40, 30)).astype(np.float32)
    with h5py.File(path, "w") as file:
        file.create_dataset("a/b", data=stored, **options)
    np.testing.assert_array_equal(read_tree(path)["a"]["b"], stored)


@pytest.mark.parametrize("words", ["", "näme", ["a", "", "bc"], [["a", "b"]], b"fixed", [b"a"]])
def test_words_are_read_whatever_their_length(words: Any, path: Path) -> None:
    with h5py.File(path, "w", userblock_size=512) as file:
        file["words"] = words
    expected = np.array(words).astype(str).tolist()
    assert read_tree(path) == {"words": expected}


def refused(path: Path) -> str:
    """Return why a file is refused, in less than two seconds and 32 MiB."""
    tracemalloc.start()
    begin = time.perf_counter()
    try:
        with pytest.raises(CheckpointError) as error:
            read_tree(path)
        assert time.perf_counter() - begin < 2
        assert tracemalloc.get_traced_memory()[1] < 32 * MEGABYTE
    finally:
        tracemalloc.stop()
    return str(error.value)


def filtered(*filters: int) -> Callable[[h5py.File], h5py.h5d.DatasetID]:
    """Return a maker of a dataset of one chunk of a megabyte behind HDF5's filters."""

    def make(file: h5py.File) -> h5py.h5d.DatasetID:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((MEGABYTE,))
        for number in filters:
            properties.set_filter(number, h5py.h5z.FLAG_OPTIONAL, (9,) if number == 1 else ())
        return h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_INT8,
                               h5py.h5s.create_simple((MEGABYTE,)), properties)

    return make


@pytest.mark.parametrize("filters", [(1, 1), (1, 2), (3, 1)], ids=str)
def test_what_would_inflate_twice_is_refused(filters: tuple[int, ...], path: Path) -> None:
    """The first pass gives the declared megabyte, the second up to 1032 times as much."""
    bomb = zlib.compress(bytes(64 * MEGABYTE))
    once = bomb + bytes(MEGABYTE - len(bomb))
    with h5py.File(path, "w") as file:
        filtered(*filters)(file).write_direct_chunk((0,), zlib.compress(once))
    assert "a.h5: x: is compressed by other means than gzip, applied once" in refused(path)


def test_a_chunk_larger_than_any_array_needs_is_refused(path: Path) -> None:
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("x", (1 << 25,), "i1", chunks=(1 << 27,),
                                      maxshape=(None,), compression="gzip")
        dataset.id.write_direct_chunk((0,), bytes(MEGABYTE))
    assert "x: declares chunks" in refused(path)


def test_an_array_linked_many_times_takes_no_more_than_the_file_has(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["x"] = np.zeros(MEGABYTE, np.int8)
        for index in range(1000):
            file[f"y{index}"] = file["x"]
    assert "left in the file" in refused(path)


def test_a_word_referred_to_many_times_takes_no_more_than_the_file_has(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["x"] = ["a"] * 20_000 + ["b" * MEGABYTE]
        offset = file["x"].id.get_offset()
    content = bytearray(path.read_bytes())
    for index in range(20_000):
        at = offset + 16 * index
        content[at : at + 16] = content[offset + 320_000 : offset + 320_016]
    path.write_bytes(content)
    assert "x: cannot be read (words of more bytes than the file has)" in refused(path)


def test_heaps_that_overlap_take_no_more_than_the_file_has(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["x"] = ["a"] * 20_000
        offset = file["x"].id.get_offset()
    content = bytearray(path.read_bytes())
    heaps = len(content)
    for index in range(20_000):  # each holds all that follow
        struct.pack_into("<IQI", content, offset + 16 * index, 1, heaps + 32 * index, 1)
        content += struct.pack("<4s4xQ", b"GCOL", 32 * (20_000 - index))
        content += struct.pack("<H6xQ", 1, 32 * (19_999 - index))
    path.write_bytes(content)
    assert "too many for the file" in refused(path)


def test_more_members_than_any_network_has_are_refused(path: Path) -> None:
    with h5py.File(path, "w") as file:
        leaf = file.create_group("leaf")
        for index in range(40_001):
            file[f"group/{index}"] = leaf
    assert "more than 40000 members and words" in refused(path)


@pytest.mark.parametrize(("name", "damaged"), [(b"to|passwd", b"to/passwd"), (b"|", b".")])
def test_a_name_that_is_a_path_is_not_followed(name: bytes, damaged: bytes, path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_group(name)
        file["to"] = h5py.ExternalLink("/etc", "/")
    content = path.read_bytes()
    path.write_bytes(content.replace(name + b"\0", damaged + b"\0"))
    assert path.read_bytes() != content
    assert "a.h5: to" in refused(path) or damaged == b"."


def test_groups_in_a_circle_are_named(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["a/b/c"] = file.create_group("a")
    assert "a.h5: a/b/c: holds itself" in refused(path)


def test_deep_groups_are_refused(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_group("/".join("a" * 18))
    assert "exceeds 16 levels" in refused(path)


def test_a_named_type_is_no_member(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["type"] = np.dtype("f8")
    assert "type: is neither a group nor an array" in refused(path)


def test_offsets_of_other_widths_are_refused(path: Path) -> None:
    properties = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    properties.set_sizes(4, 4)
    h5py.h5f.create(bytes(path), h5py.h5f.ACC_TRUNC, properties).close()
    assert "is not laid out as h5py does it; copy the file with h5repack" in refused(path)


def test_names_cannot_move_the_cursor(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["\x1b[2Jnäme"] = h5py.SoftLink("/x")
    assert r"a.h5: \x1b[2Jnäme: is a link" in refused(path)


def test_errors_of_readers_keep_their_kind_and_the_file_is_closed(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["x"] = 1
    with pytest.raises(CheckpointError, match="a.h5: later"), open_bounded(path, Group) as root:
        member = root.member("x")
        assert isinstance(member, Array) and "x" in root and "y" not in root
        raise CheckpointError("later")
    with h5py.File(path, "r+"):  # which fails while it is open elsewhere
        pass
