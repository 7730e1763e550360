"""The report's files, each whole or not at all.

In: a context whose stages up to ``energy`` are up to date. Out: ``report.json``, ``report.html``,
``layers.csv``, ``cores.csv``, ``steps.csv``, ``recipe.yaml`` and ``thresholds.yaml`` in the
deployment folder. All are rendered before the first is written.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import yaml

from pipeline.context import Context
from pipeline.deployment import Reported
from pipeline.errors import OutputError
from pipeline.report.csv_files import as_csv
from pipeline.report.document import build_document
from pipeline.report.html import render_html

_NUMBERS = re.compile(r"\[\n\s*-?\d[-+.\deE]*(?:,\n\s*-?\d[-+.\deE]*)*\n\s*\]")
_RECIPE_HEAD = "# The complete recipe of this deployment, defaults included; pass it to --recipe.\n"
_THRESHOLDS_HEAD = """\
# Thresholds that belong to checkpoint.pt. A state dict holds no threshold: after loading it, set
#   module.get_submodule(layer).neuron._threshold = vth_mant / scale
# with the scale of the neuron (w_scale, usually 64), or let pipeline.ingest.slayer_write_back do
# it. Layers are named as in module.named_modules().
#   vth_mant_dense   threshold mantissa as trained
#   vth_mant         threshold mantissa of the compressed layer
#   threshold_scale  vth_mant / vth_mant_dense: the factor for a threshold in SLAYER's own unit
#   weight_scale     factor that the layer's weights carry, taken up by the threshold; it differs
#                    from threshold_scale where firing rates were matched
"""


def write_report(context: Context) -> Reported:
    """Write the report into the deployment folder.

    Parameters
    ----------
    context : the line

    Raises
    ------
    OutputError
        If a file cannot be written, with its path; files written before it are whole.
    """
    document = build_document(context)
    texts = {
        "report.json": _as_json(document),
        "report.html": render_html(document),
        "layers.csv": as_csv(document["layers"]),
        "cores.csv": as_csv(document["cores"]),
        "steps.csv": as_csv(_steps(document["over_time"])),
        "recipe.yaml": _RECIPE_HEAD + yaml.safe_dump(document["recipe"], sort_keys=False),
    }
    if context.model.is_module:
        texts["thresholds.yaml"] = _THRESHOLDS_HEAD + _thresholds(document)
    for name, text in texts.items():
        _write_whole(context.out / name, text)
    return Reported(tuple(texts))


def _as_json(document: dict[str, Any]) -> str:
    """Return indented JSON with every list of plain numbers on one line."""
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    # a string never holds a bare line feed, so that only lists can match
    return _NUMBERS.sub(lambda m: " ".join(m.group().split()).replace("[ ", "[").replace(
        " ]", "]"), text) + "\n"


def _steps(over_time: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a row per layer and step."""
    return [
        {"layer": layer["layer"], "step": step,
         **{name: values[step] for name, values in layer.items() if name != "layer"}}
        for layer in over_time["layers"] for step in range(over_time["n_steps"])
    ]


def _thresholds(document: dict[str, Any]) -> str:
    return yaml.safe_dump({
        layer["name"]: {
            "vth_mant_dense": layer["vth_mant_dense"],
            "vth_mant": layer["vth_mant"],
            "threshold_scale":
                layer["vth_mant"] / layer["vth_mant_dense"] if layer["vth_mant_dense"] else 1.0,
            "weight_scale": layer["weight_scale"],
        }
        for layer in document["layers"]
    }, sort_keys=False)


def _write_whole(path: Path, text: str) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror}); name another folder with OUT= or --out"
        ) from None
    finally:
        _remove(partial)


def _remove(partial: Path) -> None:
    try:
        partial.unlink(missing_ok=True)
    except OSError:  # the folder itself is unusable, so there is nothing to remove
        return
