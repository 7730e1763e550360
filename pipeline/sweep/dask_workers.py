"""Workers of a dask cluster in place of processes here; all that spikefit knows of dask.

In: the address of a scheduler. Out: what :class:`pipeline.sweep.workers.Workers` gives. Every piece
of work is sent to one worker by name: only so is a death known, and what died of it counted; left
to itself, dask would hand it on. Workers that come later are taken, those that go are noticed.
"""

# mypy: allow-untyped-calls
# (distributed declares its types here and there)

from __future__ import annotations

import asyncio
import pickle
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distributed import CancelledError, Future, wait
from distributed.scheduler import KilledWorker

from pipeline.errors import ClusterError
from pipeline.sweep.dask_client import CONNECT_S, connected
from pipeline.sweep.remote import Errand, Look, judged, meeting, misfit
from pipeline.sweep.results import Store
from pipeline.sweep.work import Reply, Work

if TYPE_CHECKING:
    from pipeline.sweep.trial import Study

# what a client raises whose scheduler is; on Python 3.10 asyncio's timeout is no TimeoutError
_GONE = (OSError, TimeoutError, asyncio.TimeoutError, asyncio.CancelledError, RuntimeError)
_REFRESH_S = 1.0  # between looks at who is there
_RESULT_S = 10.0
_PATIENCE_S = 300.0  # nodes of a cluster come one by one; whoever waits is told for what


class DaskWorkers:
    """The workers of a scheduler.

    Parameters
    ----------
    store, data : what they must see: the study's store, and spikes outside this package
    say : tells the user what is waited for
    patience_s : without any worker, at the beginning or later

    Raises
    ------
    ClusterError
        If the scheduler cannot be reached, has no workers, or one there now cannot take part; of
        one that comes when work has begun, the user is told, and it gets none.
    """

    remedy = "if memory ran out, give each worker more, or fewer threads (--nthreads 1)"

    def __init__(
        self, address: str, store: Store, data: Path | None,
        say: Callable[[str], None] = lambda _: None, patience_s: float = _PATIENCE_S,
    ) -> None:
        self._address, self._store, self._data = address, store, data
        self._say, self._patience_s = say, patience_s
        self._start = ("start some that see the study folder, as in "
                       f"'dask worker {address} --nthreads 1'")
        self._study: Study | None = None
        self._threads: dict[str, int] = {}  # of each worker that can take part
        self._misfits: frozenset[str] = frozenset()
        self._at: dict[Future[Reply], tuple[str, Work]] = {}
        self._refreshed = -_REFRESH_S
        self._manned = time.monotonic()  # when there was a worker last
        self._client = connected(address)
        try:
            self._refresh()
            if not self._threads:
                say(f"waiting up to {patience_s:.0f} s for workers: {self._start}")
            while not self._threads:
                time.sleep(_REFRESH_S)
                self._refresh()
        except BaseException:
            self.stop()
            raise

    @property
    def n(self) -> int:
        """Threads of all workers."""
        return sum(self._threads.values())

    @property
    def is_full(self) -> bool:
        """Whether no thread is free."""
        return self._free() is None

    def begin(self, study: Study) -> None:
        """Let the workers know where what they need is; before any work."""
        self._study, self._manned = study, time.monotonic()

    def give(self, work: Work) -> None:
        """Hand a piece of work to a free thread."""
        worker = self._free()
        assert worker is not None and self._study is not None
        # loading the bytes does the work: see remote.py
        future = self._client.submit(
            pickle.loads, pickle.dumps(Errand(self._study, work)), workers=[worker], pure=False,
            key=f"spikefit-{type(work).__name__}-{uuid.uuid4().hex}")
        self._at[future] = worker, work

    def finished(self, timeout_s: float) -> Iterator[tuple[Work, Reply]]:
        """Yield what finished within some time, as soon as anything has."""
        self._refresh()
        if self._at:
            # cancelled: the scheduler has gone, and the client knows it
            with suppress(asyncio.TimeoutError, CancelledError):
                wait(list(self._at), timeout_s, "FIRST_COMPLETED")
        else:
            time.sleep(timeout_s)
        for future, (worker, work) in list(self._at.items()):
            reply = self._reply(future, worker)
            if reply is not None:
                del self._at[future]
                yield work, reply

    def stop(self) -> None:
        """Drop what has not begun; what workers are at they end, and store, by themselves."""
        with suppress(*_GONE):
            if self._client.status == "running":
                self._client.cancel(list(self._at), force=True)
        with suppress(*_GONE):
            self._client.close(timeout=CONNECT_S)

    def _free(self) -> str | None:
        """Return the worker with the most free threads."""
        busy = Counter(worker for worker, _ in self._at.values())
        left = {worker: n - busy[worker] for worker, n in self._threads.items()}
        best = max(left, key=lambda worker: left[worker], default=None)
        return best if best is not None and left[best] > 0 else None

    def _reply(self, future: Future[Reply], worker: str) -> Reply | None:
        """Return what became of a piece of work; None if nothing yet."""
        if worker not in self._threads:
            with suppress(*_GONE):
                future.cancel(force=True)
            return Reply("died", f"its worker {worker} died")
        if future.status in ("cancelled", "lost"):
            self._present()  # unless it is the scheduler that has gone
            return Reply("died", f"the scheduler {self._address} dropped it")
        if not future.done():
            return None
        error = future.exception() if future.status == "error" else None
        if isinstance(error, KilledWorker):
            return Reply("died", f"its worker {worker} died")
        if error is not None:
            raise ClusterError(misfit(worker, error))
        try:
            reply: Reply = future.result(timeout=_RESULT_S)
        except asyncio.TimeoutError:
            return None  # its worker died with the reply; that is seen next time
        return reply

    def _refresh(self) -> None:
        """See who is there; let who came look at the study first."""
        if time.monotonic() - self._refreshed < _REFRESH_S:
            return
        present = self._present()
        self._misfits &= present.keys()
        known = self._threads.keys() | self._misfits
        fit = self._met([worker for worker in present if worker not in known])
        now = {w: n for w, n in present.items() if w in self._threads or w in fit}
        if self._threads and not now:
            self._say(f"no worker is left, waiting for another: {self._start}")
        self._threads, self._refreshed = now, time.monotonic()
        if now:
            self._manned = self._refreshed
        elif self._refreshed - self._manned > self._patience_s:
            raise ClusterError(f"scheduler {self._address}: has no workers; {self._start}"
                               "; what was computed is kept")

    def _present(self) -> dict[str, int]:
        try:
            if self._client.status == "running":
                found: dict[str, int] = self._client.nthreads()
                return found
        except _GONE:
            pass
        raise ClusterError(
            f"scheduler {self._address}: gone; what was computed is kept: start it again and run "
            "the same command to continue")

    def _met(self, workers: list[str]) -> list[str]:
        """Return those of some workers that can take part."""
        if not workers:
            return []
        with meeting(self._store, self._data) as terms:
            answers: dict[str, Any] = self._client.run(
                pickle.loads, pickle.dumps(Look(terms)), workers=workers, on_error="return")
            fit, misfits = judged(terms, answers)
        told = list(misfits.values())
        if told and self._study is None:
            more = [f"(and {len(told) - 3} more workers)"] if len(told) > 3 else []
            raise ClusterError("\n".join(told[:3] + more))
        for complaint in told:  # work goes on without it
            self._say(f"left out: {complaint}")
        self._misfits |= misfits.keys()
        return fit


