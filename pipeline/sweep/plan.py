"""What a sweep consists of, and which of it is there: keys of everything, nothing run.

In: a space, a model, a study folder. Out: a :class:`Plan`. A key hashes the code, the network, the
data and the part of the recipe a result depends on; results of another version are other keys and
stay where they are. Nothing here imports torch or lava.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.artifact import content_hash, load_artifact, load_meta, source_hash
from pipeline.errors import RecipeError
from pipeline.line import Line
from pipeline.model_folder import ModelFolder
from pipeline.recipe import Recipe
from pipeline.sweep.claims import claim
from pipeline.sweep.results import Store
from pipeline.sweep.space import Setting, Space

_SOURCES = ("trial.py", "price.py", "sensitivity.py", "claimed_bank.py")


@dataclass(frozen=True)
class Entry:
    """A setting and where its results are.

    Attributes
    ----------
    key : of the outcome
    price_keys : of the price on each target of the space
    """

    setting: Setting
    key: str
    price_keys: tuple[str, ...]

    def is_done(self, store: Store) -> bool:
        """Whether nothing of it is missing."""
        outcome = store.load("outcomes", self.key)
        if outcome is None:
            return False
        return "failure" in outcome or all(
            store.load("prices", key) is not None for key in self.price_keys)


@dataclass(frozen=True)
class Probe:
    """One layer alone at the level of a setting.

    Attributes
    ----------
    axis : along which it is probed: sparsity, or bits
    value : on that axis
    """

    key: str
    layer: str
    axis: str
    value: float | int | str
    setting: Setting


@dataclass(frozen=True)
class Plan:
    """All keys of a sweep.

    Attributes
    ----------
    lines : by :func:`calibration_of`, the line that ingests and calibrates
    dense_key : of the accuracy as trained
    """

    space: Space
    model: ModelFolder
    store: Store
    entries: tuple[Entry, ...]
    lines: dict[str, Line]
    dense_key: str

    @property
    def recipe(self) -> Recipe:
        """The recipe of the first setting: what all have in common is in each."""
        return self.entries[0].setting.recipe

    def layers(self) -> list[str] | None:
        """Return the layers that are compressed; None if the network was not ingested yet."""
        line = next(iter(self.lines.values()))
        path = line.path("ingest")
        if load_meta(path) is None:
            return None
        network = load_artifact(path).network
        return list(dict.fromkeys(network.layer_of(s.name).name for s in network.compressible))

    def probes(self, layers: list[str]) -> list[Probe]:
        """Return what sensitivity asks for: a cross through the grid, for every layer.

        Along sparsity at the most bits, along bits at the least sparsity; first method, first
        calibration, and layers with axes of their own at the first value.
        """
        if not self.space.has_sensitivity:
            return []
        found: dict[str, Probe] = {}
        for axis, other, pick in (("sparsity", "bits", max), ("bits", "sparsity", min)):
            at = pick((e.setting.axes[other] for e in self.entries), key=_size)
            held: dict[tuple[str, str], object] = {}
            for entry in self.entries:
                axes = entry.setting.axes
                rest = {k: v for k, v in axes.items() if k not in (axis, other)}
                if axes[other] != at or any(
                        held.setdefault((axis, k), v) != v for k, v in rest.items()):
                    continue
                for layer in layers:
                    key = content_hash("probe", entry.key, layer)
                    probe = Probe(key, layer, axis, axes[axis], entry.setting)
                    found.setdefault(f"{axis} {key}", probe)
        return list(found.values())


def make_plan(space: Space, model: ModelFolder, out: Path) -> Plan:
    """Return the plan of a sweep into a study folder."""
    store = Store(out / ".store")
    lines: dict[str, Line] = {}
    keys: dict[str, str] = {}
    for setting in space.settings:
        name = calibration_of(setting.recipe)
        if name not in lines:
            lines[name] = Line(model, setting.recipe, space.targets[0], out, store.folder)
            keys[name] = lines[name].find_key("calibrate")
    code = source_hash(Path(__file__).with_name(name) for name in _SOURCES)
    entries = tuple(_entry(space, s, keys[calibration_of(s.recipe)], code) for s in space.settings)
    n_validation = space.settings[0].recipe.evaluate.n_validation
    ingest_key = next(iter(lines.values())).key("ingest")
    return Plan(space, model, store, entries, lines,
                content_hash("dense", code, ingest_key, n_validation))


def calibration_of(recipe: Recipe) -> str:
    """Return the calibration a recipe asks for, as text."""
    return recipe.calibration.model_dump_json()


def refuse_other_network(plan: Plan, out: Path) -> None:
    """Raise RecipeError if the folder holds a study of another network; note whose it is.

    Results of another version of the code are no obstacle: they have other keys.
    """
    line = next(iter(plan.lines.values()))
    owner = {"model": plan.model.name, "model_hash": line.model_hash()}
    with claim(plan.store.lock("owner")):  # two drivers may begin at once
        held = plan.store.load("study", "owner")
        if held is None:
            plan.store.save("study", "owner", owner)
    if held is not None and held != owner:
        what = (f"of model '{held.get('model')}'" if held.get("model") != owner["model"] else
                f"of '{owner['model']}' with another checkpoint, module or model.yaml")
        raise RecipeError(
            f"study folder {out}: holds a study {what}; name another folder with OUT= or --out")


def _entry(space: Space, setting: Setting, calibrate_key: str, code: str) -> Entry:
    recipe = setting.recipe
    key = content_hash(
        "outcome", code, calibrate_key, setting.identity, recipe.evaluate.n_validation)
    return Entry(setting, key, tuple(
        content_hash("price", key, target.model_dump(mode="json"), recipe.energy.n_samples,
                     recipe.place.model_dump(mode="json"))
        for target in space.targets))


def _size(value: object) -> float:
    """Return by how much a number of bits or a sparsity is more than another; ternary is 1.58."""
    return 1.58 if value == "ternary" else float(str(value))
