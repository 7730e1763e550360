"""The process that runs Lava: a network and spikes in, files out. Started by lava_backend.

``python -m pipeline.lava_worker JOBS`` goes through the folders of JOBS in order: it reads
``job.json`` and ``spikes.npy``, builds the network, with the stock loader from a NetX file or wired
by us from ``network.npz``, streams all samples through one build (:mod:`pipeline.lava_models`), and
writes per layer and quantity a raw file ``(steps, *shape)`` in Lava's axis order, then
``result.json``.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc import io
from lava.proc.conv.process import Conv

from pipeline.account.lava_counting import counted_files
from pipeline.artifact import load_artifact
from pipeline.graded import depths, encodes, file_dtype
from pipeline.lava_models import MODELS
from pipeline.lava_session import PROGRESS
from pipeline.lava_wiring import wire
from pipeline.network import Layer, Network
from pipeline.neuron import CubaNeuron


def main(folder: Path) -> None:
    """Run the job in ``folder``."""
    job = json.loads((folder / "job.json").read_text())
    network: Network = load_artifact(folder / "network.npz")
    stream = np.load(folder / "spikes.npy")
    n_total = stream.shape[-1]
    if job["net_file"] is None:
        root, processes, loaded = _wired(network, stream, job["n_message_bits"])
    else:
        root, processes, loaded = _stock(job, stream)
    reached = depths(network)
    for index, (layer, (neuron, synapses)) in enumerate(
            zip(network.layers, processes, strict=True)):
        shape = neuron.s_out.shape
        files = {}
        for quantity in job["quantities"]:
            path = folder / f"layer{index}.{quantity}"
            kind = file_dtype(layer, quantity)
            np.memmap(path, kind, "w+", shape=(n_total, *shape)).flush()
            files[quantity] = (str(path), kind)
        neuron.proc_params["files"] = files
        neuron.proc_params["per_neuron"] = _per_neuron(layer)
        neuron.proc_params["n_without_bias"] = (
            getattr(layer.neuron, "bias_step", 0) + int(not job["is_bias_early"]))
        neuron.proc_params["bias_from"] = 0 if job["is_bias_early"] else reached[layer.name]
        if job["is_counted"]:
            _count(folder, job, index, layer, neuron, synapses)
        for process in (neuron, *synapses):
            process.proc_params["n_steps"] = job["n_steps"]
            process._log_config.level = logging.ERROR
    np.zeros(1, dtype=np.int64).tofile(folder / PROGRESS)
    processes[-1][0].proc_params["progress"] = str(folder / PROGRESS)
    config = Loihi2SimCfg(select_tag="fixed_pt", exception_proc_model_map=MODELS)
    root.run(condition=RunSteps(num_steps=n_total), run_cfg=config)
    root.stop()
    (folder / "result.json").write_text(json.dumps({"layers": loaded}))


def _count(
    folder: Path, job: dict[str, Any], index: int, layer: Layer, neuron: Any,
    synapses: tuple[Any, ...],
) -> None:
    """Let the processes of a layer count for the cores of ``cores<index>.npy``.

    A sample's last step, of padding, is the neurons' last: they take the input one step later.
    """
    core_of, n_steps = np.load(folder / f"cores{index}.npy"), job["n_steps"]
    n_samples = job["n_samples"]
    by_position = core_of.reshape(layer.shape).T
    active = (0, n_steps - 1) if encodes(layer) else (int(not job["is_bias_early"]), n_steps)
    neuron.proc_params["counted"] = counted_files(
        folder, f"layer{index}.neurons",
        {"neuron_updates_active": active, "spikes": (0, n_steps - 1)}, by_position, n_samples)
    for number, synapse in enumerate(synapses):
        is_spatial = isinstance(synapse, Conv)
        synapse.proc_params["counted"] = counted_files(
            folder, f"layer{index}.synapses{number}", {"effective_synops": (0, n_steps - 1)},
            by_position if is_spatial else core_of, n_samples)


_SYNAPSES = ("synapse", "synapse_rec", "real_synapse", "imag_synapse")
# one process to run them all; per layer its neurons and synapses; what the stock loader found
Built = tuple[Any, list[tuple[Any, tuple[Any, ...]]], list[dict[str, Any]]]


def _stock(job: dict[str, Any], stream: Any) -> Built:
    """Return the processes that the stock loader makes of a NetX file, fed by the stream."""
    # imports torch: seconds that wired networks need not wait for
    from lava.lib.dl.netx import hdf5

    network = hdf5.Network(
        net_config=job["net_file"], input_message_bits=job["n_message_bits"])
    network._log_config.level = logging.ERROR
    source = io.source.RingBuffer(data=stream)
    source._log_config.level = logging.ERROR
    # the port of an input with neurons leads nowhere, NetX wants them driven through their bias
    # (facts: netx 2): what arrives here adds the same to the voltage
    is_driven = network.in_layer.block == "Input"
    source.s_out.connect(network.in_layer.neuron.a_in if is_driven else network.inp)
    processes = [
        (layer.neuron, tuple(getattr(layer, name) for name in _SYNAPSES if hasattr(layer, name)))
        for layer in network.layers
    ]
    return network, processes, [_describe(layer) for layer in network.layers]


def _wired(network: Network, stream: Any, n_message_bits: int) -> Built:
    """Return the processes that we wire, fed by the stream (*input_shape, steps)."""
    layers = wire(network, n_message_bits)
    for layer in layers:
        for port, is_spatial in layer.inputs:
            data = stream.transpose(2, 1, 0, 3) if is_spatial else \
                stream.reshape(-1, stream.shape[-1])
            source = io.source.RingBuffer(data=np.ascontiguousarray(data))
            source._log_config.level = logging.ERROR
            source.s_out.connect(port)
    return layers[0].neuron, [(layer.neuron, layer.synapses) for layer in layers], []


def _per_neuron(layer: Layer) -> dict[str, Any]:
    """Return the parameters that channels have of their own, of every neuron in Lava's order."""
    # by Lava's name; Lava adds 1 to du
    own = {"du": ("channel_current_decay", -1), "dv": ("channel_voltage_decay", 0),
           "vth": ("channel_vth_mant", 0), "sin_decay": ("channel_sin_decay", 0),
           "cos_decay": ("channel_cos_decay", 0)}
    n_repeats = layer.n_neurons // layer.n_channels
    if layer.is_driven and isinstance(layer.neuron, CubaNeuron):
        return {"du": np.full(layer.shape[::-1], 4095)}  # a bias does not pass the current
    return {
        name: np.repeat(np.array(values) + offset, n_repeats).reshape(layer.shape).T
        for name, (field, offset) in own.items()
        if (values := getattr(layer.neuron, field, None)) is not None
    }


def _describe(layer: Any) -> dict[str, Any]:
    """Return what the stock loader made of a layer."""
    found: dict[str, Any] = {"weight_bits": None, "n_nonzero": 0, "vth": None}
    for name in ("synapse", "real_synapse", "imag_synapse"):
        if not hasattr(layer, name):
            continue
        synapse, is_dense = getattr(layer, name), layer.block != "Conv"
        weights = np.asarray((synapse.weights if is_dense else synapse.weight).init)
        found["n_nonzero"] += int(np.count_nonzero(weights))
        if is_dense:
            found["weight_bits"] = int(synapse.proc_params["num_weight_bits"])
    if hasattr(layer.neuron, "vth"):
        found["vth"] = int(np.ravel(layer.neuron.vth.init)[0])
    return found


if __name__ == "__main__":
    jobs = sorted((path for path in Path(sys.argv[1]).iterdir() if path.is_dir()),
                  key=lambda path: int(path.name))
    for path in jobs:
        main(path)
