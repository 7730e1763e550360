"""Counts taken inside Lava, by its process models as they execute, against those of the account."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from accounting import (
    inputs,
    random_network,
    resonator_network,
    sigma_delta_network,
    small_cores,
)

from hardware_targets import load_target
from pipeline.account.counts import count
from pipeline.emulate import BiasFrom, emulate
from pipeline.export_netx import write_netx
from pipeline.lava_backend import LavaJob, run_lava_many
from pipeline.mapping.place import place

pytestmark = pytest.mark.slow

LIMIT_S = 300.0


def assert_lava_counts_alike(jobs: list[LavaJob]) -> None:
    for job, run in zip(jobs, run_lava_many(jobs, LIMIT_S), strict=True):
        trace = emulate(job.network, job.spikes, bias_from=job.bias_from)
        counts = count(job.network, job.placement, trace)
        assert set(run.counts) == {"effective_synops", "neuron_updates_active", "spikes"}
        for event, counted in run.counts.items():
            expected = counts[event].copy()
            if event == "spikes":  # a decoder sends its state
                decodes = [getattr(job.network.layer(core.layer).neuron, "role", "") == "sigma"
                           for core in job.placement.cores]
                counted = counted * ~np.array(decodes)
            np.testing.assert_array_equal(counted, expected, f"{job.network.name}: {event}")
            assert counted.sum() > 0


@pytest.mark.parametrize("bias_from", ["first_input", "power_on"])
def test_lava_counts_what_the_account_counts_on_generated_networks(bias_from: BiasFrom) -> None:
    jobs = []
    for seed in range(8):
        for build, target in ((random_network, small_cores(n_neurons=11)),
                              (resonator_network, small_cores(n_neurons=11)),
                              (sigma_delta_network, small_cores("loihi2", 8))):
            network = build(seed)
            jobs.append(LavaJob(network, inputs(network, n=2), bias_from=bias_from,
                                placement=place(network, target, max_chips=4)))
    assert_lava_counts_alike(jobs)


@pytest.mark.parametrize("name", ["nmnist_mlp", "nmnist_cnn"])
def test_lava_counts_what_the_account_counts_on_shipped_networks(
    name: str, tmp_path: Path
) -> None:
    from models.data.splits import load_split
    from pipeline.ingest import slayer
    from pipeline.ingest.checkpoint import load_module
    from pipeline.model_folder import find_model
    from pipeline.quantize import as_trained

    model = find_model(name)
    network, _ = as_trained(slayer.to_network(load_module(model), model))
    spikes = load_split(model.data, "test", network.n_steps, 2).spikes
    placement = place(network, load_target("loihi1"))
    file = tmp_path / "network.net"
    write_netx(network, file, "test")
    assert_lava_counts_alike([
        LavaJob(network, spikes, placement=placement),
        LavaJob(network, spikes, file, placement=placement),
    ])
