"""Step times against a slow simulation of cores and links, and when a network has decided."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from accounting import Case, all_fired, case, random_network, reaches, small_cores

from hardware_targets import load_target
from pipeline.account.activity import active_over_time
from pipeline.account.counts import READINGS, Reading, count
from pipeline.account.energy import account
from pipeline.account.latency import UNDECIDED, latency
from pipeline.account.links import DIRECTIONS
from pipeline.account.timing import Timing, time_steps
from pipeline.emulate import Trace, emulate, emulate_pieces
from pipeline.lower import without_joins
from pipeline.mapping.place import place
from pipeline.network import INPUT, Layer, Network, Readout, Synapse
from pipeline.neuron import CubaNeuron

# nanoseconds typed in again from facts/hardware.md 2.1 and 2.2; what is not published is 0
NS = {
    "davies2018": {"synop": dict.fromkeys(("dense", "run_length", "sparse", "conv"), 3.5),
                   "active": 8.4, "idle": 5.3, "within": 2.1, "x": 4.1, "y": 6.5},
    "nahuku-fit": {"synop": {"dense": 3.8, "sparse": 4.7, "conv": 3.1}, "active": 9.7, "idle": 6.0,
                   "spike": 30.0, "out": 5.1, "in": 16.0, "x": 4.1, "y": 6.5},
}


def timings(of: Case) -> dict[str, Timing]:
    counts = count(of.network, of.placement, of.trace)
    active = active_over_time(of.network, of.placement, of.trace)
    return time_steps(of.network, of.placement, of.trace, counts, of.target, active)


def slow_step_ns(of: Case, name: str, reading: Reading) -> np.ndarray:
    """Return (n, n_steps): every message walked over the mesh, every core's work added up."""
    ns, network = NS[name], without_joins(of.network)
    n, n_steps = len(of.trace.spikes[INPUT]), network.n_steps
    work: Counter[tuple[int, int, int]] = Counter()
    load: Counter[tuple[int, int, object]] = Counter()
    home = {(core.layer, int(i)): core for core in of.placement.cores for i in core.neurons}
    fired = all_fired(of)
    per_entry = of.target.synapses.max_synapses_per_entry.value
    for layer in network.layers:
        cores = of.placement.cores_of(layer.name)
        for (source, neuron, index), found in reaches(network, layer, cores, per_entry).items():
            core = of.placement.cores[index]
            sent = fired[source] if source == layer.name else of.trace.spikes[source]
            sent = sent.reshape(n, -1, n_steps)[:, neuron]
            for sample, step in np.argwhere(sent):
                for kind, each in ns["synop"].items():
                    work[sample, step, index] += each * found[f"executed_synops_{kind}"]
                work[sample, step, index] += ns.get("in", 0.0)
                if source == INPUT:
                    continue
                sender = home[source, neuron]
                work[sample, step, sender.index] += ns.get("out", 0.0)
                x, y = sender.tile_x, sender.tile_y
                if (x, y) == (core.tile_x, core.tile_y):
                    load[sample, step, (x, y)] += ns.get("within", 0.0)
                while x != core.tile_x:
                    to = x + (1 if core.tile_x > x else -1)
                    load[sample, step, (x, y, to, y)] += ns["x"]
                    x = to
                while y != core.tile_y:
                    to = y + (1 if core.tile_y > y else -1)
                    load[sample, step, (x, y, x, to)] += ns["y"]
                    y = to
    n_active: Counter[tuple[int, int, int]] = Counter()
    for name_of, spikes in fired.items():
        for sample, neuron, step in np.argwhere(spikes):
            index = home[name_of, int(neuron)].index
            work[sample, step, index] += ns.get("spike", 0.0)
            n_active[sample, step, index] += reading == "spiked"
    if reading == "had_state":
        before = {layer.name: np.zeros((n, layer.n_neurons)) for layer in of.network.layers}
        for step, piece in enumerate(emulate_pieces(of.network, of.trace.spikes[INPUT], 1)):
            for core in of.placement.cores:
                now = piece.n_active[core.layer]
                for sample in range(n):
                    n_active[sample, step, core.index] += int(
                        (now - before[core.layer])[sample, core.neurons].sum())
            before = {name_of: now.copy() for name_of, now in piece.n_active.items()}
    tiles = len({(core.tile_x, core.tile_y) for core in of.placement.cores})
    barrier = of.target.price_sets[name].times.barrier.at(tiles)
    result = np.zeros((n, n_steps))
    for sample, step in np.ndindex(n, n_steps):
        cores = [
            work[sample, step, core.index] + ns["idle"] * core.n_neurons
            + (ns["active"] - ns["idle"]) * n_active[sample, step, core.index]
            for core in of.placement.cores]
        links = [ns_of for (a, b, _), ns_of in load.items() if (a, b) == (sample, step)]
        result[sample, step] = max(*cores, *links, 0.0) + barrier
    return result


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("name", NS)
@pytest.mark.parametrize("seed", range(3))
def test_step_times_are_those_of_a_walk_over_cores_and_links(
    seed: int, name: str, reading: Reading
) -> None:
    of = case(random_network(seed), small_cores(n_neurons=12))
    times = timings(of)[name].readings[reading]
    np.testing.assert_allclose(times.step_ns, slow_step_ns(of, name, reading), rtol=1e-12)
    n_all = times.step_ns.size
    assert times.n_slowest.sum() + times.n_link_bound == n_all
    np.testing.assert_allclose(times.sample_us, times.step_ns.sum(axis=1) / 1e3)


