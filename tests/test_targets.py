"""Target files say what their sources say, bad ones are refused whole, rules hold at the edge."""

from __future__ import annotations

import ast
import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

import hardware_targets
from hardware_targets import (
    Quantity,
    Target,
    TargetFileError,
    list_targets,
    load_target,
)
from hardware_targets.schema import Capacities, Neurons, PriceSet, Synapses

PACKAGE = Path(hardware_targets.__file__).parent
Content = dict[str, Any]

# ---------------------------------------------------------------- shipped targets


def quantities(model: BaseModel, path: str = "") -> dict[str, Quantity]:
    """Return every quantity of a target by key path."""
    found: dict[str, Quantity] = {}
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, Quantity):
            found[path + name] = value
        elif isinstance(value, BaseModel):
            found |= quantities(value, f"{path}{name}.")
        elif isinstance(value, dict):
            for key, item in value.items():
                found |= quantities(item, f"{path}{name}.{key}.")
    return found


def test_shipped_targets_are_the_two_loihis() -> None:
    assert list_targets() == ["loihi1", "loihi2"]


@pytest.mark.parametrize("name", list_targets())
def test_shipped_target_loads_under_its_own_name(name: str) -> None:
    assert load_target(name).name == name
    assert load_target(PACKAGE / f"{name}.yaml") == load_target(name)


@pytest.mark.parametrize("name", list_targets())
def test_source_keys_are_expanded_in_the_header(name: str) -> None:
    text = (PACKAGE / f"{name}.yaml").read_text(encoding="utf-8")
    header = text.split("\nname:")[0]
    for path, quantity in quantities(load_target(name)).items():
        assert quantity.source.strip(), path
        if quantity.value is not None:
            key = quantity.source.replace("'", " ").replace(":", " ").replace(",", " ").split()[0]
            known = [k for k in ("D18", "F20", "Dey22", "B25", "SANAFE", "NL", "NxTF", "LAVA")]
            known += ["L2brief", "T26", "LDL"]
            assert any(k in quantity.source and k in header for k in known), (path, key)


# Values of Loihi 1 with the place they are published; independent of the YAML on purpose.
LOIHI1 = {
    "capacities.cores_per_chip": 128,  # Davies 2018 p.86
    "capacities.cores_per_tile": 4,  # 128 / 32 tiles
    "capacities.tile_columns": 8,
    "capacities.tile_rows": 4,
    "capacities.neurons_per_core": 1024,  # Davies 2018 p.86, p.89
    "capacities.synapse_memory_bits_per_core": 128 * 1024 * 8,  # Davies 2018 p.89: 128 KB
    "capacities.memory_word_bits": 64,
    "capacities.input_axons_per_core": 4096,
    "capacities.output_axons_per_core": 4096,
    "synapses.weight_bits": (1, 2, 3, 4, 5, 6, 8),  # nengo-loihi block.py L428
    "synapses.entry_prefix_bits": 10,  # NxTF data_structures.py L1094-1113
    "synapses.max_synapses_per_entry": 60,  # NxTF optimization.py L48-58
    "synapses.index_bits": (6, 7, 8, 9, 10),  # NxTF synapse_compression.py L94-106
    "neurons.threshold_mant_bits": 17,  # Dey 2022
    "neurons.decay_bits": 12,
    "neurons.state_bits": 24,
    "neurons.max_axonal_delay_steps": 8,  # Davies 2018 p.92
}
DAVIES2018 = {  # Davies 2018, Table 2, p.96, at 0.75 V
    "synop_dense": 23.6,
    "synop_sparse": 23.6,
    "synop_conv": 23.6,
    "neuron_update_active": 81.0,
    "neuron_update_idle": 52.0,
    "spike": None,
    "message": None,
    "within_tile_spike": 1.7,
    "hop_east_west": 3.0,
    "hop_north_south": 4.0,
    "barrier_step": None,
    "static_core_mw": 0.816,  # Frady 2020 Table 1: 3.34 W / 32 chips / 128 cores
}
NAHUKU_FIT = {  # SANA-FE arch/loihi.yaml, commit 8951ab0
    "synop_dense": 35.5,
    "synop_sparse": 33.6,
    "synop_conv": 24.0,
    "neuron_update_active": 51.2 + 21.6,
    "neuron_update_idle": 51.2,
    "spike": 69.3,
    "message": 111.0,
    "within_tile_spike": 0.0,
    "hop_east_west": 3.0,
    "hop_north_south": 4.2,
    "barrier_step": None,
    "static_core_mw": 0.816,
}
LOIHI2 = {
    "capacities.cores_per_chip": 128,  # Loihi 2 brief
    "capacities.cores_per_tile": 4,  # Timcheck 2026
    "capacities.tile_columns": 8,
    "capacities.tile_rows": 4,
    "capacities.neurons_per_core": 8192,  # Loihi 2 brief
    "capacities.synapse_memory_bits_per_core": 128 * 1024 * 8,
    "capacities.memory_word_bits": 32,  # derived from the log of Intel's compiler
    "capacities.input_axons_per_core": None,
    "capacities.output_axons_per_core": None,
    "synapses.weight_bits": (1, 2, 3, 4, 5, 6, 7, 8),  # Timcheck 2026 Sec. III
    "synapses.entry_prefix_bits": None,
    "synapses.max_synapses_per_entry": None,
    "synapses.index_bits": None,
    "neurons.threshold_mant_bits": 17,  # Lava proc/lif/models.py
    "neurons.decay_bits": 12,
    "neurons.state_bits": 24,
    "neurons.max_axonal_delay_steps": 62,  # lava-dl netx/hdf5.py L425-430
}


