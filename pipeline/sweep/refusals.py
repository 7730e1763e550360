"""What makes a space empty or contradictory, told before any work.

In: a sweep file as read, its settings, its targets; later the names of the network's layers. Out:
nothing, or a RecipeError with key path, value, limit and remedy.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hardware_targets import Target
from pipeline.errors import RecipeError

if TYPE_CHECKING:
    from pipeline.sweep.space import Setting, Space, SweepFile


def refuse_contradictions(path: Path, file: SweepFile) -> None:
    """Raise RecipeError if the base recipe fixes what is an axis, or an axis has no value."""
    compress = file.recipe.get("compress") or {}
    calibration = file.recipe.get("calibration") or {}
    both = [name for name in ("sparsity", "bits")
            if getattr(file, name) is not None and name in compress]
    if file.n_calibration is not None and "n_samples" in calibration:
        both.append("n_calibration")
    for layer, axes in file.layers.items():
        fixed = (compress.get("layers") or {}).get(layer) or {}
        both += [f"layers.{layer}.{what}" for what in ("sparsity", "bits")
                 if getattr(axes, what) is not None and what in fixed]
        if axes.sparsity is None and axes.bits is None:
            raise RecipeError(f"{path}: layers.{layer}: neither bits nor sparsity; give a list")
    if both:
        raise RecipeError(
            f"{path}: {both[0]}: an axis, and fixed under 'recipe' as well; leave one out")


def refuse_duplicates(path: Path, settings: tuple[Setting, ...]) -> None:
    """Raise RecipeError if two settings are the same configuration under different names."""
    by_identity: dict[str, Setting] = {}
    for setting in settings:
        other = by_identity.setdefault(setting.identity, setting)
        if other is not setting:
            raise RecipeError(
                f"{path}: '{other.label}' and '{setting.label}' are the same configuration; leave "
                "one out"
            )


def refuse_wide_weights(
    path: Path, settings: tuple[Setting, ...], targets: tuple[Target, ...]
) -> None:
    """Raise RecipeError if any target cannot store weights as wide as asked."""
    for target in targets:
        widest = target.synapses.weight_bits.value[-1]
        for setting in settings:
            compress = setting.recipe.compress
            asked = {"bits": compress.bits} | {
                f"layers.{name}.bits": level.bits for name, level in compress.layers.items()
                if level.bits is not None}
            for key, bits in asked.items():
                n_bits = 2 if isinstance(bits, str) else bits
                if n_bits > widest:
                    raise RecipeError(
                        f"{path}: {key}: {bits} bits, target '{target.name}' stores at most "
                        f"{widest}; lower the bits, or leave the target out"
                    )


def check_layers(space: Space, layers: list[str]) -> None:
    """Raise RecipeError unless every axis reaches one of a network's layers.

    Parameters
    ----------
    layers : names of those that are compressed
    """
    unknown = [name for name in space.layer_axes if name not in layers]
    if unknown:
        raise RecipeError(
            f"{space.path}: layers.{unknown[0]}: no layer of this name; the layers are "
            f"{', '.join(layers)}"
        )
    for what in ("sparsity", "bits"):
        values = {setting.axes.get(what) for setting in space.settings}
        levels = [str(setting.recipe.compress.layers) for setting in space.settings]
        told = {(str(s.axes.get(what)), own) for s, own in zip(space.settings, levels, strict=True)}
        own = [name for name in layers if all(
            getattr(setting.recipe.compress.layers.get(name), what, None) is not None
            for setting in space.settings)]
        if len(told) > len(set(levels)) and len(own) == len(layers):
            raise RecipeError(
                f"{space.path}: {what}: every layer has its own under 'layers', so that the "
                f"{len(values)} values make no difference; leave the axis out"
            )
