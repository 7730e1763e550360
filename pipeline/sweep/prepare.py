"""What must be there before any configuration: the dense network, its calibrations, the work list.

In: a plan. Out: the :class:`Study` workers load from, and pieces of work with what each waits for.
Ingest and calibration are the line's own stages, kept in the study's store under their keys.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.artifact import content_hash
from pipeline.errors import PipelineError
from pipeline.sweep.claims import claim
from pipeline.sweep.plan import Entry, Plan, Probe, calibration_of
from pipeline.sweep.work import Work

if TYPE_CHECKING:
    from pipeline.compress_synapse import Level
    from pipeline.recipe import Recipe
    from pipeline.sweep.trial import Bench, Study

# sequential and whole-neuron compression do not come from the bank; rules that look at losses
# make levels as they go
_RULES_WITHOUT_LOSSES = ("uniform", "lamps")


@dataclass
class Task:
    """A piece of work in the driver's list.

    Attributes
    ----------
    waits_for : keys of the work it needs, as far as that is known
    n_deaths : processes that died of it
    not_before : on the monotonic clock; another driver has it until then at least
    """

    work: Work
    entry: Entry | None = None
    waits_for: frozenset[str] = field(default_factory=frozenset)
    n_deaths: int = 0
    not_before: float = 0.0


def prepare(plan: Plan, say: Callable[[str], None]) -> tuple[Study, dict[str, str]]:
    """Ingest and calibrate as far as that is missing.

    Returns
    -------
    study
    unusable : by :func:`calibration_of`, why a calibration is not there

    Raises
    ------
    PipelineError
        If the network cannot be ingested, or none of the calibrations is usable.
    """
    from pipeline.sweep.trial import Study

    calibrations, unusable = {}, {}
    first = next(iter(plan.lines.values()))
    for name, line in plan.lines.items():
        key = line.key("calibrate")
        line.on_start = say
        line.on_progress = lambda message: say(f"calibrate: {message}")
        with claim(plan.store.lock(content_hash("ingest", first.key("ingest")))):
            line.run("ingest")
        with claim(plan.store.lock(key)):
            try:
                line.run("calibrate")
            except PipelineError as error:
                if len(plan.lines) == 1:
                    raise
                unusable[name] = str(error)
            else:
                calibrations[name] = line.path("calibrate").absolute()
    if not calibrations:
        raise PipelineError("\n".join(unusable.values()))
    # absolute: a worker of a cluster began elsewhere
    study = Study(plan.model, plan.store.folder.absolute(), first.path("ingest").absolute(),
                  calibrations)
    return study, unusable


def tasks_of(
    plan: Plan, bench: Bench, entries: list[Entry], probes: list[Probe]
) -> list[Task]:
    """Return the work that is missing, most urgent first: evaluations as soon as they can be."""
    from pipeline.sweep.sensitivity import Sense
    from pipeline.sweep.trial import Evaluate, MeasureDense

    compress = _Compression(bench)
    tasks = []
    recipe = plan.recipe
    if plan.store.load("dense", plan.dense_key) is None:
        tasks.append(Task(MeasureDense(
            plan.dense_key, recipe.evaluate.n_validation, recipe.energy.n_samples)))
    for entry in entries:
        needs = compress.needs(entry.setting.recipe)
        tasks.append(Task(
            Evaluate(entry.key, entry.setting.recipe, plan.space.targets, entry.price_keys),
            entry, needs))
    senses = [
        Task(Sense(probe.key, probe.setting.recipe, probe.layer), None,
             compress.needs(probe.setting.recipe))
        for probe in probes
    ]
    return [*tasks, *compress.tasks(), *senses]


class _Compression:
    """Collects levels that are not in the bank, as one piece of work per mask."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._levels: dict[str, tuple[Recipe, str, dict[Level, None]]] = {}
        self._counts: dict[str, dict[str, int]] = {}

    def needs(self, recipe: Recipe) -> frozenset[str]:
        """Return keys of the compression a recipe waits for, having noted it."""
        settings = recipe.compress
        rules = (settings.allocation, settings.bits_allocation)
        if (settings.sequential or settings.pattern == "neurons"
                or any(rule not in _RULES_WITHOUT_LOSSES for rule in rules)):
            return frozenset()
        bank = self._bench.bank(recipe)
        keys = set()
        for name, level in self._allocated(recipe).items():
            if bank.is_stored(name, level):
                continue
            key = content_hash("compress", bank.key(name), level.n_keep)
            self._levels.setdefault(key, (recipe, name, {}))[2][level] = None
            keys.add(key)
        return frozenset(keys)

    def tasks(self) -> list[Task]:
        """Return the noted work, the most expensive first, so that no process is last with it."""
        from pipeline.sweep.trial import Compress

        tasks = []
        for key, (recipe, name, levels) in self._levels.items():
            n_keep = next(iter(levels)).n_keep
            d_in = self._bench.network.synapse(name).weight[0].size
            tasks.append((d_in**2 * n_keep, Task(Compress(key, recipe, name, tuple(levels)))))
        return [task for _, task in sorted(tasks, key=lambda pair: -pair[0])]

    def _allocated(self, recipe: Recipe) -> dict[str, Level]:
        from pipeline.levels import allocate_levels

        # counts do not depend on the global bits, and a large network has many weights to rank
        without = recipe.compress.model_dump_json(exclude={"bits"}) + calibration_of(recipe)
        levels = allocate_levels(
            self._bench.network, self._bench.calibration(recipe), recipe,
            self._bench.calibration_samples(recipe).spikes, self._bench.bank(recipe),
            self._counts.get(without))
        self._counts[without] = {name: level.n_keep for name, level in levels.items()}
        return levels
