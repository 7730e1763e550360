"""Matched thresholds bring layers nearer to the dense network, and leave the dense one alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline import match_rates as module
from pipeline.emulate import emulate
from pipeline.errors import DataError
from pipeline.fixedpoint import MAX_EXACT_VTH_MANT
from pipeline.ledger import LedgerEntry
from pipeline.match_rates import match_layer, match_rates
from pipeline.network import INPUT, Layer, Network, Synapse
from pipeline.neuron import CubaNeuron
from pipeline.windows import Train, windows

Case = tuple[Network, Network, NDArray[np.uint8]]
NEURON = CubaNeuron(current_decay=1024, voltage_decay=400, vth_mant=150)


@pytest.fixture(params=["dense", "conv"])
def case(
    request: pytest.FixtureRequest, dense_chain: Any, conv_chain: Any, random_spikes: Any
) -> Case:
    """Return a network, the same with weights missing, and spikes."""
    build: Callable[..., Network] = dense_chain if request.param == "dense" else conv_chain
    network = build(neuron=NEURON, n_steps=30)
    spikes = random_spikes(network, n_samples=20, rate=0.3)
    rng = np.random.default_rng(1)
    layers = []
    for layer in network.layers:
        (synapse,) = layer.synapses
        weight = synapse.weight * (rng.random(synapse.weight.shape) < 0.9)
        pruned = replace(synapse, weight=weight.astype(np.int32))
        layers.append(replace(layer, synapses=(pruned,)))
    return network, network.with_layers(tuple(layers)), spikes


def rates_of(network: Network, spikes: NDArray[np.uint8]) -> dict[str, NDArray[np.float64]]:
    trace = emulate(network, spikes)
    return {
        name: output.mean(axis=(0, *range(2, output.ndim)))
        for name, output in trace.spikes.items() if name != INPUT
    }


def with_start(matched: Network, index: int, neuron: CubaNeuron) -> Network:
    """Return the matched network with one layer's neurons as they were before."""
    layers = list(matched.layers)
    layers[index] = replace(layers[index], neuron=neuron)
    return matched.with_layers(tuple(layers))


# ---------------------------------------------------------------- rates


def test_no_layers_rate_error_grows(case: Case) -> None:
    dense, pruned, spikes = case
    wanted = rates_of(dense, spikes)
    matched, ledger = match_rates(pruned, spikes, wanted)
    before, after = rates_of(pruned, spikes), rates_of(matched, spikes)
    for index, layer in enumerate(pruned.layers):
        goal = wanted[layer.name].mean()
        error = abs(after[layer.name].mean() - goal)
        assert error <= abs(before[layer.name].mean() - goal)
        # with the same, matched input
        unmatched = rates_of(with_start(matched, index, layer.neuron), spikes)[layer.name]
        assert error <= abs(unmatched.mean() - goal)
        assert error < 0.01
        after_vth = matched.layers[index].neuron.vth_mant
        changed = LedgerEntry(
            layer.name,
            f"threshold {layer.neuron.vth_mant} -> {after_vth} to match the dense firing rate",
            1, 1,
        )
        assert (changed in ledger) == (after_vth != layer.neuron.vth_mant)
    assert ledger
    assert all(layer.neuron.channel_vth_mant is None for layer in matched.layers)


def test_the_threshold_found_is_the_best_of_all_in_reach(dense_chain: Any) -> None:
    # a neuron's rate falls strictly with its threshold when its input is constant
    synapse = Synapse("fc", INPUT, np.array([[20]], dtype=np.int32))
    layer = Layer("fc", (synapse,), CubaNeuron(4096, 0, 300), (1,))
    network = Network("ramp", (1,), 400, (layer,))
    spikes = np.ones((1, 1, 400), dtype=np.uint8)

    def rate(vth_mant: int) -> float:
        other = replace(layer, neuron=replace(layer.neuron, vth_mant=vth_mant))
        return float(rates_of(network.with_layers((other,)), spikes)["fc"][0])

    for wanted in (0.05, 0.06, 0.08):
        matched, _ = match_rates(network, spikes, {"fc": np.array([wanted])})
        error = abs(rate(matched.layers[0].neuron.vth_mant) - wanted)
        assert error == min(abs(rate(vth) - wanted) for vth in range(200, 452))


def test_matching_per_channel_reduces_the_summed_rate_error_of_channels(case: Case) -> None:
    dense, pruned, spikes = case
    wanted = rates_of(dense, spikes)
    per_channel, ledger = match_rates(pruned, spikes, wanted, per="channel")
    per_layer, _ = match_rates(pruned, spikes, wanted)

    def error(network: Network, name: str) -> Any:
        return np.abs(rates_of(network, spikes)[name] - wanted[name])

    for index, layer in enumerate(pruned.layers):
        assert error(per_channel, layer.name).sum() < 0.7 * error(per_layer, layer.name).sum()
        assert error(per_channel, layer.name).sum() < 0.7 * error(pruned, layer.name).sum()
        unmatched = with_start(per_channel, index, layer.neuron)
        assert (error(per_channel, layer.name) <= error(unmatched, layer.name)).all()
        neuron = per_channel.layers[index].neuron
        assert neuron.vth_mant == layer.neuron.vth_mant  # the nominal one stays
        assert neuron.channel_vth_mant is not None
        n_changed = sum(vth != neuron.vth_mant for vth in neuron.channel_vth_mant)
        assert ledger[index] == LedgerEntry(
            layer.name, f"thresholds of {n_changed} channels matched to their dense rates",
            n_changed, layer.n_channels,
        )


