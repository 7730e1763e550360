"""Shipped targets say what their sources say, and the README explains all that they say."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

import hardware_targets
from hardware_targets import Quantity, Target, TargetFileError, list_targets, load_target
from hardware_targets.schema import Capacities, Neurons, PriceSet, Synapses

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
    expected: dict[str, Any] = dict(LOIHI1)
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
