"""Each rule of a chip holds up to its edge and no further; all violations come at once."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_targets import (
    LayerFacts,
    Target,
    check_layers,
    load_target,
)
from hardware_targets import rules as design_rules

GOOD = LayerFacts(
    layer="fc1",
    family="cuba",
    kind="dense",
    n_neurons=512,
    has_synapses=True,
    weight_bits=8,
    weight_min=-256,
    weight_max=254,
    weight_exp=0,
    vth_mant=2**17 - 1,
    current_decay=4096,
    voltage_decay=0,
    worst_case_current=2**23,
    axonal_delay=8,
)
Content = dict[str, Any]
RULES: list[tuple[str, Content, Content]] = [  # rule, passes, fails
    ("family_supported", {"family": "cuba"}, {"family": "sigma-delta"}),
    ("weight_bits_supported", {"weight_bits": 0, "has_synapses": False}, {"weight_bits": 0}),
    ("weight_bits_supported", {"weight_bits": 1}, {"weight_bits": 0}),
    ("weight_bits_supported", {"weight_bits": 8}, {"weight_bits": 9}),
    ("weights_in_range", {"weight_min": -256}, {"weight_min": -258}),
    ("weights_in_range", {"weight_max": 254}, {"weight_max": 256}),
    ("weights_in_range", {"weight_max": 254}, {"weight_max": 253}),
    ("weights_in_range", {"weight_min": -2}, {"weight_min": -1}),
    (
        "weights_in_range",
        {"weight_min": 0, "weight_max": 255},
        {"weight_min": 1, "weight_max": 256},
    ),
    (
        "weights_in_range",
        {"weight_min": -255, "weight_max": 0},
        {"weight_min": -256, "weight_max": -1},
    ),
    ("threshold_in_range", {"vth_mant": 131071}, {"vth_mant": 131072}),
    ("threshold_in_range", {"vth_mant": 0}, {"vth_mant": -1}),
    ("decay_in_range", {"current_decay": 4096}, {"current_decay": 4097}),
    ("decay_in_range", {"voltage_decay": 0}, {"voltage_decay": -1}),
    ("delay_in_range", {"axonal_delay": 8}, {"axonal_delay": 9}),
    ("delay_in_range", {"axonal_delay": 0}, {"axonal_delay": -1}),
    ("layer_fits_chip", {"n_neurons": 128 * 1024}, {"n_neurons": 128 * 1024 + 1}),
    ("current_in_range", {"worst_case_current": 2**23}, {"worst_case_current": 2**23 + 1}),
]


@pytest.mark.parametrize(("name", "passes", "fails"), RULES)
def test_rule_holds_up_to_its_edge_and_no_further(
    name: str, passes: Content, fails: Content
) -> None:
    rule, target = getattr(design_rules, name), load_target("loihi1")
    assert rule(dataclasses.replace(GOOD, **passes), target) is None
    violation = rule(dataclasses.replace(GOOD, **fails), target)
    assert (violation.layer, violation.rule) == ("fc1", name)
    assert violation.limit and violation.remedy
    changed = {**dataclasses.asdict(GOOD), **fails}
    assert any(str(changed[key]) in violation.value for key in fails)


def test_every_rule_is_run_and_tested() -> None:
    functions = {
        node.name
        for node in ast.parse(Path(design_rules.__file__).read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name != "check_layers"
    }
    assert {rule.__name__ for rule in design_rules.RULES} == functions
    assert {name for name, _, _ in RULES} == functions


def test_both_bad_decays_are_named_in_one_violation() -> None:
    facts = dataclasses.replace(GOOD, current_decay=5000, voltage_decay=-1)
    (violation,) = check_layers([facts], load_target("loihi2"))
    assert violation.value == "current_decay 5000, voltage_decay -1"
    assert violation.limit == "0..4096"


def test_all_violations_of_all_layers_are_returned_in_order() -> None:
    bad = dataclasses.replace(GOOD, layer="fc2", weight_bits=9, vth_mant=-1, axonal_delay=63)
    worse = dataclasses.replace(GOOD, layer="conv3", kind="conv", n_neurons=10**7)
    found = check_layers([GOOD, bad, worse], load_target("loihi2"))
    assert [(violation.layer, violation.rule) for violation in found] == [
        ("fc2", "weight_bits_supported"),
        ("fc2", "threshold_in_range"),
        ("fc2", "delay_in_range"),
        ("conv3", "layer_fits_chip"),
    ]
    assert str(found[0]).startswith("fc2 · weight_bits_supported · weight_bits 9 · limit 1..8 · ")


def test_a_layer_within_all_limits_has_no_violation() -> None:
    assert check_layers([GOOD], load_target("loihi1")) == []
    assert check_layers([], load_target("loihi1")) == []


def test_a_delay_on_a_chip_of_unknown_limit_is_a_violation() -> None:
    file = Path(design_rules.__file__).with_name("loihi1.yaml")
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    content["neurons"]["max_axonal_delay_steps"] |= {"value": None, "status": "not-found"}
    target = Target.model_validate(content)
    assert check_layers([dataclasses.replace(GOOD, axonal_delay=0)], target) == []
    (violation,) = check_layers([GOOD], target)
    assert (violation.rule, violation.limit) == ("delay_in_range", "not known")


@settings(deadline=None)
@given(low=st.integers(-600, 600), high=st.integers(-600, 600))
def test_accepted_weights_are_exactly_those_lava_stores_unchanged(low: int, high: int) -> None:
    low, high = min(low, high), max(low, high)
    facts = dataclasses.replace(GOOD, weight_min=low, weight_max=high)
    accepted = design_rules.weights_in_range(facts, LOIHI1_TARGET) is None
    mixed = low < 0 < high
    # Lava utils/weightutils.py: clip to the range of the sign mode, then drop the low bit if mixed.
    bottom, top = (-256, 255) if mixed else (-255, 255)
    stored = [min(max(w, bottom), top) for w in (low, high)]
    if mixed:
        stored = [(w >> 1) << 1 for w in stored]
    assert accepted == (stored == [low, high])


LOIHI1_TARGET = load_target("loihi1")
