"""Cells on worker processes, and the file their results are kept in.

In: a plan, the store. Out: the store, a line per cell, written as each cell ends: what is done
stays done when a run is interrupted. Workers get whole groups of cells, so that they can share.
"""

from __future__ import annotations

import json
import signal
import traceback
from collections.abc import Callable
from datetime import datetime, timezone
from multiprocessing import connection, get_context
from pathlib import Path
from typing import Any

from plan import Cell, Keys, Measurement, groups

Result = dict[str, Any]
_BYE = "bye"


class Store:
    """Results by key, in a file of one JSON object per line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._results: dict[str, Result] = {}
        if path.exists():
            self._load()

    def __contains__(self, key: str) -> bool:
        return key in self._results

    def get(self, key: str) -> Result | None:
        """Return the result of a key, None if it is not there."""
        return self._results.get(key)

    def add(self, key: str, cell: Cell, result: Result) -> None:
        """Keep a result, in the file as well."""
        done = datetime.now(timezone.utc).isoformat(timespec="seconds")
        line = {"key": key, "table": cell.table, "method": cell.method,
                "column": cell.column, **cell.spec(), "done": done, **result}
        self._results[key] = line
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _load(self) -> None:
        text = self._path.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        if len(whole) < len(text):
            # a line torn by a crash; what is appended must not continue it
            with self._path.open("r+b") as file:
                file.truncate(len(whole))
        for line in whole.decode("utf-8").splitlines():
            result = json.loads(line)
            self._results[result["key"]] = result


class Defects(Exception):
    """Cells that ended in an error of ours; they are not stored, and tried again next time."""


class WorkerDied(Exception):
    """A worker ended by itself: out of memory, or killed."""


def missing(cells: list[Cell], store: Store, keys: Keys) -> list[Cell]:
    """Return the cells without a result, each key once."""
    wanted: dict[str, Cell] = {}
    for cell in cells:
        key = keys.of(cell)
        if key not in store:
            wanted.setdefault(key, cell)
    return list(wanted.values())


def run(
    cells: list[Cell], store: Store, keys: Keys, measurement: Measurement, n_workers: int,
    on_result: Callable[[Cell, Result], None],
) -> None:
    """Compute cells that have no result yet; every result is in the store when this returns.

    Raises
    ------
    Defects
        After all else is done, if cells ended in an error that is not the recipe's.
    WorkerDied
    """
    tasks = groups(cells)
    context = get_context("spawn")
    workers: dict[connection.Connection, Any] = {}
    defects: list[str] = []
    try:
        for _ in range(min(n_workers, len(tasks))):
            ours, theirs = context.Pipe()
            process = context.Process(target=work, args=(theirs, measurement), daemon=True)
            process.start()
            theirs.close()  # so that the end of the worker is the end of the pipe
            workers[ours] = process
        while workers:
            for pipe in connection.wait(list(workers)):
                assert isinstance(pipe, connection.Connection)
                try:
                    message = pipe.recv()
                except EOFError:
                    workers[pipe].join()
                    raise WorkerDied(
                        f"a worker ended with code {workers[pipe].exitcode}") from None
                if message is None:  # idle
                    pipe.send(tasks.pop(0) if tasks else None)
                    continue
                if message == _BYE:
                    workers.pop(pipe).join()
                    continue
                cell, result = message
                if "defect" in result:
                    defects.append(f"{cell.title}\n{result['defect']}")
                else:
                    store.add(keys.of(cell), cell, result)
                on_result(cell, result)
    finally:
        for process in workers.values():
            process.terminate()
            process.join()
    if defects:
        raise Defects("\n".join(defects))


def work(pipe: connection.Connection, measurement: Measurement) -> None:
    """Ask for groups of cells and send results, until there are no more."""
    # the parent stops its workers; a traceback from each of them would only hide its message
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from measure import measure_group  # heavy: only workers load torch and the splits

    pipe.send(None)
    while (cells := pipe.recv()) is not None:
        left = list(cells)
        while left:
            try:
                for cell, result in measure_group(left, measurement):
                    pipe.send((cell, result))
                    left = left[1:]
            except Exception:  # a defect of ours must not cost the night's other cells
                pipe.send((left[0], {"defect": traceback.format_exc()}))
                left = left[1:]
        pipe.send(None)
    pipe.send(_BYE)
