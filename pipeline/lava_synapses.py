"""Lava's synapse models, begun anew with each sample.

Samples follow each other in one run: at the first step of each, synaptic buffers are empty again.
The arithmetic is Lava's own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.proc.conv import utils
from lava.proc.conv.models import PyConvModelFixed
from lava.proc.dense.models import PyDelayDenseModelBitAcc, PyDenseModelBitAcc

from pipeline.account.lava_counting import CoreCounter, listen, unplug


class _Synapses:
    """What the models below add to Lava's: empty at each sample's first step, and counts."""

    _buffer, _weights = "a_buff", "weights"

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)  # type: ignore[call-arg]
        self._counter = CoreCounter(proc_params)
        self._is_nonzero: Any = None

    def run_spk(self) -> None:
        """Take one step."""
        model: Any = self
        if (model.time_step - 1) % model.proc_params["n_steps"] == 0:
            getattr(self, self._buffer)[:] = 0
        if not self._counter.is_on:
            super().run_spk()  # type: ignore[misc]
            return
        ears = listen(self, ("s_in",))
        super().run_spk()  # type: ignore[misc]
        unplug(self, ears)
        if self._is_nonzero is None:
            self._is_nonzero = np.asarray(getattr(self, self._weights) != 0, dtype=np.int64)
        n_synops = self._synops((ears["s_in"].heard != 0).astype(np.int64))
        self._counter.add("effective_synops", model.time_step, n_synops)

    def _synops(self, is_heard: Any) -> Any:
        """Return nonzero weights that what was heard reaches, by target."""
        return self._is_nonzero @ is_heard


class SampleDense(_Synapses, PyDenseModelBitAcc):  # type: ignore[misc]
    """Lava's dense synapses, empty at the first step of each sample."""


class SampleDelayDense(_Synapses, PyDelayDenseModelBitAcc):  # type: ignore[misc]
    """Lava's dense synapses with delays, empty at the first step of each sample."""

    _matrix: Any = None

    def get_delay_wgts_mat(self, weights: Any, delays: Any, max_delay: int) -> Any:
        """Return Lava's matrix of weights by delay, made once and not at every step."""
        if self._matrix is None:
            self._matrix = super().get_delay_wgts_mat(weights, delays, max_delay)
        return self._matrix

    def _synops(self, is_heard: Any) -> Any:
        """Return the same, of what arrives before the sample's end."""
        model: Any = self
        n_left = self._counter.remaining("effective_synops", model.time_step)
        return (self._is_nonzero * (model.delays <= n_left)) @ is_heard


class SampleConv(_Synapses, PyConvModelFixed):  # type: ignore[misc]
    """Lava's convolution, empty at the first step of each sample."""

    _buffer, _weights = "a_buf", "weight"

    def _synops(self, is_heard: Any) -> Any:
        model: Any = self
        return utils.conv(is_heard, self._is_nonzero, model.kernel_size, model.stride,
                          model.padding, model.dilation, model.groups[0])
