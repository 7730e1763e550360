"""Steps that are left out, of layers at rest and of what comes too late, change no output."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from test_generated_networks import module_of
from test_graded_relays import given, relayed

from pipeline import emulate_layers as layers_module
from pipeline.emulate import emulate
from pipeline.emulate_layers import emulate_layers
from pipeline.errors import DataError
from pipeline.network import INPUT, Join, Layer, Network, Readout, Synapse
from pipeline.neuron import CubaNeuron, RelayNeuron
from pipeline.quantize import as_trained
from pipeline.windows import Train, begun, heard, last_steps, windows


def check(network: Network, spikes: Any) -> dict[str, Any]:
    """Compare with the emulator all that is sent in windows; return these."""
    whole, window_of = emulate(network, spikes).spikes, windows(network, spikes)
    for layer, outputs in emulate_layers(network, spikes, window_of):
        window = window_of[layer.name]
        for name in {layer.name} | {s.source for s in layer.synapses} & outputs.keys():
            until = spikes.shape[-1] if name == INPUT else window_of[name].sent_until
            np.testing.assert_array_equal(
                outputs[name].between(0, until), whole[name][..., :until])
        for synapse in layer.synapses:
            if synapse.source in whole:
                np.testing.assert_array_equal(
                    heard(network, layer, outputs, synapse.source, window),
                    whole[synapse.source][..., window.begin : window.heard_until])
                assert not whole[synapse.source][..., : window.begin].any()
    return window_of


def with_late_biases(network: Network, rng: np.random.Generator) -> Network:
    return network.with_layers(tuple(
        replace(layer, neuron=replace(layer.neuron, bias_step=int(rng.integers(0, 20))))
        if isinstance(layer.neuron, CubaNeuron) and layer.neuron.bias else layer
        for layer in network.layers))


@pytest.mark.parametrize("seed", range(24))
def test_generated_networks_of_every_family(seed: int) -> None:
    from pipeline.ingest import slayer

    module, rng, n_steps = module_of(seed), np.random.default_rng(seed), 12 + seed
    description = SimpleNamespace(input_shape=module.input_shape, n_steps=n_steps)
    model: Any = SimpleNamespace(name=f"seed {seed}", description=description)
    network = with_late_biases(as_trained(slayer.to_network(module, model))[0], rng)
    spikes = (rng.random((2, *network.input_shape, n_steps)) < 0.5).astype(np.uint8)
    spikes[..., : rng.integers(0, 10)] = 0
    check(network, spikes)


@pytest.mark.parametrize("first", [0, 6])
@pytest.mark.parametrize("acc_bytes", [1 << 28, 4 * 24 * 3 * 7])
def test_relays_of_sums(first: int, acc_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers_module, "ACC_BYTES", acc_bytes)  # pieces of 7 steps
    spikes, network = given(), relayed((3, 0))
    spikes[..., :first] = 0
    found = {name: window.begin for name, window in check(network, spikes).items()}
    # the second channel of the first relay does not wait
    assert found == {"a": first, "b": first + 1, "first": first + 1, "second": first + 1,
                     "c": first + 2}


def deep(n_layers: int, bias_step: int = 0) -> Network:
    weight = 2 * np.random.default_rng(0).integers(5, 40, (4, 4)).astype(np.int32)
    names = [f"l{k}" for k in range(n_layers)]
    network = Network("deep", (4,), 12, tuple(
        Layer(name, (Synapse(name, source, weight),),
              CubaNeuron(4096, 0, 60, bias=(9.0, 3.0, 30.0, 1.0), bias_step=bias_step + k), (4,))
        for k, (name, source) in enumerate(zip(names, (INPUT, *names), strict=False))))
    return as_trained(network)[0]


def test_a_frame_is_worked_on_as_long_as_it_is_shown() -> None:
    """Biases begin with the frame, in each layer; the first layers send on after it in vain."""
    network, spikes = deep(9, 2), np.zeros((5, 4, 2 + 3 + 9), dtype=np.uint8)
    spikes[..., 2:5] = np.random.default_rng(1).random((5, 4, 3)) < 0.5
    spikes[0, 0, 2] = 1
    found = check(network, spikes)
    assert all((w.begin, w.heard_until) == (2 + k, 5 + k) for k, w in enumerate(found.values()))
    whole = emulate(network, spikes).spikes
    assert all(whole[name][..., w.heard_until + 1 :].any() for name, w in list(found.items())[:-1])


def test_steps_that_cannot_reach_the_output_are_those_that_change_it_not() -> None:
    weight = 2 * np.random.default_rng(0).integers(5, 40, (4, 4)).astype(np.int32)
    layers = tuple(
        Layer(name, (Synapse(name, source, weight),), CubaNeuron(4096, 0, 60), (4,),
              axonal_delay=delay)
        for name, source, delay in (
            ("a", INPUT, (2, 3, 4, 5)), ("b", "a", None), ("c", "b", None), ("d", "sum", None)))
    network = Network("deep", (4,), 12, layers, (Join("sum", "add", ("b", "c"), (4,)),))
    found = {name: heard_until for name, (heard_until, _) in last_steps(network, 12).items()}
    # of a: its own step and the least delay, b's, past c, and d's: 3 + 1 + 1
    assert found == {"a": 12 - 5, "b": 12 - 2, "c": 12 - 2, "d": 12 - 1}
    spikes = (np.random.default_rng(1).random((50, 4, 12)) < 0.3).astype(np.uint8)
    whole = emulate(network, spikes).spikes["d"]
    for n, is_same in ((7, True), (6, False)):
        cut = spikes.copy()
        cut[..., n:] = 0
        assert np.array_equal(emulate(network, cut).spikes["d"], whole) == is_same
    readout = replace(network, readout=Readout("voltage"))
    assert set(last_steps(readout, 12).values()) == {(12, 12)}  # one more, and then they are few
    assert last_steps(readout, 10) == {"a": (6, 9), "b": (9, 10), "c": (9, 10), "d": (10, 10)}


def test_input_that_comes_too_late_for_the_output_leaves_a_step() -> None:
    spikes = np.zeros((1, 4, 6), dtype=np.uint8)
    spikes[..., 5] = 1
    found = check(deep(9, 20), spikes)
    assert all(0 <= w.begin < min(w.heard_until, w.sent_until) <= 6 for w in found.values())


def test_silent_input_is_worked_on_from_the_first_step() -> None:
    found = check(deep(2), np.zeros((1, 4, 6), dtype=np.uint8))
    assert found["l0"].begin == 0


def test_what_is_no_input_of_the_network_is_refused() -> None:
    with pytest.raises(DataError, match="input spikes have shape"):
        windows(deep(2), np.zeros((1, 5, 6), dtype=np.uint8))


def test_trains_are_silent_where_they_have_no_values() -> None:
    train = Train(np.arange(1, 4), 2)
    assert train.between(0, 7).tolist() == [0, 0, 1, 2, 3, 0, 0]
    assert train.between(3, 4).tolist() == [2]
    assert train.between(0, 2).tolist() == [0, 0]
    assert train.between(6, 8).tolist() == [0, 0]
    assert train.between(4, 6).tolist() == [3, 0]


def test_biases_of_a_layer_that_begins_later_begin_earlier() -> None:
    layer = deep(1, 7).layers[0]
    assert begun(layer, 0) is layer
    assert begun(layer, 5).neuron == replace(layer.cuba, bias_step=2)
    assert begun(layer, 9).neuron == replace(layer.cuba, bias_step=0)
    relay = replace(layer, neuron=RelayNeuron())
    assert begun(relay, 5) is relay
