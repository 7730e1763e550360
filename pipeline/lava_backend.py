"""Lava's CPU backend, run in a subprocess with a time limit: the judge.

In: a NetX file, its integer network and spikes. Out: the :class:`~pipeline.emulate.Trace` that Lava
computes, and what the stock loader found in the file. Lava hangs on an exception in a process model
and after some errors at start; the subprocess and everything it started is then ended, and the
error shows what it wrote.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.emulate import Trace, check_input
from pipeline.errors import ExportError, LavaError
from pipeline.network import INPUT, Network

_GRACE_S = 5.0
_MAX_ATTEMPTS = 2
_SHOWN_LINES = 15


@dataclass(frozen=True)
class LavaRun:
    """Lava's spikes, and what its stock loader read.

    Attributes
    ----------
    weight_bits : per layer the bits NetX inferred; None for a convolution, where it infers none
    elapsed_s : wall-clock time of the whole subprocess, imports included
    n_attempts : 2 if Lava hung the first time
    """

    trace: Trace
    weight_bits: dict[str, int | None]
    elapsed_s: float
    n_attempts: int = 1


def run_lava(
    net_file: Path, network: Network, spikes: NDArray[np.uint8], time_limit_s: float
) -> LavaRun:
    """Return the spikes of every layer as Lava computes them from ``net_file``.

    The first ``depth`` steps of a layer's output are not compared: they carry the tail of the
    sample before, and are silent by construction in a network without bias; they are returned as 0.

    Parameters
    ----------
    spikes : (n, *input_shape, t) uint8

    Raises
    ------
    LavaError
        If Lava exceeds ``time_limit_s`` seconds or dies.
    ExportError
        If the stock loader finds other bits or weights than ``network`` declares.
    """
    check_input(network, spikes)
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="spikefit-lava-") as name:
        folder = Path(name)
        job = {"net_file": str(net_file.resolve()), "n_steps": spikes.shape[-1]}
        (folder / "job.json").write_text(json.dumps(job))
        np.save(folder / "spikes.npy", _stream(network, spikes))
        n_attempts = _run_within_limit(folder, time_limit_s)
        loaded = json.loads((folder / "result.json").read_text())["layers"]
        outputs = {INPUT: spikes}
        for index, layer in enumerate(network.layers):
            raw = np.fromfile(folder / f"layer{index}.u8", np.uint8)
            outputs[layer.name] = _unstream(raw, layer.shape, len(spikes), index + 1)
    bits = _check_loaded(network, loaded)
    return LavaRun(Trace(outputs, {}), bits, time.perf_counter() - begin, n_attempts)


def _stream(network: Network, spikes: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Return all samples one after another, in the axis order of Lava's first layer."""
    series = np.concatenate(list(spikes), axis=-1).astype(np.int32)
    if network.layers[0].synapses[0].kind == "conv":
        return np.ascontiguousarray(series.transpose(2, 1, 0, 3))
    flat: NDArray[np.int32] = series.reshape(-1, series.shape[-1])
    return flat


def _unstream(
    raw: NDArray[np.uint8], shape: tuple[int, ...], n_samples: int, depth: int
) -> NDArray[np.uint8]:
    """Return (n, *shape, t) from Lava's (steps, *reversed shape)."""
    steps = raw.reshape(-1, *shape[::-1])
    by_sample = steps.reshape(n_samples, -1, *shape[::-1])
    spikes = np.ascontiguousarray(by_sample.transpose(0, *range(len(shape) + 1, 0, -1)))
    spikes[..., :depth] = 0
    return spikes


def _run_within_limit(folder: Path, time_limit_s: float) -> int:
    """Run the worker, a second time if it exceeds the limit; return the number of attempts.

    Lava was seen to hang once on a network it runs otherwise (benchmark machine, two cores).
    """
    for attempt in range(1, _MAX_ATTEMPTS + 1):
        try:
            _run_worker(folder, time_limit_s)
        except subprocess.TimeoutExpired:
            continue
        return attempt
    raise LavaError(
        f"Lava did not finish within {time_limit_s:.4g} s in {_MAX_ATTEMPTS} attempts (recipe key "
        "'verify.lava_time_limit_s'); it may hang, or the limit is too short for "
        f"'verify.n_samples'. Its last output:\n{_tail(folder / 'log.txt')}"
    )


def _run_worker(folder: Path, time_limit_s: float) -> None:
    log = folder / "log.txt"
    with log.open("w") as stream:
        worker = subprocess.Popen(
            [sys.executable, "-m", "pipeline.lava_worker", str(folder)],
            stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, start_new_session=True,
            # one thread per process: Lava itself starts two processes per layer
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
        )
        try:
            code = worker.wait(time_limit_s)
        finally:
            _end_session(worker)
    if code != 0 or not (folder / "result.json").exists():
        raise LavaError(f"Lava died with exit code {code}. Its last output:\n{_tail(log)}")


def _end_session(worker: subprocess.Popen[bytes]) -> None:
    """End the worker and all processes it started, and let Python free their shared memory.

    The shared-memory tracker of multiprocessing ignores SIGTERM; with everybody else gone it
    unlinks what they left, so it is killed only if it outlives the grace period.
    """
    for sent in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(worker.pid, sent)
        except ProcessLookupError:
            break
        deadline = time.monotonic() + _GRACE_S
        while time.monotonic() < deadline and _session_lives(worker):
            time.sleep(0.05)
    worker.wait()


def _session_lives(worker: subprocess.Popen[bytes]) -> bool:
    worker.poll()
    try:
        os.killpg(worker.pid, 0)
    except ProcessLookupError:
        return False
    return True


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return "\n".join(f"  | {line}" for line in lines[-_SHOWN_LINES:]) or "  | (nothing)"


def _check_loaded(
    network: Network, loaded: list[dict[str, int | None]]
) -> dict[str, int | None]:
    """Return the bits the stock loader found, having compared them and the weights' number."""
    bits = {}
    for layer, found in zip(network.layers, loaded, strict=True):
        (synapse,) = layer.synapses
        bits[layer.name] = found["weight_bits"] if synapse.kind == "dense" else None
        declared = {
            "nonzero weights": (int(np.count_nonzero(synapse.weight)), found["n_nonzero"]),
            "threshold mantissa": (layer.neuron.vth_mant, found["vth_mant"]),
        }
        if synapse.kind == "dense":
            declared["weight bits"] = (synapse.weight_bits or 0, found["weight_bits"])
        for what, (written, read) in declared.items():
            if written != read:
                raise ExportError(
                    f"layer '{layer.name}': the stock NetX loader found {what} {read}, declared "
                    f"{written}"
                )
    return bits
