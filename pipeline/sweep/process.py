"""The process of a sweep's worker: how it starts, what it answers, how it ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from pipeline.sweep.work import do

if TYPE_CHECKING:
    from pipeline.sweep.trial import Study


@contextmanager
def deaf_to_ctrl_c() -> Iterator[None]:
    """Start processes that never get SIGINT, not even before they can ignore it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def serve(connection: Connection, study: Study) -> None:
    """Answer work until the pipe closes; the body of a process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's to answer
    signal.signal(signal.SIGTERM, _end)
    from pipeline.compress.threads import one_thread
    from pipeline.sweep.trial import Bench

    bench = Bench(study)
    with one_thread():
        while True:
            try:
                work = connection.recv()
                connection.send(do(work, bench))
            except (EOFError, ConnectionError):
                return  # the driver is gone


def _end(*_: object) -> None:
    """Leave as an exception does, so that temporary files are removed."""
    raise SystemExit(1)


@contextmanager
def environment(changes: dict[str, str]) -> Iterator[None]:
    """Set variables of the environment for what is started meanwhile."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
