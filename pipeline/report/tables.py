"""The tables of the page: which columns of the document, under which heading, shown how.

In: the document. Out: :class:`Table` values of plain text, drawn by one macro of the template.
"""

from __future__ import annotations

from typing import Any

from pipeline.report.table import Column, Row, Table, build, column
from pipeline.report.units import MISSING, exact, percent, significant


def weights(document: Row) -> Table:
    """Return weights, bits and thresholds before and after, per layer."""
    return build("Layers before (dense, as trained) and after compression", document["layers"], [
        column("layer", "name"), column("kind", "kind"),
        ("shape before", lambda r: _shape(r["weight_shape_dense"]), str),
        ("shape after", lambda r: " and ".join(map(_shape, r["weight_shapes"])), str),
        column("weights before", "n_weights_dense"),
        column("kept", "n_weights_kept"), column("nonzero", "n_weights_nonzero"),
        column("zeros before", "connection_sparsity_dense_frac", percent),
        column("zeros after", "connection_sparsity_frac", percent),
        column("bits before", "weight_bits_dense"), column("bits after", "weight_bits"),
        column("threshold before", "vth_mant_dense"), column("threshold after", "vth_mant"),
    ])


def quantization(document: Row) -> Table:
    """Return grids, what they clipped, and the losses, predicted and executed, per layer."""
    caption = ("Grids and losses. Predicted: rise of the objective per sample. Executed: van "
               "Rossum distance of the spikes to the dense layer's on the same input, per sample")
    return build(caption, document["layers"], [
        column("layer", "name"), column("bits asked", "weight_bits_asked"),
        column("bits NetX infers", "weight_bits_inferred_by_netx"),
        ("grid step", lambda r: f"2^{r['weight_step_exp']}", str),
        column("weights scaled by", "weight_scale", significant),
        column("clipped", "n_weights_clipped"),
        column("rounded to zero", "n_weights_rounded_to_zero"),
        column("mask by", "mask_by"),
        column("loss over greedy OBS, sampled rows", "loss_over_greedy_obs", significant),
        column("pruning loss, by importance", "pruning_loss_predicted_per_sample", significant),
        column("quantization loss", "quantization_loss_predicted_per_sample", significant),
        column("executed loss", "loss_executed_per_sample", significant),
    ])


def activity(document: Row) -> Table:
    """Return rates, synops and cores, per layer."""
    return build("Activity and cores", document["layers"], [
        column("layer", "name"), column("neurons before", "n_neurons_dense"),
        column("neurons after", "n_neurons"),
        column("rate before, calibration", "firing_rate_dense_per_step", significant),
        column("rate after, test", "firing_rate_per_step", significant),
        column("effective synops", "effective_synops_per_sample"),
        column("executed synops", "executed_synops_per_sample"),
        column("effective share", "effective_share_of_executed_frac", percent),
        column("cores", "n_cores"), column("decided by", "n_cores_decided_by"),
        ("format", lambda r: ", ".join(r["formats"]), str),
        column("memory, bits", "synapse_memory_bits"),
    ])


def accuracy(document: Row) -> Table:
    """Return both splits, dense and compressed, with intervals."""
    rows = [document["accuracy"][split] | {"split": split} for split in ("test", "validation")]
    columns: list[Column] = [column("split", "split"), column("samples", "n_samples")]
    for name in ("dense", "compressed"):
        columns += [
            column(f"{name}", f"{name}_frac", percent),
            column(f"{name}, 95 % from", f"{name}_ci95_low_frac", percent),
            column(f"{name}, 95 % to", f"{name}_ci95_high_frac", percent),
        ]
    return build("Accuracy, with Wilson intervals over the samples", rows, columns)


def cores(document: Row) -> Table:
    """Return what each core holds, against its limits."""
    return build("Contents of the cores, against their limits", document["cores"], [
        column("core", "index"), column("layer", "layer"),
        ("neurons", lambda r: f"{r['neurons_begin']}–{r['neurons_end'] - 1}", str),
        column("limit", "neurons_limit"),
        ("tile x, y", lambda r: f"{r['tile_x']}, {r['tile_y']}", str),
        column("format", "format"),
        column("memory, bits", "synapse_memory_bits"),
        column("limit", "synapse_memory_limit_bits"),
        column("used", "synapse_memory_used_frac", percent),
        column("input axons", "input_axons"), column("limit", "input_axons_limit"),
        column("output axons", "output_axons"), column("limit", "output_axons_limit"),
    ])


def events(document: Row) -> Table:
    """Return what each core counts and what that costs, with the sums over all cores."""
    columns: list[Column] = [column("core", "index"), column("layer", "layer")]
    columns += [column(_words(event), event) for event in document["energy"]["totals"]]
    total = {"index": "all", "layer": "", **document["energy"]["totals"],
             "energy_pj_per_sample": {}}
    for prices in document["energy"]["price_sets"]:
        total["energy_pj_per_sample"][prices["name"]] = prices["total_pj_per_sample"]
        columns.append((
            prices["name"] + ", pJ" * prices["is_priced"],
            lambda r, n=prices["name"]: r["energy_pj_per_sample"][n],  # type: ignore[misc]
            _or_unpriced,
        ))
    return build("Events and energy of the cores, per sample", document["cores"], columns, total)


