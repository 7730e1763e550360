"""Lava's own process models, begun anew with every sample, and writing what they do to files.

Samples follow each other in one run: at the first step of each, states and synaptic buffers are
cleared, as in a network just built. The arithmetic is inherited, unchanged. Files replace
``Var.get``, which moves one element per message (facts: netx 4). Only ``lava_worker`` imports this.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.proc.conv.process import Conv
from lava.proc.dense.process import DelayDense, Dense
from lava.proc.graded.models import PyGradedVecModelFixed
from lava.proc.graded.process import GradedVec
from lava.proc.lif.models import PyLifModelBitAcc
from lava.proc.lif.process import LIF
from lava.proc.rf.models import PyRFModelFixed
from lava.proc.rf.process import RF
from lava.proc.rf_iz.models import PyRF_IZModelFixed
from lava.proc.rf_iz.process import RF_IZ
from lava.proc.sdn.models import PyDeltaModelFixed, PySigmaDeltaModelFixed, PySigmaModelFixed
from lava.proc.sdn.process import Delta, Sigma, SigmaDelta

from pipeline.account.lava_counting import CoreCounter, count_neurons, listen
from pipeline.lava_synapses import SampleConv, SampleDelayDense, SampleDense


class SampleLif(PyLifModelBitAcc):  # type: ignore[misc]
    """Lava's LIF, at rest at the first step of each sample.

    Reads from the process's ``proc_params``: ``n_steps`` of a sample; ``files``, path and dtype by
    quantity (spikes, u, v); ``n_without_bias``, in how many steps of a sample, the one before any
    input can arrive included, the bias does not act; ``per_neuron``, arrays in place of the shared
    du, dv and vth.
    """

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self._files, self._progress = _opened(proc_params), _progress(proc_params)
        self._counter = CoreCounter(proc_params)

    def run_spk(self) -> None:
        """Take one step, and write it down."""
        step = self.time_step - 1
        bias: Any = self.bias_mant  # type: ignore[has-type]
        if step % self.proc_params["n_steps"] == 0:
            self.u[:] = 0
            self.v[:] = 0
        if step % self.proc_params["n_steps"] < self.proc_params["n_without_bias"]:
            self.bias_mant = np.zeros_like(bias)
        for name, values in self.proc_params["per_neuron"].items():
            setattr(self, name, values)
        if self._counter.is_on:
            had_state = (self.u != 0) | (self.v != 0) | (self.bias_mant != 0)
            ears = listen(self, ("a_in",))
            super().run_spk()
            count_neurons(self, ears, had_state, self.s_out_buff)
        else:
            super().run_spk()
        self.bias_mant = bias
        written = {"spikes": self.s_out_buff, "u": self.u, "v": self.v}
        for quantity, file in self._files.items():
            file[step] = written[quantity]
        self._progress[:] = step + 1


def _opened(proc_params: Any) -> dict[str, Any]:
    """Return the files to write to, (steps, *shape), by quantity."""
    return {
        quantity: np.memmap(path, np.dtype(kind), "r+").reshape(-1, *proc_params["shape"])
        for quantity, (path, kind) in proc_params["files"].items()
    }


def _progress(proc_params: Any) -> Any:
    """Return where to write how many steps are done, nowhere unless the process is asked to."""
    path = proc_params.get("progress")
    return np.zeros(1, dtype=np.int64) if path is None else np.memmap(path, np.int64, "r+")


class _Tap:
    """A port that also keeps what it sent."""

    def __init__(self, port: Any) -> None:
        self._port = port
        self.sent: Any = None

    def send(self, data: Any) -> None:
        """Send, and keep a copy."""
        self.sent = np.array(data)
        self._port.send(data)


class _Sample:
    """What the models below add to Lava's: rest at each sample's first step, and files.

    Reads from the process's ``proc_params`` what :class:`SampleLif` reads, and ``bias_from``, the
    step of a sample from which a bias acts.
    """

    _cleared: tuple[str, ...] = ()
    _state: tuple[str, ...] = ()  # what makes an update active, see pipeline.account.counts
    _ports: tuple[str, ...] = ("a_in",)
    _recorded: dict[str, str] = {}

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)  # type: ignore[call-arg]
        self._files, self._progress = _opened(proc_params), _progress(proc_params)
        self._counter = CoreCounter(proc_params)

    def run_spk(self) -> None:
        """Take one step, and write it down."""
        model: Any = self
        step = model.time_step - 1
        within = step % model.proc_params["n_steps"]
        if within == 0:
            for name in self._cleared:
                setattr(self, name, np.zeros(model.proc_params["shape"], dtype=np.int32))
        for name, values in model.proc_params["per_neuron"].items():
            setattr(self, name, values)
        port, bias = model.s_out, getattr(self, "bias", None)
        tap = _Tap(port)
        object.__setattr__(self, "s_out", tap)  # Lava would register the tap as one more port
        if within < model.proc_params.get("bias_from", 0):
            setattr(self, "bias", np.zeros_like(bias))  # noqa: B010 - a variable of the model
        if self._counter.is_on:
            had_state = getattr(self, "bias", np.zeros(1)) != 0
            for name in self._state:
                had_state = had_state | (getattr(self, name) != 0)
            ears = listen(self, self._ports)
            super().run_spk()  # type: ignore[misc]
            count_neurons(self, ears, had_state, tap.sent)
        else:
            super().run_spk()  # type: ignore[misc]
        object.__setattr__(self, "s_out", port)
        if bias is not None:
            setattr(self, "bias", bias)  # noqa: B010
        for quantity, file in self._files.items():
            if quantity == "spikes":
                file[step] = tap.sent
            elif quantity in self._recorded:
                file[step] = getattr(self, self._recorded[quantity])
        self._progress[:] = step + 1


class SampleDelta(_Sample, PyDeltaModelFixed):  # type: ignore[misc]
    """Lava's delta encoder, at rest at the first step of each sample."""

    _cleared = ("act", "residue", "error")
    _state = ("residue",)
    _recorded = {"v": "act"}


