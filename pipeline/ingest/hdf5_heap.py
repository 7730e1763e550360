"""Words of variable length in an HDF5 file, read from its bytes.

In: where a dataset refers to words. Out: their bytes. HDF5's own reader loops forever on a damaged
global heap and allocates whatever length a word declares, 4 GB at most (2.0.0, found by fuzzing).
Heaps that overlap and words referred to many times are bounded: together they take no more than
the file has.

References
----------
HDF5 File Format Specification 3.0, III.E "Global Heap" and VIII.B.2 "Variable-Length Datatypes".
"""

from __future__ import annotations

import struct
from typing import BinaryIO

REFERENCE = struct.Struct("<IQI")  # length, address of the heap, index in it
_HEAP = struct.Struct("<4s4xQ")  # signature, size
_OBJECT = struct.Struct("<H6xQ")  # index, size
_MAX_HEAP_BYTES = 1 << 24  # of all heaps; what is kept of them is ten times as large


class Heaps:
    """The global heaps of a file of ``n_bytes``, whose addresses count from ``base``."""

    def __init__(self, raw: BinaryIO, base: int, n_bytes: int) -> None:
        self._raw, self._base, self._n_bytes = raw, base, n_bytes
        self._n_heap_bytes, self._n_word_bytes = min(n_bytes, _MAX_HEAP_BYTES), n_bytes
        self._known: dict[int, dict[int, tuple[int, int]]] = {}

    def words(self, position: int, n_words: int) -> list[bytes]:
        """Return the words whose references begin at a position of the file.

        Raises
        ------
        ValueError
            If one is not where the file says.
        """
        references = self._read(position, n_words * REFERENCE.size)
        return [self._word(*found) for found in REFERENCE.iter_unpack(references)]

    def _word(self, length: int, address: int, index: int) -> bytes:
        if length == 0:
            return b""
        if address not in self._known:
            self._known[address] = self._objects(self._base + address)
        position, size = self._known[address].get(index, (0, -1))
        if size < 0:
            raise ValueError("a word that is not in its heap")
        if length > size:
            raise ValueError(f"a word of {length} bytes of which {size} are stored")
        self._n_word_bytes -= length
        if self._n_word_bytes < 0:
            raise ValueError("words of more bytes than the file has")
        return self._read(position, length)

    def _objects(self, position: int) -> dict[int, tuple[int, int]]:
        """Return where the objects of the heap at a position begin, and their sizes."""
        signature, n_bytes = _HEAP.unpack(self._read(position, _HEAP.size))
        if signature != b"GCOL":
            raise ValueError("no heap of words where one should be")
        self._n_heap_bytes -= n_bytes
        if self._n_heap_bytes < 0:
            raise ValueError(f"a heap of words of {n_bytes} bytes, too many for the file")
        position += _HEAP.size
        content, at, found = self._read(position, max(n_bytes - _HEAP.size, 0)), 0, {}
        while at + _OBJECT.size <= len(content):
            index, size = _OBJECT.unpack_from(content, at)
            at += _OBJECT.size
            if index == 0 or size > len(content) - at:  # the free space at the end; damage
                break
            found[index] = (position + at, size)
            at += -(-size // 8) * 8
        return found

    def _read(self, position: int, n_bytes: int) -> bytes:
        if position + n_bytes > self._n_bytes:
            raise ValueError("a word beyond the end of the file")
        self._raw.seek(position)
        return self._raw.read(n_bytes)
