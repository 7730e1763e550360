"""The mapped network handed to SANA-FE, and what SANA-FE counts: an independent oracle.

In: an integer network, its placement, a trace and a price set. Out: a :class:`SanafeRun`. SANA-FE
(GPL-3) is no dependency: it runs in a process of its own, in whatever Python has it
(``pip install sanafe==2.2.9``), and is never imported here.

What is written: one tile per tile of the placement's mesh, one SANA-FE core per core of ours, a
synapse unit per format with the set's prices, and an edge for every synapse that the core's format
executes, stored zeros with weight 0. The input stands on cores of its own, east of the mesh, at no
price. Neurons are SANA-FE's own (``leaky_integrate_fire``), whose voltage has Loihi's arithmetic
where currents have no memory (``current_decay`` 4096): its current is a float. Otherwise they
replay the trace's spikes, with weights of 0; active is then "spiked".

SANA-FE's step k takes in the spikes of step k of the trace and updates neurons for step k - 1.

References
----------
SANA-FE 2.2.9, src/models.cpp (LoihiLifModel, InputModel), src/chip.cpp; facts: hardware.md 2.2.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from scipy.sparse import csr_array

from hardware_targets import Target
from pipeline.account.oracles.sanafe_mesh import INPUTS_PER_CORE, PJ, SanafeMesh
from pipeline.emulate import Trace
from pipeline.errors import MissingExtraError, UnsupportedLayerError
from pipeline.lower import without_joins
from pipeline.mapping.connectivity import unrolled
from pipeline.mapping.placement import Core, CoreSynapses, Placement
from pipeline.network import INPUT, Layer, Network
from pipeline.neuron import CubaNeuron

_WORKER = Path(__file__).with_name("sanafe_worker.py")
_WINDOW = 60  # synapses of a dense list's entry: see pipeline.mapping.synapse_format
_LIMIT_S = 900.0


@dataclass(frozen=True)
class SanafeRun:
    """What SANA-FE counted in one sample.

    Attributes
    ----------
    spikes : per layer, (n_neurons, n_steps) bool
    n_synops : executed, of the whole chip
    n_messages : (n_cores, n_cores) int64, from core to core; the input's are in ``n_from_outside``
    n_from_outside : (n_cores,) int64
    n_hops : (n_cores,) int64, tiles crossed by the messages each core sent
    energy_pj : (n_cores,) float64, hops not included
    """

    spikes: dict[str, NDArray[np.bool_]]
    n_synops: int
    n_messages: NDArray[np.int64]
    n_from_outside: NDArray[np.int64]
    n_hops: NDArray[np.int64]
    energy_pj: NDArray[np.float64]


def run_sanafe(
    network: Network, placement: Placement, target: Target, price_set: str, trace: Trace,
    sample: int, *, is_replayed: bool, python: str = sys.executable,
) -> SanafeRun:
    """Return what SANA-FE makes of one sample of a trace on the same cores.

    Parameters
    ----------
    is_replayed : whether neurons fire as the trace says; else SANA-FE computes their states
    python : an interpreter that has ``sanafe``

    Raises
    ------
    MissingExtraError
        If that Python has no ``sanafe``.
    UnsupportedLayerError
        If a layer has axonal delays or neurons SANA-FE does not have, or there are several chips.
    """
    found = subprocess.run([python, "-c", "import sanafe"], capture_output=True, check=False)
    if found.returncode:
        raise MissingExtraError(
            f"{python} has no SANA-FE: {python} -m pip install sanafe==2.2.9 (GPL-3)")
    network = without_joins(network)
    for layer in network.layers:
        own = isinstance(layer.neuron, CubaNeuron) and layer.neuron.current_decay == 4096
        if layer.axonal_delay or placement.n_chips > 1 or not (own or is_replayed):
            raise UnsupportedLayerError(
                f"layer '{layer.name}': SANA-FE is given one chip, no axonal delays, and neurons "
                "without current memory unless they replay the trace")
    with tempfile.TemporaryDirectory(prefix="spikefit-sanafe-") as name:
        folder = Path(name)
        mesh = SanafeMesh(placement, target)
        n_inputs = int(np.prod(network.input_shape))
        architecture = mesh.architecture(target.price_sets[price_set], n_inputs)
        (folder / "arch.yaml").write_text(yaml.safe_dump(architecture, sort_keys=False))
        _write_network(folder, network, placement, mesh, trace, sample, is_replayed)
        done = subprocess.run(
            [python, str(_WORKER), str(folder)], capture_output=True, text=True, check=False,
            timeout=_LIMIT_S)
        if done.returncode:
            raise RuntimeError(f"SANA-FE failed: {(done.stdout + done.stderr)[-2000:]}")
        return _read(folder, network, placement, mesh, trace.spikes[INPUT].shape[-1])


def _write_network(
    folder: Path, network: Network, placement: Placement, mesh: SanafeMesh, trace: Trace,
    sample: int, is_replayed: bool,
) -> None:
    arrays: dict[str, NDArray[Any]] = {}
    n_inputs = int(np.prod(network.input_shape))
    every_input = np.arange(n_inputs)
    layers: list[dict[str, Any]] = [{"name": INPUT, "n_neurons": n_inputs, "is_replayed": True}]
    arrays["core0"] = mesh.first_outside + every_input // INPUTS_PER_CORE
    arrays["unit0"] = every_input % INPUTS_PER_CORE
    arrays["order0"], arrays["parameters0"] = every_input, np.zeros((n_inputs, 4))
    for at, layer in enumerate(network.layers, 1):
        layers.append(
            {"name": layer.name, "n_neurons": layer.n_neurons, "is_replayed": is_replayed})
        where, unit = (np.zeros(layer.n_neurons, dtype=np.int64) for _ in range(2))
        for core in placement.cores_of(layer.name):
            where[core.neurons] = mesh.number[core.index]
            unit[core.neurons] = np.arange(core.n_neurons)
        arrays |= {f"core{at}": where, f"unit{at}": unit, f"order{at}": np.arange(len(where)),
                   f"parameters{at}": _parameters(layer)}
    for at, layer_of in enumerate(layers):
        spikes = trace.spikes[layer_of["name"]][sample]
        arrays[f"spikes{at}"] = (spikes != 0).reshape(layer_of["n_neurons"], -1)
    edges: list[dict[str, str]] = []
    for layer in network.layers:
        for core in placement.cores_of(layer.name):
            for stored in core.synapses:
                at = len(edges)
                (group,) = [g for g in layer.groups if g.name == stored.synapse]
                source, post, weight = executed_edges(network, core, stored)
                arrays |= {f"source{at}": source, f"target{at}": post,
                           f"weight{at}": 0 * weight if is_replayed else weight}
                edges.append({"source": group.source, "target": layer.name,
                              "unit": f"synapse_{stored.format.replace('-', '_')}"})
    np.savez(folder / "mapped.npz", **arrays)
    (folder / "job.json").write_text(json.dumps(
        {"layers": layers, "edges": edges, "n_steps": trace.spikes[INPUT].shape[-1]}))


def _parameters(layer: Layer) -> NDArray[np.float64]:
    """Return threshold, what the current keeps, what the voltage keeps, and the bias."""
    neuron = layer.neuron
    if not isinstance(neuron, CubaNeuron):
        return np.zeros((layer.n_neurons, 4))
    columns = [
        neuron.channel_vth_mant or (neuron.vth_mant,) * layer.n_channels,
        [1 - d / 4096 for d in
         neuron.channel_current_decay or (neuron.current_decay,) * layer.n_channels],
        [1 - d / 4096 for d in
         neuron.channel_voltage_decay or (neuron.voltage_decay,) * layer.n_channels],
        neuron.bias or (0,) * layer.n_channels,
    ]
    return np.repeat(
        np.array(columns, dtype=np.float64).T, layer.n_neurons // layer.n_channels, axis=0)


def executed_edges(
    network: Network, core: Core, stored: CoreSynapses
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return source, target and weight of every synapse a core's format executes."""
    synapse = next(g for layer in network.layers for g in layer.groups if g.name == stored.synapse)
    every = unrolled(network, synapse)[:, core.neurons]
    if stored.format == "dense":
        source, at = _in_windows(every != 0, core.n_neurons, stored)
        return source, core.neurons[at], np.asarray(every.toarray()[source, at], dtype=np.int64)
    every = every.tocoo()
    source, at, weight = every.row.astype(np.int64), every.col, every.data.astype(np.int64)
    kept = weight != 0
    if stored.format == "conv":
        kept = np.isin(source, np.unique(source[kept]))
    return source[kept], core.neurons[at[kept]], weight[kept]


