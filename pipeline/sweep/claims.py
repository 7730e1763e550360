"""A claim on a piece of work: a lock of the kernel's, gone with the process that holds it.

In: the path of a lock file. Out: whether, or until, this process may do the work. Two processes
that open the same file never hold its claim at once; one that is killed leaves no claim behind.
There are no clocks, leases or heartbeats, so that no clock that jumps can break one. Lock files are
empty and stay: to remove one would let two processes lock two files of the same name.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import OutputError

_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)


@contextmanager
def try_claim(path: Path) -> Iterator[bool]:
    """Hold the claim if nobody else does; yield whether it is held."""
    with _opened(path) as file:
        try:
            _lock(path, file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


@contextmanager
def claim(path: Path) -> Iterator[None]:
    """Hold the claim, waiting for whoever has it."""
    with _opened(path) as file:
        _lock(path, file, fcntl.LOCK_EX)
        yield


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    path.parent.mkdir(parents=True, exist_ok=True)
    # closed on exec: no child process inherits a claim
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        yield file
    finally:
        os.close(file)  # which gives the claim back


def _lock(path: Path, file: int, operation: int) -> None:
    try:
        fcntl.flock(file, operation)
    except OSError as error:
        if error.errno not in _WITHOUT_LOCKS:
            raise
        raise OutputError(
            f"{path.parent}: its file system has no locks ({error.strerror}); name a folder on a "
            "local disk, or on a shared one with flock, with OUT= or --out") from None
