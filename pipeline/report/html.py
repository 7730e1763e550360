"""The report as one page that needs nothing else: no script of others, no font, no network.

In: the document of ``document.py``. Out: HTML with style, script and SVG inline. Without script
the page reads the same; the script sorts, filters, and recolors the floorplan. The page shows
nothing that the document does not hold. Names come from users: everything is escaped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipeline.report import (
    figures,
    floorplan,
    plots,
    sentences,
    tables,
    tables_energy,
    tables_time,
    units,
)
from pipeline.report.colors import RAMP

_FOLDER = Path(__file__).parent


def render_html(document: dict[str, Any]) -> str:
    """Return the page of a document."""
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "exact": units.exact,
        "percent": units.percent,
        "count": units.human_count,
        "size": units.human_bytes,
        "energy": units.human_energy,
        "significant": units.significant,
        "words": units.words,
    }
    return environment.get_template("report.html.j2").render(
        document=document,
        tables=tables,
        energy_tables=tables_energy,
        time_tables=tables_time,
        sentences=sentences,
        bars=figures.synops_bars(document),
        energy_bars=figures.energy_bars(document),
        energy_kinds=figures.energy_kinds(document),
        rate_bars=plots.rate_bars(document),
        activity=plots.activity_rows(document),
        synops_over_time=plots.synops_over_time(document),
        chips=floorplan.chips(document),
        counters=floorplan.counters(document),
        for_script=floorplan.for_script(document),
        ramp=RAMP,
        band=units.human_band,
        recipe=yaml.safe_dump(document["recipe"], sort_keys=False),
        style=_own("report.css"),
        script=_own("report.js"),
    )


def _own(name: str) -> Markup:
    """Return a file of this package, which is ours and therefore not escaped."""
    return Markup((_FOLDER / name).read_text(encoding="utf-8"))
