"""The cores of a placement handed to nengo-loihi, and what it says each of them uses.

In: an integer network and its placement on a target with Loihi's cores. Out: :class:`BlockUse` per
core. nengo-loihi (Apache-2.0; it needs nengo, which is GPL-2 from 4.0 on and free for
non-commercial use before) is no dependency: it runs in a process of its own, in whatever Python has
it (``pip install nengo-loihi==1.1.0 nengo==3.2.0 "numpy<1.24"``), and is never imported here.

What is written: one ensemble per core, and a connection for every synapse group between two cores,
dense where the core stores whole rows, else sparse, from the neurons whose axons the core stores.
The input stands on ensembles of its own, which are not reported. Kernels that a core shares cannot
be written this way: place without the format ``conv``. Its own way of counting memory is coarser
than ours: every 64 synapses are rounded up to a word of 64 bits, and sparse ones have no index.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from pipeline.account.fan_out import owners_of
from pipeline.errors import MissingExtraError, UnsupportedLayerError
from pipeline.lower import without_joins
from pipeline.mapping.connectivity import unrolled
from pipeline.mapping.placement import CoreSynapses, Placement
from pipeline.network import INPUT, Network, Synapse

_WORKER = Path(__file__).with_name("nengo_loihi_worker.py")
_INPUTS_PER_BLOCK = 1024
_LIMIT_S = 900.0
_REMEDY = 'pip install nengo-loihi==1.1.0 nengo==3.2.0 "numpy<1.24"'


@dataclass(frozen=True)
class BlockUse:
    """What nengo-loihi says of one core: used, and its limit."""

    compartments: tuple[int, int]
    in_axons: tuple[int, int]
    out_axons: tuple[int, int]
    synapse_bits: tuple[int, int]


def run_nengo_loihi(
    network: Network, placement: Placement, *, python: str = sys.executable
) -> tuple[BlockUse, ...]:
    """Return what nengo-loihi says each core of a placement uses.

    Parameters
    ----------
    python : an interpreter that has ``nengo_loihi``

    Raises
    ------
    MissingExtraError
        If that Python has no ``nengo_loihi``.
    UnsupportedLayerError
        If a core shares kernels.
    """
    found = subprocess.run([python, "-c", "import nengo_loihi"], capture_output=True, check=False)
    if found.returncode:
        raise MissingExtraError(f"{python} has no nengo-loihi: {python} -m {_REMEDY}")
    network = without_joins(network)
    for core in placement.cores:
        if any(stored.format == "conv" for stored in core.synapses):
            raise UnsupportedLayerError(
                f"layer '{core.layer}': nengo-loihi is given no shared kernels; place without the "
                "format conv")
    with tempfile.TemporaryDirectory(prefix="spikefit-nengo-") as name:
        folder = Path(name)
        _write(folder, network, placement)
        done = subprocess.run(
            [python, str(_WORKER), str(folder)], capture_output=True, text=True, check=False,
            timeout=_LIMIT_S)
        if done.returncode:
            raise RuntimeError(f"nengo-loihi failed: {(done.stdout + done.stderr)[-2000:]}")
        rows = json.loads((folder / "used.json").read_text())
    return tuple(BlockUse(*((int(used), int(limit)) for used, limit in row))
                 for row in rows[: len(placement.cores)])


def _write(folder: Path, network: Network, placement: Placement) -> None:
    owners, at = owners_of(network, placement), _places(network, placement)
    n_inputs = int(np.prod(network.input_shape))
    first_input = len(placement.cores)
    owners[INPUT] = first_input + np.arange(n_inputs) // _INPUTS_PER_BLOCK
    at[INPUT] = np.arange(n_inputs) % _INPUTS_PER_BLOCK
    sizes = [core.n_neurons for core in placement.cores]
    sizes += np.bincount(owners[INPUT] - first_input).tolist()
    arrays: dict[str, NDArray[Any]] = {}
    wires: list[dict[str, Any]] = []
    for core in placement.cores:
        for stored in core.synapses:
            synapse = _synapse(network, stored)
            matrix = unrolled(network, synapse)[:, core.neurons]
            for sender, sources in _by_sender(owners[synapse.source], stored):
                arrays[f"pre{len(wires)}"] = at[synapse.source][sources]
                _write_matrix(arrays, len(wires), matrix[sources])
                wires.append({"pre": sender, "post": core.index,
                              "is_dense": bool((stored.executed == core.n_neurons).all()),
                              "bits": synapse.weight_bits or 8,
                              "shape": [core.n_neurons, len(sources)]})
    np.savez(folder / "mapped.npz", **arrays)
    (folder / "job.json").write_text(json.dumps({"sizes": sizes, "wires": wires}))


def _places(network: Network, placement: Placement) -> dict[str, NDArray[np.int64]]:
    """Return per layer the place of each neuron on its core, (n_neurons,)."""
    at = {layer.name: np.zeros(layer.n_neurons, np.int64) for layer in network.layers}
    for core in placement.cores:
        at[core.layer][core.neurons] = np.arange(core.n_neurons)
    return at


def _synapse(network: Network, stored: CoreSynapses) -> Synapse:
    return next(g for layer in network.layers for g in layer.groups if g.name == stored.synapse)


def _by_sender(
    owner: NDArray[np.int64], stored: CoreSynapses
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield each block that sends to a core with those of its neurons that do."""
    sources = stored.sources.astype(np.int64)
    for sender in np.unique(owner[sources]).tolist():
        yield int(sender), sources[owner[sources] == sender]


def _write_matrix(arrays: dict[str, NDArray[Any]], n: int, matrix: csr_array) -> None:
    """Write a matrix (sources, posts) as triplets of its nonzero weights."""
    triplets = matrix.tocoo()
    kept = triplets.data != 0
    arrays |= {f"source{n}": triplets.row[kept], f"target{n}": triplets.col[kept],
               f"weight{n}": triplets.data[kept]}
