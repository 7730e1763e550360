"""The emulator's speed against Lava's steady state and SLAYER's batched forward, spikes equal.

``make bench-emulator`` or ``.venv/bin/python benchmarks/bench_emulator.py [network ...]``. All
three run the same network in turn, in one call. Lava: its own process models, nothing recorded,
time per step after the first ten (start and build not counted), times the steps of a sample.
SLAYER: batches of 50. Emulator: batches of 64, after a first call that compiles. That spikes are
equal is asserted between SLAYER and emulator here, with Lava in ``test_generated_networks.py``.
``pilotnet_lif`` is the recorded network of the lava-dl wheel with its recorded image; SLAYER has no
module of it, ``test_netx_files.py`` compares it with what a chip recorded. The last lines say which
goals are met.
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
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

N_FAST, N_BEFORE, N_TIMES = 128, 10, 5
SIZES = (2312, 512, 512, 10)
# name: rate of the input, steps of a sample, whether hidden layers have delays, steps Lava is timed
CASES = {
    "dense, 2 % input": (0.02, 100, False, 200),
    "dense, 5 % input": (0.05, 100, False, 200),
    "dense, 10 % input": (0.1, 100, False, 200),
    "delayed, 2 % input": (0.02, 300, True, 6),
}
PILOTNET, N_PILOTNET, N_PILOTNET_STEPS, N_PILOTNET_TIMED = "pilotnet_lif", 32, 16, 12
# what is asked of which rows: the emulator as many times as fast as Lava, or as SLAYER
GOALS = [("dense", "Lava", 150.0), (PILOTNET, "Lava", 30.0), ("delayed", "Lava", 1000.0),
         ("", "SLAYER", 5.0)]


@dataclass(frozen=True)
class Row:
    """What was measured of one network: seconds per sample; SLAYER's is None without a module."""

    name: str
    n_steps: int
    firing_frac: float
    emulator_s: float
    slayer_s: float | None
    lava_s: float

    def times(self, other: str) -> float | None:
        """Return how many times as fast as Lava or SLAYER the emulator is."""
        seconds = self.lava_s if other == "Lava" else self.slayer_s
        return None if seconds is None else seconds / self.emulator_s


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


