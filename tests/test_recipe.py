"""A recipe that cannot be followed is refused when it is read, by key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.errors import RecipeError
from pipeline.recipe import CompressRecipe, LayerLevel, Recipe, level_overrides, load_recipe


def write(tmp_path: Path, **compress: Any) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({"compress": compress}))
    return path


def test_no_recipe_is_the_default_one(tmp_path: Path) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text("")
    assert load_recipe(None) == load_recipe(path) == Recipe()


@pytest.mark.parametrize("bits", [0, 9, -1, 3.5, "8", "binary", True])
def test_bits_the_grid_lacks_are_refused(tmp_path: Path, bits: Any) -> None:
    with pytest.raises(RecipeError, match=r"compress\.bits.*found"):
        load_recipe(write(tmp_path, bits=bits))
    with pytest.raises(RecipeError, match=r"compress\.layers\.a\.bits.*found"):
        load_recipe(write(tmp_path, layers={"a": {"bits": bits}}))


@pytest.mark.parametrize("bits", [*range(1, 9), "ternary"])
def test_bits_of_the_grid_are_taken(tmp_path: Path, bits: Any) -> None:
    assert load_recipe(write(tmp_path, bits=bits)).compress.bits == bits


@pytest.mark.parametrize(
    ("key", "value"),
    [("pattern", "two of four"), ("pattern", "2:"), ("pattern", "2:4:6"), ("pruning", "sbc"),
     ("rounding", "up"), ("grid", "best"), ("scale", "any"), ("device", "tpu"),
     ("allocation", "random"), ("bits_allocation", "lamps"), ("importance", "input"),
     ("match_rates", "neuron"), ("sparsity", 1.0), ("sparsity", -0.1), ("loss_margin", -0.6)],
)
def test_a_switch_that_does_not_exist_is_refused(tmp_path: Path, key: str, value: Any) -> None:
    with pytest.raises(RecipeError, match=rf"compress\.{key}: .*found"):
        load_recipe(write(tmp_path, **{key: value}))


@pytest.mark.parametrize("pattern", ["4:2", "0:4"])
def test_more_to_keep_than_there_are_is_refused_when_read(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(RecipeError, match=f"'{pattern}' is not N:M with 1 <= N <= M"):
        load_recipe(write(tmp_path, pattern=pattern))


def test_refused_bits_are_named_by_their_key(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"compress\.bits: .*9 is neither a whole number"):
        load_recipe(write(tmp_path, bits=9))


@pytest.mark.parametrize("pattern", ["unstructured", "inputs", "neurons", "2:4", "1:16"])
def test_patterns_are_taken(tmp_path: Path, pattern: str) -> None:
    assert load_recipe(write(tmp_path, pattern=pattern)).compress.pattern == pattern


def test_the_first_pattern_that_matches_a_layer_wins() -> None:
    recipe = CompressRecipe(layers={
        "blocks.0": LayerLevel(bits=8), "blocks.*": LayerLevel(sparsity=0.5)})
    assert level_overrides(recipe, ["blocks.0", "blocks.1", "out"]) == {
        "blocks.0": LayerLevel(bits=8), "blocks.1": LayerLevel(sparsity=0.5)}
    with pytest.raises(RecipeError, match=r"blocks\.\*: matches no layer; the layers are out"):
        level_overrides(CompressRecipe(layers={"blocks.*": LayerLevel()}), ["out"])
