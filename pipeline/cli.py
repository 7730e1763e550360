"""The command line: loads, calls, saves, shows progress, sets the exit code. Nothing else.

Exit codes: 0 done, 2 a condition the user can mend (one message, no traceback), 130 interrupted.
A defect of ours keeps its traceback. Nothing heavy is imported before a stage needs it.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.console_files import ShapeOption, StepsOption, compare_files, inspect, shape
from pipeline.console_targets import app as targets
from pipeline.search.command import choose, search, worker
from pipeline.sweep.command import sweep

if TYPE_CHECKING:
    from hardware_targets import Target
    from pipeline.line import Line

_INTERRUPTED = 130
EXPORTS = Path("netx_exports")

app = typer.Typer(
    name="spikefit", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Prune, quantize, verify and price a trained SLAYER network for Loihi, without a chip.",
)

ModelOption = Annotated[
    str, typer.Option("--model", help="Bundled model, or a folder with a model.yaml.")
]
TargetOption = Annotated[
    str, typer.Option("--target", help="Hardware target, or the path of a target file.")
]
RecipeOption = Annotated[
    Path | None, typer.Option("--recipe", help="YAML recipe; the defaults if absent.")
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", help="Deployment folder [default: netx_exports/MODEL-TARGET]."),
]

# name, last stage to run, help; each runs what it needs and is missing
_COMMANDS = (
    ("ingest", "Read module and checkpoint into integers."),
    ("calibrate", "Measure the curvature of every synapse group."),
    ("compress", "Prune and quantize by Spiking Brain Compression."),
    ("quantize", "Make the integer network; match firing rates."),
    ("place", "Check the chip's rules and place neurons on cores."),
    ("export", "Write network.net and read it back."),
    ("emulate", "Measure accuracy on the bit-exact emulator."),
    ("lava", "Run network.net on Lava through the stock loader."),
    ("compare", "Require equal spikes of emulator, Lava and SLAYER."),
    ("energy", "Count events and price them, core by core."),
    ("report", "Write report.html and report.json."),
)


def _run_stage(
    last: str, model: str, target: str, recipe: Path | None, out: Path | None
) -> Line:
    from pipeline.console import Console

    console = Console()
    line = _open_line(model, target, recipe, out)
    line.on_start, line.on_progress = console.start, console.progress
    line.on_finish = console.finish
    try:
        line.run(last)
    finally:
        console.close()
    return line


def _open_line(model: str, target: str, recipe: Path | None, out: Path | None) -> Line:
    """Return the line, with recipe, target, model and data checked."""
    from pipeline.line import Line
    from pipeline.model_folder import find_model
    from pipeline.recipe import load_recipe

    chosen_recipe, chosen_target = load_recipe(recipe), _load_target(target)
    chosen_model = find_model(model)
    folder = out or EXPORTS / f"{chosen_model.name}-{chosen_target.name}"
    store = out / ".artifacts" if out else EXPORTS / ".artifacts"
    return Line(chosen_model, chosen_recipe, chosen_target, folder, store)


def _load_target(name: str) -> Target:
    from hardware_targets import TargetFileError, load_target
    from pipeline.errors import TargetError

    try:
        return load_target(name)
    except TargetFileError as error:
        raise TargetError(str(error)) from None


def _stage_command(name: str) -> Callable[..., None]:
    def command(
        model: ModelOption = "nmnist_mlp",
        target: TargetOption = "loihi1",
        recipe: RecipeOption = None,
        out: OutOption = None,
    ) -> None:
        _run_stage(name, model, target, recipe, out)

    return command


@app.command()
def deploy(
    model: ModelOption = "nmnist_mlp",
    target: TargetOption = "loihi1",
    recipe: RecipeOption = None,
    out: OutOption = None,
) -> None:
    """Run the whole line: compress, verify, place, price, report."""
    from pipeline.console import show_deployment

    show_deployment(_run_stage("report", model, target, recipe, out))


@app.command()
def check(
    model: ModelOption = "nmnist_mlp",
    target: TargetOption = "loihi1",
    recipe: RecipeOption = None,
    out: OutOption = None,
) -> None:
    """Check model, recipe, target and data without running; print the complete recipe."""
    from pipeline.console import show_check

    show_check(_open_line(model, target, recipe, out))


@app.command()
def compare(
    files: Annotated[list[str] | None, typer.Argument(
        metavar="[A B]", help="Two of: model folder, NetX file, NIR file.")] = None,
    model: ModelOption = "nmnist_mlp",
    target: TargetOption = "loihi1",
    recipe: RecipeOption = None,
    out: OutOption = None,
    samples: Annotated[int, typer.Option(help="Of A and B: samples to compare on.")] = 10,
    rate: Annotated[float, typer.Option(help="Of A and B: rate of random input.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Of A and B: seed of random input.")] = 0,
    steps: StepsOption = None,
    input_shape: ShapeOption = None,
    lava: Annotated[bool, typer.Option("--lava", help="Run B in Lava.")] = False,
) -> None:
    """Require equal spikes of emulator, Lava and SLAYER; or tell where A and B part, and why."""
    if not files:
        _run_stage("compare", model, target, recipe, out)
        return
    compare_files(files, samples, rate, seed, steps, shape(input_shape), lava)


for _name, _help in _COMMANDS:
    if _name != "compare":
        app.command(_name, help=_help)(_stage_command(_name))
app.command()(inspect)
app.command()(sweep)
app.command()(search)
app.command()(choose)
app.command()(worker)
app.add_typer(targets, name="targets")


def main() -> None:
    """Run the command line; the console script."""
    # torch's and numba's thread pools spin against each other on busy machines: one SLAYER
    # forward took 16 s instead of 0.4 s; must be set before either is imported
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from pipeline.errors import PipelineError

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # progress is seen through a pipe as well
    try:
        app()
    except PipelineError as error:
        print(f"spikefit: {error}", file=sys.stderr)
        sys.exit(2)
    except SystemExit as stop:
        if stop.code == _INTERRUPTED:  # typer's answer to Ctrl-C
            print("spikefit: interrupted; run the same command to continue", file=sys.stderr)
        raise


if __name__ == "__main__":
    main()
