"""A target that builds on another changes only what it says, whole numbers at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hardware_targets import TargetFileError, load_target
from hardware_targets.loading import _over

OWN = {"name": "mine", "description": "mine, for a test", "base": "loihi2"}
NEURONS = {"value": 77, "unit": "neurons", "status": "assumed", "source": "mine"}


def write(folder: Path, name: str = "mine", **content: Any) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({**OWN, "name": name, **content}), encoding="utf-8")
    return path


def problems(path: Path) -> tuple[str, ...]:
    with pytest.raises(TargetFileError) as caught:
        load_target(path)
    assert caught.value.path == str(path)
    return caught.value.problems


def test_a_target_without_changes_is_its_base_under_another_name(tmp_path: Path) -> None:
    target, base = load_target(write(tmp_path)), load_target("loihi2")
    assert target.model_dump() == base.model_dump() | OWN


def test_only_the_given_number_changes(tmp_path: Path) -> None:
    target = load_target(write(tmp_path, capacities={"neurons_per_core": NEURONS}))
    base = load_target("loihi2")
    assert target.capacities.neurons_per_core.model_dump() == NEURONS
    assert target.capacities.model_dump(exclude={"neurons_per_core"}) == (
        base.capacities.model_dump(exclude={"neurons_per_core"}))
    assert (target.synapses, target.price_sets) == (base.synapses, base.price_sets)


def test_bases_stack_to_any_depth_and_the_nearest_wins(tmp_path: Path) -> None:
    write(tmp_path, "t0", capacities={"neurons_per_core": NEURONS})
    for i in range(1, 60):
        write(tmp_path, f"t{i}", base=f"t{i - 1}.yaml")
    write(tmp_path, "last", base="t59.yaml", synapses={
        "formats": ["dense"], "shares_conv_kernels": False, "formats_source": "mine"})
    target = load_target(tmp_path / "last.yaml")
    assert target.capacities.neurons_per_core.value == 77
    assert target.synapses.shares_conv_kernels is False and target.base == "t59.yaml"
    write(tmp_path, "over", base="last.yaml", capacities={
        "neurons_per_core": {**NEURONS, "value": 78}})
    assert load_target(tmp_path / "over.yaml").capacities.neurons_per_core.value == 78


def test_a_base_is_looked_for_beside_the_file_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    write(tmp_path, "ground", capacities={"neurons_per_core": NEURONS})
    write(tmp_path / "deep", "middle", base="../ground.yaml")
    path = write(tmp_path, "top", base="deep/middle.yaml")
    assert load_target(path).capacities.neurons_per_core.value == 77
    absolute = write(tmp_path, "far", base=str(tmp_path / "ground.yaml"))
    assert load_target(absolute).capacities.neurons_per_core.value == 77


def test_a_new_value_never_stands_beside_the_source_of_the_base(tmp_path: Path) -> None:
    found = problems(write(tmp_path, capacities={"neurons_per_core": {"value": 77}}))
    assert [text.split(": ")[0] for text in found] == [
        f"capacities.neurons_per_core.{key}" for key in ("unit", "status", "source")]
    (only,) = problems(write(tmp_path, synapses={"shares_conv_kernels": False}))
    assert only.startswith(
        "synapses.shares_conv_kernels: is changed to False, but keeps the source")
    assert "give formats_source too" in only


def test_name_and_description_are_never_the_bases(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("base: loihi2\n")
    assert problems(path) == tuple(
        f"{key}: is missing; add it as in the table of hardware_targets/README.md"
        for key in ("name", "description"))


@pytest.mark.parametrize("inside", ["&x {a: *x}", "{a: " * 50 + "1" + "}" * 50])
def test_a_nest_without_end_is_refused(tmp_path: Path, inside: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"name: mine\ndescription: mine\nbase: loihi1\ncapacities: {inside}\n")
    (only,) = problems(path)
    assert only.startswith("top level: is nested more than 8 levels deep; ")


def test_parts_of_the_base_can_be_left_out(tmp_path: Path) -> None:
    sets = yaml.safe_load((Path(__file__).parent.parent / "hardware_targets" / "example-chip.yaml"
                           ).read_text())["price_sets"]
    path = write(tmp_path, without=["price_sets.none-published"], price_sets=sets)
    assert list(load_target(path).price_sets) == ["invented"]
    (only,) = problems(write(tmp_path, without=["price_sets"]))
    assert only.startswith("price_sets: is missing")


@pytest.mark.parametrize(("without", "text"), [
    (["price_sets.nobody"], "without: the base loihi2 has no price_sets.nobody; correct it"),
    (["name.x"], "without: the base loihi2 has no name.x; correct it"),
    ("price_sets", "without: is 'price_sets'; make it a list of key paths"),
    ([1], "without: is [1]; make it a list of key paths"),
])
def test_what_cannot_be_left_out_is_refused(tmp_path: Path, without: object, text: str) -> None:
    assert problems(write(tmp_path, without=without)) == (text,)


def test_without_needs_a_base(tmp_path: Path) -> None:
    path = tmp_path / "chip.yaml"
    text = (Path(__file__).parent.parent / "hardware_targets" / "loihi1.yaml").read_text()
    path.write_text(text + "\nwithout: [price_sets.davies2018]\n")
    assert problems(path) == ("without: needs a base to leave something out of; remove it",)


@pytest.mark.parametrize("n_files", [1, 2, 5])
def test_a_chain_that_returns_to_itself_is_refused(tmp_path: Path, n_files: int) -> None:
    for i in range(n_files):
        write(tmp_path, f"t{i}", base=f"t{(i + 1) % n_files}.yaml")
    (only,) = problems(tmp_path / "t0.yaml")
    assert "builds on itself: t0.yaml -> " in only and only.endswith(
        "t0.yaml; take the base out of one of them")


def test_a_link_to_the_file_itself_is_a_chain_that_returns(tmp_path: Path) -> None:
    path = write(tmp_path, base="link.yaml")
    (tmp_path / "link.yaml").symlink_to(path)
    assert "builds on itself" in problems(path)[0]


@pytest.mark.parametrize(("base", "texts"), [
    ("loihi3", ("base: 'loihi3': no target of this name; use one of", "loihi2")),
    ("gone.yaml", ("base: 'gone.yaml': cannot be read (no such file", "give the path")),
    ("", ("base: is ''; give the name of a shipped target",)),
    (3, ("base: is 3; give the name of a shipped target",)),
    (None, ("base: is None; give the name",)),
    (["loihi1", "loihi2"], ("base: is ['loihi1', 'loihi2']; give the name",)),
])
def test_a_base_that_is_not_there_is_refused(
    tmp_path: Path, base: object, texts: tuple[str, ...]
) -> None:
    (only,) = problems(write(tmp_path, base=base))
    assert [text for text in texts if text not in only] == []


def test_a_mistake_below_names_the_file_it_is_in(tmp_path: Path) -> None:
    write(tmp_path, "low", base="loihi3")
    (only,) = problems(write(tmp_path, "high", base="low.yaml"))
    assert only.startswith("base (in low.yaml): 'loihi3': no target of this name")
    write(tmp_path, "low", capacities={"neurons_per_core": {**NEURONS, "value": -1}}, typo=1)
    found = problems(write(tmp_path, "high", base="low.yaml", xyzzy=2))
    number = "capacities.neurons_per_core.value"
    assert sorted(found) == sorted([
        f"{number}: is -1, must be greater than 0; correct it (in low.yaml)",
        "typo: unknown key; remove it (in low.yaml)", "xyzzy: unknown key; remove it"])


def test_a_source_left_out_above_is_not_missing_in_the_base(tmp_path: Path) -> None:
    number = {key: NEURONS[key] for key in ("value", "unit", "status")}
    (only,) = problems(write(tmp_path, capacities={"neurons_per_core": number}))
    assert only.startswith("capacities.neurons_per_core.source: is missing")
    assert "loihi2.yaml" not in only


def test_problems_of_base_and_file_come_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, without=["price_sets.nobody"], typo=1,
                 capacities={"neurons_per_core": {**NEURONS, "source": ""}})
    assert len(problems(path)) == 3


LEAVES = st.one_of(st.integers(), st.text(max_size=3), st.lists(st.integers(), max_size=2))
KEYS = st.sampled_from("abcd")
TREES = st.recursive(
    st.dictionaries(KEYS, LEAVES, max_size=3),
    lambda inner: st.dictionaries(KEYS, st.one_of(LEAVES, inner), max_size=3), max_leaves=8)


@given(TREES, TREES)
def test_what_a_file_says_is_what_the_merge_has(base: dict[str, Any], own: dict[str, Any]) -> None:
    merged = _over(base, own)
    assert _over(base, {}) == base and _over({}, own) == own and _over(own, own) == own
    assert _over(merged, own) == merged
    assert merged.keys() == base.keys() | own.keys()
    for key, value in own.items():
        if not (isinstance(value, dict) and isinstance(base.get(key), dict)):
            assert merged[key] == value
