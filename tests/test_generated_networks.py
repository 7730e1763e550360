"""Generated networks spike the same in SLAYER, the emulator and Lava, in every neuron and step.

Each seed is a SLAYER module of its own: kinds, sizes, strides, groups, delays, recurrence, biases,
sums and concatenation. Two of three get other weights, on grids of 2 to 8 bits and up to 100 %
sparse. Lava runs what we wire, potentials compared too; chains also through the stock NetX loader.
``make test-all`` runs 300 of them.
"""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.compare import compare_traces
from pipeline.emulate import BiasFrom, Trace, emulate
from pipeline.export_netx import write_netx
from pipeline.fixedpoint import inferred_weight_bits
from pipeline.lava_backend import LavaJob, run_lava_many
from pipeline.network import Network, Synapse
from pipeline.netx_entries import netx_obstacle
from pipeline.quantize import as_trained

pytestmark = pytest.mark.slow

N_STEPS, LIMIT_S = 40, 300.0
MODULES = Path(__file__).parent / "slayer_networks" / "random_graph.py"
SPARSITIES, SHARES = (0.0, 0.3, 0.9, 1.0), (0.4, 0.3, 0.2, 0.1)


def other_weights(network: Network, rng: np.random.Generator) -> Network:
    """Return the network with weights on grids of 2 to 8 bits and some, or all, of them zero."""
    def changed(synapse: Synapse) -> Synapse:
        if synapse.is_fixed:
            return synapse
        bits = int(rng.integers(2, 9))
        half = 1 << (bits - 1)
        largest = max(1, np.abs(synapse.weight).max())
        scaled = synapse.weight / largest * half * rng.uniform(0.5, 1.2)
        weight = np.clip(np.rint(scaled), -half, half - 1).astype(np.int32) << (9 - bits)
        weight[rng.random(weight.shape) < rng.choice(SPARSITIES, p=SHARES)] = 0
        return replace(synapse, weight=weight)

    return network.with_layers(tuple(
        replace(layer, synapses=tuple(changed(s) for s in layer.synapses),
                recurrent=None if layer.recurrent is None else changed(layer.recurrent))
        for layer in network.layers
    ))


def with_inferred_bits(network: Network) -> Network:
    return network.with_layers(tuple(
        replace(layer, synapses=tuple(
            replace(s, weight_bits=inferred_weight_bits(s.weight)) for s in layer.synapses))
        for layer in network.layers
    ))


class Generated:
    """The module, the network and the spikes of a seed."""

    def __init__(self, seed: int) -> None:
        from pipeline.ingest import slayer

        spec = importlib.util.spec_from_file_location("random_graph", MODULES)
        assert spec is not None and spec.loader is not None
        modules = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(modules)
        module, rng = modules.RandomGraph(seed), np.random.default_rng(seed)
        description = SimpleNamespace(input_shape=module.input_shape, n_steps=N_STEPS)
        model: Any = SimpleNamespace(name=f"seed {seed}", description=description)
        self.network, _ = as_trained(slayer.to_network(module, model))
        if seed % 3:
            self.network = other_weights(self.network, rng)
            slayer.write_back(module, self.network)
        shape = (2, *self.network.input_shape, N_STEPS)
        self.spikes: NDArray[np.uint8] = (
            rng.random(shape) < rng.choice([0.05, 0.3, 0.9])).astype(np.uint8)
        self.slayer: Trace = slayer.run_module(module, self.network, self.spikes)

    @property
    def loads_in_netx(self) -> bool:
        """Whether the stock loader takes the network; it takes no layer without weights."""
        groups = [group for layer in self.network.layers for group in layer.groups]
        return netx_obstacle(self.network) is None and all(g.weight.any() for g in groups)

    def jobs(self, seed: int, folder: Path) -> list[LavaJob]:
        """Return what Lava is to run."""
        wired = LavaJob(self.network, self.spikes, None, True, "first_input")
        if not self.loads_in_netx:
            return [wired]
        network = with_inferred_bits(self.network)
        path = folder / f"{seed}.net"
        write_netx(network, path, "test")
        return [wired, LavaJob(network, self.spikes, path, False, "power_on")]


def n_differing(first: dict[str, NDArray[Any]], second: dict[str, NDArray[Any]]) -> int:
    assert set(first) <= set(second)
    return sum(int((first[name] != second[name]).sum()) for name in first)


def test_backends_agree(seeds: range, tmp_path: Path, generated_totals: dict[str, int]) -> None:
    jobs: list[LavaJob] = []
    for seed in seeds:
        generated = Generated(seed)
        network, spikes = generated.network, generated.spikes
        comparison = compare_traces(
            network, generated.slayer, "SLAYER", emulate(network, spikes), "emulator")
        assert comparison.n_differing == 0, f"seed {seed}: SLAYER and emulator: {comparison}"
        jobs += generated.jobs(seed, tmp_path)
        generated_totals["networks"] += 1
        generated_totals["spikes"] += sum(layer.n_spikes for layer in comparison.layers)
    for job, run in zip(jobs, run_lava_many(jobs, LIMIT_S), strict=True):
        emulated = emulate(job.network, job.spikes, with_states=job.with_states,
                           bias_from=cast(BiasFrom, job.bias_from))
        for quantity in ("spikes", "u", "v"):
            different = n_differing(getattr(run.trace, quantity), getattr(emulated, quantity))
            assert different == 0, f"{job.network.name}, {quantity}, stock: {job.net_file}"
        generated_totals["runs of Lava, wired" if job.net_file is None else
                         "runs of Lava, stock loader"] += 1
