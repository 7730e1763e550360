"""The footprint as a table for people and one for programs, from the points alone."""

from __future__ import annotations

import csv
from io import StringIO

from grid import N_COUNTED, N_VALIDATION, STORED, Point

_PRICES, _FORMATS = "davies2018", ("dense", "run-length", "sparse", "conv")

_HEAD = f"""\
# Footprint over sparsity and bits

`make bench-footprint` writes this page, `footprint.csv` and the figure. Networks are compressed by
the default recipe, but each layer for itself (`sequential: false`, from the layer bank), so that
accuracies may be below those of `make deploy`. Accuracy on {N_VALIDATION} validation digits; events
counted on the first {N_COUNTED} of them.

* **asked**: sparsity and bits of the recipe. Weights that were trained to zero are zeros whatever
  was asked, and weights that nothing changed may need fewer bits than asked: both are in the next
  two columns. That is why memory can rise where pruning begins: refitted weights need all the bits
  they were given.
* **best**: each core stores synapses in the format that takes it least memory; **lists**: the same,
  but no kernel is shared (`place.formats: [dense, run-length, sparse]`); **dense**: matrices with
  their zeros (`place.formats: [dense]`), convolutions unrolled. Format names are those of best, the
  one with most memory first, from 1 % of it on.
* Least memory is not least work: a shared kernel is small, and every spike executes its zeros;
  lists of single synapses execute none. Of dense matrices fewer bits put more neurons on a core:
  its rows are wider and hold more zeros (the CNN's).
* Energy: `davies2018`, from one reading of an active update to the other, incomplete: it has no
  price for spikes, messages and the barrier. For Loihi 2 nothing is published, nor its sparse
  encoding: its lists are matrices, so that *lists* and *dense* are the same there, and pruning
  saves only what leaves a core no weight of a source neuron at all.

![Memory, cores, executed synops and energy over sparsity](footprint.svg)
"""


def energy_pj(point: Point) -> tuple[float, float] | None:
    """Return the energy per sample under both readings, lower first; None without prices."""
    for priced in point.trial.energy:
        if priced.prices == _PRICES and priced.low_pj is not None and priced.high_pj is not None:
            return priced.low_pj, priced.high_pj
    return None


def as_csv(points: list[Point]) -> str:
    """Return a row per point."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([
        "model", "target", "stored", "sparsity", "bits", "stored_bits", "status", "zeros_frac",
        "accuracy_frac", "n_cores", "memory_bits", "formats", *(f"{f}_bits" for f in _FORMATS),
        "effective_synops", "executed_synops", f"{_PRICES}_low_pj", f"{_PRICES}_high_pj", "reason"])
    for point in points:
        trial, (model, target, sparsity, bits) = point.trial, point.at
        low, high = energy_pj(point) or (None, None)
        by_format = [point.bits_by_format.get(f, 0) if trial.n_cores else None for f in _FORMATS]
        writer.writerow([
            model, target, point.stored, sparsity, bits, point.stored_bits, trial.status,
            trial.sparsity_frac, trial.accuracy_frac, trial.n_cores, trial.memory_bits,
            point.formats, *by_format, trial.effective_synops, trial.executed_synops, low, high,
            trial.reason.splitlines()[0] if trial.reason else ""])
    return text.getvalue()


def as_markdown(points: list[Point]) -> str:
    """Return the page: a table for each network and target."""
    parts, found = [_HEAD], {(point.at, point.stored): point for point in points}
    for model, target in dict.fromkeys(point.at[:2] for point in points):
        parts.append(f"\n## {model} on {target}\n")
        parts.append(
            "| asked | zeros | bits stored | accuracy | formats of best | memory, KiB | cores | "
            "effective synops | executed synops | µJ a sample |\n"
            "|---|---|---|---|---|---|---|---|---|---|")
        parts.append("| | | | | | best / lists / dense | best / lists / dense | | "
                     "best / lists / dense | best / lists / dense |")
        parts += [_row([found.get((point.at, stored)) for stored in STORED])
                  for point in points if point.stored == "best" and point.at[:2] == (model, target)]
    return "\n".join(parts) + "\n"


def _row(points: list[Point | None]) -> str:
    best = points[0]
    assert best is not None
    trial, (_, _, sparsity, bits) = best.trial, best.at
    cells = [
        f"{sparsity:.0%}, {bits} bit", _or("{:.1%}", trial.sparsity_frac), best.stored_bits,
        _or("{:.1%}", trial.accuracy_frac), best.formats or trial.status,
        " / ".join(_or("{:,.1f}", _kib(p)) for p in points),
        " / ".join(_or("{:,}", p and p.trial.n_cores) for p in points),
        _or("{:,.0f}", trial.effective_synops),
        " / ".join(_or("{:,.0f}", p and p.trial.executed_synops) for p in points),
        " / ".join(_micro(p) for p in points) if any(map(_has_energy, points)) else "unpriced",
    ]
    return f"| {' | '.join(cells)} |"


def _has_energy(point: Point | None) -> bool:
    return point is not None and energy_pj(point) is not None


def _kib(point: Point | None) -> float | None:
    return None if point is None or point.trial.memory_bits is None else (
        point.trial.memory_bits / 8192)


def _micro(point: Point | None) -> str:
    band = None if point is None else energy_pj(point)
    if band is None:
        return "–"
    low, high = (f"{pj / 1e6:.1f}" for pj in band)
    return low if low == high else f"{low}–{high}"


def _or(form: str, value: float | None) -> str:
    return "–" if value is None else form.format(value)
