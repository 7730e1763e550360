"""What the terminal shows of a network file, and of two that are compared."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import rich.console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from pipeline.diverge import LayerDivergence
    from pipeline.network_file import NetworkFile

_FILE_WIDTH = 140  # columns where there is no terminal to ask


def show_network(file: NetworkFile, as_json: bool) -> None:
    """Print layers, what reading changed, and what will go wrong."""
    from pipeline.inspection import inspect_network, traps

    facts, warnings = inspect_network(file.network), traps(file.network)
    ledger = [dataclasses.asdict(entry) for entry in file.ledger]
    if as_json:
        print(json.dumps({
            "name": file.network.name, "kind": file.kind,
            "input_shape": file.network.input_shape, "n_steps": file.network.n_steps,
            "readout": dataclasses.asdict(file.network.readout),
            "layers": [dataclasses.asdict(row) for row in facts], "ledger": ledger,
            "traps": warnings}, indent=2))
        return
    network, console = file.network, _console()
    shape = " x ".join(map(str, network.input_shape))
    console.print(
        f"{escape(network.name)}: {file.kind}, input {shape}, {network.n_steps} steps, "
        f"{len(network.layers)} layers, {sum(row.n_weights for row in facts):,} weights, "
        f"{network.sparsity:.1%} zero, read by {network.readout.quantity}")
    headings = ("layer", "from", "kind", "neurons", "weights", "zero", "range", "bits",
                "u decay", "v decay", "threshold", "besides")
    rows = [(
        row.layer, row.source, row.kind, row.neurons, row.weights, f"{row.sparsity:.1%}",
        f"{row.lowest}..{row.highest}", _or_dash(row.weight_bits),
        _or_dash(row.current_decay), _or_dash(row.voltage_decay), row.threshold, row.extras)
        for row in facts]
    console.print(_table(headings, rows))
    for join in network.joins:
        console.print(f"{escape(join.name)} = {join.kind} of {escape(', '.join(join.sources))}")
    for entry in file.ledger:
        console.print(f"read     {escape(entry.layer)}: {escape(entry.what)} "
                      f"({entry.count:,} of {entry.total:,})", soft_wrap=True)
    for text in warnings:
        console.print(f"trap     {escape(text)}", soft_wrap=True)
    if not warnings:
        console.print("traps    none that are known")


def _or_dash(value: int | None) -> str:
    return "-" if value is None else str(value)


def show_checkpoint(path: str, rows: list[dict[str, Any]], as_json: bool) -> None:
    """Print the tensors of a state dict."""
    if as_json:
        print(json.dumps({"kind": "checkpoint", "tensors": rows}, indent=2))
        return
    console = _console()
    console.print(f"{escape(path)}: checkpoint, {len(rows)} tensors; name the folder of its "
                  "model.yaml to see the network")
    console.print(_table(("tensor", "shape", "type", "range", "zero", "not finite"), [(
        row["name"], " x ".join(map(str, row["shape"])) or "scalar", row["dtype"],
        "-" if row["lowest"] is None else f"{row['lowest']:.4g}..{row['highest']:.4g}",
        "-" if row["zero_frac"] is None else f"{row['zero_frac']:.1%}",
        str(row["n_not_finite"])) for row in rows]))


def show_divergence(
    first: str, second: str, origin: str, n_samples: int, rows: Sequence[LayerDivergence]
) -> None:
    """Print where two networks part, layer by layer, and why."""
    console = _console()
    console.print(f"A {escape(first)}   B {escape(second)}   on {n_samples} samples: "
                  f"{escape(origin)}", soft_wrap=True)
    headings = ("layer of A", "layer of B", "spikes A", "spikes B", "rate", "differing",
                "given A's input", "first: sample, step, neuron")
    console.print(_table(headings, [(
        row.layer, row.twin, f"{row.n_spikes:,}", f"{row.twin_n_spikes:,}",
        "-" if row.rate_error is None else f"{row.rate_error:+.2%}", f"{row.n_differing:,}",
        f"{row.n_differing_isolated:,}",
        "-" if row.first is None else ", ".join(map(str, row.first))) for row in rows]))
    for row in rows:
        for cause in row.causes:
            console.print(f"cause    {escape(row.layer)}: {escape(cause)}", soft_wrap=True)
    if any(row.n_differing_isolated and not row.causes for row in rows):
        console.print("cause    none that is known: please report it with both files")


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="left" if index < 2 else "right")
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def _console() -> rich.console.Console:
    console = rich.console.Console(highlight=False)
    if not console.is_terminal:
        console.width = _FILE_WIDTH
    return console
