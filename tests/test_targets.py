"""Shipped targets say what their sources say."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

import hardware_targets
from hardware_targets import PriceSet, Quantity, TargetFileError, list_targets, load_target

PACKAGE = Path(hardware_targets.__file__).parent


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


def test_shipped_targets_are_the_promised_ones() -> None:
    assert list_targets() == [
        "example-chip", "loihi1", "loihi2", "loihi2-compiler", "loihi2-priced-as-loihi1"]


@pytest.mark.parametrize("name", list_targets())
def test_shipped_target_loads_under_its_own_name(name: str) -> None:
    assert load_target(name).name == name
    assert load_target(PACKAGE / f"{name}.yaml") == load_target(name)


KEYS = (
    "D18", "F20", "Dey22", "B25", "SANAFE", "NL", "NxTF", "S2L", "LAVA", "L2brief", "T26", "LDL")


@pytest.mark.parametrize("name", ["loihi1", "loihi2", "loihi2-compiler"])
def test_source_keys_are_expanded_in_the_header(name: str) -> None:
    header = (PACKAGE / f"{name}.yaml").read_text(encoding="utf-8").split("\nname:")[0]
    base = load_target(name).base
    if base:
        header += (PACKAGE / f"{base}.yaml").read_text(encoding="utf-8").split("\nname:")[0]
    for path, quantity in quantities(load_target(name)).items():
        assert quantity.source.strip(), path
        if quantity.value is not None:
            assert any(k in quantity.source and k in header for k in KEYS), (path, quantity.source)


def test_no_price_of_the_guess_is_called_anything_but_assumed_and_inherited() -> None:
    target = load_target("loihi2-priced-as-loihi1")
    assert "GUESS" in target.description and target.base == "loihi2"
    assert set(target.price_sets) == {"davies2018-of-loihi1", "nahuku-fit-of-loihi1"}
    own = quantities(load_target("loihi1"))
    for path, quantity in quantities(target).items():
        if not path.startswith("price_sets."):
            assert quantity == quantities(load_target("loihi2"))[path]
            continue
        assert quantity.value == own[path.replace("-of-loihi1.", ".")].value, path
        assert quantity.status == ("not-found" if quantity.value is None else "assumed")
        assert "not published for Loihi 2" in quantity.source
        assert quantity.value is None or "inherited from Loihi 1" in quantity.source
    assert all(p.status == "assumed" and p.origin == "other-chip"
               for p in target.price_sets.values())


def test_the_example_chip_says_that_it_is_invented_everywhere() -> None:
    target = load_target("example-chip")
    assert "INVENTED" in target.description
    assert {q.status for q in quantities(target).values()} == {"assumed", "not-found"}
    assert all("invented" in q.source for q in quantities(target).values() if q.value is not None)
    assert [p.origin for p in target.price_sets.values()] == ["invented"]


def test_every_price_set_says_whether_it_was_simulated_or_measured() -> None:
    sets = load_target("loihi1").price_sets
    assert {name: prices.origin for name, prices in sets.items()} == {
        "davies2018": "simulation", "nahuku-fit": "silicon"}
    assert load_target("loihi2").price_sets["none-published"].origin == "none"


@pytest.mark.parametrize(("tiles", "makers", "fit"), [
    (1, 113.0, 600.0), (2, 113 + 352 / 31, 1000.0), (3, 113 + 2 * 352 / 31, 1000.0),
    (4, 113 + 3 * 352 / 31, 1400.0), (28, 113 + 27 * 352 / 31, 1400.0),
    (29, 113 + 28 * 352 / 31, 1800.0), (32, 465.0, 1800.0), (0, 113.0, 600.0), (64, 465.0, 1800.0),
])
def test_the_barrier_follows_its_stated_rule_between_the_points(
    tiles: int, makers: float, fit: float
) -> None:
    sets = load_target("loihi1").price_sets
    assert sets["davies2018"].times.barrier.at(tiles) == pytest.approx(makers)
    assert sets["nahuku-fit"].times.barrier.at(tiles) == fit
    assert load_target("loihi2").price_sets["none-published"].times.barrier.at(tiles) is None


def test_chip_level_numbers_agree_with_the_board_they_come_from() -> None:
    system = load_target("loihi1").system
    assert system.static_chip_mw.value == pytest.approx(3340 / 32, abs=0.05)
    assert system.x86_chip_mw.value is not None
    assert 2090 / 32 - 0.5 <= system.x86_chip_mw.value <= 2140 / 32
    assert system.reset_chip_uj.value == pytest.approx(190 / 32, abs=0.01)


def test_static_power_bounds_the_measured_board_divided_by_its_cores() -> None:
    static = load_target("loihi1").price_sets["davies2018"].static_core_mw.value
    assert static is not None and 0 <= static - 3340 / 32 / 128 < 1e-3  # an upper bound, rounded up


def test_formats_are_those_whose_encoding_is_known() -> None:
    assert load_target("loihi1").synapses.formats == ("dense", "run-length", "sparse")
    assert load_target("loihi2").synapses.formats == ("dense",)
    assert load_target("loihi2").synapses.shares_conv_kernels is True


def test_unpriced_events_come_with_the_reason() -> None:
    sets = load_target("loihi1").price_sets
    assert set(sets["davies2018"].unpriced()) == {"spike", "message", "barrier_step"}
    assert set(sets["nahuku-fit"].unpriced()) == {"barrier_step", "synop_run_length"}
    assert set(sets["davies2018"].times.unknown()) == {"spike", "message_out", "message_in"}
    assert set(sets["nahuku-fit"].times.unknown()) == {"synop_run_length"}
    unpriced = load_target("loihi2").price_sets["none-published"].unpriced()
    assert set(unpriced) == {*PriceSet.energies(), "static_core_mw"}
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
