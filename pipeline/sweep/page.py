"""The page of a sweep: one file that needs nothing else, and no script.

In: the document. Out: HTML with inline style and SVG, in the look of a deployment's report. Names
come from users: everything is escaped.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

import pipeline.report
from pipeline.report import units
from pipeline.sweep import figures, plots
from pipeline.sweep.document import columns_of

_REPORT = Path(pipeline.report.__file__ or "").parent
_HERE = Path(__file__).parent


def render_page(document: dict[str, Any]) -> str:
    """Return the page of a document."""
    rows = document["trials"]
    return _template().render(
        document=document,
        style=Markup((_REPORT / "report.css").read_text(encoding="utf-8")),
        own_style=Markup((_HERE / "sweep.css").read_text(encoding="utf-8")),
        columns=[name for name in columns_of(rows) if name not in ("key", "recipe")],
        fronts=[(front, figures.front_plot(document, front)) for front in document["fronts"]],
        heat_maps=plots.heat_maps(document),
        sensitivity=plots.sensitivity_plots(document),
        calibration=plots.calibration_plot(document),
        best=best_rows(document),
        label=lambda row: figures.label_of(document, row),
        shown=lambda name, value: figures.shown_as(name)(value),
        text=_text,
        size=(figures.WIDTH, figures.HEIGHT),
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    environment.filters |= {"percent": units.percent, "exact": units.exact,
                            "words": lambda name: name.replace("_", " ")}
    return environment.get_template("sweep.html.j2")


def best_rows(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Return for each target a few rows a reader looks for: question, answer, row."""
    found = []
    for target in document["axes"]["target"]:
        rows = [r for r in document["trials"] if r["target"] == target and r["status"] == "fits"]
        if not rows:
            continue
        best = max(rows, key=lambda r: (r["accuracy_frac"], -r["executed_synops_per_sample"]))
        found.append((f"Most accurate on {target}", units.percent(best["accuracy_frac"]), best))
        dense = document["accuracy_dense_frac"]
        near = [r for r in rows if dense is not None and r["accuracy_frac"] >= dense - 0.01]
        if near:
            least = min(near, key=lambda r: (r["executed_synops_per_sample"], -r["accuracy_frac"]))
            found.append((
                f"Fewest executed synops on {target} within 1 point of the network as trained",
                units.human_count(least["executed_synops_per_sample"]), least))
    return found


def _text(value: Any) -> str:
    """Return a cell's text; its exact value stands beside it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and abs(value) < 1:
        return f"{value:.4g}"
    return units.exact(value)
