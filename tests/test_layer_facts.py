"""The facts of a layer are its extremes over channels, groups and parts of a complex weight."""

from __future__ import annotations

import numpy as np

from hardware_targets import check_layers, load_target
from pipeline.mapping.layer_facts import facts_of
from pipeline.network import INPUT, ConvGeometry, Layer, Synapse
from pipeline.neuron import NEVER_VTH_MANT, CubaNeuron, ResonatorNeuron, SigmaDeltaNeuron

NEURON = CubaNeuron(1024, 128, 60)


def dense(name: str, *rows: list[int], bits: int = 8) -> Synapse:
    return Synapse(name, INPUT, np.array(rows, dtype=np.int32), None, bits)


def test_groups_that_reach_the_same_neuron_add_up() -> None:
    layer = Layer("a", (dense("x", [10, -4], [2, 2]), dense("y", [0, -6], [8, 0], bits=4)), NEURON,
                  (2,), recurrent=dense("r", [-2, 0], [0, 4]))
    facts = facts_of(layer)
    assert facts.worst_case_current == 16 << 6  # 2 + 2 + 8 + 4 of neuron 1; 10 of neuron 0
    assert facts.worst_case_inhibition == 12 << 6
    assert (facts.fan_in, facts.weight_bits) == (4, 8)
    assert (facts.weight_min, facts.weight_max) == (-6, 10)


def test_channels_of_a_convolution_meet_the_neurons_of_other_groups() -> None:
    kernel = np.array([[[[2, 0]]], [[[4, -8]]]], dtype=np.int32)
    convolution = Synapse("c", INPUT, kernel, ConvGeometry(), 8)
    recurrent = np.zeros((4, 4), dtype=np.int32)
    recurrent[1, 0] = 100  # of channel 0, position 1
    layer = Layer("a", (convolution,), NEURON, (2, 1, 2), recurrent=Synapse("r", "a", recurrent,
                                                                            None, 8))
    facts = facts_of(layer)
    assert facts.kind == "conv" and facts.n_neurons == 4
    assert facts.worst_case_current == 102 << 6
    assert (facts.worst_case_inhibition, facts.fan_in) == (8 << 6, 2)


def test_the_parts_of_complex_weights_reach_states_of_their_own() -> None:
    neuron = ResonatorNeuron("rf", 0, 4000, 60, channel_cos_decay=(4000, 4090))
    real = dense("x", [10, 10], [0, 0])
    imaginary = Synapse("y", INPUT, np.array([[30, 0], [0, 0]], np.int32), None, 8, part="imag")
    facts = facts_of(Layer("a", (real, imaginary), neuron, (2,)))
    assert facts.worst_case_current == 30 << 6
    assert (facts.decays["cos_decay"], facts.leak) == ((4000, 4090), 6.0)


def test_parameters_per_channel_count_with_their_extremes() -> None:
    neuron = CubaNeuron(
        1024, 128, 60, channel_vth_mant=(50, 131072), channel_current_decay=(7, 4096),
        channel_voltage_decay=(0, 9), bias=(-3, 5))
    facts = facts_of(Layer("a", (dense("x", [2], [4]),), neuron, (2,), axonal_delay=(3, 9)))
    assert (facts.vth_mant_min, facts.vth_mant_max) == (50, 131072)
    assert facts.decays == {"current_decay": (7, 4096), "voltage_decay": (0, 9)}
    assert (facts.leak, facts.bias_min, facts.bias_max, facts.axonal_delay) == (7.0, -3, 5, 9)
    assert [v.rule for v in check_layers([facts], load_target("loihi1"))] == [
        "threshold_in_range", "delay_in_range"]


def test_neurons_that_never_fire_keep_to_the_threshold_of_any_chip() -> None:
    facts = facts_of(Layer("a", (dense("x", [2]),), CubaNeuron(4096, 0, NEVER_VTH_MANT), (1,)))
    assert not facts.fires
    assert check_layers([facts], load_target("loihi1")) == []


def test_messages_of_any_size_have_no_worst_case() -> None:
    facts = facts_of(Layer("a", (dense("x", [200, 200]),), SigmaDeltaNeuron(10), (1,)))
    assert (facts.worst_case_current, facts.leak, facts.decays) == (0, 0.0, {})
    assert [v.rule for v in check_layers([facts], load_target("loihi1"))] == ["family_supported"]
    assert check_layers([facts], load_target("loihi2")) == []


def test_neurons_driven_by_the_input_store_nothing() -> None:
    identity = Synapse("x", INPUT, np.eye(3, dtype=np.int32), None, 8, is_fixed=True)
    facts = facts_of(Layer("a", (identity,), CubaNeuron(4096, 0, 60), (3,)))
    assert not facts.has_synapses
    assert (facts.fan_in, facts.weight_bits, facts.worst_case_current) == (0, 0, 0)
    assert check_layers([facts], load_target("loihi1")) == []


def test_pruned_to_nothing_is_a_layer_without_fan_in() -> None:
    facts = facts_of(Layer("a", (dense("x", [0, 0], bits=4),), NEURON, (1,)))
    assert (facts.fan_in, facts.weight_min, facts.weight_max, facts.worst_case_current) == (
        0, 0, 0, 0)
    assert check_layers([facts], load_target("example-chip")) == []
