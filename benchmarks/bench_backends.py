"""Time per sample of emulator, SLAYER and Lava on the bundled networks, with equal spikes checked.

``make bench`` or ``.venv/bin/python benchmarks/bench_backends.py``. Lava's time is the whole
subprocess (imports, build, run); the emulator's excludes its first call, which compiles.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported, see pipeline.cli

import tempfile
import time
from pathlib import Path

from models.data.splits import load_split
from pipeline.compare import compare_traces
from pipeline.emulate import emulate
from pipeline.export_netx import write_netx
from pipeline.ingest import slayer
from pipeline.ingest.checkpoint import load_module
from pipeline.lava_backend import run_lava
from pipeline.model_folder import find_model
from pipeline.quantize import as_trained

N_LAVA, N_FAST = 20, 200


def main() -> None:
    """Print one row per network."""
    print("ms per sample      emulator   SLAYER     Lava   SLAYER/emulator  Lava/emulator")
    for name in ("nmnist_mlp", "nmnist_cnn"):
        model = find_model(name)
        module = load_module(model)
        network, _ = as_trained(slayer.to_network(module, model))
        spikes = load_split(model.data, "test", network.n_steps, N_FAST).spikes
        emulate(network, spikes[:2])
        begin = time.perf_counter()
        trace = emulate(network, spikes)
        emulator_ms = 1e3 * (time.perf_counter() - begin) / N_FAST
        begin = time.perf_counter()
        reference = slayer.run_module(module, network, spikes)
        slayer_ms = 1e3 * (time.perf_counter() - begin) / N_FAST
        assert compare_traces(network, trace, "", reference, "").n_differing == 0
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.net"
            write_netx(network, path, "benchmark")
            lava = run_lava(path, network, spikes[:N_LAVA], 600)
        lava_ms = 1e3 * lava.elapsed_s / N_LAVA
        print(f"{name:18s} {emulator_ms:8.2f} {slayer_ms:8.1f} {lava_ms:8.0f} "
              f"{slayer_ms / emulator_ms:12.0f} x {lava_ms / emulator_ms:13.0f} x")


if __name__ == "__main__":
    main()
