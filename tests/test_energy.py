"""Counts per core against counts made independently from the spike trains, and their prices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hardware_targets import load_target
from pipeline.emulate import emulate
from pipeline.energy import account
from pipeline.errors import DataError
from pipeline.network import INPUT, ConvGeometry, CubaNeuron, Layer, Network, Synapse
from pipeline.place import place

NEURON = CubaNeuron(1024, 128, 60)


def conv_net(seed: int = 0, density: float = 0.3) -> Network:
    """Return conv (grouped, strided, padded) - conv - dense - dense with pruned even weights."""
    rng = np.random.default_rng(seed)

    def weight(*shape: int) -> np.ndarray:
        values = 32 * rng.integers(-8, 8, shape)
        return np.where(rng.random(shape) < density, values, 0).astype(np.int32)

    return Network("test", (2, 9, 8), 20, (
        Layer("a", (Synapse("a", INPUT, weight(4, 1, 3, 3),
                            ConvGeometry((2, 1), (1, 0), (1, 1), 2), 4),), NEURON, (4, 5, 6)),
        Layer("b", (Synapse("b", "a", weight(6, 4, 3, 2),
                            ConvGeometry((1, 2), (0, 1), (1, 1), 1), 4),), NEURON, (6, 3, 4)),
        Layer("c", (Synapse("c", "b", weight(30, 72), None, 4),), NEURON, (30,)),
        Layer("d", (Synapse("d", "c", weight(5, 30), None, 4),), NEURON, (5,)),
    ))


def spikes_for(network: Network, n: int = 4, rate: float = 0.3) -> np.ndarray:
    rng = np.random.default_rng(1)
    return (rng.random((n, *network.input_shape, network.n_steps)) < rate).astype(np.uint8)


def synops_by_convolution(network: Network, trace_spikes: dict, nonzero: bool) -> dict[str, float]:
    """Return synops per layer by convolving spikes with kernels of ones: no fan-out tables."""
    result = {}
    for layer in network.layers:
        (synapse,) = layer.synapses
        source = torch.from_numpy(trace_spikes[synapse.source]).double()
        ones = synapse.weight != 0 if nonzero else np.ones_like(synapse.weight, dtype=bool)
        kernel = torch.from_numpy(ones).double()
        steps = source.movedim(-1, 1).flatten(0, 1)
        if synapse.geometry is None:
            reached = steps.flatten(1) @ kernel.T
        else:
            g = synapse.geometry
            reached = torch.nn.functional.conv2d(
                steps, kernel, None, g.stride, g.padding, g.dilation, g.groups)
        result[layer.name] = float(reached.sum())
    return result


@pytest.fixture(scope="module")
def accounted():
    network = conv_net()
    # small cores, so that layers span several of them
    target = load_target("loihi1")
    small = target.capacities.neurons_per_core.model_copy(update={"value": 16})
    target = target.model_copy(update={
        "capacities": target.capacities.model_copy(update={"neurons_per_core": small})})
    placement = place(network, target)
    trace = emulate(network, spikes_for(network))
    assert all(trace.spikes[layer.name].sum() > 0 for layer in network.layers)
    return network, target, placement, trace, account(network, placement, trace, target)


def layer_sum(accounted, event: str, layer: str) -> int:
    _, _, placement, _, report = accounted
    return int(report.counts[event][:, [c.index for c in placement.cores_of(layer)]].sum())


def test_layers_span_several_cores(accounted):
    placement = accounted[2]
    assert len(placement.cores_of("a")) == 8 and len(placement.cores) > 12


def test_effective_synops_equal_a_convolution_with_the_nonzero_mask(accounted):
    network, _, _, trace, _ = accounted
    expected = synops_by_convolution(network, trace.spikes, nonzero=True)
    for layer in network.layers:
        assert layer_sum(accounted, "effective_synops", layer.name) == expected[layer.name]


def test_dense_and_conv_formats_execute_stored_zeros_of_stored_axons(accounted):
    network, _, placement, trace, report = accounted
    for core in placement.cores:
        (group,) = core.synapses
        layer = next(lay for lay in network.layers if lay.name == core.layer)
        (synapse,) = layer.synapses
        source = trace.spikes[synapse.source].reshape(4, -1, network.n_steps)
        positions, nonzero = reach(network, layer, core)
        executed = 0
        for i in range(source.shape[1]):
            fan_out = nonzero[i] if group.format == "sparse" else (
                positions[i] if nonzero[i] else 0)
            executed += int(source[:, i].sum()) * fan_out
        assert report.counts["executed_synops"][:, core.index].sum() == executed


def reach(network: Network, layer: Layer, core) -> tuple[list[int], list[int]]:
    """Return, per source neuron, positions and nonzero weights on a core, one impulse at a time."""
    (synapse,) = layer.synapses
    in_shape = network.shape_of(synapse.source)
    n_in = int(np.prod(in_shape))
    impulses = torch.eye(n_in, dtype=torch.float64).reshape(n_in, *in_shape)
    result = []
    for mask in (np.ones(synapse.weight.shape), synapse.weight != 0):
        kernel = torch.from_numpy(np.asarray(mask, dtype=np.float64))
        if synapse.geometry is None:
            out = impulses.flatten(1) @ kernel.T
        else:
            g = synapse.geometry
            out = torch.nn.functional.conv2d(
                impulses, kernel, None, g.stride, g.padding, g.dilation, g.groups).flatten(1)
        result.append([int(n) for n in out[:, core.begin:core.end].sum(dim=1)])
    return result[0], result[1]


def test_every_neuron_is_updated_at_every_step(accounted):
    network, _, _, trace, _ = accounted
    for layer in network.layers:
        active = layer_sum(accounted, "neuron_updates_active", layer.name)
        idle = layer_sum(accounted, "neuron_updates_idle", layer.name)
        assert active + idle == layer.n_neurons * network.n_steps * 4
        assert active == trace.n_active[layer.name].sum() > 0


def test_spikes_per_core_sum_to_the_spike_trains(accounted):
    network, _, _, trace, _ = accounted
    for layer in network.layers:
        assert layer_sum(accounted, "spikes", layer.name) == trace.spikes[layer.name].sum()


def test_messages_are_spikes_times_destination_cores(accounted):
    network, _, placement, trace, report = accounted
    sent = received = from_outside = hops = 0
    for core in placement.cores:
        layer = next(lay for lay in network.layers if lay.name == core.layer)
        source_name = layer.synapses[0].source
        source = trace.spikes[source_name].reshape(4, -1, network.n_steps)
        _, nonzero = reach(network, layer, core)
        for i in range(source.shape[1]):
            n = int(source[:, i].sum()) * bool(nonzero[i])
            received += n
            if source_name == INPUT:
                from_outside += n
                continue
            sent += n
            (sender,) = [c for c in placement.cores_of(source_name) if c.begin <= i < c.end]
            hops += n * (abs(sender.tile_x - core.tile_x) + abs(sender.tile_y - core.tile_y))
    assert report.counts["messages_in"].sum() == received
    assert report.counts["messages_out"].sum() == sent > 0
    assert report.input_messages.sum() == from_outside
    total = report.counts["hops_east_west"].sum() + report.counts["hops_north_south"].sum()
    assert total == hops > 0


def test_energy_is_counts_times_the_published_prices(accounted):
    _, _, placement, _, report = accounted
    nahuku = next(s for s in report.price_sets if s.name == "nahuku-fit")
    mean = {event: array.mean(axis=0) for event, array in report.counts.items()}
    # prices typed in again from facts/hardware.md 2.2, not read from the target file
    synop = {"dense": 35.5, "sparse": 33.6, "conv": 24.0}
    formats = [core.synapses[0].format for core in placement.cores]
    expected = (
        mean["executed_synops"] @ [synop[f] for f in formats]
        + (51.2 + 21.6) * mean["neuron_updates_active"].sum()
        + 51.2 * mean["neuron_updates_idle"].sum()
        + 69.3 * mean["spikes"].sum() + 111.0 * mean["messages_out"].sum()
        + 3.0 * mean["hops_east_west"].sum() + 4.2 * mean["hops_north_south"].sum()
    )
    assert nahuku.total_pj == pytest.approx(expected, rel=1e-12)
    assert nahuku.by_core_pj.sum() == pytest.approx(expected, rel=1e-12)


def test_unpriced_events_make_a_total_incomplete_and_are_named(accounted):
    davies = next(s for s in accounted[4].price_sets if s.name == "davies2018")
    assert not davies.is_complete
    assert {"spike", "message", "barrier_step"} <= set(davies.unpriced)
    assert not {"spike", "message"} & set(davies.by_event_pj)


def test_loihi2_prices_nothing_and_says_so():
    network = conv_net()
    target = load_target("loihi2")
    trace = emulate(network, spikes_for(network))
    (prices,) = account(network, place(network, target), trace, target).price_sets
    assert prices.by_event_pj == {} and not prices.is_complete
    assert {"synop_conv", "synop_dense", "neuron_update_active"} <= set(prices.unpriced)


def test_a_silent_trace_costs_idle_updates_only():
    network, target = conv_net(), load_target("loihi1")
    silent = np.zeros((1, *network.input_shape, network.n_steps), np.uint8)
    report = account(network, place(network, target), emulate(network, silent), target)
    assert report.counts["executed_synops"].sum() == 0
    davies = next(s for s in report.price_sets if s.name == "davies2018")
    n_neurons = sum(layer.n_neurons for layer in network.layers)
    assert davies.total_pj == pytest.approx(52 * n_neurons * network.n_steps)


def test_a_trace_of_another_network_is_refused(accounted):
    network, target, placement, trace, _ = accounted
    other = replace(trace, spikes={**trace.spikes, "c": trace.spikes["d"]})
    with pytest.raises(DataError, match="layer 'c'.*another network"):
        account(network, placement, other, target)
