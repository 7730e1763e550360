"""One cell computed and measured: a worker's side of the benchmark.

In: cells. Out: results as plain JSON, no arrays. Cells of one group share their calibration, and
neighbors of one method a bank; only one of each is kept.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from plan import Cell, Measurement

from hardware_targets import load_target
from models.data.splits import SpikeSet, draw_samples, load_split
from pipeline.account.energy import account
from pipeline.bank import LayerBank
from pipeline.calibrate import Calibration, calibrate
from pipeline.compress_synapse import CompressedSynapse, Level, Method, PrunedGroups
from pipeline.compressor import compress_network, method_of
from pipeline.distance import executed_losses
from pipeline.emulate import Trace, accuracy, emulate
from pipeline.errors import CalibrationError, CompressionError, DesignRuleError
from pipeline.ingest import slayer
from pipeline.ingest.checkpoint import load_module
from pipeline.mapping.place import check_rules, place
from pipeline.match_rates import match_rates
from pipeline.model_folder import find_model
from pipeline.network import Network
from pipeline.quantize import as_trained, to_integers
from pipeline.shrink import shrink

TARGET = "loihi1"
Result = dict[str, Any]


class TimedBank(LayerBank):
    """A bank that knows what each cell would have taken without the cells before it."""

    def __init__(self, network: Network, calibration: Calibration, method: Method) -> None:
        super().__init__(network, calibration, method)
        self._seconds: dict[tuple[str, int | Level], float] = {}
        self._is_new: dict[tuple[str, int | Level], bool] = {}

    def begin_cell(self) -> None:
        """Forget what the cell before asked for."""
        self._is_new.clear()

    def reused_s(self) -> float:
        """Return the seconds of what this cell asked for and an earlier one had computed."""
        return sum(self._seconds[key] for key, is_new in self._is_new.items() if not is_new)

    def get(self, name: str, level: Level) -> CompressedSynapse:
        """Return the group ``name`` at ``level``, timed."""
        self._is_new.setdefault((name, level), (name, level) not in self._seconds)
        if (name, level) in self._seconds:
            self.pruned(name, level.n_keep)  # the level's own seconds are without its pruning
            return super().get(name, level)
        # pruned first, so that the time of the level is its own
        self.pruned(name, level.n_keep)
        begin = time.perf_counter()
        part = super().get(name, level)
        self._seconds[name, level] = time.perf_counter() - begin
        return part

    def pruned(self, name: str, n_keep: int) -> PrunedGroups:
        """Return the group pruned, timed."""
        begin = time.perf_counter()
        groups = super().pruned(name, n_keep)
        self._is_new.setdefault((name, n_keep), (name, n_keep) not in self._seconds)
        self._seconds.setdefault((name, n_keep), time.perf_counter() - begin)
        return groups


class Bench:
    """A trained network with the splits it is calibrated and measured on."""

    def __init__(self, name: str, measurement: Measurement) -> None:
        model = find_model(name)
        self.network, _ = as_trained(slayer.to_network(load_module(model), model))
        n_steps = model.description.n_steps
        self.whole = _split(model.data, "calibration", n_steps, None)
        self.test = _split(model.data, "test", n_steps, measurement.n_test)
        self.traced = self.test.spikes[: measurement.n_traced]
        self.dense_accuracy = accuracy(self.network, self.test.spikes, self.test.labels)
        self.dense = emulate(self.network, self.traced)
        self.dense_synops = synops(self.network, self.dense)

    def calibration(self, cell: Cell) -> tuple[Calibration, SpikeSet]:
        """Return the calibration a cell asks for, and its samples."""
        settings = cell.recipe.calibration
        data = draw_samples(self.whole, settings.n_samples, settings.seed)
        return calibrate(
            self.network, data.spikes, data.origin, objective=settings.curvature,
            damping_frac=settings.damping), data


def measure_group(cells: list[Cell], measurement: Measurement) -> Iterator[tuple[Cell, Result]]:
    """Yield the result of each cell; all are of one group, see :func:`plan.groups`.

    A configuration that is refused is a result too, with the key ``error``.
    """
    bench = _bench(cells[0].model, measurement)
    calibration, data = None, None
    method, bank = None, None
    for cell in cells:
        result: Result = {
            "origin": bench.test.origin, "dense_accuracy": bench.dense_accuracy,
            "dense_synops": bench.dense_synops,
        }
        try:
            if calibration is None or data is None:
                calibration, data = bench.calibration(cells[0])
            if bank is None or method != method_of(cell.recipe):
                method = method_of(cell.recipe)
                bank = TimedBank(bench.network, calibration, method)
            result |= _measure(cell, bench, calibration, data, bank)
        except (CompressionError, CalibrationError) as error:
            result |= {"error": f"{type(error).__name__}: {error}"}
        yield cell, result


def _measure(
    cell: Cell, bench: Bench, calibration: Calibration, data: SpikeSet, bank: TimedBank
) -> Result:
    bank.begin_cell()
    begin = time.perf_counter()
    parts = compress_network(bench.network, calibration, cell.recipe, data.spikes, bank=bank)
    compress_s = time.perf_counter() - begin + bank.reused_s()
    begin = time.perf_counter()
    network, _ = to_integers(bench.network, parts)
    per = cell.recipe.compress.match_rates
    if per != "none":
        network, _ = match_rates(network, data.spikes, calibration.rates, per)
    match_s = time.perf_counter() - begin
    shrunk = shrink(network).network
    return {
        "accuracy": accuracy(network, bench.test.spikes, bench.test.labels),
        "layers": _layers(network, bench, parts),
        "synops": synops(shrunk, emulate(shrunk, bench.traced)),
        "compress_s": round(compress_s, 3),
        "match_s": round(match_s, 3),
    }


def _layers(network: Network, bench: Bench, parts: dict[str, CompressedSynapse]) -> list[Result]:
    """Return per layer what was predicted, and what it does when all before it is dense."""
    rows = []
    trace = emulate(network, bench.traced)
    executed = executed_losses(network, bench.network, bench.traced)
    for layer in network.layers:
        (synapse,) = layer.synapses
        part = parts[synapse.name]
        rows.append({
            "layer": layer.name, "n_weights": int(part.codes.size), "n_kept": int(part.n_kept),
            "bits": "ternary" if part.level.is_ternary else int(part.level.bits),
            "pruning_loss": _brief(part.pruning_loss),
            "quantization_loss": _brief(part.quantization_loss),
            "executed_loss": _brief(executed[layer.name]),
            "rate": _brief(trace.spikes[layer.name].mean()),
            "dense_rate": _brief(bench.dense.spikes[layer.name].mean()),
            "vth_mant": int(layer.neuron.vth_mant), "algorithm": part.algorithm,
            "relative_loss": None if part.relative_loss is None else _brief(part.relative_loss),
        })
    return rows


def _brief(value: float) -> float:
    """Return a number at six digits: the file is read by people, too."""
    return float(f"{value:.6g}")


def synops(network: Network, trace: Trace) -> Result:
    """Return effective and executed synops per sample, or why the chip does not take the net."""
    target = load_target(TARGET)
    try:
        check_rules(network, target)
        placement = place(network, target)
    except DesignRuleError as error:
        return {"effective": None, "executed": None, "n_cores": None, "reason": str(error)}
    counts = account(network, placement, trace, target).counts
    return {
        "effective": _brief(np.mean(counts["effective_synops"].sum(axis=1))),
        "executed": _brief(np.mean(counts["executed_synops"].sum(axis=1))),
        "n_cores": len(placement.cores),
    }


@cache
def _bench(model: str, measurement: Measurement) -> Bench:
    return Bench(model, measurement)


# once per process for all networks of one source
_split = cache(load_split)
