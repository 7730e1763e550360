"""Thresholds adjusted after compression so that every layer spikes as before.

In: an integer network, calibration spikes, and the dense network's rates or spikes. Out: the
network with other threshold mantissas, and a ledger entry for each layer. Layers are matched in
order, each with the layers before it already matched, because their spikes are its input. One
threshold per layer is what stock NetX deploys; one per channel runs in the emulator only
(facts: sbc.md, "match firing rates to the dense net").
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.emulate import check_input, run_neurons
from pipeline.fixedpoint import MAX_EXACT_VTH_MANT
from pipeline.graded import depths
from pipeline.ledger import Ledger, LedgerEntry
from pipeline.network import INPUT, Layer, Network
from pipeline.neuron import CubaNeuron, Neuron
from pipeline.synaptic_input import Accumulator, source_spikes
from pipeline.windows import Outputs, Train, Window, begun, sent_between, sent_in, windows

_WIDEST_CHANGE = 1.5
_ACC_BYTES = 512 << 20


def match_rates(
    network: Network,
    spikes: NDArray[np.uint8],
    dense_rates: dict[str, NDArray[np.float64]],
    per: Literal["layer", "channel"] = "layer",
) -> tuple[Network, Ledger]:
    """Return the network with thresholds that bring each layer back to its dense behavior.

    Parameters
    ----------
    spikes : (n, *input_shape, t) uint8, the calibration split
    dense_rates : per layer (channels,): spikes per neuron and step of each channel of the dense
        network, same spikes, as :func:`~pipeline.calibrate.calibrate` gives them
    per : one threshold per layer, in place of any per channel, or one per channel

    Raises
    ------
    DataError
        If the spikes do not have the network's input shape.
    """
    check_input(network, spikes)
    layers: list[Layer] = []
    ledger: list[LedgerEntry] = []
    outputs: Outputs = {INPUT: Train(spikes)}
    window_of = windows(network, spikes)
    for layer in network.layers:
        matched, outputs[layer.name] = match_layer(
            network, layer, outputs, window_of[layer.name], dense_rates[layer.name], per)
        layers.append(matched)
        if _takes_threshold(layer):
            ledger += _entries(layer, matched.cuba)
    return network.with_layers(tuple(layers)), tuple(ledger)


def match_layer(
    network: Network,
    layer: Layer,
    outputs: Outputs,
    window: Window,
    dense_rates: NDArray[np.float64] | None,
    per: Literal["layer", "channel"] = "layer",
) -> tuple[Layer, Train]:
    """Return one layer with matched thresholds, and what it sends in its window.

    Parameters
    ----------
    network : tells the shapes; the weights are those of ``layer``
    outputs : of the input and of, at least, every source of the layer
    dense_rates : (channels,), to match the rate; None to leave the thresholds as they are
    """
    trials = _Trials(network, layer, outputs, window)
    neuron = layer.neuron
    if dense_rates is not None and _takes_threshold(layer):
        match = _match_channels if per == "channel" else _match_mean
        neuron = match(layer, trials, dense_rates)
    return replace(layer, neuron=neuron), sent_in(window, layer, trials.output(neuron))


def _takes_threshold(layer: Layer) -> bool:
    """Whether another threshold can make up for other weights.

    That of sigma-delta neurons says how exact messages are; driven neurons have no weights.
    """
    is_cuba = isinstance(layer.neuron, CubaNeuron)
    return is_cuba and layer.neuron.fires and not layer.is_driven


class _Trials:
    """A layer and what it receives; tells what other neurons would make of it."""

    def __init__(
        self, network: Network, layer: Layer, outputs: Outputs, window: Window
    ) -> None:
        self._layer, self._window = layer, window
        sent = sent_between(network, layer, outputs, window.begin, window.sent_until)
        self._sources = {s.source: source_spikes(network, sent, s.source) for s in layer.synapses}
        self._accumulator = Accumulator(network, layer)
        self._first_step = depths(network)[layer.name] - 1
        first = next(iter(self._sources.values()))
        self._n_samples, n_steps = len(first), first.shape[-1]
        self._chunk = max(1, _ACC_BYTES // (4 * n_steps * layer.n_neurons))
        # accumulated again for every trial only where it does not fit into memory at once
        is_small = self._chunk >= self._n_samples
        self._kept = self._accumulator.run(self._sources) if is_small else None

    def run(self, neuron: Neuron) -> Iterator[tuple[slice, NDArray[np.uint8]]]:
        """Yield samples and the spikes (n, *shape, t) that such neurons give for them."""
        layer = begun(replace(self._layer, neuron=neuron), self._window.begin)
        for begin in range(0, self._n_samples, self._chunk):
            samples = slice(begin, min(begin + self._chunk, self._n_samples))
            acc = self._kept
            if acc is None:
                acc = self._accumulator.run({k: v[samples] for k, v in self._sources.items()})
            yield samples, run_neurons(layer, acc, self._first_step)[0]

    def output(self, neuron: Neuron) -> NDArray[np.uint8]:
        """Return the spikes of all samples."""
        return np.concatenate([spikes for _, spikes in self.run(neuron)])

    def rates(self, neuron: CubaNeuron) -> NDArray[np.float64]:
        """Return the rate of each channel."""
        n_spikes = np.zeros(self._layer.n_channels, dtype=np.int64)
        for _, spikes in self.run(neuron):
            n_spikes += spikes.sum(axis=(0, *range(2, spikes.ndim)), dtype=np.int64)
        n_each = self._layer.n_neurons // self._layer.n_channels
        rates: NDArray[np.float64] = n_spikes / (self._n_samples * self._window.n_steps * n_each)
        return rates


def _match_mean(layer: Layer, trials: _Trials, dense: NDArray[np.float64]) -> CubaNeuron:
    def with_threshold(vth: NDArray[np.int64]) -> CubaNeuron:
        return replace(layer.cuba, vth_mant=int(vth[0]), channel_vth_mant=None)

    best = _bisect(
        lambda vth: trials.rates(with_threshold(vth)).mean(keepdims=True),
        dense.mean(keepdims=True), np.array([layer.cuba.vth_mant]),
    )
    return with_threshold(best)


def _match_channels(layer: Layer, trials: _Trials, dense: NDArray[np.float64]) -> CubaNeuron:
    def with_thresholds(vth: NDArray[np.int64]) -> CubaNeuron:
        return replace(layer.cuba, channel_vth_mant=tuple(vth.tolist()))

    best = _bisect(lambda vth: trials.rates(with_thresholds(vth)), dense, _per_channel(layer))
    if (best == layer.cuba.vth_mant).all():
        return replace(layer.cuba, channel_vth_mant=None)
    return with_thresholds(best)


def _bisect(
    rates_at: Callable[[NDArray[np.int64]], NDArray[np.float64]],
    wanted: NDArray[np.float64],
    start: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return the thresholds whose rates are nearest to ``wanted``, all searched side by side.

    A rate falls as its threshold rises, nearly always: bisection, keeping the best trial, of equal
    ones the first; the very first is ``start``.
    """
    low = np.maximum(1, (start / _WIDEST_CHANGE).astype(np.int64))
    high = np.minimum(MAX_EXACT_VTH_MANT, (start * _WIDEST_CHANGE).astype(np.int64) + 1)
    threshold, best = start, start
    least = np.full(start.shape, np.inf)
    while True:
        rates = rates_at(threshold)
        error = np.abs(rates - wanted)
        best = np.where(error < least, threshold, best)
        least = np.minimum(error, least)
        low = np.where(rates > wanted, threshold + 1, low)
        high = np.where(rates > wanted, high, threshold - 1)
        is_open = low <= high
        if not is_open.any():
            return best
        threshold = np.where(is_open, (low + high) // 2, threshold)


def _per_channel(layer: Layer) -> NDArray[np.int64]:
    thresholds = layer.cuba.channel_vth_mant or (layer.cuba.vth_mant,) * layer.n_channels
    return np.array(thresholds, dtype=np.int64)


def _entries(layer: Layer, neuron: CubaNeuron) -> list[LedgerEntry]:
    before, after = layer.cuba, neuron
    if before == after:
        return []
    if after.channel_vth_mant is None:
        what = f"threshold {before.vth_mant} -> {after.vth_mant} to match the dense firing rate"
        return [LedgerEntry(layer.name, what, 1, 1)]
    n_changed = int(np.sum(_per_channel(layer) != np.array(after.channel_vth_mant)))
    what = f"thresholds of {n_changed} channels matched to their dense rates"
    return [LedgerEntry(layer.name, what, n_changed, layer.n_channels)]
