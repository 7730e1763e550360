"""Run SANA-FE on what ``sanafe_bridge`` wrote: ``python sanafe_worker.py FOLDER``.

Stands alone: it runs in whatever Python has ``sanafe`` and numpy. It reads ``arch.yaml`` and
``mapped.npz`` and lets SANA-FE write its traces beside them.
"""

import json
import sys
from pathlib import Path

import numpy as np


def main(folder: Path) -> None:
    """Build the network group by group, map it, and simulate it."""
    import sanafe  # type: ignore[import-not-found]

    job = json.loads((folder / "job.json").read_text())
    mapped = np.load(folder / "mapped.npz")
    arch = sanafe.load_arch(str(folder / "arch.yaml"))
    cores = arch.cores()
    net, groups = sanafe.Network(), {}
    for at, layer in enumerate(job["layers"]):
        n = layer["n_neurons"]
        groups[layer["name"]] = group = net.create_neuron_group(
            layer["name"], n, log_spikes=True, default_synapse_hw_name="synapse_dense",
            default_dendrite_hw_name="dendrite")
        spikes, where = mapped[f"spikes{at}"], mapped[f"core{at}"]
        units, parameters = mapped[f"unit{at}"], mapped[f"parameters{at}"]
        for i in range(n):
            if layer["is_replayed"]:
                group[i].set_attributes(
                    soma_hw_name=f"given[{units[i]}]", log_spikes=True,
                    model_attributes={"spikes": [bool(s) for s in spikes[i]]})
            else:
                threshold, input_decay, leak_decay, bias = (float(x) for x in parameters[i])
                group[i].set_attributes(soma_hw_name="lif", log_spikes=True, model_attributes={
                    "threshold": threshold, "input_decay": input_decay, "leak_decay": leak_decay,
                    "bias": bias, "reset_mode": "hard", "reset": 0.0,
                    "reverse_reset_mode": "none"})
        for i in mapped[f"order{at}"]:
            group[int(i)].map_to_core(cores[int(where[i])])
    for at, edges in enumerate(job["edges"]):
        target = groups[edges["target"]]
        source, post = mapped[f"source{at}"], mapped[f"target{at}"]
        # a connection takes the unit its target names when it is made
        for i in np.unique(post):
            target[int(i)].set_attributes(default_synapse_hw_name=edges["unit"])
        pairs = list(zip(source.tolist(), post.tolist(), strict=True))
        groups[edges["source"]].connect_neurons_sparse(
            target, {"weight": mapped[f"weight{at}"].astype(float).tolist()}, pairs)
    chip = sanafe.SpikingChip(arch)
    chip.load(net)
    chip.sim(job["n_steps"], timing_model="simple", processing_threads=1,
             spike_trace=str(folder / "spikes.csv"), perf_trace=str(folder / "perf.csv"),
             message_trace=str(folder / "messages.csv"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