def test_a_busy_link_decides_a_step_and_is_named() -> None:
    """Two full cores a mesh apart: with slow links, messages take longer than the cores' work."""
    of = case(random_network(1), small_cores(n_neurons=12))
    slow = of.target.price_sets["davies2018"]
    times = slow.times.model_copy(update={
        key: getattr(slow.times, key).model_copy(update={"value": 1e4})
        for key in ("hop_east_west", "hop_north_south")})
    target = of.target.model_copy(update={
        "price_sets": {"slow": slow.model_copy(update={"times": times})}})
    timing = timings(replace(of, target=target))["slow"]
    assert timing.readings["spiked"].n_link_bound > 0
    busiest = timing.links[timing.link_ns.argmax()]
    assert DIRECTIONS[busiest[3]] != "within"


def test_times_nobody_published_are_named_and_count_as_nothing() -> None:
    timing = timings(case(random_network(0)))["davies2018"]
    assert {"spike", "message_out", "message_in"} <= set(timing.unpriced)
    assert not timing.is_complete
    assert timing.barrier_ns is not None and 113 <= timing.barrier_ns <= 465


def test_activity_found_by_states_is_that_found_step_by_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pipeline.account import activity

    of = case(random_network(4))
    fast = active_over_time(of.network, of.placement, of.trace)
    monkeypatch.setattr(activity, "_by_states", activity._step_by_step)
    np.testing.assert_array_equal(active_over_time(of.network, of.placement, of.trace), fast)
    monkeypatch.undo()
    monkeypatch.setattr(activity, "_STATE_BYTES", 1)
    np.testing.assert_array_equal(active_over_time(of.network, of.placement, of.trace), fast)


def outputs(*trains: list[int]) -> tuple[Network, Trace]:
    n, n_steps = len(trains), len(trains[0])
    synapse = Synapse("out", INPUT, np.zeros((n, 1), np.int32), None, 8)
    network = Network(
        "out", (1,), n_steps, (Layer("out", (synapse,), CubaNeuron(0, 0, 9), (n,)),))
    spikes = np.array(trains, np.uint8)[None]
    return network, Trace({INPUT: np.zeros((1, 1, n_steps), np.uint8), "out": spikes}, {})


@pytest.mark.parametrize(("trains", "step"), [
    (([0, 0, 0], [0, 0, 0]), UNDECIDED),
    (([1, 0, 0], [0, 0, 0]), 0),
    (([0, 0, 1], [0, 0, 0]), 2),
    (([1, 0, 0, 0], [0, 1, 1, 0]), 2),  # a tie at step 1 goes to the lowest index
    (([1, 0, 0, 1], [0, 1, 1, 0]), 3),  # and back by a tie at step 3
    (([1],), 0),
    (([0],), UNDECIDED),
])
def test_a_network_has_decided_when_its_leading_output_no_longer_changes(
    trains: tuple[list[int], ...], step: int
) -> None:
    network, trace = outputs(*trains)
    found = latency(network, trace)
    assert found.decision_step is not None and found.decision_step.tolist() == [step]
    (us,) = found.times_us(np.full((1, len(trains[0])), 500.0))
    assert np.isnan(us) if step == UNDECIDED else us == 0.5 * (step + 1)


def test_outputs_read_by_voltage_decide_only_where_the_trace_holds_voltages() -> None:
    network = random_network(0)
    network = replace(network, joins=network.joins, readout=Readout("voltage"))
    of = case(network)
    assert latency(network, of.trace).decision_step is None
    with_states = emulate(network, of.trace.spikes[INPUT], with_states=True)
    assert latency(network, with_states).decision_step is not None


def test_depth_is_the_number_of_layers_an_input_passes() -> None:
    network = random_network(0)
    found = latency(network, case(network).trace)
    assert found.depth_steps == 4  # a and b stand side by side
    assert found.longest_delay_steps == sum(
        max(layer.axonal_delay or (0,)) for layer in network.layers)


@pytest.mark.parametrize("n_steps", [1, 2])
def test_one_neuron_and_one_step_have_a_time(n_steps: int) -> None:
    synapse = Synapse("one", INPUT, np.full((1, 1), 64, np.int32), None, 8)
    network = Network("one", (1,), n_steps, (Layer("one", (synapse,), CubaNeuron(0, 0, 9), (1,)),))
    target = load_target("loihi1")
    for spikes in (np.zeros, np.ones):
        trace = emulate(network, spikes((1, 1, n_steps), np.uint8))
        report = account(network, place(network, target), trace, target)
        for prices in report.price_sets:
            times = prices.timing.readings["had_state"]
            assert np.isfinite(times.step_ns).all() and (times.step_ns > 0).all()
            assert times.spread.std == 0
