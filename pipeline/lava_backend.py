"""Lava's CPU backend, run in a subprocess with a time limit: the judge.

In: an integer network, as a NetX file or to be wired by us, and spikes. Out: the
:class:`~pipeline.emulate.Trace` that Lava computes, and what the stock loader found. Lava hangs on
an exception in a process model and after some errors at start; the subprocess and everything it
started is then ended, and the error shows what it wrote.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.account.fan_out import owners_of
from pipeline.artifact import save_artifact
from pipeline.emulate import BiasFrom, Trace, check_input
from pipeline.errors import ExportError
from pipeline.fixedpoint import inferred_weight_bits
from pipeline.lava_session import Telling, run_within_limit
from pipeline.lava_streams import from_stream, to_stream
from pipeline.lower import without_joins
from pipeline.mapping.placement import Placement
from pipeline.network import INPUT, Network
from pipeline.neuron import CubaNeuron, ResonatorNeuron

_GRADED_BITS = 24


@dataclass(frozen=True)
class LavaRun:
    """Lava's spikes, and what its stock loader read.

    Attributes
    ----------
    weight_bits : per layer the bits NetX inferred; None for a convolution, where it infers none
    elapsed_s : wall-clock time of the whole subprocess, imports included
    n_attempts : 2 if Lava hung the first time
    counts : of a job with a placement, effective_synops, neuron_updates_active and spikes as Lava's
        process models counted them, (n_samples, n_cores) int64
    """

    trace: Trace
    weight_bits: dict[str, int | None]
    elapsed_s: float
    n_attempts: int = 1
    counts: dict[str, NDArray[np.int64]] = field(default_factory=dict)


def run_lava(
    net_file: Path | None, network: Network, spikes: NDArray[np.uint8], time_limit_s: float, *,
    with_states: bool = False, bias_from: BiasFrom = "power_on",
    on_progress: Callable[[str], None] = lambda _: None,
) -> LavaRun:
    """Return what every layer does as Lava computes it; all steps, each sample from rest.

    Parameters
    ----------
    net_file : read by the stock NetX loader; None wires the same processes from ``network``
    spikes : (n, *input_shape, t) integers
    with_states : whether currents and voltages are recorded
    time_limit_s : for building and the first step, and for each step after it
    bias_from : when biases begin to act; stock Lava has them from ``power_on``
    on_progress : called now and then with how far it is

    Raises
    ------
    LavaError
        If Lava makes no step within ``time_limit_s`` seconds or dies.
    ExportError
        If the stock loader finds other bits or weights than ``network`` declares.
    """
    (run,) = run_lava_many([LavaJob(network, spikes, net_file, with_states, bias_from)],
                           time_limit_s, on_progress)
    return run


def run_lava_many(
    jobs: Sequence[LavaJob], time_limit_s: float,
    on_progress: Callable[[str], None] = lambda _: None,
) -> list[LavaRun]:
    """Return the runs of several networks, one after another in one process: imports cost most.

    Parameters
    ----------
    time_limit_s : for building and the first step of each, and for each step after it

    Raises
    ------
    As :func:`run_lava`.
    """
    for job in jobs:
        check_input(job.network, job.spikes)
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="spikefit-lava-") as name:
        folder = Path(name)
        for index, job in enumerate(jobs):
            (folder / str(index)).mkdir()
            job.write(folder / str(index))
        n_steps = sum(len(job.spikes) * (job.spikes.shape[-1] + 1) for job in jobs)
        n_attempts = run_within_limit(folder, time_limit_s, Telling(n_steps, on_progress))
        elapsed = time.perf_counter() - begin
        return [job.read(folder / str(index), elapsed, n_attempts)
                for index, job in enumerate(jobs)]


@dataclass(frozen=True)
class LavaJob:
    """One network to be run by Lava; the fields are the parameters of :func:`run_lava`.

    Attributes
    ----------
    placement : of cores to count events for, inside Lava; None counts nothing
    """

    network: Network
    spikes: NDArray[np.uint8]
    net_file: Path | None = None
    with_states: bool = False
    bias_from: BiasFrom = "power_on"
    placement: Placement | None = None

    @property
    def _quantities(self) -> tuple[str, ...]:
        return ("spikes", "u", "v") if self.with_states else ("spikes",)

    def write(self, folder: Path) -> None:
        """Write what the worker needs."""
        save_artifact(folder / "network.npz", without_joins(self.network), {})
        if self.placement is not None:
            for index, (name, core_of) in enumerate(
                    owners_of(self.network, self.placement).items()):
                np.save(folder / f"cores{index}.npy", core_of - core_of.min())
                assert name == self.network.layers[index].name
        (folder / "job.json").write_text(json.dumps({
            "is_counted": self.placement is not None, "n_samples": len(self.spikes),
            "net_file": str(self.net_file.resolve()) if self.net_file else None,
            "n_steps": self.spikes.shape[-1] + 1, "quantities": self._quantities,
            "is_bias_early": self.bias_from == "power_on",
            "n_message_bits":
                0 if self.spikes.max() <= 1 and self.spikes.min() >= 0 else _GRADED_BITS,
        }))
        stream = to_stream(self.network, self.spikes, is_stock=self.net_file is not None)
        np.save(folder / "spikes.npy", stream)

    def read(self, folder: Path, elapsed_s: float, n_attempts: int) -> LavaRun:
        """Return what the worker wrote."""
        loaded = json.loads((folder / "result.json").read_text())["layers"]
        recorded = {
            quantity: {
                layer.name: from_stream(folder / f"layer{index}.{quantity}", quantity, layer,
                                      len(self.spikes), is_stock=self.net_file is not None)
                for index, layer in enumerate(self.network.layers)
            } for quantity in self._quantities
        }
        bits = _check_loaded(self.network, loaded) if self.net_file else {}
        trace = Trace({INPUT: self.spikes, **recorded["spikes"]}, {}, recorded.get("u", {}),
                      recorded.get("v", {}))
        return LavaRun(trace, bits, elapsed_s, n_attempts, self._counts(folder))

    def _counts(self, folder: Path) -> dict[str, NDArray[np.int64]]:
        """Return what was counted, the processes of a layer added up."""
        if self.placement is None:
            return {}
        counts = {event: np.zeros((len(self.spikes), len(self.placement.cores)), dtype=np.int64)
                  for event in ("effective_synops", "neuron_updates_active", "spikes")}
        for index, layer in enumerate(self.network.layers):
            own = [core.index for core in self.placement.cores_of(layer.name)]
            for event, total in counts.items():
                for file in folder.glob(f"layer{index}.*.{event}"):
                    total[:, own] += np.fromfile(file, np.int64).reshape(len(total), -1)
        return counts


def _check_loaded(
    network: Network, loaded: list[dict[str, int | None]]
) -> dict[str, int | None]:
    """Return the bits the stock loader found, having compared them and the weights' number."""
    bits = {}
    for layer, found in zip(network.layers, loaded, strict=True):
        is_cuba, is_dense = isinstance(layer.neuron, CubaNeuron), layer.synapses[0].kind == "dense"
        bits[layer.name] = found["weight_bits"] if is_dense else None
        weights = [] if layer.is_driven else [synapse.weight for synapse in layer.synapses]
        declared = {"nonzero weights": (
            sum(int(np.count_nonzero(weight)) for weight in weights), found["n_nonzero"])}
        if found["vth"] is not None:
            # of resonators in 2^-12, of sigma-delta neurons in 2^-18
            unit = 0 if is_cuba else 6 if isinstance(layer.neuron, ResonatorNeuron) else 12
            declared["threshold mantissa"] = (layer.neuron.vth_mant, found["vth"] / 2**unit)
        if is_dense and len(weights) == 1:
            together = np.concatenate([group.weight.ravel() for group in layer.groups])
            declared["weight bits"] = (inferred_weight_bits(together), found["weight_bits"])
        for what, (written, read) in declared.items():
            if written != read:
                raise ExportError(
                    f"layer '{layer.name}': the stock NetX loader found {what} {read:g}, declared "
                    f"{written}"
                )
    return bits
