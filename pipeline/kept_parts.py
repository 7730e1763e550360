"""What a long stage has finished of its work, kept for the run that continues an interrupted one.

In: a folder under the stage's key, and parts as they are made. Out: each part, made once. When the
stage is over its artifact holds everything, and the line removes the folder.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pipeline.artifact import content_hash, load_artifact, load_meta, save_artifact

Part = TypeVar("Part")

_WORTH_S = 2.0  # parts that took less are made again


class KeptParts:
    """Parts by name.

    Parameters
    ----------
    folder : under a key of all that decides the parts; None keeps nothing
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    def get(self, name: str, make: Callable[[], Part]) -> Part:
        """Return a part: the one that is kept, or the one that ``make`` returns."""
        path = self._path(name)
        if path is not None and self.holds(name):
            kept: Part = load_artifact(path)
            return kept
        begin = time.perf_counter()
        part = make()
        elapsed_s = time.perf_counter() - begin
        if path is not None and elapsed_s > _WORTH_S:
            save_artifact(path, part, {"name": name, "elapsed_s": elapsed_s})
        return part

    def holds(self, name: str) -> bool:
        """Return whether a part is kept."""
        path = self._path(name)
        meta = None if path is None else load_meta(path)
        return meta is not None and meta["name"] == name

    def _path(self, name: str) -> Path | None:
        return None if self._folder is None else self._folder / f"{content_hash(name)[:32]}.npz"
