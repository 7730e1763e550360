"""Processes of one thread each, that take work and leave results in the store.

In: pieces of work. Out: a :class:`Reply` to each. The driver holds a pipe to each process: one that
dies is noticed at once and its work handed to another; when the driver dies, the pipes close, and
each process ends after what it is at. Work is claimed, so that two drivers share it.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Protocol

from pipeline.sweep.process import deaf_to_ctrl_c, environment, serve
from pipeline.sweep.work import Reply, Work, do

if TYPE_CHECKING:
    from pipeline.sweep.trial import Bench, Study

ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")}
_GRACE_S = 3.0


class Crew(Protocol):
    """Who does the work: processes of this machine, or workers of a cluster."""

    remedy: str

    @property
    def n(self) -> int:
        """Pieces of work that are done at once."""

    @property
    def is_full(self) -> bool:
        """Whether nobody is free."""

    def begin(self, study: Study) -> None:
        """Let them know where what they need is; before any work."""

    def give(self, work: Work) -> None:
        """Hand a piece of work to one who is free."""

    def finished(self, timeout_s: float) -> Iterator[tuple[Work, Reply]]:
        """Yield what finished within some time, as soon as anything has."""

    def stop(self) -> None:
        """End; what they are at may be dropped, what they stored stays."""


class Workers:
    """Some processes; with ``n`` 1 the work is done in this one."""

    remedy = "if memory ran out, try with WORKERS=1 or --workers 1"

    def __init__(self, n: int) -> None:
        self.n = n
        self._study: Study | None = None
        self._processes: dict[Connection, BaseProcess] = {}
        self._at: dict[Connection, Work] = {}
        self._bench: Bench | None = None
        self._done_here: list[tuple[Work, Reply]] = []

    @property
    def is_full(self) -> bool:
        """Whether no process is free."""
        return len(self._at) + len(self._done_here) >= self.n

    def begin(self, study: Study) -> None:
        """Let the processes know where what they need is; before any work."""
        self._study = study

    def give(self, work: Work) -> None:
        """Hand a piece of work to a free process; a single one has done it when this returns."""
        if self.n == 1:
            self._done_here.append((work, self._do_here(work)))
            return
        connection = self._free()
        self._at[connection] = work
        with suppress(ConnectionError):  # it has died just now: its pipe will say so
            connection.send(work)

    def finished(self, timeout_s: float) -> Iterator[tuple[Work, Reply]]:
        """Yield what finished within some time, as soon as anything has."""
        if self._done_here:
            yield self._done_here.pop()
            return
        for ready in wait(list(self._at), timeout_s):
            assert isinstance(ready, Connection)
            work = self._at.pop(ready)
            try:
                reply = ready.recv()
            except (EOFError, ConnectionError):
                reply = Reply("died", f"its process died (exit code {self._bury(ready)})")
            yield work, reply

    def _free(self) -> Connection:
        """Return the pipe to a process that waits, or to a new one."""
        for connection in [c for c in self._processes if c not in self._at]:
            if not connection.poll():
                return connection
            self._bury(connection)  # who waits has nothing to say but that it is gone
        return self._start()

    def _bury(self, connection: Connection) -> int | None:
        """Forget a process that died; return its exit code."""
        process = self._processes.pop(connection)
        process.join(_GRACE_S)
        connection.close()
        return process.exitcode

    def _do_here(self, work: Work) -> Reply:
        """Do a piece of work in this process, with one thread."""
        from pipeline.compress.threads import one_thread
        from pipeline.sweep.trial import Bench

        if self._bench is None:
            assert self._study is not None
            self._bench = Bench(self._study)
        with one_thread():
            return do(work, self._bench)

    def stop(self) -> None:
        """End all processes; what they are at is dropped, what they stored stays."""
        for process in self._processes.values():
            process.terminate()
        until = time.monotonic() + _GRACE_S
        for connection, process in self._processes.items():
            process.join(max(0.0, until - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()
            connection.close()
        self._processes.clear()
        self._at.clear()

    def _start(self) -> Connection:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, self._study), daemon=True)
        resource_tracker.ensure_running()  # it would take the block away
        with environment(ONE_THREAD), deaf_to_ctrl_c():  # read when the libraries are imported
            process.start()
        theirs.close()
        self._processes[ours] = process
        return ours


