"""Everything the report says, as plain JSON: the one source of ``report.json`` and the page.

In: a context whose stages up to ``energy`` are up to date. Out: nested dicts, lists, strings and
numbers of Python, the same for the same artifacts: no times, no paths of this machine. Units are
suffixes, shares end in ``_frac``, ``_per_sample`` is a mean over the samples of the energy account.
Larger sections are in ``document_*.py``. Not here: rendering (``html.py``).
"""

from __future__ import annotations

import hashlib
import platform
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from pipeline.compare import Comparison
from pipeline.context import Context
from pipeline.emulate import emulate
from pipeline.errors import OutputError
from pipeline.lower import without_joins
from pipeline.mapping.join_ways import join_ways
from pipeline.mapping.place import cautions
from pipeline.network import INPUT
from pipeline.report.document_activity import build_activity
from pipeline.report.document_before import build_before_after
from pipeline.report.document_cores import core_row, layer_row
from pipeline.report.document_energy import build_energy
from pipeline.report.document_time import build_over_time
from pipeline.report.document_verdict import build_neurobench, build_verdict

SCHEMA_VERSION = 2

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
    # without joins, as it is placed and as the compressed one is
    dense = without_joins(context.value("ingest").network)
    network = context.value("quantize").network
    samples = context.value("lava").trace.spikes[INPUT]
    dense_trace, trace = emulate(dense, samples), emulate(network, samples)
    document: Section = {
        "schema_version": SCHEMA_VERSION,
        "verdict": {},  # first for the reader, filled in last
        "model": _model(context),
        "target": context.target.model_dump(mode="json"),
        "recipe": context.recipe.model_dump(mode="json"),
        "accuracy": _accuracy(context),
        "layers": [
            layer_row(context, layer, cores) for layer in network.layers
        ],
        "cores": cores,
        "chips": _chips(context),
        "before_after": build_before_after(context, dense, dense_trace, trace),
        "activity": build_activity(dense, dense_trace, network, trace),
        "energy": build_energy(context.value("energy"), context.target, cores),
        "joins": [asdict(ways) for ways in join_ways(
            context.value("quantize").full, context.target, context.recipe.place.formats)],
        "over_time": build_over_time(
            context.value("energy"), [layer.name for layer in network.layers]),
        "equivalence": [
            row for comparison in context.value("compare").comparisons
            for row in _equivalence(context, comparison)
        ],
        "ledger": _ledger(context),
        "cautions": [asdict(caution) for caution in cautions(network, context.target)],
        "calibration": _calibration(context),
        "artifacts": {
            "files": [_file(context.out / name) for name in _products(context)],
            "stage_keys": {stage: context.key(stage) for stage in _STAGES},
        },
        "versions": _versions(),
    }
    document["neurobench"] = build_neurobench(
        document, context.value("energy").neurobench)
    document["verdict"] = build_verdict(document)
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


def _chips(context: Context) -> Section:
    """Return the mesh that the cores are drawn on."""
    capacities = context.target.capacities
    return {
        "n_chips": context.value("place").n_chips,
        "n_cores_per_chip": capacities.cores_per_chip.value,
        "n_cores_per_tile": capacities.cores_per_tile.value,
        "n_tile_columns": capacities.tile_columns.value,
        "n_tile_rows": capacities.tile_rows.value,
    }


def _model(context: Context) -> Section:
    description, integers = context.model.description, context.value("quantize")
    sizes = {
        f"{what}{suffix}": n
        for suffix, network in (("_dense", integers.full), ("", integers.network))
        for what, n in (
            ("n_neurons", sum(layer.n_neurons for layer in network.layers)),
            ("n_weights", sum(synapse.n_weights for synapse in network.stored_synapses)),
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
