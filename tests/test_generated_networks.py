"""Generated networks spike the same in SLAYER, the emulator and Lava, in every neuron and step.

Each seed is a SLAYER module of its own: kinds, sizes, strides, groups, delays, recurrence, biases,
sums and concatenation; of six, one has sigma-delta blocks and one resonators. Two of three get
other weights, on grids of 2 to 8 bits and up to 100 % sparse. Lava runs what we wire, potentials
compared too; chains also through the stock NetX loader, as we read them from the file again.
``make test-all`` runs 300 of them.
"""

from __future__ import annotations

import importlib
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
from pipeline.graded import encodes, is_graded
from pipeline.ingest.netx import read_netx
from pipeline.lava_backend import LavaJob, run_lava_many
from pipeline.network import Network, Synapse
from pipeline.netx_entries import netx_obstacle
from pipeline.neuron import CubaNeuron, Neuron, ResonatorNeuron, SigmaDeltaNeuron
from pipeline.quantize import as_trained

pytestmark = pytest.mark.slow

N_STEPS, LIMIT_S = 40, 300.0
MODULES = Path(__file__).parent / "slayer_networks"
FAMILIES = {4: "RandomMessages", 5: "RandomResonators"}  # by seed % 6
SPARSITIES, SHARES = (0.0, 0.3, 0.9, 1.0), (0.4, 0.3, 0.2, 0.1)
# SLAYER's float32 rounds states from 64 up, in 2^-18, and does not clip those of resonators
EXACT_IN_SLAYER = {SigmaDeltaNeuron: 1 << 23, ResonatorNeuron: (1 << 23) - 1}


def other_weights(network: Network, rng: np.random.Generator) -> Network:
    """Return the network with weights on grids of 2 to 8 bits and some, or all, of them zero."""
    def changed(synapse: Synapse, neuron: Neuron) -> Synapse:
        if synapse.is_fixed:
            return synapse
        is_small = isinstance(neuron, SigmaDeltaNeuron)
        bits = int(rng.integers(2, 6 if is_small else 9))
        half = 1 << (bits - 1)
        largest = max(1, np.abs(synapse.weight).max())
        scaled = synapse.weight / largest * half * rng.uniform(0.5, 1.2)
        step_exp = 2 if is_small else 9 - bits  # sums of messages are to stay below 64
        weight = np.clip(np.rint(scaled), -half, half - 1).astype(np.int32) << step_exp
        weight[rng.random(weight.shape) < rng.choice(SPARSITIES, p=SHARES)] = 0
        if not isinstance(neuron, CubaNeuron) and not weight.any():
            weight.flat[0] = 1 << 7  # the stock loader takes no others
        return replace(synapse, weight=weight)

    return network.with_layers(tuple(
        replace(layer, synapses=tuple(changed(s, layer.neuron) for s in layer.synapses),
                recurrent=None if layer.recurrent is None else changed(
                    layer.recurrent, layer.neuron))
        for layer in network.layers
    ))


