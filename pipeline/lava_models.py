"""Lava's own process models, begun anew with every sample, and writing what they do to files.

Samples follow each other in one run: at the first step of each, states and synaptic buffers are
cleared, as in a network just built. The arithmetic is inherited, unchanged. Files replace
``Var.get``, which moves one element per message (facts: netx 4). Only ``lava_worker`` imports this.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.proc.conv.models import PyConvModelFixed
from lava.proc.conv.process import Conv
from lava.proc.dense.models import PyDelayDenseModelBitAcc, PyDenseModelBitAcc
from lava.proc.dense.process import DelayDense, Dense
from lava.proc.lif.models import PyLifModelBitAcc
from lava.proc.lif.process import LIF


class SampleLif(PyLifModelBitAcc):  # type: ignore[misc]
    """Lava's LIF, at rest at the first step of each sample.

    Reads from the process's ``proc_params``: ``n_steps`` of a sample; ``files``, path and dtype by
    quantity (spikes, u, v); ``is_bias_early``, whether the bias acts in the first step, before any
    input can arrive; ``per_neuron``, arrays in place of the shared du, dv and vth.
    """

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self._files = {
            quantity: np.memmap(path, np.dtype(kind), "r+").reshape(-1, *proc_params["shape"])
            for quantity, (path, kind) in proc_params["files"].items()
        }

    def run_spk(self) -> None:
        """Take one step, and write it down."""
        step = self.time_step - 1
        bias: Any = self.bias_mant  # type: ignore[has-type]
        if step % self.proc_params["n_steps"] == 0:
            self.u[:] = 0
            self.v[:] = 0
            if not self.proc_params["is_bias_early"]:
                self.bias_mant = np.zeros_like(bias)
        for name, values in self.proc_params["per_neuron"].items():
            setattr(self, name, values)
        super().run_spk()
        self.bias_mant = bias
        written = {"spikes": self.s_out_buff, "u": self.u, "v": self.v}
        for quantity, file in self._files.items():
            file[step] = written[quantity]


class SampleDense(PyDenseModelBitAcc):  # type: ignore[misc]
    """Lava's dense synapses, empty at the first step of each sample."""

    def run_spk(self) -> None:
        """Take one step."""
        if (self.time_step - 1) % self.proc_params["n_steps"] == 0:
            self.a_buff[:] = 0
        super().run_spk()


class SampleDelayDense(PyDelayDenseModelBitAcc):  # type: ignore[misc]
    """Lava's dense synapses with delays, empty at the first step of each sample."""

    _matrix: Any = None

    def get_delay_wgts_mat(self, weights: Any, delays: Any, max_delay: int) -> Any:
        """Return Lava's matrix of weights by delay, made once and not at every step."""
        if self._matrix is None:
            self._matrix = super().get_delay_wgts_mat(weights, delays, max_delay)
        return self._matrix

    def run_spk(self) -> None:
        """Take one step."""
        if (self.time_step - 1) % self.proc_params["n_steps"] == 0:
            self.a_buff[:] = 0
        super().run_spk()


class SampleConv(PyConvModelFixed):  # type: ignore[misc]
    """Lava's convolution, empty at the first step of each sample."""

    def run_spk(self) -> None:
        """Take one step."""
        if (self.time_step - 1) % self.proc_params["n_steps"] == 0:
            self.a_buf[:] = 0
        super().run_spk()


MODELS = {LIF: SampleLif, Dense: SampleDense, DelayDense: SampleDelayDense, Conv: SampleConv}
