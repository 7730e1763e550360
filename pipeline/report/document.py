"""Everything the report says, as plain JSON: the one source of ``report.json`` and the page.

In: a context whose stages up to ``energy`` are up to date. Out: nested dicts, lists, strings and
numbers of Python, the same for the same artifacts: no times, no paths of this machine. Units are
suffixes, shares end in ``_frac``, ``_per_sample`` is a mean over the samples of the energy account.
Rows of cores and layers are in ``document_cores.py``, prices and assumptions in
``document_energy.py``. Not here: rendering (``html.py``).
"""

from __future__ import annotations

import hashlib
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from pipeline.compare import Comparison
from pipeline.context import Context
from pipeline.errors import OutputError
from pipeline.report.document_cores import core_row, layer_row
from pipeline.report.document_energy import build_energy

SCHEMA_VERSION = 1

Section = dict[str, Any]

_STAGES = ("ingest", "calibrate", "compress", "quantize", "place", "export", "emulate", "lava",
           "compare", "energy")
_PACKAGES = ("spikefit", "numpy", "torch", "lava-nc", "lava-dl")
_Z95 = 1.959964  # two-sided 95 % quantile of the normal distribution


def build_document(context: Context) -> Section:
    """Return the report of a deployment as plain JSON values.

    Raises
    ------
    OutputError
        If a product that the report hashes cannot be read.
    """
    cores = [core_row(context, core) for core in context.value("place").cores]
    document: Section = {
        "schema_version": SCHEMA_VERSION,
        "verdict": {},  # first for the reader, filled in last
        "model": _model(context),
        "target": context.target.model_dump(mode="json"),
        "recipe": context.recipe.model_dump(mode="json"),
        "accuracy": _accuracy(context),
        "layers": [
            layer_row(context, layer, cores) for layer in context.value("quantize").network.layers
        ],
        "cores": cores,
        "energy": build_energy(context.value("energy"), context.target, cores),
        "equivalence": [
            row for comparison in context.value("compare").comparisons
            for row in _equivalence(context, comparison)
        ],
        "ledger": _ledger(context),
        "calibration": _calibration(context),
        "artifacts": {
            "files": [_file(context.out / name) for name in _products(context)],
            "stage_keys": {stage: context.key(stage) for stage in _STAGES},
        },
        "versions": _versions(),
    }
    document["neurobench"] = _neurobench(document)
    document["verdict"] = _verdict(document)
    return document


def _products(context: Context) -> list[str]:
    """Return the files that this network has."""
    export = context.value("export")
    products = ["network.nir"] if export.nir_obstacle is None else []
    if export.obstacle is None:
        products.append("network.net")
    if context.model.is_module:
        products.append("checkpoint.pt")
    return products


def _model(context: Context) -> Section:
    description, integers = context.model.description, context.value("quantize")
    sizes = {
        f"{what}{suffix}": n
        for suffix, network in (("_dense", integers.full), ("", integers.network))
        for what, n in (
            ("n_neurons", sum(layer.n_neurons for layer in network.layers)),
            ("n_weights", sum(synapse.weight.size for synapse in network.stored_synapses)),
        )
    }
    return {
        "name": context.model.name,
        "description": description.description,
        "input_shape": list(description.input_shape),
        "n_steps": description.n_steps,
        "data_kind": description.data.kind,
        "n_layers": len(integers.network.layers),
        **sizes,
    }


def _accuracy(context: Context) -> Section:
    evaluation = context.value("emulate")
    section: Section = {"data_origin": evaluation.origin}
    for split in ("validation", "test"):
        n_samples = getattr(evaluation, f"n_{split}")
        row: Section = {"n_samples": n_samples}
        for name, frac in zip(("dense", "compressed"), getattr(evaluation, split), strict=True):
            low, high = _wilson(float(frac), n_samples)
            row |= {f"{name}_frac": float(frac), f"{name}_ci95_low_frac": low,
                    f"{name}_ci95_high_frac": high}
        section[split] = row
    return section


