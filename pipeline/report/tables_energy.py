"""The tables about energy, prices and sources.

In: the document. Out: :class:`Table` values of plain text, drawn by one macro of the template.
"""

from __future__ import annotations

from typing import Any

from pipeline.report.table import Column, Row, Table, build, column
from pipeline.report.units import exact, or_unpriced, words

READINGS = {"had_state": "had input or state", "spiked": "spiked"}


def energy(document: Row) -> Table:
    """Return the events with price and energy under each set, side by side."""
    columns: list[Column] = [
        ("event", lambda r: words(r["event"]), str), column("per sample", "amount_per_sample"),
    ]
    total: Row = {"event": "total of the priced", "amount_per_sample": "", "price_sets": {}}
    for prices in document["energy"]["price_sets"]:
        unit = ", pJ" * prices["is_priced"]
        for what, key in (("price", "price_pj"), ("energy", "energy_pj_per_sample")):
            columns.append((
                f"{prices['name']}: {what}{unit}",
                lambda r, n=prices["name"], k=key: r["price_sets"][n][k],  # type: ignore[misc]
                or_unpriced,
            ))
        total["price_sets"][prices["name"]] = {
            "price_pj": "", "energy_pj_per_sample": prices["total_pj_per_sample"]}
    occurred = [row for row in document["energy"]["events"] if row["amount_per_sample"]]
    return build("Energy per event and price set, per sample", occurred, columns, total)


def readings(document: Row) -> Table:
    """Return the energy under both readings of an active update, with the spread over samples."""
    rows = []
    for row in document["energy"]["readings"]:
        for prices in document["energy"]["price_sets"]:
            rows.append(row | {"set": prices["name"], "is_complete": prices["is_complete"]}
                        | prices["readings"][row["reading"]])
    return build("Both readings of an active update: the ends of each band, per sample", rows, [
        column("price set", "set"), ("active means", lambda r: READINGS[r["reading"]], str),
        column("active updates", "updates_active_per_sample"),
        column("idle updates", "updates_idle_per_sample"),
        column("energy, pJ", "total_pj_per_sample", or_unpriced),
        column("standard deviation", "sd_pj", or_unpriced),
        column("least", "min_pj", or_unpriced), column("most", "max_pj", or_unpriced),
    ])


def layers(document: Row) -> Table:
    """Return the energy of each layer under each set and reading."""
    columns: list[Column] = [column("layer", "name")]
    for prices in document["energy"]["price_sets"]:
        for reading, bill in prices["readings"].items():
            columns.append((
                f"{prices['name']}, active: {READINGS[reading]}",
                lambda r, of=bill["by_layer_pj_per_sample"]:  # type: ignore[misc]
                None if of is None else of[r["name"]],
                or_unpriced))
    return build("Energy of each layer, pJ per sample", document["layers"], columns)


def tiles(document: Row) -> Table:
    """Return what each tile in use costs."""
    columns: list[Column] = [
        ("tile x, y", lambda r: f"{r['tile_x']}, {r['tile_y']}", str), column("chip", "chip"),
        column("executed synops", "executed_synops_per_sample"),
    ]
    for prices in document["energy"]["price_sets"]:
        if prices["is_priced"]:
            columns.append((
                prices["name"] + ", pJ",
                lambda r, n=prices["name"]: r["energy_pj_per_sample"][n],  # type: ignore[misc]
                or_unpriced))
    return build("Tiles in use, per sample", document["energy"]["tiles"], columns)


def spread(document: Row) -> Table:
    """Return how the events that occurred vary over the samples."""
    rows = [row | {"event": name} for name, row in document["energy"]["spread"].items()
            if row["max"]]
    return build("Events over the samples, per sample, all cores", rows, [
        ("event", lambda r: words(r["event"]), str), column("least", "min"),
        column("mean", "mean"), column("most", "max"), column("standard deviation", "sd"),
    ])


def neurobench(document: Row) -> Table:
    """Return the metrics under NeuroBench's names."""
    rows = [{"metric": name, "value": value} for name, value in document["neurobench"].items()]
    return build("Compressed network; NeuroBench’s names, operations per sample", rows, [
        column("metric", "metric"), ("value", lambda r: r["value"], _by_size),
    ])


def sources(document: Row) -> tuple[Table, ...]:
    """Return every number of the target with its status and source, one table per section."""
    target = document["target"]
    sections = [(f"Prices of {name}", prices) for name, prices in target["price_sets"].items()]
    sections += [
        (words(name).capitalize(), section) for name, section in target.items()
        if isinstance(section, dict) and name != "price_sets"
    ]
    tables = (
        build(f"{name}: value, status and source", _quantities(section), [
            ("quantity", lambda r: words(r["name"]), str),
            ("value", lambda r: r["value"], _or_none_published), column("unit", "unit"),
            column("status", "status"), column("source", "source"),
        ])
        for name, section in sections
    )
    return tuple(table for table in tables if table.rows)


def _quantities(section: Row, prefix: str = "") -> list[Row]:
    """Return the numbers of a section of the target and of what is nested in it."""
    rows: list[Row] = []
    for key, item in section.items():
        if isinstance(item, dict) and {"value", "unit", "status", "source"} <= item.keys():
            rows.append(item | {"name": prefix + key})
        elif isinstance(item, dict):
            rows += _quantities(item, f"{prefix}{key}: ")
    return rows


def _or_none_published(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(
            exact(item) if not isinstance(item, (list, tuple))
            else ": ".join(exact(part) for part in item) for item in value)
    return "none published" if value is None else f"{value:,}"


def _by_size(value: float | None) -> str:
    return f"{value:.4f}" if value and value < 1 else exact(value)
