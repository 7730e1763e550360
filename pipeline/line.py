"""The line: runs the stages that are out of date, in order, and keeps their artifacts.

A stage's key is a hash over the code, its settings and the keys of the stages it needs. An artifact
under that key is used again; anything else is computed, written whole, and then described. A killed
run therefore continues with the first stage that had not finished.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import hardware_targets
import models
import pipeline
from hardware_targets import Target
from pipeline.artifact import (
    content_hash,
    load_artifact,
    load_meta,
    save_artifact,
    source_hash,
)
from pipeline.errors import OutputError, RecipeError
from pipeline.model_folder import ModelFolder
from pipeline.recipe import Recipe
from pipeline.stages import STAGES, Stage

# what cannot change an artifact; the report stage and sweeps hash their own packages
_NO_EFFECT = ("cli.py", "console.py", "console_files.py", "console_network.py",
              "console_targets.py", "inspection.py", "diverge.py", "report", "search", "sweep")


@dataclass(frozen=True)
class Finished:
    """A stage that is up to date.

    Attributes
    ----------
    is_reused : whether an earlier artifact served
    elapsed_s : of the run that computed it
    """

    stage: str
    summary: str
    is_reused: bool
    elapsed_s: float


@dataclass
class Line:
    """One deployment: a model, a recipe and a target, in a folder.

    Parameters
    ----------
    out : the deployment folder; created when the first product is written
    store : folder of the artifacts
    on_start, on_progress, on_finish : called for the user's eyes
    """

    model: ModelFolder
    recipe: Recipe
    target: Target
    out: Path
    store: Path
    on_start: Callable[[str], None] = lambda _: None
    on_progress: Callable[[str], None] = lambda _: None
    on_finish: Callable[[Finished], None] = lambda _: None
    finished: list[Finished] = field(default_factory=list)
    _values: dict[str, Any] = field(default_factory=dict)
    _keys: dict[str, str] = field(default_factory=dict)

    def run(self, last: str = "report") -> None:
        """Bring every stage that ``last`` needs, and ``last`` itself, up to date."""
        wanted = _needed(last)
        if "export" in wanted and self.recipe.compress.match_rates == "channel":
            raise RecipeError(
                "compress.match_rates: 'channel' ends before export: stock NetX reads one vThMant "
                "per layer, thresholds per channel need a loader that gives Lava's LIF process an "
                "array; deploy with 'layer', or run 'spikefit emulate' for the accuracy"
            )
        self._prepare_folders()
        for stage in STAGES:
            if stage.name in wanted:
                self._bring_up_to_date(stage)

    def value(self, stage: str) -> Any:
        """Return the artifact of a stage that is up to date."""
        if stage not in self._values:
            self._values[stage] = load_artifact(self.path(stage))
        return self._values[stage]

    def progress(self, message: str) -> None:
        """Show what is being worked on."""
        self.on_progress(message)

    def key(self, stage: str) -> str:
        """Return the content key of a stage that is up to date."""
        return self._keys[stage]

    def find_key(self, last: str) -> str:
        """Return the content key that a stage has or would have; nothing is run."""
        wanted = _needed(last)
        for stage in (stage for stage in STAGES if stage.name in wanted):
            self._keys[stage.name] = self._key_of(stage)
        return self._keys[last]

    def _key_of(self, stage: Stage) -> str:
        upstream = [self._keys[name] for name in stage.needs]
        own = [self.model_hash()] if not stage.needs else []
        return content_hash(
            stage.name, code_version(), stage.settings(self), upstream, own, [self._data_hash()]
        )

    def _bring_up_to_date(self, stage: Stage) -> None:
        self._keys[stage.name] = self._key_of(stage)
        meta = load_meta(self.path(stage.name))
        if meta is not None and self._products(stage) == meta["products"]:
            result = Finished(stage.name, meta["summary"], True, meta["elapsed_s"])
        else:
            result = self._compute(stage)
        self.finished.append(result)
        self.on_finish(result)

    def _compute(self, stage: Stage) -> Finished:
        self.on_start(stage.name)
        begin = time.perf_counter()
        value = stage.run(self)
        elapsed = time.perf_counter() - begin
        summary = stage.describe(value)
        self._values[stage.name] = value
        meta = {
            "stage": stage.name, "summary": summary, "elapsed_s": elapsed,
            "products": self._products(stage),
        }
        save_artifact(self.path(stage.name), value, meta)
        shutil.rmtree(self.parts(stage.name), ignore_errors=True)  # the artifact holds them all
        return Finished(stage.name, summary, False, elapsed)

    def path(self, stage: str) -> Path:
        """Return where the artifact of a stage with a known key is, or will be."""
        return self.store / f"{stage}-{self._keys[stage][:16]}.npz"

    def parts(self, stage: str) -> Path:
        """Return the folder of what a stage with a known key has finished of its work."""
        return self.path(stage).with_suffix(".parts")

    def _products(self, stage: Stage) -> dict[str, str]:
        """Return the hash of each product that exists."""
        paths = {name: self.out / name for name in stage.products}
        return {n: content_hash(p.read_bytes()) for n, p in paths.items() if p.is_file()}

    def model_hash(self) -> str:
        """Return a hash of the model: its description, code and weights."""
        folders = {self.model.folder, self.model.network_file.parent}
        sources = sorted(path for folder in folders for path in folder.glob("*.py"))
        sources = sources if self.model.is_module else []
        return content_hash(
            self.model.name, self.model.description.model_dump(mode="json", exclude={"data"}),
            [content_hash(path.read_bytes()) for path in sources],
            self.model.checkpoint.read_bytes(),
        )

    def _data_hash(self) -> str:
        """Return a hash of the data source; of a file its content, of a folder only its path."""
        source = self.model.data
        content = source.file.read_bytes() if source.file and source.file.is_file() else b""
        return content_hash(source.model_dump(mode="json"), content)

    def _prepare_folders(self) -> None:
        for folder in (self.out, self.store):
            try:
                folder.mkdir(parents=True, exist_ok=True)
                probe = folder / ".writable.tmp"
                probe.touch()
                probe.unlink(missing_ok=True)  # several lines may try the folder at once
            except OSError as error:
                raise OutputError(
                    f"output folder {folder}: cannot be written ({error.strerror}); name another "
                    "with OUT= or --out"
                ) from None


def stage_names() -> tuple[str, ...]:
    """Return the stages in order."""
    return tuple(stage.name for stage in STAGES)


def _needed(last: str) -> set[str]:
    needs = {stage.name: stage.needs for stage in STAGES}
    wanted, queue = {last}, [last]
    while queue:
        for name in needs[queue.pop()]:
            if name not in wanted:
                wanted.add(name)
                queue.append(name)
    return wanted


@cache
def code_version() -> str:
    """Return a hash over the source of everything an artifact can depend on."""
    roots = [Path(package.__file__ or "").parent for package in (pipeline, hardware_targets)]
    files = [path for root in roots for path in sorted(root.rglob("*.py"))]
    files += sorted((Path(models.__file__).parent / "data").glob("*.py"))
    return source_hash(
        path for path in files if not {path.name, path.parent.name} & set(_NO_EFFECT)
    )
