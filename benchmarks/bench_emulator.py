"""The emulator's speed against Lava's steady state and SLAYER's batched forward, spikes equal.

``make bench-emulator`` or ``.venv/bin/python benchmarks/bench_emulator.py [network ...]``. All
three run the same network in turn, in one call. Lava: its own process models, nothing recorded,
time per step after the first ten (start and build not counted), times the steps of a sample.
SLAYER: batches of 50. Emulator: batches of 64, after a first call that compiles. That spikes are
equal is asserted between SLAYER and emulator here, with Lava in ``test_generated_networks.py``.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported, see pipeline.cli

import json
import logging
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

N_FAST, N_BEFORE = 128, 10
SIZES = (2312, 512, 512, 10)
# name: rate of the input, steps of a sample, whether hidden layers have delays, steps Lava is timed
CASES = {
    "dense, 2 % input": (0.02, 100, False, 200),
    "dense, 5 % input": (0.05, 100, False, 200),
    "dense, 10 % input": (0.1, 100, False, 200),
    "delayed, 2 % input": (0.02, 300, True, 6),
}


def module_and_network(n_steps: int, has_delays: bool) -> tuple[Any, Any]:
    """Return a SLAYER module of N-MNIST's sizes and its network; 3 to 10 % of the neurons fire."""
    import torch

    from pipeline.ingest import slayer
    from pipeline.quantize import as_trained

    cuba = slayer.cuba
    torch.manual_seed(0)
    neuron = {"threshold": 1.25, "current_decay": 0.25, "voltage_decay": 0.03}
    blocks = [
        cuba.Dense(neuron, n_in, n_out, weight_scale=1.0 if n_in > 1000 else 2.0,
                   delay=has_delays and n_out > 10)
        for n_in, n_out in zip(SIZES, SIZES[1:], strict=False)
    ]
    module = torch.nn.Sequential(*blocks).eval()
    with torch.no_grad():
        module(torch.zeros(1, SIZES[0], 2))
    for block in blocks:
        if block.delay is not None:
            block.delay.delay.data = torch.rand(block.delay.delay.numel()) * 62
    description = SimpleNamespace(input_shape=(SIZES[0],), n_steps=n_steps)
    model: Any = SimpleNamespace(name="n-mnist", description=description)
    return module, as_trained(slayer.to_network(module, model))[0]


def lava_s_per_step(network: Any, spikes: NDArray[np.uint8], n_timed: int) -> float:
    """Return the seconds of one step of stock Lava, measured in a process of its own."""
    from pipeline.export_netx import write_netx

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_netx(network, folder / "network.net", "benchmark")
        stream = np.concatenate(list(spikes), axis=-1)
        n_repeats = -(-(N_BEFORE + n_timed) // stream.shape[-1])
        np.save(folder / "spikes.npy", np.tile(stream, n_repeats)[..., : N_BEFORE + n_timed])
        result = subprocess.run(
            [sys.executable, "-W", "ignore", __file__, "--lava", name, str(n_timed)],
            check=True, capture_output=True, text=True, timeout=900)
        return float(json.loads(result.stdout.splitlines()[-1]))


def time_lava(folder: Path, n_timed: int) -> None:
    """Print the seconds of one step; the child's side of `lava_s_per_step`."""
    from lava.lib.dl.netx import hdf5
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc import io

    network = hdf5.Network(net_config=str(folder / "network.net"))
    source = io.source.RingBuffer(data=np.load(folder / "spikes.npy").astype(np.int32))
    source.s_out.connect(network.inp)
    for process in (source, network):
        process._log_config.level = logging.ERROR
    config = Loihi2SimCfg(select_tag="fixed_pt")
    network.run(condition=RunSteps(num_steps=N_BEFORE), run_cfg=config)
    begin = time.perf_counter()
    network.run(condition=RunSteps(num_steps=n_timed), run_cfg=config)
    elapsed = time.perf_counter() - begin
    network.stop()
    print(json.dumps(elapsed / n_timed))


def seconds(call: Any, n_times: int = 3) -> float:
    """Return the least of some timings."""
    timings = []
    for _ in range(n_times):
        begin = time.perf_counter()
        call()
        timings.append(time.perf_counter() - begin)
    return min(timings)


def main(names: list[str]) -> None:
    """Print one row per network."""
    from pipeline.compare import compare_traces
    from pipeline.emulate import emulate, output_scores
    from pipeline.ingest import slayer

    print(f"2312-512-512-10, {os.cpu_count()} cores, ms per sample")
    print("network              steps  firing  emulator   SLAYER       Lava  SLAYER/em.  Lava/em.")
    for name in names or CASES:
        rate, n_steps, has_delays, n_timed = CASES[name]
        module, network = module_and_network(n_steps, has_delays)
        shape = (N_FAST, SIZES[0], n_steps)
        spikes = (np.random.default_rng(0).random(shape) < rate).astype(np.uint8)
        few = spikes[:8]
        trace, reference = emulate(network, few), slayer.run_module(module, network, few)
        assert compare_traces(network, trace, "", reference, "").n_differing == 0
        firing = np.mean([trace.spikes[layer.name].mean() for layer in network.layers])
        emulator = seconds(lambda n=network, s=spikes: output_scores(n, s)) / N_FAST
        batch = spikes[:50]
        slow = seconds(lambda m=module, n=network, b=batch: slayer.run_module(m, n, b), 2) / 50
        lava = lava_s_per_step(network, spikes[:4], n_timed) * n_steps
        print(f"{name:20s} {n_steps:5d} {firing:7.1%} {1e3 * emulator:9.2f} {1e3 * slow:8.1f} "
              f"{1e3 * lava:10.0f} {slow / emulator:10.1f}x {lava / emulator:8.0f}x", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--lava"]:
        time_lava(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main(sys.argv[1:])
