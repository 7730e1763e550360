"""The headline of the report, and NeuroBench's metrics, both made from the rest of the document.

In: the document without them. Out: plain JSON.
"""

from __future__ import annotations

from typing import Any

from pipeline.account.neurobench import NeuroBenchMetrics

Section = dict[str, Any]


def build_neurobench(document: Section, metrics: NeuroBenchMetrics) -> Section:
    """Return the metrics of the compressed network under the names that NeuroBench prints."""
    values: Section = {"ClassificationAccuracy": document["accuracy"]["test"]["compressed_frac"]}
    for name, value in metrics.as_neurobench().items():
        if isinstance(value, dict):
            values |= {f"{name}.{part}": number for part, number in value.items()}
        else:
            values[name] = value
    return values


def build_verdict(document: Section) -> Section:
    """Return the headline: what became of accuracy, size, spikes and energy."""
    test, energy = document["accuracy"]["test"], document["energy"]
    layers, rows = document["layers"], document["equivalence"]
    # every comparison is of the same spikes: those of the first are all
    backends = list(dict.fromkeys(
        row[which] for row in rows for which in ("first_backend", "second_backend")))
    compared = [row for row in rows if row["second_backend"] == rows[0]["second_backend"]]
    n_weights = document["model"]["n_weights_dense"]
    n_zero_dense, n_zero = (
        sum(round((layer[f"connection_sparsity_{which}frac"] or 0) * layer["n_weights_dense"])
            for layer in layers) for which in ("dense_", ""))
    n_cores, chips = len(document["cores"]), document["chips"]
    return {
        "accuracy_dense_frac": test["dense_frac"],
        "accuracy_compressed_frac": test["compressed_frac"],
        "accuracy_n_samples": test["n_samples"],
        "data_origin": document["accuracy"]["data_origin"],
        "accuracy_ci95_low_frac": test["compressed_ci95_low_frac"],
        "accuracy_ci95_high_frac": test["compressed_ci95_high_frac"],
        "fits": n_cores <= chips["n_chips"] * chips["n_cores_per_chip"],
        "n_cores": n_cores,
        "n_cores_limit": chips["n_chips"] * chips["n_cores_per_chip"],
        "n_chips": chips["n_chips"],
        "fullest_core_memory_used_frac": max(
            core["synapse_memory_used_frac"] for core in document["cores"]),
        "footprint_bytes": -(-sum(row["synapse_memory_bits"] for row in layers) // 8),
        "n_neurons_dense": document["model"]["n_neurons_dense"],
        "n_neurons": document["model"]["n_neurons"],
        "connection_sparsity_dense_frac": n_zero_dense / n_weights,
        "connection_sparsity_frac": n_zero / n_weights,
        "weight_bits": sorted({layer["weight_bits"] for layer in layers} - {None}),
        "is_bit_exact": all(row["n_differing"] == 0 for row in rows),
        "n_differing": sum(row["n_differing"] for row in rows),
        "n_spikes_compared": sum(row["n_spikes"] for row in compared),
        "n_positions_compared": sum(row["n_positions"] for row in compared),
        "n_samples_compared": rows[0]["n_samples"],
        "backends": backends,
        "synaptic_operations_effective": energy["totals"]["effective_synops_per_sample"],
        "synaptic_operations_executed": energy["totals"]["executed_synops_per_sample"],
        "energy_status": energy["status"],
        "energy_low_pj_per_sample": energy["low_pj_per_sample"],
        "energy_high_pj_per_sample": energy["high_pj_per_sample"],
        "energy_unpriced_terms": {
            prices["name"]: sorted(prices["unpriced"]) for prices in energy["price_sets"]
        },
    }
