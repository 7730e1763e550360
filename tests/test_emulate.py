"""The emulator equals a plain reference written from the equations, sample by sample."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.signal import correlate2d

from pipeline.emulate import (
    Accumulator,
    accuracy,
    channel_rates,
    count_output_spikes,
    emulate,
    run_neurons,
)
from pipeline.errors import DataError, UnsupportedLayerError
from pipeline.network import (
    INPUT,
    ConvGeometry,
    CubaNeuron,
    Layer,
    Network,
    Synapse,
    conv_output_shape,
)

LIMIT = 1 << 23

# ---------------------------------------------------------------- the reference


def synaptic_sum(synapse: Synapse, spikes: NDArray[Any]) -> NDArray[np.int64]:
    """Return the input of every target neuron for the spikes (*shape) of one step, flattened."""
    weight = synapse.weight.astype(np.int64)
    if synapse.geometry is None:
        total: NDArray[np.int64] = weight @ spikes.reshape(-1).astype(np.int64)
        return total
    geometry = synapse.geometry
    (py, px), (dy, dx), (sy, sx) = geometry.padding, geometry.dilation, geometry.stride
    padded = np.pad(spikes.astype(np.int64), ((0, 0), (py, py), (px, px)))
    c_out, c_in_group, ky, kx = weight.shape
    spread = np.zeros((c_out, c_in_group, (ky - 1) * dy + 1, (kx - 1) * dx + 1), dtype=np.int64)
    spread[:, :, ::dy, ::dx] = weight
    maps = []
    for c in range(c_out):
        first = c // (c_out // geometry.groups) * c_in_group
        maps.append(sum(
            correlate2d(padded[first + k], spread[c, k], mode="valid")[::sy, ::sx]
            for k in range(c_in_group)
        ))
    return np.stack(maps).reshape(-1)


def decayed(state: int, decay: int) -> int:
    quotient = abs(state) * (4096 - decay) // 4096
    return quotient if state >= 0 else -quotient


def reference(
    network: Network, spikes: NDArray[np.uint8]
) -> tuple[dict[str, NDArray[np.uint8]], dict[str, NDArray[np.int32]], int]:
    """Return spikes and active steps of every layer, and the number of overflows on the way."""
    n_samples, n_steps = len(spikes), spikes.shape[-1]
    outputs, n_active, n_overflows = {INPUT: spikes}, {}, 0
    for layer in network.layers:
        fired = np.zeros((n_samples, layer.n_neurons, n_steps), dtype=np.uint8)
        active = np.zeros((n_samples, layer.n_neurons), dtype=np.int32)
        neuron = layer.neuron
        vth = neuron.channel_vth_mant or (neuron.vth_mant,) * layer.shape[0]
        for n in range(n_samples):
            u, v = [0] * layer.n_neurons, [0] * layer.n_neurons
            for t in range(n_steps):
                total = sum(synaptic_sum(s, outputs[s.source][n, ..., t]) for s in layer.synapses)
                for o, received in enumerate(total.tolist()):
                    active[n, o] += bool(received or u[o] or v[o])
                    current = decayed(u[o], neuron.current_decay) + 64 * received
                    if current > LIMIT:
                        current, n_overflows = current - 2 * LIMIT, n_overflows + 1
                    elif current <= -LIMIT:
                        current, n_overflows = current + 2 * LIMIT, n_overflows + 1
                    voltage = decayed(v[o], neuron.voltage_decay) + current
                    n_overflows += abs(voltage) > LIMIT - 1
                    voltage = max(-LIMIT + 1, min(LIMIT - 1, voltage))
                    if voltage > 64 * vth[o * layer.shape[0] // layer.n_neurons]:
                        voltage = 0
                        if t + 1 < n_steps:  # delivered one step later
                            fired[n, o, t + 1] = 1
                    u[o], v[o] = current, voltage
        outputs[layer.name] = fired.reshape(n_samples, *layer.shape, n_steps)
        n_active[layer.name] = active
    return outputs, n_active, n_overflows


# ---------------------------------------------------------------- random networks

DECAY = st.sampled_from([0, 4096]) | st.integers(0, 4096)
NEURONS = st.builds(CubaNeuron, DECAY, DECAY, st.integers(1, 200) | st.integers(1, 4095))
# the largest reaches the 24-bit limits within a few spikes
LARGEST = st.sampled_from([2, 60, 254, 30_000])


def draw_weight(draw: st.DrawFn, shape: tuple[int, ...]) -> NDArray[np.int32]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    largest, density = draw(LARGEST), draw(st.sampled_from([0.05, 0.2, 0.6, 1.0]))
    lowest = draw(st.sampled_from([-largest, -largest // 3]))
    weight = rng.integers(lowest, largest + 1, shape) * (rng.random(shape) < density)
    return weight.astype(np.int32)


@st.composite
def conv_synapses(
    draw: st.DrawFn, name: str, source: str, in_shape: tuple[int, ...]
) -> tuple[Synapse, tuple[int, ...]]:
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    groups = draw(st.sampled_from([g for g in (1, 2) if in_shape[0] % g == 0]))
    c_out = groups * draw(st.integers(1, 2))
    geometry = ConvGeometry(
        draw(pair), draw(st.tuples(st.integers(0, 2), st.integers(0, 2))), draw(pair), groups
    )
    kernel = tuple(
        draw(st.integers(1, 1 + min(2, (in_shape[1 + i] - 1) // geometry.dilation[i])))
        for i in (0, 1)
    )
    weight = draw_weight(draw, (c_out, in_shape[0] // groups, *kernel))
    return Synapse(name, source, weight, geometry), conv_output_shape(
        weight.shape, geometry, in_shape
    )


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Chains of convolutions, then dense layers; some dense layers also see the input."""
    n_convs, n_dense = draw(st.sampled_from([(0, 1), (0, 3), (1, 0), (1, 1), (2, 1)]))
    input_shape: tuple[int, ...] = draw(
        st.tuples(st.integers(1, 2), st.integers(2, 6), st.integers(2, 6))
        if n_convs else st.tuples(st.integers(1, 12))
    )
    layers: list[Layer] = []
    source, shape = INPUT, input_shape
    for index in range(n_convs + n_dense):
        name = f"layer{index}"
        if index < n_convs:
            synapse, shape = draw(conv_synapses(name, source, shape))
            synapses = [synapse]
        else:
            n_out = draw(st.integers(1, 7))
            n_in = int(np.prod(shape))
            synapses = [Synapse(name, source, draw_weight(draw, (n_out, n_in)))]
            if source != INPUT and draw(st.booleans()):
                skip = draw_weight(draw, (n_out, int(np.prod(input_shape))))
                synapses.append(Synapse(f"{name}.skip", INPUT, skip))
            shape = (n_out,)
        neuron = draw(NEURONS)
        if draw(st.booleans()):
            per_channel = st.tuples(*[st.integers(1, 4095)] * shape[0])
            neuron = replace(neuron, channel_vth_mant=draw(per_channel))
        layers.append(Layer(name, tuple(synapses), neuron, shape))
        source = name
    return Network("random", input_shape, 10, tuple(layers))


