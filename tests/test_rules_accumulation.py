"""Bounds on what adds up over several steps hold for every input, and are reached by some."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_rules import GOOD

from hardware_targets import check_accumulation, load_target
from hardware_targets.accumulation import (
    ACCUMULATION_RULES,
    accumulated_current_in_range,
    accumulated_voltage_in_range,
)
from pipeline.emulate import emulate
from pipeline.mapping.layer_facts import facts_of
from pipeline.network import INPUT, Layer, Network, Synapse
from pipeline.neuron import CubaNeuron, ResonatorNeuron, SigmaDeltaNeuron

LOIHI1 = load_target("loihi1")
RANGE = 2**23
QUIET = dataclasses.replace(
    GOOD, leak=1024.0, decays={"current_decay": (1024, 1024), "voltage_decay": (128, 128)},
    bias_min=0, bias_max=0, worst_case_current=2**21, worst_case_inhibition=2**16)


def test_bounds_hold_up_to_the_width_and_no_further() -> None:
    assert check_accumulation([QUIET], LOIHI1) == []
    for change, rule in (
        ({"worst_case_current": 2**21 + 1}, "accumulated_current_in_range"),
        ({"leak": 1023.0, "worst_case_inhibition": 0}, "accumulated_current_in_range"),
        ({"worst_case_inhibition": 2**16 + 1}, "accumulated_voltage_in_range"),
        ({"bias_min": -1}, "accumulated_voltage_in_range"),
        ({"fires": False}, "accumulated_voltage_in_range"),
    ):
        (caution,) = check_accumulation([dataclasses.replace(QUIET, **change)], LOIHI1)
        assert (caution.rule, caution.limit) == (rule, f"{RANGE:,}") and caution.remedy
    # what a spike sets back does not add up
    assert check_accumulation([dataclasses.replace(QUIET, bias_max=4095)], LOIHI1) == []


@pytest.mark.parametrize("change", [
    {"leak": 0.0}, {"family": "sigma-delta", "leak": 0.0, "decays": {}},
    {"decays": {"current_decay": (1024, 1024), "voltage_decay": (0, 128)}},
])
def test_nothing_is_said_where_no_bound_is_finite(change: dict[str, object]) -> None:
    facts = dataclasses.replace(
        QUIET, worst_case_inhibition=2**23, **change)  # type: ignore[arg-type]
    found = {caution.rule for caution in check_accumulation([facts], LOIHI1)}
    assert "accumulated_voltage_in_range" not in found


def test_all_cautions_of_all_layers_come_at_once() -> None:
    bad = dataclasses.replace(QUIET, layer="fc2", worst_case_current=2**23, bias_min=-9)
    found = check_accumulation([QUIET, bad, bad], LOIHI1)
    assert [(c.layer, c.rule) for c in found] == 2 * [
        ("fc2", rule.__name__) for rule in ACCUMULATION_RULES]


def one_layer(neuron: CubaNeuron | ResonatorNeuron | SigmaDeltaNeuron, *rows: list[int]) -> Layer:
    weight = np.array(rows, dtype=np.int32)
    return Layer("a", (Synapse("a", INPUT, weight, None, 8),), neuron, (len(rows),))


weights = st.lists(
    st.lists(st.integers(-128, 127).map(lambda w: 2 * w), min_size=3, max_size=3),
    min_size=2, max_size=2)


@given(weights, st.integers(64, 4096), st.integers(64, 4096), st.integers(0, 2**32 - 1),
       st.booleans(), st.integers(-40, 40))
def test_no_run_of_the_emulator_leaves_the_bounds(
    rows: list[list[int]], current_decay: int, voltage_decay: int, seed: int, fires: bool, bias: int
) -> None:
    neuron = CubaNeuron(
        current_decay, voltage_decay, 60 if fires else 2**18 - 1, bias=(bias,) * len(rows))
    layer = one_layer(neuron, *rows)
    network = Network("n", (3,), 60, (layer,))
    rng = np.random.default_rng(seed)
    spikes = np.stack([
        np.ones((3, 60), dtype=np.uint8), np.repeat(rng.random((3, 1)) < 0.5, 60, 1),
        rng.random((3, 60)) < 0.7]).astype(np.uint8)
    trace = emulate(network, spikes, with_states=True)
    facts = facts_of(layer)
    assert abs(trace.u["a"]).max() <= facts.worst_case_current * 4096 / facts.leak
    # a chip whose state is just as wide as what happened must not be called safe when exceeded
    for state, rule in ((trace.u["a"], accumulated_current_in_range),
                        (trace.v["a"], accumulated_voltage_in_range)):
        lowest = int(-state.min()) if fires and rule is accumulated_voltage_in_range else int(
            abs(state).max())
        if lowest > 2:
            bits = LOIHI1.neurons.state_bits.model_copy(
                update={"value": (lowest - 1).bit_length()})
            narrow = LOIHI1.model_copy(
                update={"neurons": LOIHI1.neurons.model_copy(update={"state_bits": bits})})
            assert rule(facts, narrow) is not None


def test_a_constant_input_comes_as_near_to_the_bound_as_the_decay_allows() -> None:
    layer = one_layer(CubaNeuron(1024, 128, 2**18 - 1), [100, 100], [-200, 30])
    trace = emulate(Network("n", (2,), 200, (layer,)), np.ones((1, 2, 200), np.uint8),
                    with_states=True)
    facts = facts_of(layer)
    assert facts.worst_case_current == 200 * 64
    assert abs(trace.u["a"]).max() == pytest.approx(200 * 64 * 4, rel=1e-3)


def test_the_amplitude_of_a_resonator_is_bounded_by_its_leak() -> None:
    neuron = ResonatorNeuron("rf", sin_decay=800, cos_decay=3900, vth_mant=2**18 - 1)
    facts = facts_of(one_layer(neuron, [100, -60]))
    assert facts.leak == pytest.approx(4096 - np.hypot(800, 3900))
    assert set(facts.decays) == {"sin_decay", "cos_decay"}
    x = y = worst = 0.0
    for _ in range(3000):  # driven in phase: the worst there is
        push = 100 * 64 if x * 3900 - y * 800 >= 0 else -60 * 64
        x, y = (x * 3900 - y * 800) / 4096 + push, (x * 800 + y * 3900) / 4096
        worst = max(worst, float(np.hypot(x, y)))
    assert worst <= facts.worst_case_current * 4096 / facts.leak
