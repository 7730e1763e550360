"""Metrics under NeuroBench's names: its definitions computed with torch, and its own package.

The package is optional (``pip install --no-deps neurobench==2.3.0 snntorch``); where it is absent
the one test that calls it is skipped.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from accounting import (
    Case,
    case,
    random_network,
    resonator_network,
    sigma_delta_network,
    small_cores,
)
from numpy.typing import NDArray

from pipeline.account.counts import count
from pipeline.account.neurobench import neurobench_metrics
from pipeline.emulate import emulate
from pipeline.lower import without_joins
from pipeline.mapping.place import place
from pipeline.network import INPUT, Network, Synapse

Operations = Callable[[torch.Tensor, torch.nn.Module, bool], int]


def torch_layer(synapse: Synapse) -> torch.nn.Module:
    weight, geometry = synapse.weight, synapse.geometry
    layer: Any = torch.nn.Linear(*weight.shape[::-1], bias=False) if geometry is None else \
        torch.nn.Conv2d(
            weight.shape[1] * geometry.groups, weight.shape[0], weight.shape[2:],
            geometry.stride, geometry.padding, geometry.dilation, geometry.groups, bias=False)
    layer.weight.data = torch.from_numpy(weight.astype(np.float32))
    return layer


def by_definition(inputs: torch.Tensor, layer: torch.nn.Module, total: bool) -> int:
    """Return operations as NeuroBench defines them: all nonzeros, or all values, set to one."""
    weight = layer.weight.data
    layer.weight.data = torch.ones_like(weight) if total else (weight != 0).float()
    result = int(layer(torch.ones_like(inputs) if total else (inputs != 0).float()).sum())
    layer.weight.data = weight
    return result


def by_package(inputs: torch.Tensor, layer: torch.nn.Module, total: bool) -> int:
    from neurobench.metrics.utils.layers import single_layer_MACs

    return int(single_layer_MACs(inputs, layer, total=total)[0])


def operations(of: Case, rule: Operations, total: bool) -> dict[str, float]:
    """Return operations per layer and sample, one call a time step, as its hooks see them."""
    network, found = without_joins(of.network), {}
    for layer in network.layers:
        found[layer.name] = 0
        for group in layer.stored_groups:
            sent = torch.from_numpy(of.trace.spikes[group.source].astype(np.float32))
            # a dense layer takes a source of channels flattened
            for step in sent.movedim(-1, 0):
                flat = step if group.geometry is not None else step.flatten(1)
                found[layer.name] += rule(flat, torch_layer(group), total)
    n = len(of.trace.spikes[INPUT])
    return {name: value / n for name, value in found.items()}


NETWORKS: dict[str, Callable[[int], Network]] = {
    "cuba": random_network, "sigma-delta": sigma_delta_network, "resonators": resonator_network}


def without_delayed_recurrence(network: Network) -> Network:
    """Return the network with recurrent spikes that arrive when all others do."""
    from dataclasses import replace

    return network.with_layers(tuple(
        replace(layer, axonal_delay=None) if layer.recurrent else layer
        for layer in network.layers))


@pytest.fixture(params=["definition", "package"])
def rule(request: pytest.FixtureRequest) -> Operations:
    if request.param == "definition":
        return by_definition
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip(
            "neurobench.metrics.utils.layers", reason="neurobench is not installed")
    return by_package


@pytest.mark.parametrize("family", NETWORKS)
@pytest.mark.parametrize("seed", range(2))
def test_effective_and_dense_operations_per_layer_are_neurobenchs(
    family: str, seed: int, rule: Operations
) -> None:
    target = small_cores("loihi2" if family == "sigma-delta" else "loihi1", 12)
    of = case(without_delayed_recurrence(NETWORKS[family](seed)), target)
    counts = count(of.network, of.placement, of.trace)
    metrics = neurobench_metrics(of.network, counts, of.trace)
    both = {name: metrics.effective_acs[name] + n for name, n in metrics.effective_macs.items()}
    assert both == pytest.approx(operations(of, rule, total=False), rel=1e-12)
    assert metrics.dense == pytest.approx(operations(of, rule, total=True), rel=1e-12)
    mixed = {name for name, n in metrics.effective_macs.items()
             if n and metrics.effective_acs[name]}
    assert not mixed
    assert any(metrics.effective_macs.values()) == (family == "sigma-delta")


def test_sparsities_and_footprint_are_shares_and_bytes_of_what_is_there() -> None:
    of = case(random_network(0))
    metrics = neurobench_metrics(
        of.network, count(of.network, of.placement, of.trace), of.trace)
    weights = [g.weight for layer in without_joins(of.network).layers for g in layer.groups]
    flat = np.concatenate([weight.ravel() for weight in weights])
    assert metrics.connection_sparsity_frac == np.mean(flat == 0)
    assert metrics.footprint_bytes == flat.size  # 8 bits each
    sent = np.concatenate([of.trace.spikes[layer.name].ravel() for layer in of.network.layers])
    assert metrics.activation_sparsity_frac == pytest.approx(np.mean(sent == 0))
    assert metrics.membrane_updates is None
    assert set(metrics.as_neurobench()) == {
        "Footprint", "ConnectionSparsity", "ActivationSparsity", "SynapticOperations",
        "MembraneUpdates"}


def test_membrane_updates_are_changed_potentials_and_all_of_the_first_step() -> None:
    network = random_network(1)
    of = case(network)
    trace = emulate(network, of.trace.spikes[INPUT], with_states=True)
    metrics = neurobench_metrics(
        network, count(network, place(network, of.target), trace), trace)
    assert metrics.membrane_updates is not None
    for layer in network.layers:
        v: NDArray[np.int32] = trace.v[layer.name]
        n = sum(int((v[..., t] != v[..., t - 1]).sum()) for t in range(1, v.shape[-1]))
        assert metrics.membrane_updates[layer.name] == (n + v[..., 0].size) / len(v)