def module_of(seed: int) -> Any:
    """Return the module of a seed; SLAYER is to be imported before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(MODULES)
        family = FAMILIES.get(seed % 6, "RandomGraph")
        name = "random_graph" if family == "RandomGraph" else "random_families"
        return getattr(importlib.import_module(name), family)(seed)


def data_for(network: Network, rng: np.random.Generator) -> NDArray[Any]:
    """Return spikes, or for what encodes them values in 2^-6 that change in small steps."""
    shape = (2, *network.input_shape, N_STEPS)
    if encodes(network.layers[0]):
        walk = 2 * np.cumsum(rng.integers(-16, 17, shape), axis=-1)
        return np.clip(walk, -256, 254).astype(np.int32)
    return (rng.random(shape) < rng.choice([0.05, 0.3, 0.9])).astype(np.uint8)


def for_slayer(network: Network, data: NDArray[Any]) -> NDArray[Any]:
    """Return less of the data, until SLAYER can compute as exactly as the chip."""
    for divisor in (1, 2, 4, 8, 16, 32):
        less = data.copy()
        if encodes(network.layers[0]):
            less = data // (2 * divisor) * 2  # even, as SLAYER rounds
        else:
            less[..., np.arange(N_STEPS) % divisor > 0] = 0
        trace = emulate(network, less, with_states=True)
        if all(np.abs(state[layer.name]).max() < limit for layer in network.layers
               for kind, limit in EXACT_IN_SLAYER.items() if isinstance(layer.neuron, kind)
               for state in (trace.u, trace.v)):
            return less
    raise AssertionError(f"{network.name}: its states are too large for SLAYER")


def with_cumulative_errors(network: Network, rng: np.random.Generator) -> Network:
    """Return the network with errors that add up in some layers, at which SLAYER itself fails."""
    return network.with_layers(tuple(
        replace(layer, neuron=replace(layer.neuron, is_cumulative=bool(rng.random() < 0.5)))
        if isinstance(layer.neuron, SigmaDeltaNeuron) else layer for layer in network.layers
    ))


def with_inferred_bits(network: Network) -> Network:
    return network.with_layers(tuple(
        replace(layer, synapses=tuple(
            replace(s, weight_bits=inferred_weight_bits(s.weight)) for s in layer.synapses))
        for layer in network.layers
    ))


class Generated:
    """The module, the network and the spikes, or data, of a seed."""

    def __init__(self, seed: int) -> None:
        from pipeline.ingest import slayer
        from pipeline.ingest.slayer_write_back import write_back

        module, self.rng = module_of(seed), np.random.default_rng(seed)
        description = SimpleNamespace(input_shape=module.input_shape, n_steps=N_STEPS)
        model: Any = SimpleNamespace(name=f"seed {seed}", description=description)
        self.network, _ = as_trained(slayer.to_network(module, model))
        if seed % 3:
            self.network = other_weights(self.network, self.rng)
            write_back(module, self.network)
        self.spikes = data_for(self.network, self.rng)
        self.slayer_spikes = for_slayer(self.network, self.spikes)
        if self.is_messages and seed % 4:
            self.spikes = 200 * self.spikes + 1  # sums of convolutions wrap at 24 bits
        self.slayer: Trace = slayer.run_module(module, self.network, self.slayer_spikes)

    @property
    def is_messages(self) -> bool:
        """Whether it has sigma-delta neurons."""
        return is_graded(self.network.layers[0])

    @property
    def loads_in_netx(self) -> bool:
        """Whether the stock loader takes the network; it takes no layer without weights."""
        groups = [group for layer in self.network.layers for group in layer.groups]
        return netx_obstacle(self.network) is None and all(g.weight.any() for g in groups)

    def jobs(self, seed: int, folder: Path) -> list[LavaJob]:
        """Return what Lava is to run."""
        wired = LavaJob(with_cumulative_errors(self.network, self.rng), self.spikes, None, True,
                        "first_input")
        if not self.loads_in_netx:
            return [wired]
        path = folder / f"{seed}.net"
        write_netx(with_inferred_bits(self.network), path, "test")
        network, _ = read_netx(path, N_STEPS)
        return [wired, LavaJob(network, self.spikes, path, False, "power_on")]


def n_differing(first: dict[str, NDArray[Any]], second: dict[str, NDArray[Any]]) -> int:
    assert set(first) <= set(second)
    return sum(int((first[name] != second[name]).sum()) for name in first)


def test_backends_agree(seeds: range, tmp_path: Path, generated_totals: dict[str, int]) -> None:
    jobs: list[LavaJob] = []
    for seed in seeds:
        generated = Generated(seed)
        network = generated.network
        emulated = emulate(network, generated.slayer_spikes)
        comparison = compare_traces(network, generated.slayer, "SLAYER", emulated, "emulator")
        assert comparison.n_differing == 0, f"seed {seed}: SLAYER and emulator: {comparison}"
        jobs += generated.jobs(seed, tmp_path)
        generated_totals["networks"] += 1
        n_sent = sum(layer.n_spikes for layer in comparison.layers)
        generated_totals["messages" if generated.is_messages else "spikes"] += n_sent
    for job, run in zip(jobs, run_lava_many(jobs, LIMIT_S), strict=True):
        emulated = emulate(job.network, job.spikes, with_states=job.with_states,
                           bias_from=cast(BiasFrom, job.bias_from))
        for quantity in ("spikes", "u", "v"):
            different = n_differing(getattr(run.trace, quantity), getattr(emulated, quantity))
            assert different == 0, f"{job.network.name}, {quantity}, stock: {job.net_file}"
        generated_totals["runs of Lava, wired" if job.net_file is None else
                         "runs of Lava, stock loader"] += 1
