"""Loss and time of pruning schedules on nmnist_mlp's first layer: why obs.keep_schedule is so.

``make bench`` or ``.venv/bin/python benchmarks/bench_pruning_schedule.py``. Prints, for each first
cut (as a multiple of the weights kept) the predicted loss and the time, relative to the default.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported, see pipeline.cli

import time

import numpy as np

from models.data.source import DataSource
from models.data.splits import load_split
from pipeline.calibrate import calibrate
from pipeline.compress import damped, obs
from pipeline.ingest import slayer
from pipeline.ingest.checkpoint import load_module
from pipeline.model_folder import find_model
from pipeline.quantize import as_trained

SPARSITY, DAMPING = 0.9, 0.01


def main() -> None:
    """Print the table."""
    model = find_model("nmnist_mlp")
    network, _ = as_trained(slayer.to_network(load_module(model), model))
    data = load_split(DataSource(), "calibration", network.n_steps, 100)
    synapse = network.synapses[0]
    curvature = calibrate(network, data.spikes, data.origin).curvatures[synapse.name]
    weight, hessian = synapse.weight.astype(float), damped(curvature.hessian, DAMPING)[0]
    n_keep = round(weight.size * (1 - SPARSITY))
    rows = []
    for multiple in (2.0, 1.5, 3.0, 4.0):
        counts = obs._geometric(weight.size, multiple * n_keep / weight.size, 0.8, n_keep)
        begin = time.perf_counter()
        loss = obs.prune_along(weight, hessian, np.ones(weight.shape, bool), counts).loss
        rows.append((multiple, len(counts), loss, time.perf_counter() - begin))
    print("first cut  rounds   loss ratio   time ratio   seconds")
    for multiple, n_rounds, loss, elapsed in rows:
        print(f"{multiple:6.1f} x  {n_rounds:6d}   {loss / rows[0][2]:10.4f}   "
              f"{elapsed / rows[0][3]:10.2f}   {elapsed:7.1f}")


if __name__ == "__main__":
    main()
