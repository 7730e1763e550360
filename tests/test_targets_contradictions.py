"""Numbers of a target that contradict each other are refused with both values and a remedy."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import hardware_targets
from hardware_targets import Target, TargetFileError, load_target

Content = dict[str, Any]
LOIHI1: Content = yaml.safe_load(
    (Path(hardware_targets.__file__).parent / "loihi1.yaml").read_text(encoding="utf-8"))
NOT_FOUND = {"value": None, "status": "not-found"}
DAVIES = "price_sets.davies2018"


def changed(**values: object) -> Content:
    """Return loihi1 with the keys given as dotted paths set; mappings are merged in."""
    content = copy.deepcopy(LOIHI1)
    for path, value in values.items():
        *parents, last = path.split(".")
        place = content
        for key in parents:
            place = place[key]
        place[last] = {**place[last], **value} if isinstance(value, dict) else value
    return content


def problems(tmp_path: Path, content: Content) -> tuple[str, ...]:
    path = tmp_path / "chip.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(TargetFileError) as caught:
        load_target(path)
    return caught.value.problems


CONTRADICTIONS: list[tuple[dict[str, object], str, tuple[str, ...]]] = [
    ({"capacities.cores_per_chip.value": 127}, "capacities.tile_rows",
     ("4 x 8 x 4 = 128", "cores_per_chip is 127")),
    ({"capacities.memory_word_bits.value": 60}, "capacities.memory_word_bits", ("60", "1048576")),
    ({"capacities.total_memory_bits_per_core.value": 1048575},
     "capacities.total_memory_bits_per_core", ("1048575", "1048576")),
    ({"capacities.words_per_axon.value": 16385}, "capacities.words_per_axon",
     ("16385 of 64 bits = 1048640", "1048576")),
    ({"synapses.index_bits": NOT_FOUND}, "synapses.formats", ("'sparse'", "index_bits is null")),
    ({"synapses.skip_bits": NOT_FOUND}, "synapses.formats", ("'run-length'", "skip_bits is null")),
    ({"synapses.formats": ["dense", "dense"]}, "synapses.formats", ("list each once",)),
    ({"synapses.sign_modes": ["mixed", "mixed"]}, "synapses.sign_modes", ("list each once",)),
    ({"capacities.neurons_per_core.value": 1025}, "synapses.index_bits", ("2^10 = 1024", "1025")),
    ({"neurons.max_axonal_delay_steps.value": 65}, "neurons.max_axonal_delay_steps",
     ("65", "holds at most 64")),
    ({"neurons.state_bits.value": 23}, "neurons.state_bits.value", ("23", "17 x 2^6", "24")),
    ({f"{DAVIES}.neuron_update_idle.value": 81.5}, f"{DAVIES}.neuron_update_idle.value",
     ("81.5 pJ", "81.0")),
    ({f"{DAVIES}.times.neuron_update_idle.value": 8.5},
     f"{DAVIES}.times.neuron_update_idle.value", ("8.5 ns", "8.4")),
    ({f"{DAVIES}.times.barrier.value": [[1, 113], [33, 465]]}, f"{DAVIES}.times.barrier",
     ("33 tiles", "32")),
    ({f"{DAVIES}.origin": "none"}, f"{DAVIES}.origin", ("'none'", "'published-simulated'")),
]


@pytest.mark.parametrize(("values", "place", "texts"), CONTRADICTIONS, ids=lambda v: str(v)[:60])
def test_a_contradiction_is_named_once_with_both_values(
    tmp_path: Path, values: dict[str, object], place: str, texts: tuple[str, ...]
) -> None:
    (only,) = problems(tmp_path, changed(**values))
    assert only.startswith(f"{place}: ") and "; " in only
    assert [text for text in texts if text not in only] == []


EDGES: list[dict[str, object]] = [
    {"capacities.total_memory_bits_per_core.value": 1048576},
    {"capacities.words_per_axon.value": 16384},
    {"capacities.neurons_per_core.value": 1024},
    {"neurons.max_axonal_delay_steps.value": 64},
    {f"{DAVIES}.neuron_update_idle.value": 81.0},
    {f"{DAVIES}.times.barrier.value": [[1, 113], [32, 465]]},
    {"synapses.index_bits": NOT_FOUND, "synapses.formats": ["dense", "run-length"]},
    {"synapses.skip_bits": NOT_FOUND, "synapses.formats": ["dense", "sparse"]},
    {"synapses.delay_bits": NOT_FOUND, "neurons.max_axonal_delay_steps.value": 500},
]


@pytest.mark.parametrize("values", EDGES, ids=str)
def test_numbers_at_the_edge_do_not_contradict_each_other(values: dict[str, object]) -> None:
    Target.model_validate(changed(**values))


def test_a_set_called_not_found_has_no_price_and_any_other_has_one(tmp_path: Path) -> None:
    content = changed(**{f"{DAVIES}.status": "not-found", f"{DAVIES}.origin": "none"})
    (only,) = problems(tmp_path, content)
    assert only.startswith(f"{DAVIES}.status: is 'not-found', but synop_dense has a price; ")
    content = copy.deepcopy(LOIHI1)
    prices = content["price_sets"]["davies2018"]
    for name in hardware_targets.PriceSet.energies():
        prices[name] = {**prices[name], **NOT_FOUND}
    (only,) = problems(tmp_path, content)
    assert only.startswith(f"{DAVIES}.status: is 'published-simulated', but no event has a price")
    prices |= {"status": "not-found", "origin": "none"}
    Target.model_validate(content)


def test_all_contradictions_of_a_file_come_at_once(tmp_path: Path) -> None:
    single = [(values, place) for values, place, _ in CONTRADICTIONS if place in (
        "capacities.total_memory_bits_per_core", "capacities.memory_word_bits",
        "neurons.state_bits.value", f"{DAVIES}.neuron_update_idle.value",
        f"{DAVIES}.times.neuron_update_idle.value")]
    content = changed(**{key: value for values, _ in single for key, value in values.items()})
    places = [text.split(": ")[0] for text in problems(tmp_path, content)]
    assert sorted(places) == sorted(place for _, place in single) and len(places) == 5


def numbers(content: Content, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in content.items():
        if isinstance(value, dict):
            yield from [(*path, key)] if "value" in value else numbers(value, (*path, key))


PATHS = sorted(numbers(LOIHI1))


@given(st.sampled_from(PATHS), st.sampled_from(["unit", "status", "source"]), st.booleans())
def test_no_number_passes_without_unit_status_and_source(
    path: tuple[str, ...], key: str, is_emptied: bool
) -> None:
    content = copy.deepcopy(LOIHI1)
    number = content
    for name in path:
        number = number[name]
    if is_emptied:
        number[key] = ""
    else:
        del number[key]
    with pytest.raises(ValidationError) as caught:
        Target.model_validate(content)
    found = {tuple(map(str, detail["loc"])) for detail in caught.value.errors()}
    assert (*path, key) in found


@given(st.sampled_from(PATHS), st.one_of(
    st.integers(max_value=-1), st.floats(max_value=-1e-9, allow_nan=False, allow_infinity=False)))
def test_no_number_is_negative(path: tuple[str, ...], value: float) -> None:
    content = copy.deepcopy(LOIHI1)
    number = content
    for name in path:
        number = number[name]
    number |= {"value": value, "status": "assumed"}
    with pytest.raises(ValidationError) as caught:
        Target.model_validate(content)
    assert any(tuple(map(str, detail["loc"]))[:len(path)] == path
               for detail in caught.value.errors())