def test_channels_matched_together_get_what_each_would_get_alone(case: Case) -> None:
    dense, pruned, spikes = case
    wanted = rates_of(dense, spikes)
    first = pruned.layers[0]
    matched, _ = match_rates(pruned, spikes, wanted, per="channel")
    thresholds = matched.layers[0].neuron.channel_vth_mant
    assert thresholds is not None and len(set(thresholds)) > 1
    for c, vth_mant in enumerate(thresholds):
        synapse = replace(first.synapses[0], weight=first.synapses[0].weight[c : c + 1])
        channel = replace(first, synapses=(synapse,), shape=(1, *first.shape[1:]))
        alone, _ = match_rates(
            replace(pruned, layers=(channel,)), spikes, {first.name: wanted[first.name][c : c + 1]}
        )
        assert alone.layers[0].neuron.vth_mant == vth_mant


@pytest.mark.parametrize("per", ["layer", "channel"])
def test_a_network_that_is_already_dense_stays_as_it_is(case: Case, per: Any) -> None:
    dense, _, spikes = case
    matched, ledger = match_rates(dense, spikes, rates_of(dense, spikes), per)
    assert ledger == ()
    assert [layer.neuron for layer in matched.layers] == [layer.neuron for layer in dense.layers]


@pytest.mark.parametrize("per", ["layer", "channel"])
def test_matching_again_never_moves_away(case: Case, per: Any) -> None:
    dense, pruned, spikes = case
    wanted = rates_of(dense, spikes)
    once, _ = match_rates(pruned, spikes, wanted, per)
    twice, _ = match_rates(once, spikes, wanted, per)
    name = pruned.layers[0].name  # its input is the same both times
    first, second = rates_of(once, spikes)[name], rates_of(twice, spikes)[name]
    if per == "layer":
        first, second = first.mean(keepdims=True), second.mean(keepdims=True)
    goal = wanted[name] if per == "channel" else wanted[name].mean(keepdims=True)
    assert (np.abs(second - goal) <= np.abs(first - goal)).all()


@pytest.mark.parametrize("per", ["layer", "channel"])
def test_layers_matched_one_by_one_give_the_matched_network(case: Case, per: Any) -> None:
    dense, pruned, spikes = case
    wanted = rates_of(dense, spikes)
    whole, _ = match_rates(pruned, spikes, wanted, per)
    expected = emulate(whole, spikes).spikes
    outputs, window_of = {INPUT: Train(spikes)}, windows(dense, spikes)
    for layer, matched in zip(pruned.layers, whole.layers, strict=True):
        window = window_of[layer.name]
        as_it_is, _ = match_layer(dense, layer, outputs, window, None)
        assert as_it_is.neuron == layer.neuron
        # the dense network only tells the shapes
        found, outputs[layer.name] = match_layer(
            dense, layer, outputs, window, wanted[layer.name], per)
        assert found.neuron == matched.neuron
        sent = outputs[layer.name].between(0, spikes.shape[-1])
        assert np.array_equal(sent, expected[layer.name])


def test_thresholds_move_at_most_by_half_and_stay_exact(dense_chain: Any) -> None:
    network = dense_chain(neuron=CubaNeuron(1024, 128, 4000))
    spikes = np.ones((2, 12, 20), dtype=np.uint8)
    silent = {layer.name: np.zeros(layer.shape) for layer in network.layers}
    frantic = {layer.name: np.ones(layer.shape) for layer in network.layers}
    for per in ("layer", "channel"):
        for wanted in (silent, frantic):
            matched, _ = match_rates(network, spikes, wanted, per)  # type: ignore[arg-type]
            for layer in matched.layers:
                neuron = layer.neuron
                for vth in neuron.channel_vth_mant or (neuron.vth_mant,):
                    assert 4000 / 1.5 - 1 <= vth <= MAX_EXACT_VTH_MANT


@pytest.mark.parametrize(
    "per", ["layer", "channel"]
)
def test_memory_limit_changes_nothing(
    case: Case, per: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    dense, pruned, spikes = case
    arguments = (pruned, spikes, rates_of(dense, spikes), per)
    whole = match_rates(*arguments)
    largest = max(layer.n_neurons for layer in pruned.layers)
    monkeypatch.setattr(module, "_ACC_BYTES", 4 * spikes.shape[-1] * largest * 3)
    chunked = match_rates(*arguments)
    assert whole[1] == chunked[1]
    assert [a.neuron for a in whole[0].layers] == [b.neuron for b in chunked[0].layers]


def test_a_layer_with_two_synapse_groups_is_matched(random_spikes: Any) -> None:
    rng = np.random.default_rng(0)
    first = Synapse("a", INPUT, 2 * rng.integers(0, 20, (6, 8)).astype(np.int32))
    second = Synapse("b", "a", 2 * rng.integers(0, 20, (5, 6)).astype(np.int32))
    skip = Synapse("b.skip", INPUT, 2 * rng.integers(0, 20, (5, 8)).astype(np.int32))
    dense = Network("skip", (8,), 30, (
        Layer("a", (first,), NEURON, (6,)), Layer("b", (second, skip), NEURON, (5,)),
    ))
    spikes = random_spikes(dense, n_samples=5)
    slower = dense.with_layers(tuple(
        replace(layer, neuron=replace(NEURON, vth_mant=180)) for layer in dense.layers
    ))
    matched, ledger = match_rates(slower, spikes, rates_of(dense, spikes))
    assert len(ledger) == 2
    for name, rates in rates_of(matched, spikes).items():
        assert rates.mean() == pytest.approx(rates_of(dense, spikes)[name].mean(), abs=0.005)


def test_spikes_of_another_shape_are_refused(dense_chain: Any) -> None:
    network = dense_chain()
    rates = {layer.name: np.zeros(layer.shape) for layer in network.layers}
    with pytest.raises(DataError, match="takes"):
        match_rates(network, np.zeros((2, 11, 20), dtype=np.uint8), rates)
