"""A NetX file as entries of numbers and words; nothing in it is trusted.

In: a path. Out: the groups ``layer/0``, ``layer/1``, ... as :class:`Entry`. A value is read only
after its declared type, size and storage were found harmless, and never from outside the file:
links, external storage and virtual datasets are refused. What the keys mean is not known here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import CheckpointError
from pipeline.ingest.hdf5_heap import read_word

_MAX_ENTRIES = 1000
_MAX_BYTES = 1 << 30
_MAX_LISTED = 12
_FAULTS_OF_A_DAMAGED_FILE = (
    OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, OverflowError,
)


@dataclass
class _Budget:
    """Bytes of arrays that may still be read: plain arrays take no less of the file."""

    n_left: int

    def take(self, dataset: h5py.Dataset, at: str) -> None:
        n_bytes = math.prod(dataset.shape) * dataset.dtype.itemsize
        if n_bytes > self.n_left:
            raise CheckpointError(
                f"{at}: declares an array of shape {dataset.shape}, {n_bytes} bytes, more than the "
                f"{self.n_left} that are left in the file; it is damaged"
            )
        self.n_left -= n_bytes


class Entry:
    """One HDF5 group.

    Attributes
    ----------
    where : its path in the file, for messages
    """

    def __init__(self, group: h5py.Group, where: str, budget: _Budget) -> None:
        self.where = where
        self._group, self._budget = group, budget
        self._asked: dict[str, Entry | None] = {}

    def __contains__(self, key: str) -> bool:
        with _reading(self.at(key)):
            return key in self._group

    def at(self, key: str) -> str:
        """Return the path of a key, for messages."""
        return f"{self.where}/{key}" if self.where else key

    def keys(self) -> list[str]:
        """Return the names of all members, safe to print."""
        with _reading(self.where):
            return [_printable(name) for name in self._group]

    def is_group(self, key: str) -> bool:
        """Return whether a member is a group."""
        return isinstance(self._member(key), h5py.Group)

    def group(self, key: str) -> Entry:
        """Return a member that is a group."""
        member = self._member(key)
        if not isinstance(member, h5py.Group):
            raise CheckpointError(f"{self.at(key)}: is not a group")
        entry = self._asked[key]
        if entry is None:
            entry = self._asked[key] = Entry(member, self.at(key), self._budget)
        return entry

    def text(self, key: str) -> str:
        """Return one word, stored as bytes or text, alone or in an array of one."""
        dataset = self._dataset(key)
        with _reading(self.at(key)):
            kind = h5py.check_string_dtype(dataset.dtype)
            if kind is None or dataset.size != 1:
                raise CheckpointError(f"{self.at(key)}: is not one word")
            return _printable(
                read_word(dataset) if kind.length is None else np.ravel(dataset[()])[0])

    def values(self, key: str) -> NDArray[Any]:
        """Return numbers of any shape, in the type they are stored in, at least one of them."""
        dataset = self._dataset(key)
        with _reading(self.at(key)):
            if dataset.dtype.kind not in "biuf" or dataset.dtype.itemsize > 8:
                raise CheckpointError(f"{self.at(key)}: holds {dataset.dtype}, not numbers")
            if dataset.size == 0:
                raise CheckpointError(f"{self.at(key)}: is empty")
            return np.asarray(dataset[()])

    def finite(self, key: str) -> NDArray[Any]:
        """Return numbers, none of which is infinite or not a number."""
        values = self.values(key)
        n_bad = int(values.size - np.isfinite(values).sum())
        if n_bad:
            raise CheckpointError(
                f"{self.at(key)}: {n_bad} of {values.size} numbers are not finite; the file is "
                "damaged or its training diverged"
            )
        return values

    def whole(self, key: str, largest: int = (1 << 31) - 1) -> NDArray[np.int32]:
        """Return numbers that are whole and no larger in magnitude, in the shape they have."""
        values = self.finite(key)
        if values.dtype.kind == "f":
            off = np.abs(values - np.trunc(values))
            if off.any():
                raise CheckpointError(
                    f"{self.at(key)}: {np.count_nonzero(off)} of {values.size} numbers are not "
                    f"whole, by up to {off.max():.3g}; NetX cuts the fractions off without a word: "
                    "quantize before exporting"
                )
        for extreme in (values.max(), values.min()):
            if abs(int(extreme)) > largest:
                raise CheckpointError(
                    f"{self.at(key)}: {extreme} is outside -{largest}..{largest}; the file is "
                    "damaged"
                )
        return values.astype(np.int32)

    def unread(self) -> list[str]:
        """Return the keys that nobody asked for, those of groups that were read included."""
        found = [key for key in self.keys() if key not in self._asked]
        for key, entry in self._asked.items():
            if entry is not None:
                found += [f"{key}/{name}" for name in entry.unread()]
        return found

    def _dataset(self, key: str) -> Any:
        dataset = self._member(key)
        if not isinstance(dataset, h5py.Dataset):
            raise CheckpointError(f"{self.at(key)}: is not an array")
        with _reading(self.at(key)):
            _check_storage(dataset, self.at(key))
            self._budget.take(dataset, self.at(key))
        return dataset

    def _member(self, key: str) -> Any:
        self._asked.setdefault(key, None)
        with _reading(self.at(key)):
            if key not in self._group:
                raise CheckpointError(f"{self.at(key)}: is missing")
            if not isinstance(self._group.get(key, getlink=True), h5py.HardLink):
                raise CheckpointError(
                    f"{self.at(key)}: is a link to somewhere else, which is not followed; copy "
                    "what it points to into the file (h5copy)"
                )
            return self._group[key]


@contextmanager
def open_netx(path: Path) -> Iterator[tuple[Entry, list[Entry]]]:
    """Open a NetX file for reading; errors raised inside are given its path.

    Yields
    ------
    The file itself, and its layers in order.

    Raises
    ------
    CheckpointError
        If the file cannot be read, or does not hold ``layer/0``, ``layer/1``, ...
    """
    try:
        if not path.is_file():
            raise CheckpointError("is not a file")
        with _reading("HDF5 structure"):
            file = h5py.File(path, "r")
        with file:
            budget = _Budget(min(_MAX_BYTES, path.stat().st_size))
            root = Entry(file, "", budget)
            yield root, _in_order(root.group("layer"))
    except CheckpointError as error:
        raise type(error)(f"{path}: {error}") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from None


def listed(names: list[str]) -> str:
    """Return names as a list to print, the first ones if they are many."""
    rest = len(names) - _MAX_LISTED
    return ", ".join(names[:_MAX_LISTED]) + (f" and {rest} more" if rest > 0 else "")


def _in_order(layers: Entry) -> list[Entry]:
    keys = layers.keys()
    if not 0 < len(keys) <= _MAX_ENTRIES:
        raise CheckpointError(
            f"layer: holds {len(keys)} entries; supported are 1 to {_MAX_ENTRIES}"
        )
    expected = [str(index) for index in range(len(keys))]
    strange = sorted(set(keys) - set(expected))
    if strange:
        raise CheckpointError(
            f"layer: {len(keys)} entries must be numbered 0 to {len(keys) - 1}; found "
            f"{listed(strange)}"
        )
    return [layers.group(key) for key in expected]


def _check_storage(dataset: h5py.Dataset, at: str) -> None:
    """Raise unless a dataset is a plain array in this file, which cannot unpack to more."""
    if dataset.shape is None:
        raise CheckpointError(f"{at}: is empty")
    if dataset.is_virtual or dataset.external:
        raise CheckpointError(
            f"{at}: is stored in other files, which are not opened; copy the file with h5repack"
        )
    if dataset.chunks is not None:
        raise CheckpointError(
            f"{at}: is stored in chunks, compressed or not, which no exporter of NetX files does; "
            "copy the file with h5repack -f NONE -l CONTI"
        )


@contextmanager
def _reading(at: str) -> Iterator[None]:
    """Turn what h5py raises on damaged files into CheckpointError."""
    try:
        yield
    except _FAULTS_OF_A_DAMAGED_FILE as error:
        reason = _printable(str(error).splitlines()[0] if str(error) else type(error).__name__)
        raise CheckpointError(f"{at}: cannot be read ({reason}); the file is damaged") from None


def _printable(word: bytes | str) -> str:
    """Return a word of a file in printable ASCII."""
    text = word.decode("latin-1") if isinstance(word, bytes) else str(word)
    return ascii(text.strip("\0 "))[1:-1]