def test_loihi1_numbers_are_the_published_ones() -> None:
    expected: Content = dict(LOIHI1)
    for name, prices in (("davies2018", DAVIES2018), ("nahuku-fit", NAHUKU_FIT)):
        expected |= {f"price_sets.{name}.{key}": value for key, value in prices.items()}
    found = {path: quantity.value for path, quantity in quantities(load_target("loihi1")).items()}
    assert found == pytest.approx(expected)


def test_loihi2_numbers_are_the_published_ones_and_no_price_is() -> None:
    target = load_target("loihi2")
    found = {path: quantity.value for path, quantity in quantities(target).items()}
    assert found == LOIHI2 | {f"price_sets.none-published.{key}": None for key in DAVIES2018}


def test_static_power_bounds_the_measured_board_divided_by_its_cores() -> None:
    static = load_target("loihi1").price_sets["davies2018"].static_core_mw.value
    assert static is not None and 0 <= static - 3340 / 32 / 128 < 1e-3  # an upper bound, rounded up


def test_formats_are_those_whose_encoding_is_known() -> None:
    assert load_target("loihi1").synapses.formats == ("dense", "sparse")
    assert load_target("loihi2").synapses.formats == ("dense",)
    assert load_target("loihi2").synapses.shares_conv_kernels is True


def test_unpriced_events_come_with_the_reason() -> None:
    sets = load_target("loihi1").price_sets
    assert set(sets["davies2018"].unpriced()) == {"spike", "message", "barrier_step"}
    assert set(sets["nahuku-fit"].unpriced()) == {"barrier_step"}
    unpriced = load_target("loihi2").price_sets["none-published"].unpriced()
    assert set(unpriced) == set(DAVIES2018)
    assert all("public" in reason for reason in unpriced.values())


@pytest.mark.parametrize(("declared", "stored"), [(1, 1), (6, 6), (7, 8), (8, 8)])
def test_loihi1_stores_seven_bits_as_eight(declared: int, stored: int) -> None:
    assert load_target("loihi1").synapses.stored_weight_bits(declared) == stored


def test_no_width_holds_nine_bits() -> None:
    with pytest.raises(ValueError, match="weight_bits 9 exceeds 8"):
        load_target("loihi1").synapses.stored_weight_bits(9)


def test_a_target_cannot_be_changed() -> None:
    target = load_target("loihi1")
    with pytest.raises(ValidationError):
        target.capacities.neurons_per_core.value = 1


def test_targets_and_their_errors_survive_pickling() -> None:
    target = load_target("loihi1")
    assert pickle.loads(pickle.dumps(target)) == target
    error = TargetFileError("chip.yaml", ("a: wrong; mend", "b: wrong; mend"))
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


# ---------------------------------------------------------------- bad target files


def shipped(name: str = "loihi1") -> Content:
    """Return a fresh copy of a shipped target as plain data."""
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
SYNOP = "price_sets.davies2018.synop_dense"
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
    (f"{NEURONS}.status", "rumored", f"{NEURONS}.status", "is 'rumored', must be"),
    (f"{NEURONS}.status", "not-found", f"{NEURONS}.status", "but value is 1024"),
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
    ("synapses.formats", ["csr"], "synapses.formats.0", "is 'csr', must be 'dense' or 'sparse'"),
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


def test_sparse_format_needs_index_widths(tmp_path: Path) -> None:
    missing = {"value": None, "unit": "bits", "status": "not-found", "source": "not public"}
    (only,) = problems(tmp_path, broken("synapses.index_bits", missing))
    assert only.startswith("synapses.formats: has 'sparse', but index_bits is null")


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
    with pytest.raises(TargetFileError, match="use one of loihi1, loihi2, or the path"):
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


# ---------------------------------------------------------------- the package


def test_hardware_targets_imports_nothing_from_the_pipeline() -> None:
    for path in PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
                assert node.level == 0, path
            else:
                continue
            assert not [n for n in names if n.split(".")[0] in ("pipeline", "models")], path


def test_importing_hardware_targets_loads_nothing_heavy() -> None:
    script = "import sys, hardware_targets; print(*sys.modules)"
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, cwd=PACKAGE.parent, capture_output=True, text=True, check=True, timeout=60
    )
    heavy = {"torch", "lava", "numpy", "h5py", "numba", "pipeline"}
    assert not heavy & set(done.stdout.split())


def test_public_names_are_the_promised_ones() -> None:
    assert sorted(hardware_targets.__all__) == [
        "LayerFacts",
        "PriceSet",
        "Quantity",
        "Target",
        "TargetFileError",
        "Violation",
        "check_layers",
        "list_targets",
        "load_target",
    ]
    assert all(hasattr(hardware_targets, name) for name in hardware_targets.__all__)


@pytest.mark.parametrize("section", [Target, Capacities, Synapses, Neurons, PriceSet])
def test_readme_explains_every_field_with_its_unit(section: type[BaseModel]) -> None:
    rows = (PACKAGE / "README.md").read_text(encoding="utf-8").splitlines()
    known = quantities(load_target("loihi1"))
    units = {path.split(".")[-1]: quantity.unit for path, quantity in known.items()}
    for field in section.model_fields:
        row = [r for r in rows if r.startswith("|") and f"`{field}`" in r.split("|")[1]]
        assert row, field
        assert field not in units or row[0].split("|")[2].strip() == units[field], field


def test_readme_explains_every_status() -> None:
    text = (PACKAGE / "README.md").read_text(encoding="utf-8")
    targets = (load_target(name) for name in list_targets())
    used = {quantity.status for target in targets for quantity in quantities(target).values()}
    assert used and all(f"| `{status}` |" in text for status in used)
