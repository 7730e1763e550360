"""A bad target file is refused whole: every problem is named with its place and what to do."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

import hardware_targets
from hardware_targets import Target, TargetFileError, load_target

PACKAGE = Path(hardware_targets.__file__).parent
Content = dict[str, Any]


def shipped(name: str = "loihi1") -> Content:
    """Return a fresh copy of a shipped target as plain data."""
    return copy.deepcopy(_parsed(name))


@cache
def _parsed(name: str) -> Content:
    content: Content = yaml.safe_load((PACKAGE / f"{name}.yaml").read_text(encoding="utf-8"))
    return content


def broken(path: str, value: object) -> Content:
    """Return the content of loihi1 with one key set; the value ``...`` deletes it."""
    content = shipped()
    *parents, last = path.split(".")
    place = content
    for key in parents:
        place = place[key]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return content


def problems(tmp_path: Path, content: object) -> tuple[str, ...]:
    """Write a target file, load it, and return what is said to be wrong with it."""
    path = tmp_path / "chip.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    with pytest.raises(TargetFileError) as caught:
        load_target(path)
    assert str(path) in str(caught.value)
    return caught.value.problems


NEURONS = "capacities.neurons_per_core"
DAVIES = "price_sets.davies2018"
SYNOP = f"{DAVIES}.synop_dense"
TIMES = f"{DAVIES}.times"
BARRIER = f"{TIMES}.barrier"
BAD_KEYS: list[tuple[str, object, str, str]] = [
    (NEURONS, ..., NEURONS, "is missing; add it"),
    ("capacities", ..., "capacities", "is missing; add it"),
    (f"{NEURONS}.unit", ..., f"{NEURONS}.unit", "is missing; add it"),
    (f"{NEURONS}.source", ..., f"{NEURONS}.source", "is missing; add it"),
    (f"{NEURONS}.source", "", f"{NEURONS}.source", "is empty; name the paper"),
    (f"{SYNOP}.source", "  ", f"{SYNOP}.source", "is empty; name the paper"),
    (f"{NEURONS}.value", -1, f"{NEURONS}.value", "is -1, must be greater than 0"),
    (f"{NEURONS}.value", 0, f"{NEURONS}.value", "is 0, must be greater than 0"),
    (f"{NEURONS}.value", 1024.5, f"{NEURONS}.value", "must be integer"),
    (f"{NEURONS}.value", True, f"{NEURONS}.value", "must be integer"),
    (f"{NEURONS}.value", "1024", f"{NEURONS}.value", "is the text '1024', must be integer"),
    (f"{SYNOP}.value", "2e1", f"{SYNOP}.value", "write plain digits"),
    (f"{NEURONS}.value", None, f"{NEURONS}.value", "is null, but is needed"),
    (f"{NEURONS}.value", float("nan"), f"{NEURONS}.value", "not a finite number"),
    (f"{NEURONS}.unit", "thousands", f"{NEURONS}.unit", "is 'thousands', must be"),
    (f"{NEURONS}.unit", "axons", f"{NEURONS}.unit", "is 'axons', must be 'neurons'"),
    ("synapses.max_synapses_per_entry.unit", "words", "synapses.max_synapses_per_entry.unit",
     "is 'words', must be 'synapses'"),
    ("synapses.skip_bits.value", [2, 70], "synapses.skip_bits.value.1",
     "is 70, must be less than or equal to 64"),
    ("neurons.state_bits.value", 99999, "neurons.state_bits.value", "is 99999, must be less than"),
    (f"{NEURONS}.status", "rumored", f"{NEURONS}.status", "is 'rumored', must be"),
    (f"{NEURONS}.status", "not-found", f"{NEURONS}.status", "but value is 1024"),
    (f"{NEURONS}.status", ..., f"{NEURONS}.status", "is missing; add it"),
    (f"{NEURONS}.source", "TBD", f"{NEURONS}.source", "is 'TBD'; name the paper"),
    (f"{NEURONS}.source", " ? ", f"{NEURONS}.source", "is '?'; name the paper"),
    (f"{NEURONS}.source", None, f"{NEURONS}.source", "is null, but is needed"),
    ("capacities.fan_in_per_neuron.source", "", "capacities.fan_in_per_neuron.source",
     "is empty; say where the number was looked for"),
    (NEURONS, 1024, NEURONS, "is 1024; make it a mapping"),
    (f"{SYNOP}.value", -23.6, f"{SYNOP}.value", "is -23.6, must be greater than or equal to 0"),
    (f"{SYNOP}.value", float("nan"), f"{SYNOP}.value", "is nan, not a finite number"),
    (f"{SYNOP}.value", float("inf"), f"{SYNOP}.value", "is inf, not a finite number"),
    (f"{SYNOP}.value", None, f"{SYNOP}.status", "but value is null; give the value"),
    (f"{SYNOP}.unit", "nJ", f"{SYNOP}.unit", "is 'nJ', must be 'pJ'"),
    ("capacities.memory_word_bits.unit", "bytes", "capacities.memory_word_bits.unit", "'bits'"),
    ("capacities.memory_word_bits.value", 60, "capacities.memory_word_bits", "does not divide"),
    ("capacities.memory_word_bits.value", 0, "capacities.memory_word_bits", "does not divide"),
    ("capacities.cores_per_tile.value", 3, "capacities.tile_rows", "3 x 8 x 4 = 96"),
    ("synapses.weight_bits.value", [], "synapses.weight_bits.value", "is empty"),
    ("synapses.weight_bits.value", [8, 4], "synapses.weight_bits.value", "smallest first"),
    ("synapses.weight_bits.value", [4, 4], "synapses.weight_bits.value", "each width once"),
    ("synapses.weight_bits.value", [0, 8], "synapses.weight_bits.value.0", "is 0, must be"),
    ("synapses.weight_bits.value", 8, "synapses.weight_bits.value", "is 8, must be"),
    ("synapses.formats", ["csr"], "synapses.formats.0",
     "is 'csr', must be 'dense', 'run-length' or 'sparse'"),
    ("synapses.formats", [], "synapses.formats", "is empty"),
    ("synapses.formats_source", "", "synapses.formats_source", "is empty"),
    ("synapses.shares_conv_kernels", "yes", "synapses.shares_conv_kernels", "is 'yes', must be"),
    ("capacities.neuron_per_core", 1, "capacities.neuron_per_core", "did you mean neurons_per"),
    ("neurons_per_core", 1, "neurons_per_core", "does not belong here; move it"),
    ("xyzzy", 1, "xyzzy", "unknown key; remove it"),
    ("price_sets", {}, "price_sets", "is empty"),
    ("price_sets", None, "price_sets", "is null, but is needed"),
    ("price_sets", [1], "price_sets", "make it a mapping"),
    ("price_sets.davies2018.spike", ..., "price_sets.davies2018.spike", "is missing"),
    ("name", "", "name", "is empty"),
    (f"{BARRIER}.value", [[1, 113], [1, 465]], f"{BARRIER}.value", "each count once"),
    (f"{BARRIER}.value", [[1, -113]], f"{BARRIER}.value.0.1", "greater than or equal to 0"),
    (f"{BARRIER}.value", [[0, 113]], f"{BARRIER}.value.0.0", "greater than 0"),
    (f"{BARRIER}.value", [], f"{BARRIER}.value", "is empty"),
    (f"{BARRIER}.value", 113, f"{BARRIER}.value", "is 113, must be"),
    (f"{BARRIER}.interpolation", "cubic", f"{BARRIER}.interpolation", "is 'cubic', must be"),
    (f"{BARRIER}.interpolation", ..., f"{BARRIER}.interpolation", "is missing; add it"),
    (f"{BARRIER}.per", "chips", f"{BARRIER}.per", "is 'chips', must be 'tiles'"),
    ("system.multi_chip_barrier.per", "tiles", "system.multi_chip_barrier.per", "must be 'chips'"),
    ("system.reset_chip_uj.unit", "mJ", "system.reset_chip_uj.unit", "is 'mJ', must be 'uJ'"),
    (f"{TIMES}.spike.unit", "us", f"{TIMES}.spike.unit", "is 'us', must be 'ns'"),
    (f"{TIMES}.spike", ..., f"{TIMES}.spike", "is missing; add it"),
    (f"{DAVIES}.times", ..., f"{DAVIES}.times", "is missing; add it"),
    (f"{DAVIES}.origin", ..., f"{DAVIES}.origin", "is missing; add it"),
    (f"{DAVIES}.origin", "hearsay", f"{DAVIES}.origin", "is 'hearsay', must be"),
    (f"{DAVIES}.supply_voltage_v", ..., f"{DAVIES}.supply_voltage_v", "is missing; add it"),
    (f"{DAVIES}.supply_voltage_v.value", 0.0, f"{DAVIES}.supply_voltage_v.value", "greater than 0"),
    (f"{DAVIES}.supply_voltage_v.unit", "mV", f"{DAVIES}.supply_voltage_v.unit", "must be 'V'"),
]


@pytest.mark.parametrize(("path", "value", "place", "text"), BAD_KEYS)
def test_bad_key_is_named_with_its_path(
    tmp_path: Path, path: str, value: object, place: str, text: str
) -> None:
    (only,) = problems(tmp_path, broken(path, value))
    assert only.startswith(f"{place}: ")
    assert text in only
    assert "Input should" not in only and "pydantic" not in only


def test_a_key_that_is_no_text_is_named(tmp_path: Path) -> None:
    (only,) = problems(tmp_path, shipped() | {1: "x"})
    assert only == "1: is a key, but not text; put it in quotes, or remove it"


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    content = shipped()
    content["typo"] = 1
    content["capacities"]["cores_per_tile"]["value"] = 5
    content["capacities"]["neurons_per_core"] |= {"value": -3, "unit": "pJ", "source": ""}
    content["price_sets"]["davies2018"]["synop_dense"]["unit"] = "nJ"
    del content["neurons"]
    places = {problem.split(": ")[0] for problem in problems(tmp_path, content)}
    assert places == {
        "typo",
        "capacities.tile_rows",
        "capacities.neurons_per_core.value",
        "capacities.neurons_per_core.unit",
        "capacities.neurons_per_core.source",
        "price_sets.davies2018.synop_dense.unit",
        "neurons",
    }


BAD_TEXTS: list[tuple[str, str]] = [
    ("", "top level: holds nothing"),
    ("# only a comment\n", "top level: holds nothing"),
    ("- a\n- b\n", "top level: holds a list"),
    ("loihi", "top level: holds a str"),
    ("name: [1, 2\nx: }", "line 2, column 2: "),
    ("name: a\nname: b\n", "line 2, column 1: key 'name' appears twice"),
    ("name: !!python/object:os.system {}\n", "line 1, column 7: could not determine"),
    ("name: 2024-13-45\n", "not readable as YAML (month must be in 1..12)"),
    ("name: \x07\n", "not readable as YAML"),
    ("[" * 1000, "not readable as YAML"),
    ("? [a, b]\n: 1\n", "found unhashable key"),
]


@pytest.mark.parametrize(("text", "expected"), BAD_TEXTS, ids=range(len(BAD_TEXTS)))
def test_text_that_is_no_target_is_refused_with_its_place(
    tmp_path: Path, text: str, expected: str
) -> None:
    (only,) = problems(tmp_path, text)
    assert expected in only


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "chip.yaml"
    path.write_bytes(b"name: \xff\xfe\xfa\n")
    with pytest.raises(TargetFileError, match="UTF-8"):
        load_target(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TargetFileError, match="no such file or directory.*give the path"):
        load_target(tmp_path / "absent.yaml")


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TargetFileError, match="is a directory"):
        load_target(tmp_path)


@pytest.mark.parametrize("name", ["loihi3", "Loihi1", ""])
def test_an_unknown_name_lists_the_shipped_ones(name: str) -> None:
    with pytest.raises(TargetFileError, match="use one of example-chip, loihi1, .*, or the path"):
        load_target(name)


def delete_key(content: Content, choose: Callable[[int], int]) -> str:
    """Delete one key somewhere below the top and return its path."""
    path, place = [], content
    while True:
        keys = list(place)
        key = keys[choose(len(keys))]
        path.append(key)
        if not isinstance(place[key], dict) or choose(3) == 0:
            del place[key]
            return ".".join(path)
        place = place[key]


@settings(deadline=None)  # the machine may be busy
@given(st.data())
def test_any_missing_key_is_named_by_its_path(data: st.DataObject) -> None:
    content = copy.deepcopy(PARSED)
    path = delete_key(content, lambda n: data.draw(st.integers(0, n - 1)))
    if path in ("price_sets.davies2018", "price_sets.nahuku-fit"):  # either set alone is enough
        Target.model_validate(content)
        return
    with pytest.raises(ValidationError) as caught:
        Target.model_validate(content)
    assert path in {".".join(map(str, detail["loc"])) for detail in caught.value.errors()}


PARSED = shipped()
