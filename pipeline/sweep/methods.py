"""Methods of compression by name: presets, and a user's own settings over them.

In: the key ``method`` of a sweep file. Out: for each name the settings of ``compress`` (and
``curvature`` of ``calibration``) that differ from the base recipe.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import RecipeError

# the method of the paper: none of what is ours
_PAPER: dict[str, Any] = {
    "importance": "uniform", "allocation": "lamps", "match_rates": "none", "act_order": False,
    "curvature": "smp",
}
PRESETS: dict[str, dict[str, Any]] = {
    "sbc": {},
    "sbc-paper": _PAPER,
    "exactobs": {**_PAPER, "curvature": "obc"},
    "magnitude": {"importance": "uniform", "pruning": "magnitude", "refit": False,
                  "rounding": "nearest"},
}
# what has an axis of its own, and is none of a method's business
_NOT_METHOD = ("sparsity", "bits", "layers", "device")

Changes = dict[str, Any]


def changes_of(
    path: Path, given: tuple[str, ...] | Mapping[str, Mapping[str, Any]] | None
) -> dict[str, Changes]:
    """Return what each method changes in the base recipe, by name.

    Raises
    ------
    RecipeError
        If there is no such preset, or a method sets what is none of its business.
    """
    if given is None:
        return {"recipe": {}}
    named: Mapping[str, Mapping[str, Any]] = (
        given if isinstance(given, Mapping) else {name: {"base": name} for name in given})
    methods = {}
    for name, settings in named.items():
        own = dict(settings)
        base = own.pop("base", name if name in PRESETS else "sbc")
        if base not in PRESETS:
            raise RecipeError(
                f"{path}: method.{name}: no preset '{base}'; there are {', '.join(PRESETS)}, or "
                "give a name with settings of 'compress' (and 'curvature')"
            )
        misplaced = [key for key in own if key in _NOT_METHOD]
        if misplaced:
            raise RecipeError(
                f"{path}: method.{name}.{misplaced[0]}: not part of a method; "
                + ("set it under 'recipe'" if misplaced[0] == "device" else
                   "it has an axis of its own")
            )
        methods[name] = {**PRESETS[base], **own}
    return methods
