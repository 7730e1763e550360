"""The tables of the page: which columns of the document, under which heading, shown how.

In: the document. Out: :class:`Table` values of plain text, drawn by one macro of the template.
"""

from __future__ import annotations

from pipeline.report.table import Cell, Column, Row, Table, build, column
from pipeline.report.units import (
    MISSING,
    exact,
    human_energy,
    or_unpriced,
    percent,
    significant,
    words,
)

_QUANTITIES = {
    "test_accuracy": "test accuracy (all test samples)", "widest_weights": "widest weights",
    "nonzero_weights": "nonzero weights", "messages_in_per_sample": "messages to cores",
}


def before_after(document: Row) -> Table:
    """Return the network as trained beside the compressed one, and by what factor they differ."""
    rows = document["before_after"]["rows"]
    caption = "As trained and compressed, counted by the same rules on the same samples"
    return build(caption, sorted(rows, key=lambda r: r["unit"] != "share"), [
        ("quantity", lambda r: _QUANTITIES.get(r["quantity"], words(r["quantity"])), str),
        ("as trained", lambda r: _quantity(r, "dense"), str),
        ("compressed", lambda r: _quantity(r, "compressed"), str),
        ("change", _change, str),
        ("unit", _unit, str),
    ])


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
    caption = ("Activity and cores. No rate before where calibration left out steps that cannot "
               "reach the output")
    return build(caption, document["layers"], [
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
    """Return what each core holds, with the limits in the headings."""
    rows = document["cores"]
    return build("What each core holds", rows, [
        column("core", "index"), column("layer", "layer"),
        ("part of the layer", lambda r: _region(r["region"]), str),
        column(_limited("neurons", rows, "neurons_limit"), "n_neurons"),
        column("chip", "chip"),
        ("tile x, y", lambda r: f"{r['tile_x']}, {r['tile_y']}", str),
        column("format", "format"),
        column(_limited("memory, bits", rows, "synapse_memory_limit_bits"), "synapse_memory_bits"),
        column("memory used", "synapse_memory_used_frac", percent),
        column(_limited("input axons", rows, "input_axons_limit"), "input_axons"),
        column(_limited("output axons", rows, "output_axons_limit"), "output_axons"),
    ], layers=_layer_numbers(document, rows))


def events(document: Row) -> Table:
    """Return what each core counts and what that costs, with the sums over all cores."""
    columns: list[Column] = [column("core", "index"), column("layer", "layer")]
    columns += [column(words(event), event)
                for event, total in document["energy"]["totals"].items() if total]
    total = {"index": "all", "layer": "", **document["energy"]["totals"],
             "energy_pj_per_sample": {}}
    for prices in document["energy"]["price_sets"]:
        total["energy_pj_per_sample"][prices["name"]] = prices["total_pj_per_sample"]
        columns.append((
            prices["name"] + ", pJ" * prices["is_priced"],
            lambda r, n=prices["name"]: r["energy_pj_per_sample"][n],  # type: ignore[misc]
            or_unpriced,
        ))
    return build("Events and energy of each core, per sample", document["cores"], columns, total,
                 layers=_layer_numbers(document, document["cores"]))


def _region(region: list[list[int]]) -> str:
    """Return the first and last of each axis, as c 0–3, y 0–15, x 0–7."""
    axes = ("c ", "y ", "x ") if len(region) == 3 else ("",) * len(region)
    return ", ".join(
        f"{axis}{exact(begin)}" + (f"–{exact(end - 1)}" if end - begin > 1 else "")
        for axis, (begin, end) in zip(axes, region, strict=True))


def _limited(heading: str, rows: list[Row], key: str) -> str:
    """Return a heading with the limit that all cores share; none where none is published."""
    limit = rows[0][key]
    return f"{heading} (limit {exact(limit)})" if limit else f"{heading} (no limit published)"


def _layer_numbers(document: Row, rows: list[Row]) -> tuple[int, ...]:
    numbers = {layer["name"]: i for i, layer in enumerate(document["layers"])}
    return tuple(numbers[row["layer"]] for row in rows)


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


def joins(document: Row) -> Table:
    """Return both ways of every sum, and why one was taken."""
    columns: list[Column] = [
        column("sum", "join"), ("of", lambda r: ", ".join(r["sources"]), str),
        ("heard by", lambda r: ", ".join(r["heard_by"]), str)]
    for key, what in (("n_cores", "cores"), ("memory_bits", "memory, bits")):
        columns += [
            (f"{what}, {way}", lambda r, w=way, k=key: r[w] and r[w][k], exact)  # type: ignore[misc]
            for way in ("copies", "relay")]
    return build("Sums of spikes, by copies of synapses or by a relay", document["joins"],
                 [*columns, column("why", "reason")])


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


def artifacts(document: Row) -> Table:
    """Return the hashes of the products."""
    return build("Products", document["artifacts"]["files"], [
        column("file", "name"), column("bytes", "n_bytes"), column("SHA-256", "sha256"),
    ])


def _shape(shape: list[int]) -> str:
    return " × ".join(str(n) for n in shape)


def _first_difference(value: Row | None) -> str:
    return MISSING if value is None else ", ".join(f"{k} {v}" for k, v in value.items())


def _quantity(row: Row, which: str) -> Cell:
    value = row[which]
    show = percent if row["unit"] == "share" else human_energy if row["unit"] == "pJ" else exact
    return Cell(MISSING if value is None else show(value), value)


def _unit(row: Row) -> str:
    is_energy = row["unit"] == "pJ"
    unit = "" if is_energy or row["unit"] == "share" else row["unit"]
    return f"{unit} per sample".strip() if row["quantity"].endswith("_per_sample") else unit


def _change(row: Row) -> Cell:
    """Return by how many points a share changed, or by what factor an amount did."""
    before, after = row["dense"], row["compressed"]
    if before is None or after is None:
        return Cell(MISSING, None)
    if row["unit"] == "share":
        return Cell(f"{100 * (after - before):+.1f} points".replace("-", "−"), after - before)
    if before == after:
        return Cell("the same", 1.0)
    if not before or not after:
        return Cell(MISSING, None)
    factor = max(before, after) / min(before, after)
    if factor < 1.0005:
        return Cell("about the same", after / before)
    if factor < 1.5:
        return Cell(f"{100 * (after / before - 1):+.1f} %".replace("-", "−"), after / before)
    return Cell(f"{factor:,.3g} times {'less' if before > after else 'more'}", after / before)
