"""Time, memory and loss of pruning 512 rows at 90 %, by the number of inputs.

``make bench`` or ``.venv/bin/python benchmarks/bench_pruning_cost.py [d_in ...]``. Inputs are
random spikes in bursts that neighbors share, filtered as a CUBA neuron does; weights are Gaussian.
Each size runs in a process of its own, so that its peak memory is its own. Greedy OBS is run on a
few rows only, with as many weights each as the default gave them, and its time scaled to 512 rows.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported, see pipeline.cli

import multiprocessing
import resource
import sys
import time

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.compress import accumulate_hessian, damped, filter_spikes, prune
from pipeline.compress.obs import Greedy, obs_rows
from pipeline.compress.refit import loss, refit

SIZES = (256, 512, 1024, 2304, 4608)
ROWS, SPARSITY, DAMPING = 512, 0.9, 0.01
N_SAMPLES, N_STEPS, RATE = 100, 60, 0.02
BLOCK_FRAC = 0.02
LARGEST_RANK_ONE = 1024  # a row of 2,304 inputs takes rank-1 OBS a minute, of 4,608 ten


def problem(d_in: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return weights (512, d_in) and the damped Hessian of correlated random spikes."""
    rng = np.random.default_rng(d_in)
    hessian = None
    for _ in range(N_SAMPLES // 10):
        # a slow common drive per 16 inputs makes neighbors spike together
        drive = rng.gamma(0.5, 2.0, (10, d_in // 16, N_STEPS // 10)).repeat(16, 1).repeat(10, 2)
        spikes = torch.from_numpy((rng.random(drive.shape) < RATE * drive).astype(np.uint8))
        hessian = accumulate_hessian(hessian, filter_spikes(spikes, 1024, 128), (1, 1), None)
    assert hessian is not None
    return rng.normal(size=(ROWS, d_in)), damped(hessian.numpy() / N_SAMPLES, DAMPING)[0]


def measure(d_in: int) -> dict[str, float | str]:
    """Return the figures of one size."""
    W, H = problem(d_in)
    begin = time.perf_counter()
    pruned = prune(W, H, round(W.size * (1 - SPARSITY)))
    elapsed = time.perf_counter() - begin
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    weight, hessian = torch.from_numpy(W), torch.from_numpy(H)
    mask = torch.from_numpy(pruned.mask)
    n_rows = 8 if d_in <= 1024 else 2
    blocks_s, excess = _greedy(weight, hessian, mask, n_rows, Greedy(BLOCK_FRAC).block(d_in))
    rank_one_s = float("nan")
    if d_in <= LARGEST_RANK_ONE:
        rank_one_s, _ = _greedy(weight, hessian, mask, 1, 1)
    return {
        "d_in": d_in, "algorithm": pruned.algorithm, "seconds": elapsed, "peak_gb": peak_gb,
        "blocks_s": blocks_s, "rank_one_s": rank_one_s, "excess": excess, "n_rows": n_rows,
    }


def _greedy(
    W: torch.Tensor, H: torch.Tensor, mask: torch.Tensor, n_rows: int, block: int
) -> tuple[float, float]:
    """Return seconds for all rows (scaled) and our loss over the greedy one, less 1."""
    rows = torch.linspace(0, len(W) - 1, n_rows).round().long()
    everything = torch.ones_like(mask[rows])
    begin = time.perf_counter()
    reference = obs_rows(W[rows], H, everything, mask[rows].sum(dim=1), block)
    elapsed = (time.perf_counter() - begin) * len(W) / n_rows
    ours, theirs = (
        float(loss(refit(W[rows], H, m), W[rows], H).sum()) for m in (mask[rows], reference)
    )
    return elapsed, ours / theirs - 1


def main(sizes: list[int]) -> None:
    """Print one row per size."""
    print(f"{ROWS} rows, {SPARSITY:.0%}, {os.cpu_count()} cores; default of prune() beside greedy "
          f"OBS in blocks of {BLOCK_FRAC:.0%} and rank-1, both scaled from a few rows")
    print(" d_in  algorithm  seconds  peak GB   blocks s  rank-1 s   loss against blocks (rows)")
    context = multiprocessing.get_context("spawn")
    for d_in in sizes:
        with context.Pool(1) as pool:
            row = pool.apply(measure, (d_in,))
        print(f"{row['d_in']:5d}  {row['algorithm']:9s} {row['seconds']:8.1f} "
              f"{row['peak_gb']:8.2f} {row['blocks_s']:10.0f} {row['rank_one_s']:9.0f}   "
              f"{row['excess']:+.1%} ({row['n_rows']})", flush=True)


if __name__ == "__main__":
    main([int(a) for a in sys.argv[1:]] or list(SIZES))
