"""A piece of work: done once whoever asks, and what the machine lacks is no result."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sweeps import GRID, Noting, sweep_of, wait_for

from pipeline.sweep.plan import make_plan
from pipeline.sweep.prepare import prepare, tasks_of
from pipeline.sweep.results import Store
from pipeline.sweep.trial import Bench, Study
from pipeline.sweep.work import do
from pipeline.sweep.workers import Workers


def test_work_that_another_driver_did_meanwhile_is_not_done_again(
    net_model: Path, sweep: Callable[..., Any], tmp_path: Path
) -> None:
    grid = {**GRID, "sensitivity": True, "target": ["loihi1"]}
    driver = sweep_of(net_model, grid, tmp_path / "out")
    plan = make_plan(driver.space, driver.model, driver.out)
    study, _ = prepare(plan, lambda _: None)
    bench, entries = Bench(study), list(plan.entries)
    tasks = tasks_of(plan, bench, entries, plan.probes(plan.layers() or []))
    assert {type(task.work).__name__ for task in tasks} == {
        "MeasureDense", "Evaluate", "Compress", "Sense"}
    out = sweep(net_model, grid).out  # the other
    before = {p: p.stat().st_mtime_ns for p in (out / ".store").rglob("*.*") if p.suffix != ".lock"}
    assert {do(task.work, bench).kind for task in tasks} == {"done"}
    after = {p: p.stat().st_mtime_ns for p in (out / ".store").rglob("*.*") if p.suffix != ".lock"}
    assert after == before


def test_what_the_machine_lacks_is_no_result_of_a_configuration(
    net_model: Path, tmp_path: Path
) -> None:
    driver = sweep_of(net_model, {**GRID, "sensitivity": True}, tmp_path / "out")
    plan = make_plan(driver.space, driver.model, driver.out)
    study, _ = prepare(plan, lambda _: None)
    tasks = tasks_of(plan, Bench(study), list(plan.entries), plan.probes(plan.layers() or []))
    (net_model / "spikes.npz").unlink()  # not mounted there
    elsewhere = Bench(study)
    replies = [do(task.work, elsewhere) for task in tasks
               if type(task.work).__name__ in ("Evaluate", "Sense")]
    assert len(replies) == 12 and {reply.kind for reply in replies} == {"error"}
    assert all("spikes.npz" in reply.text for reply in replies)
    for kind in ("outcomes", "prices", "refused", "sensitivity"):
        assert not list((plan.store.folder / kind).glob("*.json")), kind


@pytest.mark.slow
def test_a_process_that_dies_while_it_waits_is_replaced_and_no_work_is_blamed(
    tmp_path: Path
) -> None:
    crew, replies = Workers(2), []
    crew.begin(Study(None, tmp_path / ".store", tmp_path, {}))  # type: ignore[arg-type]
    try:
        for key in "01":
            crew.give(Noting(key * 32))
            (pair,) = iter_until(crew)
            replies.append(pair[1].kind)
            (process,) = crew._processes.values()
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
            wait_for(lambda process=process: not process.is_alive())  # type: ignore[misc]
    finally:
        crew.stop()
    assert replies == ["done", "done"]
    notes = Store(tmp_path / ".store").load_all("noted")
    assert [note["threads"] for note in notes] == [[1, 1]] * 2


def iter_until(crew: Workers) -> list[Any]:
    found: list[Any] = []
    wait_for(lambda: bool(found.extend(crew.finished(1.0)) or found))
    return found
