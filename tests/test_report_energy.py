"""Energies, times and NeuroBench's metrics of the document add up to those of the account."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.emulate import emulate
from pipeline.report import build_document


def test_energy_is_amount_times_price_in_every_sum(bench: Callable[..., Any]) -> None:
    context = bench(neurons_per_core=7)
    document = build_document(context)
    for prices in context.value("energy").price_sets:
        rows = {row["event"]: row | row["price_sets"][prices.name]
                for row in document["energy"]["events"]}
        assert {e for e, row in rows.items() if row["amount_per_sample"]} == (
            set(prices.by_event_pj) | set(prices.unpriced))
        for event, energy in prices.by_event_pj.items():
            amount, price = rows[event]["amount_per_sample"], rows[event]["price_pj"]
            assert rows[event]["energy_pj_per_sample"] == pytest.approx(amount * price)
            assert energy == pytest.approx(amount * price)
        of_cores = [core["energy_pj_per_sample"][prices.name] for core in document["cores"]]
        assert sum(of_cores) == pytest.approx(prices.total_pj)
    sets = context.value("energy").price_sets
    verdict = document["verdict"]
    assert verdict["energy_low_pj_per_sample"] == min(prices.band_pj[0] for prices in sets)
    assert verdict["energy_high_pj_per_sample"] == max(prices.band_pj[1] for prices in sets)


def test_headline_leaves_out_a_set_without_a_price_for_synops_unless_all_are(
    bench: Callable[..., Any]
) -> None:
    context = bench()
    report = context.value("energy")
    first, second = report.price_sets
    lacking = replace(first, unpriced={**first.unpriced, "synop_run_length": "not found"})
    context.values["energy"] = replace(report, price_sets=(lacking, second))
    verdict = build_document(context)["verdict"]
    assert verdict["energy_low_pj_per_sample"] == second.band_pj[0]
    assert verdict["energy_high_pj_per_sample"] == second.band_pj[1]
    context.values["energy"] = replace(report, price_sets=(lacking,))
    assert build_document(context)["verdict"]["energy_low_pj_per_sample"] == first.band_pj[0]


def test_layers_tiles_and_readings_add_up_to_the_energy_of_each_set(
    bench: Callable[..., Any]
) -> None:
    document = build_document(bench(neurons_per_core=7))
    energy = document["energy"]
    for prices in energy["price_sets"]:
        total = pytest.approx(prices["total_pj_per_sample"])
        assert sum(row["energy_pj_per_sample"][prices["name"]] for row in energy["tiles"]) == total
        assert sum(
            row["energy_pj_per_sample"][prices["name"]] for row in document["layers"]) == total
        assert prices["readings"]["had_state"]["total_pj_per_sample"] == total
        for reading in prices["readings"].values():
            assert sum(reading["by_layer_pj_per_sample"].values()) == pytest.approx(
                reading["total_pj_per_sample"])
            assert reading["min_pj"] <= reading["total_pj_per_sample"] <= reading["max_pj"]
        for step in prices["timing"]["readings"].values():
            assert step["step_ns_min"] <= step["step_ns_mean"] <= step["step_ns_max"]
            assert step["sample_us_mean"] == pytest.approx(
                step["step_ns_mean"] * energy["n_steps"] / 1e3)
        shares = [core["slowest_of_steps_frac"][prices["name"]] for core in document["cores"]]
        bound = prices["timing"]["readings"]["had_state"]["link_bound_frac"]
        assert sum(shares) + bound <= 1 + 1e-9


def test_neurobench_metrics_stand_under_their_names(bench: Callable[..., Any]) -> None:
    context = bench()
    document = build_document(context)
    metrics, network = document["neurobench"], context.value("quantize").network
    trace = emulate(network, context.value("spikes"))
    outputs = np.concatenate([trace.spikes[layer.name].ravel() for layer in network.layers])
    assert metrics["ActivationSparsity"] == pytest.approx(1 - outputs.mean())
    assert metrics["SynapticOperations.Effective_ACs"] == pytest.approx(
        document["energy"]["totals"]["effective_synops_per_sample"])
    assert metrics["ClassificationAccuracy"] == document["verdict"]["accuracy_compressed_frac"]
    bits = sum(core.synapse_bits for core in context.value("place").cores)
    assert document["verdict"]["footprint_bytes"] == -(-bits // 8)
