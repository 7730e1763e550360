"""The files of a sweep or a search, each whole or not at all.

In: a plan and its trials. Out: ``trials.csv``, ``report.html``, ``sweep.json`` and ``sweep.yaml``
(of a search ``search.json``, ``search.yaml``) and a recipe for every setting, in the study folder.
A file that says the same already is left alone.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipeline.sweep.claims import claim
from pipeline.sweep.document import build_document, columns_of
from pipeline.sweep.plan import Plan, Probe
from pipeline.sweep.results import write_whole
from pipeline.sweep.trials import Trial, sensitivities_of

_RECIPE_HEAD = "# {label}\n# One setting of a {kind}, complete; pass it to --recipe or RECIPE=.\n"


@dataclass(frozen=True)
class Written:
    """What a sweep left.

    Attributes
    ----------
    document : what the page says
    """

    out: Path
    document: dict[str, Any]
    trials: tuple[Trial, ...]


def write_results(plan: Plan, out: Path, trials: list[Trial], probes: list[Probe]) -> Written:
    """Write the files of a sweep."""
    from pipeline.sweep.page import render_page

    document = build_document(plan, trials, sensitivities_of(plan, probes))
    kind = plan.space.kind
    texts = {
        f"{kind}.yaml": plan.space.text,
        "trials.csv": as_csv(document["trials"]),
        f"{kind}.json": json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n",
        "report.html": render_page(document),
    }
    for entry in plan.entries:
        recipe = yaml.safe_dump(entry.setting.recipe.model_dump(mode="json"), sort_keys=False)
        texts[f"recipes/{entry.key[:16]}.yaml"] = (
            _RECIPE_HEAD.format(label=entry.setting.label, kind=kind) + recipe)
    with claim(plan.store.lock("pages")):  # of two drivers one after the other
        for name, text in texts.items():
            path = out / name
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                write_whole(path, text)
    return Written(out, document, tuple(trials))


def as_csv(rows: list[dict[str, Any]]) -> str:
    """Return rows as CSV; numbers are written so that they read back equal, None as nothing."""
    file = io.StringIO()
    writer = csv.DictWriter(file, columns_of(rows) or ["key"], restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()
