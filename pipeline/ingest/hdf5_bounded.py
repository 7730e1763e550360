"""An HDF5 file of unknown origin: what it declares is checked before anything is read.

In: a path. Out: the members of groups, numbers, words. Declared types, sizes and storage are held
against what the file has and against fixed limits, chunks inflated no further than they may grow.
Nothing outside the file is opened: links, external and virtual storage are refused. What members
mean is not known here but to the readers of NetX and NIR files above.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import h5py
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import CheckpointError
from pipeline.ingest.hdf5_heap import REFERENCE, Heaps

_MAX_BYTES = 1 << 30  # of all values of one file, unpacked
_MAX_ITEMS = 40_000  # members listed and words read; it takes 8 s to come to their end
_MAX_CHUNK_BYTES = 1 << 26  # HDF5 holds two of them beside the array
_MAX_DEFLATE_RATIO = 1032  # zlib's own bound, https://zlib.net/zlib_tech.html
_DEFLATE, _SHUFFLE, _FLETCHER32 = 1, 2, 3  # HDF5's registered filters
# what h5py, and nir after it, raise on damaged files; found by fuzzing
FAULTS_OF_A_DAMAGED_FILE = (
    OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError,
    AssertionError, MemoryError, zlib.error, struct.error,
)
_G = TypeVar("_G", bound="Group")


class _Limits:
    """What may still be read of an open file."""

    def __init__(self, file: h5py.File, raw: BinaryIO, n_bytes: int, takes_chunks: bool) -> None:
        if file.id.get_create_plist().get_sizes() != (8, 8):
            raise CheckpointError("is not laid out as h5py does it; copy the file with h5repack")
        self.takes_chunks, self.heaps = takes_chunks, Heaps(raw, file.userblock_size, n_bytes)
        self._n_stored, self._n_bytes, self._n_items = n_bytes, _MAX_BYTES, _MAX_ITEMS

    def take_items(self, n_items: int, at: str) -> None:
        """Count members listed or words read."""
        self._n_items -= n_items
        if self._n_items < 0:
            raise CheckpointError(f"{at}: the file has more than {_MAX_ITEMS} members and words")

    def take_bytes(self, dataset: h5py.Dataset, at: str) -> None:
        """Count a dataset, refusing what cannot come from the bytes that are stored."""
        n_bytes = math.prod(dataset.shape) * dataset.dtype.itemsize
        n_stored = dataset.id.get_storage_size()
        declared = f"{at}: declares an array of shape {dataset.shape}, {n_bytes} bytes"
        if n_bytes > n_stored * (1 if dataset.chunks is None else _MAX_DEFLATE_RATIO):
            raise CheckpointError(f"{declared}, of which {n_stored} are stored; it is damaged")
        if n_stored > self._n_stored:
            raise CheckpointError(f"{declared}, more than the {self._n_stored} that are left in "
                                  "the file; it is damaged")
        if n_bytes > self._n_bytes:
            raise CheckpointError(
                f"{declared}; all arrays of a file together may have {_MAX_BYTES >> 20} MiB")
        self._n_stored -= n_stored
        self._n_bytes -= n_bytes


class Array:
    """A dataset of numbers or text that is harmless to read once.

    Attributes
    ----------
    at : its path in the file, for messages
    dtype, shape, size : as numpy has them
    """

    def __init__(self, dataset: h5py.Dataset, at: str, limits: _Limits) -> None:
        self.at, self._dataset, self._limits = at, dataset, limits
        if dataset.shape is None:
            raise CheckpointError(f"{at}: is empty")
        if dataset.is_virtual or dataset.external:
            raise CheckpointError(f"{at}: is stored in other files, which are not opened; copy "
                                  "the file with h5repack")
        self.dtype, self.shape, self.size = dataset.dtype, dataset.shape, math.prod(dataset.shape)
        self._text = h5py.check_string_dtype(self.dtype)
        if not self.is_text and (self.dtype.kind not in "biuf" or self.dtype.itemsize > 8):
            raise CheckpointError(f"{at}: holds {self.dtype}, not numbers or text")
        if dataset.chunks is not None and not limits.takes_chunks:
            raise CheckpointError(
                f"{at}: is stored in chunks, compressed or not, which no exporter of such files "
                "does; copy the file with h5repack -f NONE -l CONTI")
        limits.take_bytes(dataset, at)

    @property
    def is_text(self) -> bool:
        """Whether it holds words."""
        return self._text is not None

    def numbers(self) -> NDArray[Any]:
        """Return the numbers, in the type they are stored in."""
        with reading(self.at):
            if self._dataset.chunks is not None:
                _check_chunks(self._dataset, self.at)
            return np.asarray(self._dataset[()])

    def words(self) -> NDArray[Any]:
        """Return the words, as bytes."""
        self._limits.take_items(self.size, self.at)
        if self._text.length is not None:
            return self.numbers()
        with reading(self.at):
            offset = self._dataset.id.get_offset()
            if offset is None or self._dataset.id.get_storage_size() != REFERENCE.size * self.size:
                raise CheckpointError(
                    f"{self.at}: is text not stored in one piece; copy the file with h5repack")
            words = self._limits.heaps.words(offset, self.size)
            return np.array(words, dtype=object).reshape(self.shape)


class Group:
    """A group of members.

    Attributes
    ----------
    where : its path in the file, for messages
    """

    def __init__(self, group: h5py.Group, where: str, limits: _Limits) -> None:
        self.where, self._group, self._limits = where, group, limits

    def __contains__(self, name: str) -> bool:
        with reading(self.at(name)):
            return name in self._group

    def is_same(self, other: Group) -> bool:
        """Return whether two paths lead to one group."""
        return bool(self._group == other._group)

    def at(self, name: str) -> str:
        """Return the path of a member, for messages."""
        return f"{self.where}/{printable(name)}" if self.where else printable(name)

    def keys(self) -> list[str]:
        """Return the names of all members."""
        with reading(self.where or "/"):
            self._limits.take_items(len(self._group), self.where or "/")
            return [name if isinstance(name, str) else name.decode("ascii", "backslashreplace")
                    for name in self._group]

    def member(self: _G, name: str) -> _G | Array:
        """Return a member, checked but not read."""
        at = self.at(name)
        with reading(at):
            if name not in self._group:
                raise CheckpointError(f"{at}: is missing")
            if "/" in name or not isinstance(self._group.get(name, getlink=True), h5py.HardLink):
                raise CheckpointError(
                    f"{at}: is a link to somewhere else, which is not followed; copy what it "
                    "points to into the file (h5copy)")
            item = self._group[name]
            if isinstance(item, h5py.Dataset):
                return Array(item, at, self._limits)
            if not isinstance(item, h5py.Group):
                raise CheckpointError(f"{at}: is neither a group nor an array")
            return type(self)(item, at, self._limits)


@contextmanager
def open_bounded(path: Path, kind: type[_G], *, takes_chunks: bool = True) -> Iterator[_G]:
    """Open a file for reading, as its root group; errors raised inside are given its path.

    Raises
    ------
    CheckpointError
        If the file cannot be read.
    """
    try:
        if not path.is_file():  # a pipe would be waited for
            raise CheckpointError("is not a file")
        with ExitStack() as opened:
            with reading("HDF5 structure"):
                raw = opened.enter_context(path.open("rb"))
                file = opened.enter_context(h5py.File(path, "r"))
                limits = _Limits(file, raw, path.stat().st_size, takes_chunks)
            yield kind(file, "", limits)
    except CheckpointError as error:
        raise type(error)(f"{path}: {error}") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({reason(error)})") from None


@contextmanager
def reading(at: str) -> Iterator[None]:
    """Turn what h5py raises on damaged files into CheckpointError."""
    try:
        yield
    except FAULTS_OF_A_DAMAGED_FILE as error:
        raise CheckpointError(
            f"{at}: cannot be read ({reason(error)}); the file is damaged") from None


def reason(error: BaseException) -> str:
    """Return the first line of what an error says, its kind if nothing."""
    return printable(str(error).splitlines()[0] if str(error) else type(error).__name__)


def printable(text: str) -> str:
    """Return a text of a file with all that would move a cursor written as an escape."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def _check_chunks(dataset: h5py.Dataset, at: str) -> None:
    """Raise CheckpointError unless every chunk inflates to its declared size and no further."""
    properties = dataset.id.get_create_plist()
    filters = [properties.get_filter(index)[0] for index in range(properties.get_nfilters())]
    # each once and in h5py's order: what is checked is what HDF5 will inflate, and nothing twice
    if filters != [known for known in (_SHUFFLE, _DEFLATE, _FLETCHER32) if known in filters]:
        raise CheckpointError(f"{at}: is compressed by other means than gzip, applied once; use "
                              "gzip")
    n_bytes = math.prod(dataset.chunks) * dataset.dtype.itemsize
    n_chunks = math.prod(
        -(-size // chunk) for size, chunk in zip(dataset.shape, dataset.chunks, strict=True))
    n_fitting = 4 * math.prod(dataset.shape) * dataset.dtype.itemsize + (1 << 20)
    if n_bytes * n_chunks > n_fitting or n_bytes > _MAX_CHUNK_BYTES:
        raise CheckpointError(f"{at}: declares chunks {dataset.chunks} that do not fit its shape "
                              f"{dataset.shape}, or of more than {_MAX_CHUNK_BYTES >> 20} MiB")

    def check(chunk: Any) -> None:
        if chunk.filter_mask or chunk.size > 2 * n_bytes + 1024:
            raise CheckpointError(f"{at}: has a chunk of {chunk.size} bytes")
        if _DEFLATE in filters:
            _, packed = dataset.id.read_direct_chunk(chunk.chunk_offset)
            if len(zlib.decompressobj().decompress(packed, n_bytes + 1)) != n_bytes:
                raise CheckpointError(f"{at}: has a chunk that does not inflate to its size")

    dataset.id.chunk_iter(check)