def equivalence(document: Row) -> Table:
    """Return every comparison, layer by layer."""
    return build("Spike trains compared, all neurons and steps", document["equivalence"], [
        column("layer", "layer"),
        ("compared", lambda r: f"{r['first_backend']} – {r['second_backend']}", str),
        column("samples", "n_samples"),
        column("positions", "n_positions"), column("spikes", "n_spikes"),
        column("differences", "n_differing"),
        ("first difference", lambda r: r["first_difference"], _first_difference),
    ])


def energy(document: Row) -> Table:
    """Return the events with price and energy under each set, side by side."""
    columns: list[Column] = [
        ("event", lambda r: _words(r["event"]), str), column("per sample", "amount_per_sample"),
    ]
    total: Row = {"event": "total of the priced", "amount_per_sample": "", "price_sets": {}}
    for prices in document["energy"]["price_sets"]:
        unit = ", pJ" * prices["is_priced"]
        for what, key in (("price", "price_pj"), ("energy", "energy_pj_per_sample")):
            columns.append((
                f"{prices['name']}: {what}{unit}",
                lambda r, n=prices["name"], k=key: r["price_sets"][n][k],  # type: ignore[misc]
                _or_unpriced,
            ))
        total["price_sets"][prices["name"]] = {
            "price_pj": "", "energy_pj_per_sample": prices["total_pj_per_sample"]}
    occurred = [row for row in document["energy"]["events"] if row["amount_per_sample"]]
    return build("Energy per event and price set, per sample", occurred, columns, total)


def spread(document: Row) -> Table:
    """Return how synops vary over the samples."""
    rows = [row | {"event": name} for name, row in document["energy"]["spread"].items()]
    return build("Synops over the samples", rows, [
        ("event", lambda r: _words(r["event"]), str), column("least", "min"),
        column("mean", "mean"), column("most", "max"), column("standard deviation", "sd"),
    ])


def neurobench(document: Row) -> Table:
    """Return the metrics under NeuroBench's names."""
    rows = [{"metric": name, "value": value} for name, value in document["neurobench"].items()]
    return build("Compressed network, NeuroBench metrics", rows, [
        column("metric", "metric"), ("value", lambda r: r["value"], _by_size),
    ])


def ledger(document: Row) -> Table:
    """Return everything that was rounded, clipped, scaled or dropped."""
    return build("Ledger of changes", document["ledger"], [
        column("stage", "stage"), column("layer", "layer"), column("what", "what"),
        column("count", "count"), column("of", "total"),
        ("share", lambda r: r["count"] / r["total"] if r["total"] > 1 else None, percent),
    ])


def calibration(document: Row) -> Table:
    """Return what the curvature of each synapse group rests on."""
    return build("Calibration per synapse group", document["calibration"]["synapses"], [
        column("synapses", "name"), column("inputs", "n_inputs"),
        column("never spiked", "n_inputs_dead"),
        column("share", "inputs_dead_frac", percent), column("rows", "n_rows"),
        column("rank", "rank"), column("condition, damped", "condition_damped", significant),
        column("spikes per input and step", "input_rate_per_step", significant),
    ])


def sources(document: Row) -> tuple[Table, ...]:
    """Return every number of the target with its status and source, one table per section."""
    target = document["target"]
    sections = [(f"Prices of {name}", prices) for name, prices in target["price_sets"].items()]
    sections += [(name.capitalize(), target[name]) for name in ("capacities", "synapses",
                                                                "neurons")]
    return tuple(
        build(f"{name}: value, status and source", [
            quantity | {"name": key} for key, quantity in section.items()
            if isinstance(quantity, dict)
        ], [
            ("quantity", lambda r: _words(r["name"]), str),
            ("value", lambda r: r["value"], _or_none_published), column("unit", "unit"),
            column("status", "status"), column("source", "source"),
        ])
        for name, section in sections
    )


def artifacts(document: Row) -> Table:
    """Return the hashes of the products."""
    return build("Products", document["artifacts"]["files"], [
        column("file", "name"), column("bytes", "n_bytes"), column("SHA-256", "sha256"),
    ])


def _shape(shape: list[int]) -> str:
    return " × ".join(str(n) for n in shape)


def _words(name: str) -> str:
    return name.removesuffix("_per_sample").replace("_", " ")


def _or_unpriced(value: float | None) -> str:
    return "unpriced" if value is None else exact(value)


def _or_none_published(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(exact(item) for item in value)
    return "none published" if value is None else f"{value:,}"


def _first_difference(value: Row | None) -> str:
    return MISSING if value is None else ", ".join(f"{k} {v}" for k, v in value.items())


def _by_size(value: float) -> str:
    return f"{value:.4f}" if 0 < value < 1 else exact(value)
