"""An HDF5 file as nested dicts of arrays, read without trusting it.

In: a file of unknown origin. Out: groups as dicts, datasets as arrays, numbers and strings. What a
file declares is checked before anything of that size is allocated: sizes against a limit and
against the bytes that are stored, compressed chunks by inflating them no further than they may
grow. Nothing outside the file is opened: soft and external links, external and virtual storage are
refused. Text of variable length is read here and not by HDF5 2.0, which a damaged heap sends into
an endless loop.
"""

from __future__ import annotations

import hashlib
import math
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from pipeline.errors import CheckpointError

MAX_BYTES = 1 << 30  # of all arrays of one file together
_MAX_ITEMS = 20_000  # groups and datasets
_MAX_DEPTH = 16
_MAX_HEAP_BYTES = 1 << 24
_MAX_DEFLATE_RATIO = 1032  # zlib's own bound, https://zlib.net/zlib_tech.html
_DEFLATE, _SHUFFLE, _FLETCHER32 = 1, 2, 3  # HDF5's registered filters
# what h5py raises on damaged files, found by fuzzing: tests/test_nir_damaged.py
FAULTS_OF_A_DAMAGED_FILE = (
    OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError,
    AssertionError, MemoryError, NotImplementedError, zlib.error, struct.error,
)

Tree = dict[str, Any]


def read_tree(path: Path) -> Tree:
    """Return everything in the file at ``path``, attributes apart.

    Raises
    ------
    CheckpointError
        If the file is not HDF5, is damaged, too large, or reaches outside itself.
    """
    try:
        with path.open("rb") as raw, h5py.File(path, "r") as file:
            if file.userblock_size or file.id.get_create_plist().get_sizes() != (8, 8):
                raise CheckpointError("not laid out as h5py does it; copy it with h5repack")
            return _Reader(raw).group(file, 0)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except FAULTS_OF_A_DAMAGED_FILE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: not a readable HDF5 file ({reason})") from None


def digest(tree: Any) -> str:
    """Return the SHA-256 of a tree: of its keys, types, shapes and values."""
    if isinstance(tree, dict):
        content = "".join(f"{key} {digest(tree[key])}\n" for key in sorted(tree)).encode()
    else:
        array = np.asarray(tree)
        content = f"{array.dtype.str} {array.shape}\n".encode() + array.tobytes()
    return hashlib.sha256(content).hexdigest()


