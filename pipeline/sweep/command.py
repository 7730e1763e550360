"""The command ``spikefit sweep``: reads, runs, shows; ``--dry-run`` imports nothing heavy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipeline.sweep.estimate import Estimate
    from pipeline.sweep.write import Written

_STUDIES = Path("netx_exports")


def sweep(
    file: Annotated[Path, typer.Option("--sweep", help="YAML: a base recipe and axes.")],
    model: Annotated[
        str, typer.Option(help="Bundled model, or a folder with a model.yaml.")] = "nmnist_mlp",
    target: Annotated[
        str, typer.Option(help="Hardware target, where the file names none.")] = "loihi1",
    out: Annotated[Path | None, typer.Option(
        help="Study folder; netx_exports/sweep-MODEL-FILE if absent.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes, each of one thread.")] = 2,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell how much and how long; do nothing.")] = False,
    scheduler: Annotated[str, typer.Option(
        help="Dask scheduler, as tcp://host:8786: its workers, not processes here.")] = "",
) -> None:
    """Measure a grid of configurations over the layer bank; run again to continue."""
    from pipeline.model_folder import find_model
    from pipeline.sweep.plan import make_plan
    from pipeline.sweep.refusals import check_layers
    from pipeline.sweep.space import load_space

    space, found = load_space(file, target), find_model(model)
    folder = out or _STUDIES / f"sweep-{found.name}-{file.stem}"
    if dry_run:
        from pipeline.sweep.estimate import estimate

        plan = make_plan(space, found, folder)
        layers = plan.layers()
        if layers is not None:
            check_layers(space, layers)
        _show_estimate(estimate(plan, workers))
        return
    from pipeline.sweep.driver import Sweep
    from pipeline.sweep.progress import Progress

    _show(Sweep(space, found, folder, workers, Progress(), scheduler).run())


def _show_estimate(found: Estimate) -> None:
    from pipeline.sweep.progress import clock

    print(f"{found.n_configurations:,} configurations, {found.n_done:,} of them computed")
    if not found.n_evaluations and not found.n_probes:
        print("nothing to do")
        return
    n_targets = found.n_configurations // found.n_settings
    print(f"{found.n_settings:,} settings on {n_targets} target(s): "
          f"{found.n_evaluations:,} to evaluate"
          + (f", {found.n_probes:,} layers alone" if found.n_probes else ""))
    if found.n_levels is None:
        print(f"at most {found.levels_per_layer:,} levels of each layer to compress (the network "
              "was not read yet: names of layers are not checked, five layers assumed)")
    else:
        print(f"at most {found.n_levels:,} layers at levels to compress")
    rates = found.rates
    print(f"about {clock(found.left_s)} with {found.n_workers} worker(s), at "
          f"{rates.level_s:.1f} s a level and {rates.evaluation_s:.1f} s an evaluation ("
          + ("measured in this folder)" if rates.is_evaluation_measured and (
              rates.is_level_measured or not found.n_levels) else "assumed; not measured yet)"))


def _show(written: Written) -> None:
    from pipeline.report.units import percent
    from pipeline.sweep.figures import label_of
    from pipeline.sweep.page import best_rows

    document = written.document
    print(f"{document['n_trials']:,} of {document['n_configurations']:,} configurations; "
          f"{document['n_not_fitting']:,} do not fit, {document['n_failed']:,} failed; "
          f"as trained {percent(document['accuracy_dense_frac'])}")
    for question, answer, row in best_rows(document):
        print(f"{question}: {answer} ({label_of(document, row)}; {percent(row['accuracy_frac'])}, "
              f"{row['n_cores']} cores)")
    for row in [row for row in document["trials"] if row["status"] == "failed"][:5]:
        print(f"failed: {label_of(document, row)}: {row['reason'].splitlines()[0]}")
    print(f"report  {written.out / 'report.html'}")
