"""Variable-length words of HDF5 files, read from the bytes.

In: a scalar dataset. Out: its bytes. HDF5's own reader loops forever on a damaged global heap and
allocates whatever length a word declares, 4 GB at most (2.0.0, found by fuzzing); a NetX file has
such words in the type of every layer's neurons.

References
----------
HDF5 File Format Specification 3.0, III.E "Global Heap" and VIII.B.2 "Variable-Length Datatypes".
"""

from __future__ import annotations

import struct
from typing import Any, BinaryIO

import h5py

_REFERENCE = struct.Struct("<IQI")  # length, address of the heap, index in it
_HEAP = struct.Struct("<4sB3xQ")  # signature, version, size
_OBJECT = struct.Struct("<HH4xQ")  # index, reference count, size
_MAX_OBJECTS = 1 << 16  # an index has 16 bits
_MAX_LENGTH = 255


def read_word(dataset: h5py.Dataset) -> bytes:
    """Return the one variable-length string of a dataset.

    Raises
    ------
    ValueError
        If it is not where the file says.
    """
    file = dataset.file
    offset = dataset.id.get_offset()
    if offset is None or file.id.get_create_plist().get_sizes() != (8, 8):
        raise ValueError("a word that is not stored as h5py stores it; copy the file with h5repack")
    with open(file.filename, "rb") as stream:
        length, heap, index = _unpack(stream, _REFERENCE, offset)
        if length > _MAX_LENGTH:
            raise ValueError(f"a word of {length} bytes")
        return _object(stream, file.userblock_size + heap, index)[:length]


def _object(stream: BinaryIO, heap: int, wanted: int) -> bytes:
    """Return the start of an object of the heap at a position of the file."""
    signature, _, heap_size = _unpack(stream, _HEAP, heap)
    if signature != b"GCOL":
        raise ValueError("no heap of words where one should be")
    position, end = heap + _HEAP.size, heap + heap_size
    for _ in range(_MAX_OBJECTS):
        if position + _OBJECT.size > end:
            break
        index, _, size = _unpack(stream, _OBJECT, position)
        position += _OBJECT.size
        if index == wanted:
            stream.seek(position)
            return stream.read(min(size, _MAX_LENGTH))
        position += -(-size // 8) * 8
    raise ValueError("a word that is not in its heap")


def _unpack(stream: BinaryIO, layout: struct.Struct, position: int) -> tuple[Any, ...]:
    stream.seek(min(position, 1 << 62))
    content = stream.read(layout.size)
    if len(content) < layout.size:
        raise ValueError("a word beyond the end of the file")
    return layout.unpack(content)
