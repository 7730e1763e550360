"""The stages of the line: for each its inputs, the settings it depends on, and one call.

Reading this file top to bottom is reading the line. A stage takes the values of the stages it
needs and returns an artifact (:mod:`pipeline.stage_calls`); :mod:`pipeline.line` decides whether it
has to run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import stage_calls as call
from pipeline.artifact import source_hash
from pipeline.context import Context

_REPORT_SOURCES = Path(__file__).with_name("report")


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes
    ----------
    needs : stages whose artifacts it reads
    settings : the part of recipe, target and model it depends on, as plain JSON
    run : computes the artifact
    describe : one line for the user, from the artifact
    products : files it leaves in the deployment folder
    """

    name: str
    needs: tuple[str, ...]
    settings: Callable[[Context], Any]
    run: Callable[[Context], Any]
    describe: Callable[[Any], str]
    products: tuple[str, ...] = ()


def _section(name: str) -> Callable[[Context], Any]:
    return lambda context: getattr(context.recipe, name).model_dump(mode="json")


def _target(context: Context) -> Any:
    return context.target.model_dump(mode="json")


STAGES: tuple[Stage, ...] = (
    Stage("ingest", (), lambda _: None, call.run_ingest, lambda a: a.summary),
    Stage(
        "calibrate", ("ingest",), _section("calibration"), call.run_calibrate,
        lambda a: f"{a.n_samples} samples, {len(a.curvatures)} curvatures"
        + "".join(f"; {advice}" for advice in a.advice),
    ),
    Stage(
        "compress", ("ingest", "calibrate"),
        lambda c: [_section("compress")(c), _section("calibration")(c)],
        call.run_compress,
        lambda a: f"{sum(p.n_kept for p in a.values()):,} of "
        f"{sum(p.n_weights for p in a.values()):,} weights kept; masks by "
        + ", ".join(sorted({p.algorithm for p in a.values()})),
    ),
    Stage(
        "quantize", ("ingest", "calibrate", "compress"),
        lambda c: c.recipe.compress.match_rates, call.run_quantize, lambda a: a.summary,
    ),
    Stage(
        "place", ("quantize",),
        lambda c: [_target(c), _section("place")(c), _section("calibration")(c)],
        call.run_place,
        lambda a: f"{len(a.cores)} cores of {a.target}"
        + (f", on {a.n_chips} chips" if a.n_chips > 1 else ""),
    ),
    Stage(
        "export", ("quantize", "place"), lambda _: None, call.run_export,
        lambda a: f"no network.net: {a.obstacle}" if a.obstacle
        else f"{a.n_bytes / 1e6:.1f} MB, read back equal",
        ("network.net", "network.nir"),
    ),
    Stage(
        "emulate", ("ingest", "quantize"), _section("evaluate"), call.run_emulate,
        lambda a: a.summary,
    ),
    Stage(
        "lava", ("quantize", "export"), _section("verify"), call.run_lava,
        lambda a: f"{len(next(iter(a.trace.spikes.values())))} samples "
        + ("through the stock loader" if a.weight_bits else "through Lava's processes, wired by us")
        + ("; hung once and was started again" if a.n_attempts > 1 else ""),
    ),
    Stage(
        "compare", ("ingest", "quantize", "lava"), _section("verify"), call.run_compare,
        lambda a: a.summary, ("checkpoint.pt",),
    ),
    Stage(
        "energy", ("quantize", "place"), lambda c: [_section("energy")(c), _target(c)],
        call.run_energy,
        lambda a: f"{int(a.counts['executed_synops'].sum(axis=1).mean()):,} executed synops a "
        "sample",
    ),
    Stage(
        "report",
        ("ingest", "calibrate", "compress", "quantize", "place", "export", "emulate", "lava",
         "compare", "energy"),
        lambda c: [_target(c), source_hash(sorted(_REPORT_SOURCES.glob("*.*")))],
        call.run_report,
        lambda a: f"{len(a.files)} files",
        ("report.json", "report.html", "layers.csv", "cores.csv", "steps.csv", "recipe.yaml",
         "thresholds.yaml"),
    ),
)