class SampleSigmaDelta(_Sample, PySigmaDeltaModelFixed):  # type: ignore[misc]
    """Lava's sigma-delta neurons, at rest at the first step of each sample."""

    _cleared = ("sigma", "act", "residue", "error")
    _state = ("sigma", "residue")
    _recorded = {"u": "sigma", "v": "act"}


class SampleSigma(_Sample, PySigmaModelFixed):  # type: ignore[misc]
    """Lava's sigma decoder, at rest at the first step of each sample."""

    _cleared = _state = ("sigma",)
    _recorded = {"u": "sigma"}


class SampleRf(_Sample, PyRFModelFixed):  # type: ignore[misc]
    """Lava's resonate-and-fire neurons, at rest at the first step of each sample."""

    _cleared = _state = ("real", "imag")
    _ports = ("a_real_in", "a_imag_in")
    _recorded = {"u": "real", "v": "imag"}


class SampleRfIz(_Sample, PyRF_IZModelFixed):  # type: ignore[misc]
    """Lava's Izhikevich resonators, at rest at the first step of each sample."""

    _cleared = _state = ("real", "imag")
    _ports = ("a_real_in", "a_imag_in")
    _recorded = {"u": "real", "v": "imag"}


class SampleRelay(_Sample, PyGradedVecModelFixed):  # type: ignore[misc]
    """Lava's graded vector: it keeps nothing from one step to the next."""


MODELS = {
    LIF: SampleLif, Dense: SampleDense, DelayDense: SampleDelayDense, Conv: SampleConv,
    Delta: SampleDelta, SigmaDelta: SampleSigmaDelta, Sigma: SampleSigma, RF: SampleRf,
    RF_IZ: SampleRfIz, GradedVec: SampleRelay,
}
