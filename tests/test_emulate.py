"""The emulator treats samples alone, spikes and counts by the rules, and refuses bad input."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.emulate import Accumulator, accuracy, emulate, output_scores, run_neurons
from pipeline.errors import DataError
from pipeline.network import INPUT, Layer, Network, Synapse
from pipeline.neuron import CubaNeuron

# ---------------------------------------------------------------- batches, order, counts


@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_a_sample_gives_the_same_spikes_alone_and_in_a_batch(
    kind: str, dense_chain: Any, conv_chain: Any, random_spikes: Any
) -> None:
    network = dense_chain() if kind == "dense" else conv_chain()
    spikes = random_spikes(network, n_samples=70)  # more than one batch of the engine
    together = emulate(network, spikes)
    assert together.spikes[network.layers[-1].name].any()
    alone = [emulate(network, spikes[i : i + 1]) for i in range(len(spikes))]
    for name in together.spikes:
        assert np.array_equal(
            together.spikes[name], np.concatenate([trace.spikes[name] for trace in alone])
        )
    for name in together.n_active:
        assert np.array_equal(
            together.n_active[name], np.concatenate([trace.n_active[name] for trace in alone])
        )


def test_spikes_do_not_depend_on_the_order_of_samples(dense_chain: Any, random_spikes: Any) -> None:
    network = dense_chain()
    spikes = random_spikes(network, n_samples=67)
    order = np.random.default_rng(3).permutation(len(spikes))
    straight, permuted = emulate(network, spikes), emulate(network, spikes[order])
    for name in straight.spikes:
        assert np.array_equal(straight.spikes[name][order], permuted.spikes[name])


def test_an_earlier_end_changes_no_earlier_spike(conv_chain: Any, random_spikes: Any) -> None:
    network = conv_chain()
    spikes = random_spikes(network)
    whole, half = emulate(network, spikes), emulate(network, spikes[..., :10])
    for name in whole.spikes:
        assert np.array_equal(whole.spikes[name][..., :10], half.spikes[name])


def test_a_layer_adds_the_currents_of_all_its_synapse_groups() -> None:
    # neither group alone reaches the threshold
    first = Synapse("a", INPUT, np.array([[6, 0]], dtype=np.int32))
    second = Synapse("a.other", INPUT, np.array([[0, 6]], dtype=np.int32))
    neuron = CubaNeuron(4096, 4096, 10)
    spikes = np.zeros((1, 2, 6), dtype=np.uint8)
    spikes[0, 0, [0, 2]] = 1
    spikes[0, 1, [1, 2]] = 1
    network = Network("two", (2,), 6, (Layer("a", (first, second), neuron, (1,)),))
    assert emulate(network, spikes).spikes["a"][0, 0].tolist() == [0, 0, 0, 1, 0, 0]


def test_a_spike_needs_more_than_the_threshold_and_arrives_one_step_later() -> None:
    synapse = Synapse("a", INPUT, np.array([[10], [12]], dtype=np.int32))
    network = Network("tie", (1,), 3, (Layer("a", (synapse,), CubaNeuron(4096, 4096, 10), (2,)),))
    spikes = np.array([[[1, 0, 0]]], dtype=np.uint8)
    assert emulate(network, spikes).spikes["a"][0].tolist() == [[0, 0, 0], [0, 1, 0]]


def test_active_steps_count_input_or_state() -> None:
    # current 4096 forgets at once; voltage 0 keeps: active from the first input to the spike
    synapse = Synapse("a", INPUT, np.array([[4, 0], [0, 8]], dtype=np.int32))
    network = Network("idle", (2,), 8, (Layer("a", (synapse,), CubaNeuron(4096, 0, 7), (2,)),))
    spikes = np.zeros((1, 2, 8), dtype=np.uint8)
    spikes[0, 0, [1, 4]] = 1  # 4 at step 1, 8 > 7 at step 4: active 1..4, then the spike resets
    spikes[0, 1, 6] = 1       # 8 > 7 at step 6: active in that step only, although u is 512
    trace = emulate(network, spikes)
    # u is forgotten one step after, so the step after a spike still has state
    assert trace.n_active["a"].tolist() == [[5, 2]]


def test_opposite_inputs_that_cancel_leave_a_neuron_idle() -> None:
    synapse = Synapse("a", INPUT, np.array([[6, -6]], dtype=np.int32))
    network = Network("cancel", (2,), 4, (Layer("a", (synapse,), CubaNeuron(0, 0, 5), (1,)),))
    trace = emulate(network, np.ones((1, 2, 4), dtype=np.uint8))
    assert trace.n_active["a"].tolist() == [[0]]


def test_output_counts_and_accuracy_follow_the_trace(dense_chain: Any, random_spikes: Any) -> None:
    network = dense_chain()
    spikes = random_spikes(network, n_samples=66)
    counts = emulate(network, spikes).spikes["fc1"].sum(axis=-1)
    assert np.array_equal(output_scores(network, spikes), counts)
    labels = counts.argmax(axis=1)
    assert accuracy(network, spikes, labels) == 1.0
    labels[:22] = (labels[:22] + 1) % 10
    assert accuracy(network, spikes, labels) == pytest.approx(44 / 66)


def test_tied_outputs_go_to_the_lowest_index(dense_chain: Any) -> None:
    network = dense_chain()
    silent = np.zeros((2, 12, 5), dtype=np.uint8)
    assert accuracy(network, silent, np.array([0, 1])) == 0.5


def test_neurons_run_on_accumulated_input_give_the_emulators_spikes(
    conv_chain: Any, random_spikes: Any
) -> None:
    network = conv_chain()
    trace = emulate(network, random_spikes(network))
    for layer in network.layers:
        acc = Accumulator(network, layer).run(trace.spikes)
        assert acc.shape == (3, network.n_steps, layer.n_neurons)
        before = acc.copy()
        spikes, n_active = run_neurons(layer, acc)
        assert np.array_equal(spikes, trace.spikes[layer.name])
        assert np.array_equal(n_active, trace.n_active[layer.name])
        assert np.array_equal(acc, before)


# ---------------------------------------------------------------- inputs


@pytest.mark.parametrize("shape", [(2, 11, 20), (12, 20), (2, 12, 1, 20), (2, 3, 4, 20)])
def test_wrong_input_shape_is_refused_with_both_shapes(
    shape: tuple[int, ...], dense_chain: Any
) -> None:
    with pytest.raises(DataError) as error:
        emulate(dense_chain(), np.zeros(shape, dtype=np.uint8))
    assert str(shape) in str(error.value)
    assert "(n, 12, n_steps)" in str(error.value)


@pytest.mark.parametrize("shape", [(0, 12, 20), (3, 12, 0)])
def test_no_samples_or_no_steps_are_refused(shape: tuple[int, ...], dense_chain: Any) -> None:
    for run in (emulate, output_scores):
        with pytest.raises(DataError, match="no sample or no time step"):
            run(dense_chain(), np.zeros(shape, dtype=np.uint8))


def test_float_network_is_refused(dense_chain: Any, random_spikes: Any) -> None:
    network = dense_chain()
    first = network.layers[0]
    synapse = replace(first.synapses[0], weight=first.synapses[0].weight.astype(np.float64))
    floating = network.with_layers((replace(first, synapses=(synapse,)), *network.layers[1:]))
    with pytest.raises(TypeError, match="integer network"):
        emulate(floating, random_spikes(network))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(1, 12), (12, 1), (5, 12)])
def test_emulation_changes_neither_weights_nor_input(shape: tuple[int, int], order: Any) -> None:
    rng = np.random.default_rng(2)
    weight = (rng.integers(1, 100, shape) * (np.arange(shape[0] * shape[1]) % 6 == 5).reshape(
        shape)).astype(np.int32)
    synapse = Synapse("a", INPUT, np.array(weight, order=order))
    neuron = CubaNeuron(1024, 128, 20)
    network = Network("sparse", (shape[1],), 8, (Layer("a", (synapse,), neuron, (shape[0],)),))
    spikes = (rng.random((2, shape[1], 8)) < 0.5).astype(np.uint8)
    before = spikes.copy()
    first = emulate(network, spikes)
    assert np.array_equal(synapse.weight, weight)
    assert np.array_equal(spikes, before)
    assert np.array_equal(first.spikes["a"], emulate(network, spikes).spikes["a"])
