"""Counts per core against a count by plain loops, and what must hold of them in any run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from accounting import (
    Case,
    case,
    count_by_loops,
    inputs,
    random_network,
    resonator_network,
    sigma_delta_network,
    small_cores,
)
from scipy.sparse import csr_array

from hardware_targets import load_target
from pipeline.account.activity import active_over_time
from pipeline.account.counts import EVENTS, _product, count, n_updates
from pipeline.account.over_time import count_over_time
from pipeline.account.sent import rates_of
from pipeline.emulate import Trace, emulate
from pipeline.errors import DataError
from pipeline.mapping.place import place
from pipeline.network import INPUT, Layer, Network, Synapse
from pipeline.neuron import CubaNeuron

BY_LOOPS = set(EVENTS) - {
    "neuron_updates_active", "neuron_updates_idle", "neuron_updates_spiked"}
NETWORKS: dict[str, Callable[[int], Network]] = {
    "cuba": random_network, "sigma-delta": sigma_delta_network, "resonators": resonator_network}


def counted_alike(of: Case) -> None:
    counts, expected = count(of.network, of.placement, of.trace), count_by_loops(of)
    for event in BY_LOOPS:
        mine = {(int(n), int(core)): int(counts[event][n, core])
                for n, core in np.argwhere(counts[event])}
        assert mine == {key: n for key, n in expected.get(event, {}).items() if n}, event


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("family", NETWORKS)
def test_counts_are_those_of_a_loop_over_spikes_and_synapses(family: str, seed: int) -> None:
    target = small_cores("loihi2" if family == "sigma-delta" else "loihi1", 7 + seed)
    of = case(NETWORKS[family](seed), target)
    assert len(of.placement.cores) > len(of.network.layers)
    counted_alike(of)


def test_counts_over_several_chips_tell_messages_between_them_apart() -> None:
    target = small_cores(n_neurons=6, cores_per_chip=16, tile_columns=2, tile_rows=2)
    of = case(random_network(3), target)
    assert of.placement.n_chips > 1
    counted_alike(of)
    assert count(of.network, of.placement, of.trace)["messages_off_chip"].sum() > 0


def test_what_was_fired_and_had_not_left_is_counted_for_recurrent_synapses_only() -> None:
    rng = np.random.default_rng(0)
    weight = np.full((8, 8), 32, dtype=np.int32)
    layers = (
        Layer("late", (Synapse("late", INPUT, weight, None, 8),), CubaNeuron(4096, 4096, 20),
              (8,), (13,) * 8, Synapse("late.rec", "late", weight, None, 8)),
        Layer("out", (Synapse("out", "late", weight, None, 8),), CubaNeuron(4096, 4096, 20), (8,)),
    )
    network = Network("late", (8,), 10, layers)
    target = small_cores()
    trace = emulate(network, (rng.random((2, 8, 10)) < 0.5).astype(np.uint8))
    counts = count(network, place(network, target), trace)
    assert trace.spikes["late"].sum() == 0  # everything leaves after the sample's end
    assert (counts.by_layer("spikes")["late"] > 0).all()
    assert (counts.by_layer("effective_synops")["out"] == 0).all()
    given = trace.spikes[INPUT].reshape(2, -1).sum(axis=1, dtype=np.int64)
    recurrent = counts.by_layer("effective_synops")["late"] - 8 * given
    assert (recurrent == 8 * counts.by_layer("spikes")["late"]).all()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("family", NETWORKS)
def test_active_neurons_over_time_sum_up_to_those_of_the_samples(family: str, seed: int) -> None:
    target = small_cores("loihi2" if family == "sigma-delta" else "loihi1")
    of = case(NETWORKS[family](seed), target)
    counts = count(of.network, of.placement, of.trace)
    active = active_over_time(of.network, of.placement, of.trace)
    np.testing.assert_array_equal(active.sum(axis=2), counts["neuron_updates_active"])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("family", NETWORKS)
def test_events_of_the_steps_sum_up_to_those_of_the_samples(family: str, seed: int) -> None:
    target = small_cores("loihi2" if family == "sigma-delta" else "loihi1")
    of = case(NETWORKS[family](seed), target)
    counts, over_time = (
        counted(of.network, of.placement, of.trace) for counted in (count, count_over_time))
    for event, steps in over_time.items():
        assert steps.shape == (of.network.n_steps, len(of.network.layers))
        for index, layer in enumerate(of.network.layers):
            assert steps[:, index].sum() == counts.by_layer(event)[layer.name].sum(), event


def test_synops_are_told_in_the_step_in_which_the_spike_left() -> None:
    network = random_network(0)
    of = case(network)
    silent = np.zeros_like(of.trace.spikes[INPUT])
    silent[..., 3] = 1
    trace = emulate(network, silent)
    steps = count_over_time(network, of.placement, trace)["effective_synops"]
    reached = [i for i, x in enumerate(network.layers) if {s.source for s in x.synapses} == {INPUT}]
    assert reached and all(set(np.flatnonzero(steps[:, i])) == {3} for i in reached)


@pytest.mark.parametrize("seed", range(3))
def test_every_neuron_is_updated_at_every_step_under_both_readings(seed: int) -> None:
    of = case(random_network(seed))
    counts = count(of.network, of.placement, of.trace)
    for reading in ("had_state", "spiked"):
        active, idle = n_updates(counts, reading)
        assert (active + idle == counts.n_neurons_of_core * of.network.n_steps).all()
        assert (idle >= 0).all()
    assert (counts["neuron_updates_spiked"] <= counts["neuron_updates_active"]).all()


def test_a_spike_to_two_groups_of_a_core_is_one_message() -> None:
    of = case(resonator_network(0), small_cores(n_neurons=1024))
    counts = count(of.network, of.placement, of.trace)
    (core,) = of.placement.cores_of("r")
    both = set(core.synapses[0].sources) & set(core.synapses[1].sources)
    assert len(core.synapses) == 2 and both
    given = (of.trace.spikes[INPUT] != 0).sum(axis=-1)
    reached = sorted(set(core.synapses[0].sources) | set(core.synapses[1].sources))
    np.testing.assert_array_equal(
        counts["messages_in"][:, core.index], given[:, reached].sum(axis=1))


def test_sums_per_layer_and_tile_are_those_of_their_cores() -> None:
    of = case(random_network(1))
    counts = count(of.network, of.placement, of.trace)
    total = counts["executed_synops"].sum(axis=1)
    by_layer = sum(counts.by_layer("executed_synops").values())
    np.testing.assert_array_equal(by_layer, total)
    np.testing.assert_array_equal(counts.by_tile("executed_synops").sum(axis=1), total)
    assert counts.by_tile("executed_synops").shape[1] == len(counts.tiles) > 1
    spread = counts.spread("executed_synops")
    assert spread.min <= spread.mean <= spread.max
    assert spread.mean == total.mean() and spread.std == total.std()


@pytest.mark.parametrize("n_steps", [1, 5])
def test_a_silent_run_of_one_neuron_counts_updates_only(n_steps: int) -> None:
    synapse = Synapse("one", INPUT, np.full((1, 1), 64, np.int32), None, 8)
    network = Network("one", (1,), n_steps, (Layer("one", (synapse,), CubaNeuron(0, 0, 9), (1,)),))
    target = load_target("loihi1")
    trace = emulate(network, np.zeros((1, 1, n_steps), np.uint8))
    counts = count(network, place(network, target), trace)
    assert {event for event in EVENTS if counts[event].any()} == {"neuron_updates_idle"}
    assert counts["neuron_updates_idle"].sum() == n_steps
    assert counts.spread("executed_synops").std == 0


@pytest.mark.parametrize("n_steps", [1, 4, 60, 61, 252, 255, 256, 300])
@pytest.mark.parametrize("largest", [1, 2, 255])
def test_rates_are_those_of_single_steps_whatever_their_number(n_steps: int, largest: int) -> None:
    rng = np.random.default_rng(n_steps)
    sent = (rng.random((2, 5, n_steps)) < 0.5).astype(np.uint8)
    sent[0, 0], sent[1, 4, -1] = 1, largest
    rates, is_graded = rates_of(sent)
    np.testing.assert_array_equal(rates, (sent != 0).sum(axis=-1).T)
    assert is_graded.tolist() == [False, largest > 1]


@pytest.mark.parametrize("largest", [1, 2**15, 2**16, 2**20])
def test_sums_beyond_32_bits_are_exact(largest: int) -> None:
    table, rates = np.array([[largest, 1], [0, 3]]), np.array([[largest - 1, 0], [7, 1]], np.int32)
    np.testing.assert_array_equal(
        _product(csr_array(table, dtype=np.int64), rates), table @ rates)


def damaged(of: Case, **parts: object) -> Trace:
    return replace(of.trace, **parts)


def test_a_trace_of_another_network_is_refused() -> None:
    of, other = case(random_network(0)), random_network(1)
    alike = of.network.with_layers(tuple(
        replace(layer, synapses=tuple(
            replace(s, weight=s.weight + 2 * (s.weight != 0)) for s in layer.synapses))
        for layer in of.network.layers))
    with pytest.raises(DataError, match="made by a network other than"):
        count(of.network, of.placement, emulate(alike, of.trace.spikes[INPUT]))
    spikes = {**of.trace.spikes, "d": of.trace.spikes["e"]}
    with pytest.raises(DataError, match="layer 'd'.*another network"):
        count(of.network, of.placement, damaged(of, spikes=spikes))
    with pytest.raises(DataError, match="layer 'input'.*another network"):
        count(of.network, of.placement, Trace({}, {}))
    with pytest.raises(DataError, match="placement.*another network"):
        count(of.network, place(other, of.target), of.trace)
    with pytest.raises(DataError, match="other active steps"):
        active_over_time(of.network, of.placement,
                         emulate(of.network, inputs(of.network), bias_from="power_on"))


def test_a_trace_that_lacks_what_only_the_emulator_records_is_refused() -> None:
    of = case(random_network(0))
    assert any(layer.axonal_delay for layer in of.network.layers)
    with pytest.raises(DataError, match="count a trace of the emulator"):
        count(of.network, of.placement, damaged(of, n_active={}))
    with pytest.raises(DataError, match="count a trace of the emulator"):
        count(of.network, of.placement, damaged(of, late={}))
    empty = {name: spikes[..., :0] for name, spikes in of.trace.spikes.items()}
    with pytest.raises(DataError, match="nothing to count"):
        count(of.network, of.placement, damaged(of, spikes=empty))


def test_a_placement_that_misses_neurons_is_refused() -> None:
    of = case(random_network(0))
    fewer = replace(of.placement, cores=of.placement.cores[:-1])
    with pytest.raises(DataError, match="of the 4 neurons of layer 'e'"):
        count(of.network, fewer, of.trace)
