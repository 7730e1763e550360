"""The commands ``spikefit search``, ``choose`` and ``worker``; nothing heavy before they run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipeline.search.choose import Limits
    from pipeline.search.space import SearchSpace

_STUDIES = Path("netx_exports")

ModelOption = Annotated[str, typer.Option(help="Bundled model, or a folder with a model.yaml.")]
TargetOption = Annotated[
    str, typer.Option(help="Hardware target, where the file names none.")]
StorageOption = Annotated[str, typer.Option(
    help="PostgreSQL that machines share, as postgresql://user@host/name.")]


def search(
    file: Annotated[Path, typer.Option("--search", help="YAML: levels, objectives, limits.")],
    model: ModelOption = "nmnist_mlp",
    target: TargetOption = "loihi1",
    out: Annotated[Path | None, typer.Option(
        help="Study folder; netx_exports/search-MODEL-FILE if absent.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes, each of one thread.")] = 2,
    storage: StorageOption = "",
    deploy: Annotated[bool, typer.Option(help="Deploy the winner.")] = True,
) -> None:
    """Search levels per layer, accuracy against cost; deploy the winner once."""
    from pipeline.model_folder import find_model
    from pipeline.search.space import load_search
    from pipeline.sweep.progress import Progress

    space, found = load_search(file, target), find_model(model)
    folder = out or _STUDIES / f"search-{found.name}-{file.stem}"
    if storage:
        from pipeline.search.shared import SharedSearch

        SharedSearch(space, found, folder, workers, Progress(), storage=storage).run()
    else:
        from pipeline.search.driver import Search

        Search(space, found, folder, workers, Progress()).run()
    _finish(space, folder, model, deploy)


def worker(
    study: Annotated[Path, typer.Option(help="Study folder of a search with --storage.")],
    storage: StorageOption = "",
) -> None:
    """Work on a shared search until its trials are there; start as many as you like."""
    from pipeline.search.shared import work_on
    from pipeline.sweep.progress import Progress

    n_done = work_on(study, storage, Progress())
    print(f"{n_done} trial(s) by this worker; the search is complete")


def choose(
    study: Annotated[Path, typer.Argument(help="Folder of a sweep or a search.")],
    least: Annotated[str, typer.Option(
        "--min", help="energy, executed_synops, effective_synops, memory, cores, or a price set."
    )] = "energy",
    max_loss: Annotated[float, typer.Option(
        min=0.0, help="Points of accuracy below the network as trained, on validation.")] = 1.0,
    max_cores: Annotated[int | None, typer.Option(min=1)] = None,
    max_memory: Annotated[int | None, typer.Option(min=1, help="Bits of synapse memory.")] = None,
    target: Annotated[str | None, typer.Option(help="Of a study with several.")] = None,
) -> None:
    """Pick a configuration of a study, say why, and write its recipe."""
    from pipeline.search.choose import Limits

    _choose(study, Limits(max_loss, max_cores, max_memory), least, target)


def _finish(space: SearchSpace, folder: Path, model: str, with_deployment: bool) -> None:
    from pipeline.search.choose import Limits

    limits = space.file.constraints
    row, recipe = _choose(
        folder, Limits(limits.max_loss_points, limits.cores, limits.memory_bits), space.cost, None)
    if not with_deployment:
        return
    from pipeline.console import Console, show_deployment
    from pipeline.model_folder import find_model
    from pipeline.search.winner import deploy_winner

    show_deployment(
        deploy_winner(folder, recipe, row, find_model(model), space.target, Console()))


def _choose(
    folder: Path, limits: Limits, least: str, target: str | None
) -> tuple[dict[str, object], Path]:
    from pipeline.search.choose import choose, explain, load_study, write_chosen

    document = load_study(folder)
    choice = choose(document, limits, least, target)
    for line in explain(document, choice):
        print(line)
    recipe = write_chosen(folder, choice.row)
    print(f"recipe    {recipe}")
    print(f"deploy    make deploy MODEL={document['model']['name']} TARGET={choice.row['target']} "
          f"RECIPE={recipe}")
    return choice.row, recipe
