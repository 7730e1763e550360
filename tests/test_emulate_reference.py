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

from pipeline.emulate import emulate
from pipeline.network import INPUT, ConvGeometry, Layer, Network, Synapse
from pipeline.network_checks import conv_output_shape
from pipeline.neuron import CubaNeuron

LIMIT = 1 << 23


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
    # from 8 outputs of a group on, a kernel of its own serves
    c_out = groups * draw(st.integers(1, 2) | st.integers(8, 10))
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
