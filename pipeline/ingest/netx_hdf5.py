"""A NetX file as entries of numbers and words; nothing in it is trusted.

In: a path. Out: the groups ``layer/0``, ``layer/1``, ... as :class:`Entry`. What is read of the
file at all is bounded in :mod:`pipeline.ingest.hdf5_bounded`; what its keys mean is not known here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import CheckpointError
from pipeline.ingest.hdf5_bounded import Array, Group, open_bounded, printable

_MAX_ENTRIES = 1000
_MAX_WORD_BYTES = 255
_MAX_LISTED = 12


class Entry(Group):
    """One HDF5 group, and which of its members were asked for."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._asked: dict[str, Entry | Array] = {}

    def member(self, name: str) -> Entry | Array:
        """Return a member, counted once however often it is asked for."""
        if name not in self._asked:
            self._asked[name] = super().member(name)
        return self._asked[name]

    def is_group(self, key: str) -> bool:
        """Return whether a member is a group."""
        return isinstance(self.member(key), Entry)

    def group(self, key: str) -> Entry:
        """Return a member that is a group."""
        member = self.member(key)
        if isinstance(member, Array):
            raise CheckpointError(f"{self.at(key)}: is not a group")
        return member

    def text(self, key: str) -> str:
        """Return one word, stored as bytes or text, alone or in an array of one."""
        array = self._array(key)
        if not array.is_text or array.size != 1:
            raise CheckpointError(f"{array.at}: is not one word")
        word: bytes = array.words().flat[0]
        if len(word) > _MAX_WORD_BYTES:
            raise CheckpointError(f"{array.at}: is a word of {len(word)} bytes")
        return printable(word.decode("latin-1").strip("\0 "))

    def values(self, key: str) -> NDArray[Any]:
        """Return numbers of any shape, in the type they are stored in, at least one of them."""
        array = self._array(key)
        if array.is_text:
            raise CheckpointError(f"{array.at}: holds {array.dtype}, not numbers")
        if array.size == 0:
            raise CheckpointError(f"{array.at}: is empty")
        return array.numbers()

    def finite(self, key: str) -> NDArray[Any]:
        """Return numbers, none of which is infinite or not a number."""
        values = self.values(key)
        n_bad = int(values.size - np.isfinite(values).sum())
        if n_bad:
            raise CheckpointError(
                f"{self.at(key)}: {n_bad} of {values.size} numbers are not finite; the file is "
                "damaged or its training diverged")
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
                    "quantize before exporting")
        for extreme in (values.max(), values.min()):
            if abs(int(extreme)) > largest:
                raise CheckpointError(
                    f"{self.at(key)}: {extreme} is outside -{largest}..{largest}; the file is "
                    "damaged")
        return values.astype(np.int32)

    def unread(self) -> list[str]:
        """Return the keys that nobody asked for, those of groups that were read included."""
        found = [key for key in self.keys() if key not in self._asked]
        for key, entry in self._asked.items():
            if isinstance(entry, Entry):
                found += [f"{key}/{name}" for name in entry.unread()]
        return found

    def _array(self, key: str) -> Array:
        member = self.member(key)
        if isinstance(member, Entry):
            raise CheckpointError(f"{self.at(key)}: is not an array")
        return member


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
    with open_bounded(path, Entry, takes_chunks=False) as root:
        yield root, _in_order(root.group("layer"))


def listed(names: list[str]) -> str:
    """Return names as a list that is safe to print, the first ones if they are many."""
    first, rest = map(printable, names[:_MAX_LISTED]), len(names) - _MAX_LISTED
    return ", ".join(first) + (f" and {rest} more" if rest > 0 else "")


def _in_order(layers: Entry) -> list[Entry]:
    keys = layers.keys()
    if not 0 < len(keys) <= _MAX_ENTRIES:
        raise CheckpointError(
            f"layer: holds {len(keys)} entries; supported are 1 to {_MAX_ENTRIES}")
    expected = [str(index) for index in range(len(keys))]
    strange = sorted(set(keys) - set(expected))
    if strange:
        raise CheckpointError(
            f"layer: {len(keys)} entries must be numbered 0 to {len(keys) - 1}; found "
            f"{listed(strange)}")
    return [layers.group(key) for key in expected]
