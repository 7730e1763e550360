"""The report as one page that needs nothing else: no script of others, no font, no network.

In: the document of ``document.py``. Out: HTML with inline style, SVG and forty lines of script for
sorting. The page shows nothing that the document does not hold. Names come from users: everything
is escaped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline.report import figures, tables, units


def render_html(document: dict[str, Any]) -> str:
    """Return the page of a document."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
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
        "words": lambda name: name.replace("_", " "),
    }
    return environment.get_template("report.html.j2").render(
        document=document,
        tables=tables,
        bars=figures.synops_bars(document),
        groups=figures.memory_gauges(document),
        band=units.human_band,
        recipe=yaml.safe_dump(document["recipe"], sort_keys=False),
    )
