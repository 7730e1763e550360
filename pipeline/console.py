"""What the user sees on the terminal: a line per stage, and one screen at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rich.console
import yaml
from rich.markup import escape
from rich.status import Status
from rich.table import Table

if TYPE_CHECKING:
    from pipeline.account.energy_report import EnergyReport
    from pipeline.line import Finished, Line


_FILE_WIDTH = 110  # columns where there is no terminal to ask


class Console:
    """Shows stages as they run: a spinner on a terminal, plain lines elsewhere."""

    def __init__(self) -> None:
        self._console = rich.console.Console(highlight=False, soft_wrap=True)
        self._stage = ""
        self._status: Status | None = None

    def start(self, stage: str) -> None:
        """Announce a stage."""
        self._stage = stage
        if self._console.is_terminal:
            self._status = self._console.status(stage)
            self._status.start()

    def progress(self, message: str) -> None:
        """Show what the stage is working on."""
        if self._status is not None:
            self._status.update(f"{self._stage}  [dim]{escape(message)}[/]")
        else:
            self._console.print(f"  ...      {self._stage:10s} {escape(message)}")

    def finish(self, finished: Finished) -> None:
        """Show what a stage came to."""
        self.close()
        took = "   reused" if finished.is_reused else f"{finished.elapsed_s:7.1f} s"
        self._console.print(f"{took}  {finished.stage:10s} {escape(finished.summary)}")

    def close(self) -> None:
        """Take the spinner away."""
        if self._status is not None:
            self._status.stop()
            self._status = None


def show_deployment(line: Line) -> None:
    """Print the screen that ends a deployment: what changed per layer, the verdict, the report."""
    console = rich.console.Console(highlight=False)
    if not console.is_terminal:
        console.width = _FILE_WIDTH
    console.print()
    console.print(_layer_table(line))
    evaluation, placement = line.value("emulate"), line.value("place")
    (dense, compressed) = evaluation.test
    limit = line.target.capacities.cores_per_chip.value
    rows = (
        ("accuracy", f"{dense:.1%} -> {compressed:.1%} on {evaluation.n_test} test samples "
         f"({evaluation.origin})"),
        ("fits", f"{len(placement.cores)} of {limit} cores of {line.target.name}"),
        ("exact", line.value("compare").summary),
        *_energy_rows(line.value("energy")),
        *_caution_rows(line),
        ("report", str(line.out / "report.html")),
    )
    for label, text in rows:
        console.print(f"[bold]{label:9s}[/] {escape(text)}", soft_wrap=True)


def _caution_rows(line: Line) -> list[tuple[str, str]]:
    from pipeline.mapping.place import cautions

    found = cautions(line.value("quantize").network, line.target)
    names = list(dict.fromkeys(caution.layer for caution in found))
    if not names:
        return []
    bits = line.target.neurons.state_bits.value
    some = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return [("caution", f"states of {some} could exceed {bits} bits if all inputs fired at every "
             "step (the report says by how much)")]


def show_check(line: Line) -> None:
    """Print model, target and the complete recipe."""
    model, target = line.model, line.target
    print(f"model   {model.name}: {model.description.description}")
    print(f"target  {target.name}: {target.description}")
    print(f"out     {line.out}")
    print("recipe, defaults included:")
    text = yaml.safe_dump(line.recipe.model_dump(mode="json"), sort_keys=False)
    print("".join(f"  {row}\n" for row in text.splitlines()), end="")


def _layer_table(line: Line) -> Table:
    dense, network = line.value("ingest").network, line.value("quantize").network
    energy, placement = line.value("energy"), line.value("place")
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("layer", no_wrap=True)
    for heading in ("neurons", "weights", "nonzero", "bits", "threshold", "cores",
                    "effective synops", "executed synops"):
        table.add_column(heading, justify="right", no_wrap=True)
    for before, after in zip(dense.layers, network.layers, strict=True):
        cores = [core.index for core in placement.cores_of(after.name)]
        effective, executed = (
            energy.counts[event][:, cores].sum(axis=1).mean()
            for event in ("effective_synops", "executed_synops")
        )
        # of the weights as trained, those of neurons that are gone count as zeros; a joined source
        # takes the weights of each of its sources
        stored = [() if x.is_driven else x.synapses for x in (before, after)]
        n_weights = max(sum(s.n_weights for s in groups) for groups in stored)
        n_nonzero = sum(int((s.weight != 0).sum()) for s in stored[1])
        table.add_row(
            escape(after.name), _change(before.n_neurons, after.n_neurons), f"{n_weights:,}",
            f"{n_nonzero / n_weights:.1%}" if n_weights else "-",
            str(max((group.weight_bits or 0 for group in after.stored_groups), default=0) or "-"),
            f"{before.neuron.vth_mant} -> {after.neuron.vth_mant}" if after.neuron.fires
            else "none",
            str(len(cores)),
            f"{effective:,.0f}", f"{executed:,.0f}",
        )
    return table


def _change(before: int, after: int) -> str:
    return f"{after:,}" if after == before else f"{before:,} -> {after:,}"


def _energy_rows(energy: EnergyReport) -> list[tuple[str, str]]:
    """Return a row per price set; an incomplete total says what is missing."""
    rows = []
    for prices in energy.price_sets:
        terms = ", ".join(term + _share_of_synops(energy, term) for term in prices.unpriced)
        missing = f"; without a published price: {terms}"
        if not prices.by_event_pj:
            text = "unpriced: no published energies for this chip; see the counts"
        else:
            low, high = (f"{pj / 1e3:,.1f}" for pj in prices.band_pj)
            # two readings of an active neuron update, which no source defines
            band = low if low == high else f"{low} to {high}"
            text = f"{band} nJ a sample by {prices.name} (proxy"
            text += ")" if prices.is_complete else f", incomplete{missing})"
        rows.append(("energy", text))
    return rows


def _share_of_synops(energy: EnergyReport, term: str) -> str:
    """Return what share of the synops an unpriced format has; nothing of other events."""
    executed = energy.counts.events.get(f"executed_{term.replace('synop', 'synops')}")
    if executed is None:
        return ""
    return f" ({executed.sum() / energy.counts['executed_synops'].sum():.1%} of the synops)"
