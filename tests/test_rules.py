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
    fan_in=4096,
    weight_bits=8,
    weight_min=-256,
    weight_max=254,
    vth_mant_min=0,
    vth_mant_max=2**17 - 1,
    fires=True,
    bias_min=-4096,
    bias_max=4095,
    decays={"current_decay": (0, 4096), "voltage_decay": (0, 4096)},
    leak=0.0,
    worst_case_current=2**23,
    worst_case_inhibition=2**23,
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
    ("signs_supported", {"weight_min": -256, "weight_max": -1}, {}),
    ("fan_in_in_range", {"fan_in": 5000}, {}),
    ("input_axons_fit_core", {"fan_in": 4096}, {"fan_in": 4097}),
    ("synapses_fit_core", {"fan_in": 131072}, {"fan_in": 131073}),
    *(("synapses_fit_core", {"fan_in": most, "weight_bits": bits},
       {"fan_in": most + 1, "weight_bits": bits})
      for bits, most in ((6, 174762), (7, 131072), (1, 1048576))),
    ("threshold_in_range", {"vth_mant_max": 131071}, {"vth_mant_max": 131072}),
    ("threshold_in_range", {"vth_mant_min": 0}, {"vth_mant_min": -1}),
    ("decay_in_range", {"decays": {"a": (0, 4096)}}, {"decays": {"a": (0, 4097)}}),
    ("decay_in_range", {"decays": {}}, {"decays": {"a": (-1, 0)}}),
    ("bias_in_range", {"bias_max": 4095}, {"bias_max": 4096}),
    ("bias_in_range", {"bias_min": -4096}, {"bias_min": -4097}),
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
    if not fails:  # Loihi 1 has no such limit: tested on chips that do, below
        return
    violation = rule(dataclasses.replace(GOOD, **fails), target)
    assert (violation.layer, violation.rule) == ("fc1", name)
    assert violation.limit and violation.remedy
    shown = [str(n) for value in fails.values() for n in (
        value["a"] if isinstance(value, dict) else [value])]
    assert any(text in violation.value for text in shown)


def test_every_rule_is_run_and_tested() -> None:
    functions = {
        node.name
        for node in ast.parse(Path(design_rules.__file__).read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
        and node.name != "check_layers" and not node.name.startswith("_")
    }
    assert {rule.__name__ for rule in design_rules.RULES} == functions
    assert {name for name, _, _ in RULES} == functions


def test_both_bad_decays_are_named_in_one_violation() -> None:
    facts = dataclasses.replace(
        GOOD, decays={"current_decay": (0, 5000), "voltage_decay": (-1, 128)})
    (violation,) = check_layers([facts], load_target("loihi2"))
    assert violation.value == "current_decay 5000, voltage_decay -1"
    assert violation.limit == "0..4096"


def test_all_violations_of_all_layers_are_returned_in_order() -> None:
    bad = dataclasses.replace(GOOD, layer="fc2", weight_bits=9, vth_mant_min=-1, axonal_delay=63)
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


def test_signs_are_those_of_the_sign_modes_of_the_chip() -> None:
    chip = load_target("example-chip")  # mixed and excitatory
    small = dataclasses.replace(GOOD, weight_bits=8)

    def broken(low: int, high: int, modes: tuple[str, ...]) -> list[str]:
        synapses = chip.synapses.model_copy(update={"sign_modes": modes})
        target = chip.model_copy(update={"synapses": synapses})
        facts = dataclasses.replace(small, weight_min=low, weight_max=high)
        rules = (design_rules.signs_supported, design_rules.weights_in_range)
        return [rule.__name__ for rule in rules if rule(facts, target)]

    assert broken(-255, -1, ("mixed", "excitatory")) == ["weights_in_range"]  # odd in mixed
    assert broken(-256, -2, ("mixed", "excitatory")) == []
    assert broken(-255, -1, ("mixed", "inhibitory")) == []
    assert broken(1, 255, ("mixed", "inhibitory")) == ["weights_in_range"]
    assert broken(-2, 2, ("excitatory", "inhibitory")) == ["signs_supported"]
    assert broken(-2, -1, ("excitatory",)) == ["signs_supported"]
    assert broken(0, 0, ("inhibitory",)) == []


def test_fan_in_is_held_where_the_chip_limits_it() -> None:
    chip = load_target("example-chip")
    facts = dataclasses.replace(GOOD, kind="conv", fan_in=4096)
    assert design_rules.fan_in_in_range(facts, chip) is None
    violation = design_rules.fan_in_in_range(dataclasses.replace(facts, fan_in=4097), chip)
    assert violation and (violation.limit, "4097" in violation.value) == ("4096", True)


def test_sources_of_a_shared_kernel_are_the_placements_to_judge() -> None:
    facts = dataclasses.replace(GOOD, fan_in=5000)
    assert design_rules.input_axons_fit_core(facts, LOIHI1_TARGET)
    shared = dataclasses.replace(facts, kind="conv")
    assert design_rules.input_axons_fit_core(shared, LOIHI1_TARGET) is None
    assert design_rules.input_axons_fit_core(facts, load_target("loihi2")) is None  # no limit known


@pytest.mark.parametrize(("mantissa", "exponent", "lowest", "highest"), [
    (13, 3, -4096, 4095), (13, 2, -512, 511), (13, 0, -64, 63), (8, 4, -128, 127)])
def test_a_bias_fits_mantissa_and_exponent(
    mantissa: int, exponent: int, lowest: int, highest: int
) -> None:
    neurons = LOIHI1_TARGET.neurons
    target = LOIHI1_TARGET.model_copy(update={"neurons": neurons.model_copy(update={
        "bias_mant_bits": neurons.bias_mant_bits.model_copy(update={"value": mantissa}),
        "bias_exp_bits": neurons.bias_exp_bits.model_copy(update={"value": exponent})})})
    for low, high, is_good in (
        (lowest, highest, True), (lowest - 1, 0, False), (0, highest + 1, False)
    ):
        facts = dataclasses.replace(GOOD, bias_min=low, bias_max=high)
        assert (design_rules.bias_in_range(facts, target) is None) == is_good
        other = dataclasses.replace(facts, family="sigma-delta")
        assert design_rules.bias_in_range(other, target) is None


def test_a_bias_on_a_chip_of_unknown_widths_is_a_violation() -> None:
    neurons = LOIHI1_TARGET.neurons
    unknown = neurons.bias_exp_bits.model_copy(update={"value": None})
    target = LOIHI1_TARGET.model_copy(
        update={"neurons": neurons.model_copy(update={"bias_exp_bits": unknown})})
    violation = design_rules.bias_in_range(GOOD, target)
    assert violation and violation.limit == "not known"
    without = dataclasses.replace(GOOD, bias_min=0, bias_max=0)
    assert design_rules.bias_in_range(without, target) is None


def test_a_layer_may_span_the_chips_that_are_allowed() -> None:
    facts = dataclasses.replace(GOOD, n_neurons=3 * 128 * 1024 - 5)
    (violation,) = check_layers([facts], LOIHI1_TARGET)
    assert violation.rule == "layer_fits_chip" and "allow 3 chips" in violation.remedy
    assert [v.rule for v in check_layers([facts], LOIHI1_TARGET, 2)] == ["layer_fits_chip"]
    assert check_layers([facts], LOIHI1_TARGET, 3) == []


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
