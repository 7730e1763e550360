"""Events counted inside a Lava run, core by core, as its process models execute.

In: what a process model receives, holds and sends in a step. Out: a file per process and event,
(n_samples, n_cores) int64. Nothing of the account is used but which core holds a neuron: weights
are those Lava computes with, spikes those it delivers. Only ``lava_models`` and ``lava_worker`` use
this.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Ear:
    """A port that also keeps what it received."""

    def __init__(self, port: Any) -> None:
        self.port = port
        self.heard: Any = None

    def recv(self) -> Any:
        """Receive, and keep it."""
        self.heard = self.port.recv()
        return self.heard


class CoreCounter:
    """Counts of one process, by sample and core; none where its process is not counted.

    Reads from the process's ``proc_params``: ``n_steps`` of a sample, and ``counted``: ``core_of``,
    the core of each of its neurons or targets; ``n_cores``; ``files``, path, first step and step
    after the last that count, by event.
    """

    def __init__(self, proc_params: Any) -> None:
        counted = proc_params.get("counted")
        self.is_on = counted is not None
        if not self.is_on:
            return
        self._n_steps, self._n_cores = proc_params["n_steps"], counted["n_cores"]
        self._core_of = np.ravel(counted["core_of"])
        self._steps = {event: steps for event, (_, *steps) in counted["files"].items()}
        self._files = {
            event: np.memmap(path, np.int64, "r+").reshape(-1, self._n_cores)
            for event, (path, *_) in counted["files"].items()
        }

    def add(self, event: str, time_step: int, by_neuron: NDArray[Any]) -> None:
        """Add what happened at each neuron in a step of Lava's, from 1."""
        sample, step = divmod(time_step - 1, self._n_steps)
        begin, end = self._steps[event]
        if begin <= step < end:
            happened = np.bincount(self._core_of, np.ravel(by_neuron), self._n_cores)
            self._files[event][sample] += happened.astype(np.int64)

    def remaining(self, event: str, time_step: int) -> int:
        """Return in how many more steps of this sample the event counts."""
        return int(self._steps[event][1] - 1 - (time_step - 1) % self._n_steps)


def listen(model: Any, ports: tuple[str, ...]) -> dict[str, Ear]:
    """Return ears in the place of a model's ports, put there for one step."""
    ears = {name: Ear(getattr(model, name)) for name in ports}
    for name, ear in ears.items():
        object.__setattr__(model, name, ear)  # Lava would register it as one more port
    return ears


def unplug(model: Any, ears: dict[str, Ear]) -> None:
    """Put the ports back."""
    for name, ear in ears.items():
        object.__setattr__(model, name, ear.port)


def count_neurons(model: Any, ears: dict[str, Ear], had_state: Any, sent: Any) -> None:
    """Count the neurons that were active in a step, and what they sent."""
    unplug(model, ears)
    is_active = had_state
    for ear in ears.values():
        is_active = is_active | (ear.heard != 0)
    model._counter.add("neuron_updates_active", model.time_step, is_active)
    model._counter.add("spikes", model.time_step, sent != 0)


def counted_files(
    folder: Path, name: str, events: dict[str, tuple[int, int]], core_of: NDArray[np.int64],
    n_samples: int,
) -> dict[str, Any]:
    """Return what a process's ``counted`` holds, its files made.

    Parameters
    ----------
    events : by name, first step of a sample and step after the last that count
    core_of : cores of this layer, numbered from 0, in the order of the process
    """
    n_cores, files = int(core_of.max()) + 1, {}
    for event, steps in events.items():
        path = folder / f"{name}.{event}"
        np.memmap(path, np.int64, "w+", shape=(n_samples, n_cores)).flush()
        files[event] = (str(path), *steps)
    return {"core_of": core_of, "n_cores": n_cores, "files": files}
