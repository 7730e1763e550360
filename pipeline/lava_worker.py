"""The process that runs Lava: stock NetX network in, spike files out. Started by lava_backend.

``python -m pipeline.lava_worker JOB`` reads ``JOB/job.json`` and ``JOB/spikes.npy``, builds the
network with the stock loader, streams all samples through one build (facts: state resets exactly
with ``reset_interval = T, reset_offset = 1``), and writes per layer a raw uint8 file
``(steps, *shape)`` in Lava's axis order, then ``JOB/result.json``.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
from lava.lib.dl.netx import hdf5
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc import io
from lava.proc.io.sink import PyReceiveModelFixed


class FileReceiveModel(PyReceiveModelFixed):  # type: ignore[misc]
    """Lava's own sink, except that each step goes to a file and not through ``Var.get``.

    ``Var.get`` moves one element per message, 20 to 35 us each, which would take longer than the
    simulation itself.
    """

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self._file = np.memmap(
            proc_params["path"], np.uint8, "r+", shape=tuple(proc_params["file_shape"])
        )

    def run_spk(self) -> None:
        """Write the spikes of this step."""
        self._file[self.time_step - 1] = self.a_in.recv() != 0


def main(folder: Path) -> None:
    """Run the job in ``folder``."""
    job = json.loads((folder / "job.json").read_text())
    stream = np.load(folder / "spikes.npy")
    n_total = stream.shape[-1]
    network = hdf5.Network(
        net_config=job["net_file"], reset_interval=job["n_steps"], reset_offset=1
    )
    loaded = [_describe(layer) for layer in network.layers]
    source = io.source.RingBuffer(data=stream)
    source.s_out.connect(network.inp)
    sinks = []
    for index, layer in enumerate(network.layers):
        sink = io.sink.RingBuffer(shape=layer.out.shape, buffer=1)
        path, file_shape = folder / f"layer{index}.u8", (n_total, *layer.out.shape)
        np.memmap(path, np.uint8, "w+", shape=file_shape).flush()
        sink.proc_params["path"] = str(path)
        sink.proc_params["file_shape"] = file_shape
        layer.out.connect(sink.a_in)
        sinks.append(sink)
    config = Loihi2SimCfg(
        select_tag="fixed_pt", exception_proc_model_map={io.sink.RingBuffer: FileReceiveModel}
    )
    for process in (source, *sinks, network):
        process._log_config.level = logging.ERROR
    network.run(condition=RunSteps(num_steps=n_total), run_cfg=config)
    network.stop()
    (folder / "result.json").write_text(json.dumps({"layers": loaded}))


def _describe(layer: Any) -> dict[str, Any]:
    """Return what the stock loader made of a layer."""
    synapse = layer.synapse
    is_dense = layer.block == "Dense"
    weights = np.asarray((synapse.weights if is_dense else synapse.weight).init)
    return {
        "weight_bits": int(synapse.proc_params["num_weight_bits"]) if is_dense else None,
        "n_nonzero": int(np.count_nonzero(weights)),
        "vth_mant": int(np.ravel(layer.neuron.vth.init)[0]),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
