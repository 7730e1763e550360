"""Results on disk: small JSON files under content keys, written whole or not at all.

In: plain dicts. Out: the same dicts, in any process that shares the folder. What is not there, or
is damaged, counts as not computed.
"""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

from pipeline.errors import OutputError

Result = dict[str, Any]
_OUT_OF_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# what no other configuration would fare better with
_UNWRITABLE = (*_OUT_OF_SPACE, errno.EROFS, errno.EACCES, errno.EPERM)


class Store:
    """The folder ``.store`` of a study.

    Attributes
    ----------
    bank, locks : folders of the layer bank and of claims
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bank, self.locks = folder / "bank", folder / "locks"

    def load(self, kind: str, key: str) -> Result | None:
        """Return a result, or None if there is no usable one."""
        try:
            content = json.loads(self._path(kind, key).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return content if isinstance(content, dict) else None

    def save(self, kind: str, key: str, result: Result) -> None:
        """Keep a result."""
        text = json.dumps(result, indent=1, allow_nan=False)
        write_whole(self._path(kind, key), text + "\n")

    def load_all(self, kind: str) -> list[Result]:
        """Return every result of a kind, of whatever study and version."""
        keys = sorted(path.stem for path in (self.folder / kind).glob("*.json"))
        return [result for key in keys if (result := self.load(kind, key)) is not None]

    def lock(self, key: str) -> Path:
        """Return the lock file of a piece of work."""
        return self.locks / f"{key[:32]}.lock"

    def _path(self, kind: str, key: str) -> Path:
        return self.folder / kind / f"{key[:32]}.json"


def prepare_folder(folder: Path) -> None:
    """Make a folder and see that it can be written.

    Raises
    ------
    OutputError
        If it cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable.{os.getpid()}.tmp"
        probe.write_bytes(b"x")
        probe.unlink(missing_ok=True)  # a driver in another container may have our process id
    except OSError as error:
        raise unwritable(folder, error) from None


def write_whole(path: Path, text: str) -> None:
    """Write a file through a temporary one; the caller holds the claim on it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_partials(path)
    partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def remove_partials(path: Path) -> None:
    """Remove what processes that were killed while writing a file have left."""
    for partial in path.parent.glob(f"{path.name}.*.tmp"):
        partial.unlink(missing_ok=True)


def is_unwritable(error: OSError) -> bool:
    """Whether an error says that nothing more can be written."""
    return error.errno in _UNWRITABLE


def unwritable(folder: Path, error: OSError) -> OutputError:
    """Return the error of a study folder that takes no more."""
    reason = error.strerror or str(error)
    remedy = "make room" if error.errno in _OUT_OF_SPACE else "mend its permissions"
    return OutputError(
        f"study folder {folder}: cannot be written ({reason}); what was computed before is kept: "
        f"{remedy} and run the same command to continue, or name another folder with OUT= or --out"
    )