def _wilson(frac: float, n: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a share observed in ``n`` samples."""
    middle = (frac + _Z95**2 / (2 * n)) / (1 + _Z95**2 / n)
    reach = _Z95 / (1 + _Z95**2 / n) * (frac * (1 - frac) / n + (_Z95 / (2 * n)) ** 2) ** 0.5
    return max(0.0, middle - reach), min(1.0, middle + reach)


def _equivalence(context: Context, comparison: Comparison) -> list[Section]:
    network = context.value("quantize").network
    n_neurons = {layer.name: layer.n_neurons for layer in network.layers}
    return [
        {
            "first_backend": comparison.first_backend,
            "second_backend": comparison.second_backend,
            "layer": layer.layer,
            "n_samples": comparison.n_samples,
            "n_positions": comparison.n_samples * n_neurons[layer.layer] * network.n_steps,
            "n_spikes": layer.n_spikes,
            "n_differing": layer.n_differing,
            "first_difference": None if layer.first is None else dict(
                zip(("sample", "step", "neuron"), layer.first, strict=True)),
        }
        for layer in comparison.layers
    ]


def _ledger(context: Context) -> list[Section]:
    return [
        {"stage": stage, "layer": entry.layer, "what": entry.what, "count": entry.count,
         "total": entry.total}
        for stage in ("ingest", "quantize") for entry in context.value(stage).ledger
    ]


def _calibration(context: Context) -> Section:
    calibration = context.value("calibrate")
    return {
        "n_samples": calibration.n_samples,
        "data_origin": calibration.origin, "curvature": calibration.objective,
        "advice": list(calibration.advice),
        "synapses": [
            {
                "name": name,
                "n_inputs": curvature.is_dead.size,
                "n_inputs_dead": int(curvature.is_dead.sum()),
                "inputs_dead_frac": float(curvature.is_dead.mean()),
                "n_rows": curvature.n_rows, "rank": curvature.rank,
                "condition_damped": curvature.condition,
                "input_rate_per_step": float(curvature.input_rate),
            }
            for name, curvature in calibration.curvatures.items()
        ],
    }


def _file(path: Path) -> Section:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be read ({error.strerror}); deploy again to write it"
        ) from None
    return {"name": path.name, "n_bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest()}


def _versions() -> Section:
    versions: Section = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return versions


def _neurobench(document: Section) -> Section:
    """Return the metrics that NeuroBench defines, of the compressed network, under its names.

    References
    ----------
    Yik et al., "The neurobench framework", Nature Communications 16, 2025: accuracy, footprint,
    connection sparsity, activation sparsity, synaptic operations (per sample).
    """
    layers, totals = document["layers"], document["energy"]["totals"]
    n_activations = document["model"]["n_neurons"] * document["energy"]["n_steps"]
    # of the weights as trained: those of neurons that were removed count as zeros
    n_weights = document["model"]["n_weights_dense"]
    return {
        "classification_accuracy_frac": document["accuracy"]["test"]["compressed_frac"],
        # the synapse memory of all cores, encoding included
        "footprint_bytes": -(-sum(layer["synapse_memory_bits"] for layer in layers) // 8),
        "connection_sparsity_frac":
            1 - sum(layer["n_weights_nonzero"] for layer in layers) / n_weights,
        "activation_sparsity_frac": 1 - totals["spikes_per_sample"] / n_activations,
        "synaptic_operations_effective_acs": totals["effective_synops_per_sample"],
        "synaptic_operations_effective_macs": 0,
    }


def _verdict(document: Section) -> Section:
    """Return the headline: what became of accuracy, size, spikes and energy."""
    test, energy = document["accuracy"]["test"], document["energy"]
    layers, rows, metrics = document["layers"], document["equivalence"], document["neurobench"]
    # every comparison is of the same spikes: those of the first are all
    backends = list(dict.fromkeys(
        row[which] for row in rows for which in ("first_backend", "second_backend")))
    compared = [row for row in rows if row["second_backend"] == rows[0]["second_backend"]]
    n_weights = document["model"]["n_weights_dense"]
    n_zero_dense = sum(
        round((layer["connection_sparsity_dense_frac"] or 0) * layer["n_weights_dense"])
        for layer in layers
    )
    n_cores, limit = len(document["cores"]), document["target"]["capacities"]["cores_per_chip"]
    return {
        "accuracy_dense_frac": test["dense_frac"],
        "accuracy_compressed_frac": test["compressed_frac"],
        "accuracy_n_samples": test["n_samples"],
        "data_origin": document["accuracy"]["data_origin"],
        "fits": n_cores <= limit["value"],
        "n_cores": n_cores,
        "n_cores_limit": limit["value"],
        "footprint_bytes": metrics["footprint_bytes"],
        "n_neurons_dense": document["model"]["n_neurons_dense"],
        "n_neurons": document["model"]["n_neurons"],
        "connection_sparsity_dense_frac": n_zero_dense / n_weights,
        "connection_sparsity_frac": metrics["connection_sparsity_frac"],
        "weight_bits": sorted({layer["weight_bits"] for layer in layers} - {None}),
        "is_bit_exact": all(row["n_differing"] == 0 for row in rows),
        "n_differing": sum(row["n_differing"] for row in rows),
        "n_spikes_compared": sum(row["n_spikes"] for row in compared),
        "n_positions_compared": sum(row["n_positions"] for row in compared),
        "n_samples_compared": rows[0]["n_samples"],
        "backends": backends,
        "synaptic_operations_effective_acs": metrics["synaptic_operations_effective_acs"],
        "synaptic_operations_executed": energy["totals"]["executed_synops_per_sample"],
        "energy_status": energy["status"],
        "energy_low_pj_per_sample": energy["low_pj_per_sample"],
        "energy_high_pj_per_sample": energy["high_pj_per_sample"],
        "energy_unpriced_terms": {
            prices["name"]: sorted(prices["unpriced"]) for prices in energy["price_sets"]
        },
    }