def lava_s_per_step(net_file: Path, stream: NDArray[Any], n_timed: int) -> float:
    """Return the seconds of one step of stock Lava, measured in a process of its own.

    Parameters
    ----------
    stream : (*shape, t) in Lava's order; repeated as long as needed
    """
    n_total = N_BEFORE + n_timed
    n_repeats = -(-n_total // stream.shape[-1])
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "stream.npy"
        np.save(path, np.concatenate([stream] * n_repeats, axis=-1)[..., :n_total])
        result = subprocess.run(
            [sys.executable, "-W", "ignore", __file__, "--lava", net_file, path, str(n_timed)],
            check=True, capture_output=True, text=True, timeout=900)
    return float(json.loads(result.stdout.splitlines()[-1]))


def time_lava(net_file: str, stream: str, n_timed: int) -> None:
    """Print the seconds of one step; the child's side of `lava_s_per_step`."""
    from lava.lib.dl.netx import hdf5
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc import io

    network = hdf5.Network(net_config=net_file)
    source = io.source.RingBuffer(data=np.load(stream).astype(np.int32))
    # input neurons are driven through their bias; see pipeline.lava_worker
    is_driven = network.in_layer.block == "Input"
    source.s_out.connect(network.in_layer.neuron.a_in if is_driven else network.inp)
    for process in (source, network):
        process._log_config.level = logging.ERROR
    config = Loihi2SimCfg(select_tag="fixed_pt")
    network.run(condition=RunSteps(num_steps=N_BEFORE), run_cfg=config)
    begin = time.perf_counter()
    network.run(condition=RunSteps(num_steps=n_timed), run_cfg=config)
    elapsed = time.perf_counter() - begin
    network.stop()
    print(json.dumps(elapsed / n_timed))


def seconds(call: Any, n_times: int) -> float:
    """Return the least of some timings, after a call that is not timed."""
    call()
    timings = []
    for _ in range(n_times):
        begin = time.perf_counter()
        call()
        timings.append(time.perf_counter() - begin)
    return min(timings)


def measure(name: str) -> Row:
    """Return what a network of `CASES` takes."""
    from pipeline.compare import compare_traces
    from pipeline.emulate import emulate, output_scores
    from pipeline.export_netx import write_netx
    from pipeline.ingest import slayer

    rate, n_steps, has_delays, n_timed = CASES[name]
    module, network = module_and_network(n_steps, has_delays)
    shape = (N_FAST, SIZES[0], n_steps)
    spikes = (np.random.default_rng(0).random(shape) < rate).astype(np.uint8)
    few, batch = spikes[:8], spikes[:50]
    trace, reference = emulate(network, few), slayer.run_module(module, network, few)
    assert compare_traces(network, trace, "", reference, "").n_differing == 0
    firing = float(np.mean([trace.spikes[layer.name].mean() for layer in network.layers]))
    emulator = seconds(lambda: output_scores(network, spikes), N_TIMES) / N_FAST
    slow = seconds(lambda: slayer.run_module(module, network, batch), 2) / len(batch)
    with tempfile.TemporaryDirectory() as folder:
        net_file = Path(folder) / "network.net"
        write_netx(network, net_file, "benchmark")
        lava = lava_s_per_step(net_file, np.concatenate(list(spikes[:4]), axis=-1), n_timed)
    return Row(name, n_steps, firing, emulator, slow, lava * n_steps)


def measure_pilotnet() -> Row:
    """Return what the recorded network of the lava-dl wheel takes with its recorded image."""
    from pipeline.emulate import emulate, output_scores
    from pipeline.ingest.netx import read_netx

    folder = Path(str(distribution("lava-dl").locate_file("tests/lava/lib/dl/netx/gts")))
    net_file = folder / PILOTNET / "network.net"
    network, _ = read_netx(net_file, N_PILOTNET_STEPS)
    image = np.load(folder / PILOTNET / "image.npy")  # biases of the input neurons, (x, y, c)
    stream = np.repeat(image[..., None], N_PILOTNET_STEPS, axis=-1)
    one = stream.transpose(2, 1, 0, 3).astype(np.uint8)[None]
    spikes = np.repeat(one, N_PILOTNET, axis=0)
    trace = emulate(network, one)
    firing = float(np.mean([trace.spikes[layer.name].mean() for layer in network.layers]))
    emulator = seconds(lambda: output_scores(network, spikes), N_TIMES) / N_PILOTNET
    lava = lava_s_per_step(net_file, stream, N_PILOTNET_TIMED)
    return Row(PILOTNET, N_PILOTNET_STEPS, firing, emulator, None, lava * N_PILOTNET_STEPS)


def print_row(row: Row) -> None:
    """Print what a network takes, in ms per sample."""
    slayer = "-" if row.slayer_s is None else f"{1e3 * row.slayer_s:.1f}"
    over_slayer = "-" if row.slayer_s is None else f"{row.times('SLAYER'):.1f}x"
    print(f"{row.name:20s} {row.n_steps:5d} {row.firing_frac:7.1%} {1e3 * row.emulator_s:9.2f} "
          f"{slayer:>8s} {1e3 * row.lava_s:10.0f} {over_slayer:>11s} {row.times('Lava'):8.0f}x",
          flush=True)


def print_goals(rows: list[Row]) -> None:
    """Print which goals the rows meet."""
    for prefix, other, goal in GOALS:
        found = {row.name: row.times(other) for row in rows if row.name.startswith(prefix)}
        times = {name: value for name, value in found.items() if value is not None}
        if not times:
            continue
        worst = min(times, key=lambda name: times[name])
        verdict = "met" if times[worst] >= goal else "NOT MET"
        print(f"goal {goal:5.0f}x {other:6s} {prefix or 'all':14s} {verdict:7s} "
              f"(least {times[worst]:.4g}x: {worst})")


def main(names: list[str]) -> None:
    """Print one row per network, then the goals."""
    print(f"2312-512-512-10 and {PILOTNET}, {os.cpu_count()} cores, ms per sample")
    print("network              steps  firing  emulator   SLAYER       Lava  SLAYER/em.  Lava/em.")
    rows = []
    for name in names or [*CASES, PILOTNET]:
        rows.append(measure_pilotnet() if name == PILOTNET else measure(name))
        print_row(rows[-1])
    print_goals(rows)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--lava"]:
        time_lava(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        main(sys.argv[1:])
