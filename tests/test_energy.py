"""What counts cost: prices typed in again, sums that agree, and what is never priced at zero."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from accounting import case, random_network, sigma_delta_network, small_cores

from hardware_targets import load_target
from pipeline.account.counts import READINGS, Counts
from pipeline.account.energy import account
from pipeline.artifact import load_artifact, save_artifact
from pipeline.emulate import emulate
from pipeline.mapping.place import place
from pipeline.network import INPUT, ConvGeometry, Layer, Network, Synapse
from pipeline.neuron import CubaNeuron

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
    return int(accounted[4].counts.by_layer(event)[layer].sum())


def test_layers_span_several_cores(accounted):
    placement = accounted[2]
    assert len(placement.cores_of("a")) == 8 and len(placement.cores) > 12


def test_effective_synops_equal_a_convolution_with_the_nonzero_mask(accounted):
    network, _, _, trace, _ = accounted
    expected = synops_by_convolution(network, trace.spikes, nonzero=True)
    for layer in network.layers:
        assert layer_sum(accounted, "effective_synops", layer.name) == expected[layer.name]


# prices and times typed in again from facts/hardware.md 2.1 and 2.2, not read from the target file
PRICES_PJ = {
    "davies2018": {
        "synop_dense": 23.6, "synop_run_length": 23.6, "synop_sparse": 23.6, "synop_conv": 23.6,
        "active": 81.0, "idle": 52.0, "within": 1.7, "east_west": 3.0, "north_south": 4.0},
    "nahuku-fit": {
        "synop_dense": 35.5, "synop_sparse": 33.6, "synop_conv": 24.0, "active": 51.2 + 21.6,
        "idle": 51.2, "spike": 69.3, "message": 111.0, "within": 0.0, "east_west": 3.0,
        "north_south": 4.2},
}


def expected_pj(counts: Counts, name: str, reading: str) -> np.ndarray:
    """Return the energy of each sample and core, event by event."""
    p, active = PRICES_PJ[name], {"had_state": "active", "spiked": "spiked"}[reading]
    n_updates = counts["neuron_updates_active"] + counts["neuron_updates_idle"]
    n_active = counts[f"neuron_updates_{active}"]
    total = n_active * p["active"] + (n_updates - n_active) * p["idle"]
    for kind in ("dense", "run_length", "sparse", "conv"):
        total = total + counts[f"executed_synops_{kind}"] * p.get(f"synop_{kind}", 0.0)
    return (
        total + counts["spikes"] * p.get("spike", 0.0)
        + counts["messages_out"] * p.get("message", 0.0)
        + counts["messages_within_tile"] * p["within"]
        + counts["hops_east_west"] * p["east_west"]
        + counts["hops_north_south"] * p["north_south"])


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("name", PRICES_PJ)
def test_energy_is_counts_times_the_published_prices(accounted, name, reading):
    report = accounted[4]
    prices = next(s for s in report.price_sets if s.name == name)
    expected = expected_pj(report.counts, name, reading)
    bill = prices.bills[reading]
    np.testing.assert_allclose(bill.by_sample_core_pj, expected, rtol=1e-12)
    assert bill.total_pj == pytest.approx(expected.sum(axis=1).mean(), rel=1e-12)
    np.testing.assert_allclose(
        sum(bill.by_event_core_pj.values()), expected.mean(axis=0), rtol=1e-12)


def test_sums_over_events_cores_tiles_layers_and_samples_agree(accounted):
    report = accounted[4]
    for prices in report.price_sets:
        for reading, bill in prices.bills.items():
            total = pytest.approx(bill.total_pj, rel=1e-12)
            assert bill.by_sample_pj.mean() == total
            assert sum(report.by_layer_pj(prices, reading).values()) == total
            assert report.by_tile_pj(prices, reading).sum() == total
            assert bill.spread.min <= bill.total_pj <= bill.spread.max
        low, high = prices.band_pj
        assert low < high
        assert {low, high} == {bill.total_pj for bill in prices.bills.values()}


def test_unpriced_events_make_a_total_incomplete_and_are_named(accounted):
    davies, nahuku = accounted[4].price_sets
    assert not davies.is_complete
    assert {"spike", "message", "barrier_step"} <= set(davies.unpriced)
    assert not {"spike", "message"} & set(davies.by_event_pj)
    assert accounted[4].counts["executed_synops_run_length"].any()
    # its authors fitted no run-length lists
    assert "synop_run_length" in nahuku.unpriced and "synop_run_length" not in nahuku.by_event_pj
    assert all(nahuku.unpriced.values())


def test_messages_between_chips_have_no_price():
    target = small_cores(n_neurons=6, cores_per_chip=16, tile_columns=2, tile_rows=2)
    of = case(random_network(3), target)
    report = account(of.network, of.placement, of.trace, target)
    for prices in report.price_sets:
        assert "no source" in prices.unpriced["message_off_chip"]
        assert "message_off_chip" in prices.timing.unpriced
        assert f"{of.placement.n_chips} are in use" in prices.timing.unpriced["barrier"]


def test_loihi2_prices_nothing_and_says_so():
    network = conv_net()
    target = load_target("loihi2")
    trace = emulate(network, spikes_for(network))
    report = account(network, place(network, target), trace, target)
    (prices,) = report.price_sets
    assert prices.by_event_pj == {} and not prices.is_complete
    assert {"synop_conv", "synop_dense", "neuron_update_active"} <= set(prices.unpriced)
    assert prices.timing.readings == {} and prices.timing.barrier_ns is None
    assert {"synop_conv", "barrier"} <= set(prices.timing.unpriced)
    assert prices.static.used_cores_pj == {} and prices.static.reason
    assert report.latency_us(prices, "had_state") is None


def test_loihi2_can_be_priced_as_loihi1_by_a_target_of_that_name():
    network, target = conv_net(), load_target("loihi2-priced-as-loihi1")
    trace = emulate(network, spikes_for(network))
    report = account(network, place(network, target), trace, target)
    assert len(report.price_sets) == 2
    for prices in report.price_sets:
        assert prices.total_pj > 0 and prices.timing.readings


def test_a_silent_trace_costs_idle_updates_only():
    network, target = conv_net(), load_target("loihi1")
    silent = np.zeros((1, *network.input_shape, network.n_steps), np.uint8)
    report = account(network, place(network, target), emulate(network, silent), target)
    assert report.counts["executed_synops"].sum() == 0
    davies = next(s for s in report.price_sets if s.name == "davies2018")
    n_neurons = sum(layer.n_neurons for layer in network.layers)
    assert davies.total_pj == pytest.approx(52 * n_neurons * network.n_steps)
    assert davies.band_pj == (davies.total_pj, davies.total_pj)
    assert report.latency.n_undecided == 1
    assert np.isnan(report.latency_us(davies, "spiked")).all()


def test_static_power_is_power_times_time_and_in_no_total(accounted):
    _, target, placement, _, report = accounted
    for prices in report.price_sets:
        static, n_cores = prices.static, len(placement.cores)
        for reading, times in prices.timing.readings.items():
            us = times.sample_us
            np.testing.assert_allclose(static.used_cores_pj[reading], 0.816 * n_cores * us * 1e3)
            chip_mw = target.system.static_chip_mw.value
            np.testing.assert_allclose(static.whole_chips_pj[reading], chip_mw * us * 1e3)
            assert "static" not in " ".join(prices.bills[reading].by_event_core_pj)


def test_the_convention_is_a_row_of_its_own_with_the_printed_values(accounted):
    report = accounted[4]
    n_synops = report.counts["effective_synops"].sum(axis=1)
    fp32, int8 = report.convention
    np.testing.assert_allclose(fp32.by_sample_pj, 0.9 * n_synops)
    np.testing.assert_allclose(int8.by_sample_pj, 0.03 * n_synops)
    assert (fp32.mac_pj, int8.mac_pj) == pytest.approx((4.6, 0.23))
    assert sum(fp32.by_layer_pj.values()) == pytest.approx(fp32.total_pj)
    assert "not this chip's" in fp32.label


def test_graded_events_are_macs_in_the_convention():
    of = case(sigma_delta_network(0), small_cores("loihi2"))
    report = account(of.network, of.placement, of.trace, of.target)
    n = report.counts["effective_synops"].sum(axis=1)
    assert (report.counts["effective_macs"].sum(axis=1) == n).all() and n.all()
    np.testing.assert_allclose(report.convention[0].by_sample_pj, 4.6 * n)


def test_an_account_survives_being_saved(accounted, tmp_path):
    report = accounted[4]
    save_artifact(tmp_path / "energy.npz", report, {})
    again = load_artifact(tmp_path / "energy.npz")
    assert [s.band_pj for s in again.price_sets] == [s.band_pj for s in report.price_sets]
    np.testing.assert_array_equal(again.counts["spikes"], report.counts["spikes"])
    assert again.latency_us(again.price_sets[0], "spiked").tolist() == \
        report.latency_us(report.price_sets[0], "spiked").tolist()


def test_an_account_without_times_says_that_static_energy_is_not_known(accounted):
    network, target, placement, trace, _ = accounted
    for prices in account(network, placement, trace, target, with_times=False).price_sets:
        assert prices.timing is None and prices.static.used_cores_pj == {}
        assert "not known" in prices.static.reason
