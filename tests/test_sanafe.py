"""Counts and energies per core against SANA-FE, a simulator by others, on the same mapped network.

SANA-FE is optional; without it (``--sanafe PYTHON``) these tests are skipped. Two uses: with
currents that have no memory SANA-FE's neurons have Loihi's arithmetic, and must fire as ours do;
the shipped networks' currents have memory, which SANA-FE keeps as floats, so that there it replays
our spikes and counts what they set off.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from accounting import inputs, random_network, small_cores
from numpy.typing import NDArray

from hardware_targets import Target, load_target
from pipeline.account.counts import Counts, count
from pipeline.account.energy import account
from pipeline.account.oracles.sanafe_bridge import SanafeRun, executed_edges, run_sanafe
from pipeline.emulate import Trace, emulate
from pipeline.errors import MissingExtraError, UnsupportedLayerError
from pipeline.lower import without_joins
from pipeline.mapping.place import place
from pipeline.mapping.placement import Placement
from pipeline.network import INPUT, Network, Synapse

PRICED = ("dense", "sparse", "conv")  # nahuku-fit has no run-length price
EXACT = {"rtol": 1e-9, "atol": 0}


def event_energy(
    counts: Counts, target: Target, n_active: NDArray[np.int64], sample: int
) -> NDArray[np.float64]:
    """Return what each core costs under nahuku-fit but for hops, typed in again from the facts."""
    synop = {"dense": 35.5, "sparse": 33.6, "conv": 24.0}
    assert not counts["executed_synops_run_length"].any()
    return np.asarray(
        sum(counts[f"executed_synops_{kind}"][sample] * pj for kind, pj in synop.items())
        + 51.2 * counts.n_neurons_of_core * counts.n_steps + 21.6 * n_active
        + 69.3 * counts["spikes"][sample] + 111.0 * counts["messages_out"][sample])


def assert_alike(
    run: SanafeRun, network: Network, placement: Placement, trace: Trace, counts: Counts,
    sample: int,
) -> None:
    for layer in network.layers:
        ours = trace.spikes[layer.name][sample].reshape(layer.n_neurons, -1) != 0
        np.testing.assert_array_equal(run.spikes[layer.name], ours, layer.name)
    n_synops = counts["executed_synops"][sample].sum()
    assert run.n_synops == n_synops > 0
    np.testing.assert_array_equal(run.n_messages.sum(axis=1), counts["messages_out"][sample])
    np.testing.assert_array_equal(
        run.n_messages.sum(axis=0), (counts["messages_in"] - counts["messages_from_outside"])[
            sample])
    np.testing.assert_array_equal(run.n_from_outside, counts["messages_from_outside"][sample])
    hops = counts["hops_east_west"][sample] + counts["hops_north_south"][sample]
    np.testing.assert_array_equal(run.n_hops, hops)


def active_in_sanafe(
    network: Network, placement: Placement, trace: Trace, sample: int
) -> NDArray[np.int64]:
    """Return updates of each core that SANA-FE calls active.

    Those of a neuron that had a voltage, a bias or a synop, even of weight 0, or that fires; a
    current alone does not count. Its first step is the one before our first.
    """
    network = without_joins(network)
    active = np.zeros(len(placement.cores), dtype=np.int64)
    for layer in network.layers:
        n_steps = trace.spikes[INPUT].shape[-1]
        received = np.zeros((layer.n_neurons, n_steps), dtype=np.int64)
        for core in placement.cores_of(layer.name):
            for stored in core.synapses:
                (group,) = [g for g in layer.groups if g.name == stored.synapse]
                sent = trace.spikes[group.source][sample].reshape(-1, n_steps) != 0
                source, post, _ = executed_edges(network, core, stored)
                np.add.at(received, post, sent[source].astype(np.int64))
        v = trace.v[layer.name][sample].reshape(layer.n_neurons, n_steps)
        fired = trace.spikes[layer.name][sample].reshape(layer.n_neurons, n_steps) != 0
        had_voltage = np.pad(v != 0, [(0, 0), (2, 0)])[:, :n_steps]
        had_synop = np.pad(received != 0, [(0, 0), (1, 0)])[:, :n_steps]
        bias = np.array(getattr(layer.neuron, "bias", None) or (0,) * layer.n_channels)
        has_bias = np.repeat(bias != 0, layer.n_neurons // layer.n_channels)[:, None]
        is_active = had_voltage | had_synop | fired | has_bias
        for core in placement.cores_of(layer.name):
            active[core.index] = is_active[core.neurons].sum()
    return active


def prompt(network: Network, density: float | None = None, seed: int = 0) -> Network:
    """Return the network without axonal delays, and, if asked, with weights everywhere."""
    rng = np.random.default_rng(seed)

    def changed(synapse: Synapse) -> Synapse:
        if density is None:
            return synapse
        drawn = 32 * rng.integers(-3, 5, synapse.weight.shape)
        return replace(synapse, weight=np.where(drawn == 0, 32, drawn).astype(np.int32))

    return network.with_layers(tuple(
        replace(layer, axonal_delay=None, synapses=tuple(changed(s) for s in layer.synapses))
        for layer in network.layers))


@pytest.mark.parametrize("density", [None, 1.0], ids=["pruned", "dense"])
@pytest.mark.parametrize("seed", range(12))
def test_generated_networks_cost_what_sanafe_says(
    seed: int, density: float | None, sanafe_python: str
) -> None:
    network, target = prompt(random_network(seed, 4096), density, seed), small_cores(n_neurons=16)
    placement = place(network, target, formats=PRICED)
    # SANA-FE's biases act one step before the first input
    trace = emulate(network, inputs(network), bias_from="power_on", with_states=True)
    counts = count(network, placement, trace)
    run = run_sanafe(network, placement, target, "nahuku-fit", trace, 1, is_replayed=False,
                     python=sanafe_python)
    assert sum(spikes.sum() for spikes in run.spikes.values()) > 0
    assert_alike(run, network, placement, trace, counts, 1)
    active = active_in_sanafe(network, placement, trace, 1)
    expected = event_energy(counts, target, active, 1)
    np.testing.assert_allclose(run.energy_pj, expected, **EXACT)


def shipped(name: str, pruned_frac: float) -> tuple[Network, NDArray[Any]]:
    from models.data.splits import load_split
    from pipeline.ingest import slayer
    from pipeline.ingest.checkpoint import load_module
    from pipeline.model_folder import find_model
    from pipeline.quantize import as_trained

    model = find_model(name)
    network, _ = as_trained(slayer.to_network(load_module(model), model))

    def cut(synapse: Synapse) -> Synapse:
        size = np.abs(synapse.weight)
        return replace(synapse, weight=np.where(
            size > np.quantile(size, pruned_frac), synapse.weight, 0).astype(np.int32))

    if pruned_frac:
        network = network.with_layers(tuple(
            replace(layer, synapses=tuple(cut(s) for s in layer.synapses))
            for layer in network.layers))
    return network, load_split(model.data, "test", network.n_steps, 2).spikes


@pytest.mark.slow
@pytest.mark.parametrize("pruned_frac", [0.0, 0.9], ids=["dense", "pruned"])
@pytest.mark.parametrize("name", ["nmnist_mlp", "nmnist_cnn"])
def test_shipped_networks_cost_what_sanafe_says(
    name: str, pruned_frac: float, sanafe_python: str
) -> None:
    network, spikes = shipped(name, pruned_frac)
    target = load_target("loihi1")
    placement = place(network, target, formats=PRICED)
    trace = emulate(network, spikes)
    report = account(network, placement, trace, target, with_times=False)
    run = run_sanafe(network, placement, target, "nahuku-fit", trace, 0, is_replayed=True,
                     python=sanafe_python)
    assert_alike(run, network, placement, trace, report.counts, 0)
    # a neuron that replays is active where it spikes: the account's own bill, hops aside
    bill = next(s for s in report.price_sets if s.name == "nahuku-fit").bills["spiked"]
    hops = 3.0 * report.counts["hops_east_west"] + 4.2 * report.counts["hops_north_south"]
    np.testing.assert_allclose(
        run.energy_pj, (bill.by_sample_core_pj - hops)[0], **EXACT)


def test_what_sanafe_does_not_have_is_refused(sanafe_python: str) -> None:
    network, target = random_network(0), small_cores(n_neurons=16)
    placement = place(network, target, formats=PRICED)
    trace = emulate(network, inputs(network))
    with pytest.raises(UnsupportedLayerError, match="no axonal delays"):
        run_sanafe(network, placement, target, "nahuku-fit", trace, 0, is_replayed=True,
                   python=sanafe_python)


def test_a_python_without_sanafe_is_told_how_to_get_it(tmp_path: Any) -> None:
    bare = tmp_path / "python"
    bare.write_text("#!/bin/sh\nexit 1\n")
    bare.chmod(0o755)
    network, target = random_network(0), small_cores(n_neurons=16)
    placement = place(network, target, formats=PRICED)
    with pytest.raises(MissingExtraError, match="pip install sanafe"):
        run_sanafe(network, placement, target, "nahuku-fit", emulate(network, inputs(network)), 0,
                   is_replayed=True, python=str(bare))