def _in_windows(
    is_nonzero: csr_array, n_positions: int, stored: CoreSynapses
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return source and position of all that dense lists store: windows, or, if so stored, all."""
    sources, positions = [], []
    for source, executed in zip(stored.sources.tolist(), stored.executed.tolist(), strict=True):
        nonzero = np.sort(is_nonzero.indices[
            is_nonzero.indptr[source] : is_nonzero.indptr[source + 1]])
        if executed == n_positions:
            positions.append(np.arange(n_positions))
            sources.append(np.full(n_positions, source))
            continue
        while len(nonzero):
            window = nonzero[nonzero < nonzero[0] + _WINDOW]
            positions.append(np.arange(window[0], window[-1] + 1))
            sources.append(np.full(len(positions[-1]), source))
            nonzero = nonzero[len(window):]
    if not sources:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    return np.concatenate(sources).astype(np.int64), np.concatenate(positions).astype(np.int64)


def _read(
    folder: Path, network: Network, placement: Placement, mesh: SanafeMesh, n_steps: int
) -> SanafeRun:
    """Return SANA-FE's traces by our cores."""
    n_cores = len(placement.cores)
    core_of = {tuple(address): index for index, address in enumerate(mesh.address.tolist())}
    spikes = {layer.name: np.zeros((layer.n_neurons, n_steps), dtype=np.bool_)
              for layer in network.layers}
    for line in (folder / "spikes.csv").read_text().splitlines()[1:]:
        neuron, step = line.split(",")
        name, number = neuron.rsplit(".", 1)
        if name in spikes:
            spikes[name][int(number), int(step) - 1] = True
    n_messages = np.zeros((n_cores, n_cores), dtype=np.int64)
    n_from_outside, n_hops = (np.zeros(n_cores, dtype=np.int64) for _ in range(2))
    for line in (folder / "messages.csv").read_text().splitlines()[1:]:
        _, mid, _, sender, receiver, hops, *_ = line.split(",")
        if int(mid) < 0 or receiver == "x.x":
            continue  # SANA-FE's note that a core is done
        start, end = (tuple(int(n) for n in hw.split(".")) for hw in (sender, receiver))
        if start not in core_of:
            n_from_outside[core_of[end]] += 1
            continue
        n_messages[core_of[start], core_of[end]] += 1
        n_hops[core_of[start]] += int(hops)
    perf = _columns(folder / "perf.csv")
    energy = np.zeros(n_cores)
    for (tile, within), index in core_of.items():
        energy[index] = perf[f"tile[{tile}].core[{within}].energy"].sum() / PJ
    return SanafeRun(spikes, int(perf["spikes"].sum()), n_messages, n_from_outside, n_hops, energy)


def _columns(file: Path) -> dict[str, NDArray[np.float64]]:
    with file.open() as lines:
        names, *rows = csv.reader(lines)
    table = np.array(rows, dtype=np.float64)
    return dict(zip(names, table.T, strict=True))
