"""The winner of a study, deployed: test split, Lava, NetX, once.

In: a study folder and a choice. Out: a deployment in ``winner/``, of the same recipe; its accuracy
on validation is that of the study, to the last sample.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardware_targets import Target
from pipeline.errors import EquivalenceError
from pipeline.line import Line
from pipeline.model_folder import ModelFolder
from pipeline.recipe import load_recipe

if TYPE_CHECKING:
    from pipeline.console import Console


def deploy_winner(
    folder: Path, recipe: Path, row: dict[str, Any], model: ModelFolder, target: Target,
    console: Console | None = None,
) -> Line:
    """Run the whole line with a recipe into ``winner/`` of the study folder.

    Raises
    ------
    EquivalenceError
        If the deployment is not the network that the study measured.
    """
    out = folder / "winner"
    line = Line(model, load_recipe(recipe), target, out, out / ".artifacts")
    if console is not None:
        line.on_start, line.on_progress = console.start, console.progress
        line.on_finish = console.finish
    try:
        line.run("report")
    finally:
        if console is not None:
            console.close()
    deployed, studied = line.value("emulate").validation[1], row["accuracy_frac"]
    if deployed != studied:
        raise EquivalenceError(
            f"{out}: accuracy on validation is {deployed:.4%}, in the study {studied:.4%}; the "
            "code, the model or its data changed since: run the study again")
    return line
