"""Artifacts on disk: frozen dataclasses of arrays and numbers, written whole or not at all.

An artifact is a ``.npz``: one JSON tree, ``tree``, in which arrays stand as references, and the
arrays themselves. Only dataclasses of this package are restored; nothing is unpickled.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import os
import shutil
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import OutputError

SCHEMA_VERSION = 1


def save_artifact(path: Path, value: Any, meta: dict[str, Any]) -> None:
    """Write ``value`` and ``meta`` (plain JSON) to ``path`` through a temporary file."""
    arrays: dict[str, NDArray[Any]] = {}
    tree = {"schema": SCHEMA_VERSION, "meta": meta, "value": _encode(value, arrays)}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with partial.open("wb") as file:
            _write_archive(file, {"tree": np.array(json.dumps(tree)), **arrays})
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def require_space(folder: Path, n_bytes: int, what: str) -> None:
    """Raise OutputError unless a folder's disk has room for what is about to be computed."""
    n_free = shutil.disk_usage(folder).free
    if n_free < n_bytes:
        raise OutputError(
            f"'{folder}': {what} of this network take up to {n_bytes / 1e9:.2g} GB, "
            f"{n_free / 1e9:.2g} GB are free; free some, or choose a folder on another disk "
            "(OUT= or --out)")


def _write_archive(file: BinaryIO, arrays: dict[str, NDArray[Any]]) -> None:
    """Write what ``np.savez`` writes; of a full disk, that leaves an archive which cannot close."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(  # type: ignore[no-untyped-call]
                    member, array, allow_pickle=False)


def load_meta(path: Path) -> dict[str, Any] | None:
    """Return the ``meta`` of an artifact, or None if there is no usable artifact at ``path``."""
    try:
        # of a damaged archive np.load would leave the file open that it opens itself
        with path.open("rb") as file, np.load(file) as archive:
            tree = json.loads(str(archive["tree"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return dict(tree["meta"]) if tree.get("schema") == SCHEMA_VERSION else None


def load_artifact(path: Path) -> Any:
    """Return the value of an artifact."""
    with np.load(path) as archive:
        tree = json.loads(str(archive["tree"]))
        return _decode(tree["value"], archive)


def content_hash(*parts: Any) -> str:
    """Return the SHA-256 of JSON-like values and bytes, as 64 hex digits."""
    digest = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else json.dumps(part, sort_keys=True).encode()
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()


def source_hash(files: Iterable[Path]) -> str:
    """Return a hash of the names and contents of source files."""
    return content_hash([[path.name, content_hash(path.read_bytes())] for path in files])


def _encode(value: Any, arrays: dict[str, NDArray[Any]]) -> Any:
    if isinstance(value, np.ndarray):
        key = f"a{len(arrays)}"
        arrays[key] = value
        return {"array": key}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kind = type(value)
        fields = {
            field.name: _encode(getattr(value, field.name), arrays)
            for field in dataclasses.fields(value)
        }
        return {"dataclass": f"{kind.__module__}:{kind.__qualname__}", "fields": fields}
    if isinstance(value, dict):
        return {"dict": [[_encode(k, arrays), _encode(v, arrays)] for k, v in value.items()]}
    if isinstance(value, (tuple, list)):
        return {"tuple": [_encode(item, arrays) for item in value]}
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise TypeError(f"an artifact cannot hold a {type(value).__name__}")


def _decode(node: Any, archive: Any) -> Any:
    if not isinstance(node, dict):
        return node
    if "array" in node:
        return archive[node["array"]]
    if "dict" in node:
        return {_decode(k, archive): _decode(v, archive) for k, v in node["dict"]}
    if "tuple" in node:
        return tuple(_decode(item, archive) for item in node["tuple"])
    module, name = node["dataclass"].split(":")
    if not module.startswith("pipeline."):
        raise ValueError(f"artifact names a class outside this package: {module}")
    kind = getattr(importlib.import_module(module), name)
    return kind(**{key: _decode(item, archive) for key, item in node["fields"].items()})