class _Reader:
    """What is left of the limits while a file is read."""

    def __init__(self, raw: BinaryIO) -> None:
        self._n_bytes, self._n_items = MAX_BYTES, _MAX_ITEMS
        self._raw = raw
        self._heaps: dict[int, dict[int, bytes]] = {}

    def group(self, group: h5py.Group, depth: int) -> Tree:
        self._n_items -= len(group)
        if self._n_items < 0 or depth > _MAX_DEPTH:
            raise CheckpointError(
                f"'{group.name}' exceeds {_MAX_ITEMS} objects or {_MAX_DEPTH} levels")
        tree: Tree = {}
        for name in group:
            where = f"{group.name.rstrip('/')}/{name}"
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise CheckpointError(f"'{where}' is a link to somewhere else; store it in place")
            item = group[name]
            if isinstance(item, h5py.Group):
                tree[name] = self.group(item, depth + 1)
            elif isinstance(item, h5py.Dataset):
                tree[name] = self._dataset(item, where)
            else:
                raise CheckpointError(f"'{where}' is neither a group nor a dataset")
        return tree

    def _dataset(self, dataset: h5py.Dataset, where: str) -> Any:
        if dataset.is_virtual or dataset.external:
            raise CheckpointError(f"'{where}' is stored outside the file; store it in place")
        if dataset.shape is None:
            raise CheckpointError(f"'{where}' is empty")
        text = h5py.check_string_dtype(dataset.dtype)
        if text is None and dataset.dtype.kind not in "biuf":
            raise CheckpointError(f"'{where}' holds {dataset.dtype}, not numbers or text")
        n_bytes = math.prod(dataset.shape) * dataset.dtype.itemsize
        self._n_bytes -= n_bytes
        if self._n_bytes < 0:
            raise CheckpointError(
                f"'{where}' declares shape {dataset.shape}; all arrays together may have "
                f"{MAX_BYTES >> 20} MiB")
        n_stored = dataset.id.get_storage_size()
        if n_bytes > _MAX_DEFLATE_RATIO * n_stored:
            raise CheckpointError(
                f"'{where}' declares shape {dataset.shape}, but only {n_stored} bytes are stored")
        if text is not None and text.length is None:
            return self._words(dataset, where)
        if dataset.chunks is not None:
            _check_chunks(dataset, where)
        value = dataset[()] if text is None else dataset.asstr()[()]
        return value.tolist() if text is not None and dataset.shape else value

    def _words(self, dataset: h5py.Dataset, where: str) -> Any:
        """Return text of variable length: of each word its length, heap and place in it."""
        n_words, offset = math.prod(dataset.shape), dataset.id.get_offset()
        if offset is None or dataset.id.get_storage_size() != 16 * n_words:
            raise CheckpointError(f"'{where}' is text in chunks; store it in one piece")
        self._raw.seek(offset)
        words = []
        for size, address, index in struct.iter_unpack("<IQI", self._raw.read(16 * n_words)):
            if address not in self._heaps:
                self._heaps[address] = self._heap(address)
            words.append(self._heaps[address][index][:size].decode())
        return np.reshape(np.array(words, dtype=object), dataset.shape).tolist()

    def _heap(self, address: int) -> dict[int, bytes]:
        """Return the objects of a global heap collection (HDF5 file format, III.E)."""
        self._raw.seek(address)
        signature, size = struct.unpack("<4s4xQ", self._raw.read(16))
        if signature != b"GCOL" or size > _MAX_HEAP_BYTES:
            raise CheckpointError("holds a damaged heap of text")
        heap, at, found = self._raw.read(size - 16), 0, {}
        while at + 16 <= len(heap):
            index, n_bytes = struct.unpack_from("<H6xQ", heap, at)
            if index == 0:  # the free space at the end
                break
            found[index] = heap[at + 16 : at + 16 + n_bytes]
            at += 16 + -(-n_bytes // 8) * 8
        return found


def _check_chunks(dataset: h5py.Dataset, where: str) -> None:
    """Raise CheckpointError unless every chunk inflates to its declared size and no further."""
    properties = dataset.id.get_create_plist()
    filters = {properties.get_filter(index)[0] for index in range(properties.get_nfilters())}
    if not filters <= {_DEFLATE, _SHUFFLE, _FLETCHER32}:
        raise CheckpointError(f"'{where}' is compressed by other means than gzip; use gzip")
    n_bytes = math.prod(dataset.chunks) * dataset.dtype.itemsize
    n_chunks = math.prod(
        -(-size // chunk) for size, chunk in zip(dataset.shape, dataset.chunks, strict=True))
    if n_bytes * n_chunks > 4 * math.prod(dataset.shape) * dataset.dtype.itemsize + (1 << 20):
        raise CheckpointError(f"'{where}' declares chunks {dataset.chunks} that do not fit it")

    def check(chunk: Any) -> None:
        if chunk.filter_mask or chunk.size > 2 * n_bytes + 1024:
            raise CheckpointError(f"'{where}' has a chunk of {chunk.size} bytes")
        if _DEFLATE in filters:
            _, packed = dataset.id.read_direct_chunk(chunk.chunk_offset)
            if len(zlib.decompressobj().decompress(packed, n_bytes + 1)) != n_bytes:
                raise CheckpointError(f"'{where}' has a chunk that does not inflate to its size")

    dataset.id.chunk_iter(check)
