"""An HDF5 file as nested dicts of arrays, read without trusting it.

In: a NIR file of unknown origin. Out: groups as dicts, datasets as arrays, numbers and strings.
What is read of it at all is bounded in :mod:`pipeline.ingest.hdf5_bounded`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import CheckpointError
from pipeline.ingest.hdf5_bounded import Array, Group, open_bounded, reading

_MAX_DEPTH = 16

Tree = dict[str, Any]


def read_tree(path: Path) -> Tree:
    """Return everything in the file at ``path``, attributes apart.

    Raises
    ------
    CheckpointError
        If the file is not HDF5, is damaged, too large, or reaches outside itself.
    """
    with open_bounded(path, Group) as root:
        return _members(root, ())


def digest(tree: Any) -> str:
    """Return the SHA-256 of a tree: of its keys, types, shapes and values."""
    if isinstance(tree, dict):
        content = "".join(f"{key} {digest(tree[key])}\n" for key in sorted(tree)).encode()
    else:
        array = np.asarray(tree)
        content = f"{array.dtype.str} {array.shape}\n".encode() + array.tobytes()
    return hashlib.sha256(content).hexdigest()


def _members(group: Group, above: tuple[Group, ...]) -> Tree:
    if any(map(group.is_same, above)) or len(above) > _MAX_DEPTH:
        raise CheckpointError(f"{group.where}: holds itself, or exceeds {_MAX_DEPTH} levels")
    tree: Tree = {}
    for name in group.keys():
        member = group.member(name)
        tree[name] = (
            _members(member, (*above, group)) if isinstance(member, Group) else _value(member))
    return tree


def _value(array: Array) -> Any:
    """Return an array or a number; text as a string or nested lists of them."""
    if not array.is_text:
        return array.numbers()[()]
    with reading(array.at):
        words = np.array([word.decode() for word in array.words().flat], dtype=object)
        return words.reshape(array.shape).tolist()