@st.composite
def spikes_of(draw: st.DrawFn, network: Network, n_samples: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rate = draw(st.sampled_from([0.05, 0.4, 1.0]))
    shape = (n_samples, *network.input_shape, network.n_steps)
    return (rng.random(shape) < rate).astype(np.uint8)


@settings(max_examples=60)
@given(st.data())
def test_emulator_equals_the_reference(data: st.DataObject) -> None:
    network = data.draw(networks())
    spikes = data.draw(spikes_of(network, 2))
    expected, n_active, _ = reference(network, spikes)
    trace = emulate(network, spikes)
    for layer in network.layers:
        assert np.array_equal(trace.spikes[layer.name], expected[layer.name]), layer.name
        assert np.array_equal(trace.n_active[layer.name], n_active[layer.name]), layer.name


@pytest.mark.parametrize(
    ("current_decay", "voltage_decay"), [(0, 0), (0, 4096), (4096, 0), (200, 100)]
)
@pytest.mark.parametrize("density", [0.1, 1.0])
def test_emulator_equals_the_reference_beyond_24_bits(
    current_decay: int, voltage_decay: int, density: float
) -> None:
    rng = np.random.default_rng(1)
    n_in, n_out = 30, 20
    weight = rng.integers(-20_000, 20_001, (n_out, n_in)) * (rng.random((n_out, n_in)) < density)
    weight += np.where(weight != 0, np.linspace(-15_000, 15_000, n_out).astype(int)[:, None], 0)
    neuron = CubaNeuron(current_decay, voltage_decay, 4095)
    synapse = Synapse("a", INPUT, weight.astype(np.int32))
    network = Network("big", (n_in,), 40, (Layer("a", (synapse,), neuron, (n_out,)),))
    spikes = (rng.random((2, n_in, 40)) < 0.8).astype(np.uint8)
    expected, n_active, n_overflows = reference(network, spikes)
    assert n_overflows > 20 and expected["a"].any()
    trace = emulate(network, spikes)
    assert np.array_equal(trace.spikes["a"], expected["a"])
    assert np.array_equal(trace.n_active["a"], n_active["a"])


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
    assert np.array_equal(count_output_spikes(network, spikes), counts)
    labels = counts.argmax(axis=1)
    assert accuracy(network, spikes, labels) == 1.0
    labels[:22] = (labels[:22] + 1) % 10
    assert accuracy(network, spikes, labels) == pytest.approx(44 / 66)


def test_tied_outputs_go_to_the_lowest_index(dense_chain: Any) -> None:
    network = dense_chain()
    silent = np.zeros((2, 12, 5), dtype=np.uint8)
    assert accuracy(network, silent, np.array([0, 1])) == 0.5


# ---------------------------------------------------------------- thresholds per channel


def with_channel_thresholds(network: Network, index: int, thresholds: tuple[int, ...]) -> Network:
    layers = list(network.layers)
    neuron = replace(layers[index].neuron, channel_vth_mant=thresholds)
    layers[index] = replace(layers[index], neuron=neuron)
    return network.with_layers(tuple(layers))


@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_each_channel_spikes_as_it_would_alone_with_its_threshold(
    kind: str, dense_chain: Any, conv_chain: Any, random_spikes: Any
) -> None:
    network = dense_chain() if kind == "dense" else conv_chain()
    spikes = random_spikes(network, n_samples=5)
    first = network.layers[0]
    thresholds = tuple(20 + 35 * c for c in range(first.n_channels))
    mixed = emulate(with_channel_thresholds(network, 0, thresholds), spikes)
    assert not np.array_equal(mixed.spikes[first.name], emulate(network, spikes).spikes[first.name])
    for c, vth_mant in enumerate(thresholds):
        synapse = replace(first.synapses[0], weight=first.synapses[0].weight[c : c + 1])
        neuron = replace(first.neuron, vth_mant=vth_mant)
        channel = Layer(first.name, (synapse,), neuron, (1, *first.shape[1:]))
        alone = emulate(replace(network, layers=(channel,)), spikes)
        assert np.array_equal(
            mixed.spikes[first.name][:, c : c + 1], alone.spikes[first.name]
        )
        n_active = mixed.n_active[first.name].reshape(5, first.n_channels, -1)[:, c]
        assert np.array_equal(n_active, alone.n_active[first.name])


@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_the_layers_threshold_given_to_every_channel_changes_nothing(
    kind: str, dense_chain: Any, conv_chain: Any, random_spikes: Any
) -> None:
    network = dense_chain() if kind == "dense" else conv_chain()
    spikes = random_spikes(network)
    first = network.layers[0]
    same = with_channel_thresholds(network, 0, (first.neuron.vth_mant,) * first.n_channels)
    one, each = emulate(network, spikes), emulate(same, spikes)
    assert one.spikes[network.layers[-1].name].any()
    for name in one.spikes:
        assert np.array_equal(one.spikes[name], each.spikes[name])


@pytest.mark.parametrize(
    ("thresholds", "shown"),
    [((50,) * 3, "3 thresholds for 4 channels"), ((50,) * 5, "5 thresholds for 4 channels"),
     ((), "0 thresholds"), ((50, 0, 50, 50), "mantissa 0 "), ((50, 50, 50, 4096), "1..4095")],
)
def test_channel_thresholds_that_do_not_fit_are_refused_by_layer_name(
    thresholds: tuple[int, ...], shown: str, conv_chain: Any
) -> None:
    network = conv_chain()
    with pytest.raises(UnsupportedLayerError) as error:
        with_channel_thresholds(network, 0, thresholds)
    assert "layer 'conv'" in str(error.value) and shown in str(error.value)


@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_channel_rates_are_means_over_all_but_the_channel(
    kind: str, dense_chain: Any, conv_chain: Any, random_spikes: Any
) -> None:
    network = dense_chain() if kind == "dense" else conv_chain()
    trace = emulate(network, random_spikes(network, n_samples=7))
    for layer in network.layers:
        output = trace.spikes[layer.name]
        expected = [output[:, c].mean() for c in range(layer.shape[0])]
        assert channel_rates(output).tolist() == expected


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
    for run in (emulate, count_output_spikes):
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
