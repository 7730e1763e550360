"""What counting adds to the emulator's time, on the shipped networks and digits, dense and pruned.

``.venv/bin/python benchmarks/bench_counting.py [network ...]``. Networks as trained, quantized to 8
bits; pruned ones lose the smallest nine tenths of each group's weights. Best of several runs, one
after another in one process, after a first that compiles. ``counts`` is all of
``pipeline.account.counts.count``, tables included; ``times`` is what
``pipeline.account.energy.account`` adds to it, emulating the input again, one step at a time.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from hardware_targets import load_target
from models.data.splits import load_split
from pipeline.account.counts import count
from pipeline.account.energy import account
from pipeline.emulate import emulate
from pipeline.ingest import slayer
from pipeline.ingest.checkpoint import load_module
from pipeline.mapping.place import place
from pipeline.model_folder import find_model
from pipeline.network import Network, Synapse
from pipeline.quantize import as_trained

NAMES = ("nmnist_mlp", "nmnist_cnn")
N_SAMPLES, N_TIMES, PRUNED_FRAC = 100, 5, 0.9


def pruned(network: Network) -> Network:
    """Return the network without the smallest weights of each group."""
    def changed(synapse: Synapse) -> Synapse:
        size = np.abs(synapse.weight)
        return replace(synapse, weight=np.where(
            size > np.quantile(size, PRUNED_FRAC), synapse.weight, 0).astype(np.int32))

    return network.with_layers(tuple(
        replace(layer, synapses=tuple(changed(s) for s in layer.synapses))
        for layer in network.layers))


def seconds(call: Callable[[], object]) -> float:
    """Return the least of some timings."""
    call()
    timings = []
    for _ in range(N_TIMES):
        begin = time.perf_counter()
        call()
        timings.append(time.perf_counter() - begin)
    return min(timings)


def main(names: tuple[str, ...]) -> None:
    """Print one row per network."""
    target = load_target("loihi1")
    print(f"{N_SAMPLES} test samples, loihi1; seconds, and shares of the emulator's time")
    print("network             cores  emulator    counts           times")
    for name in names:
        model = find_model(name)
        network, _ = as_trained(slayer.to_network(load_module(model), model))
        spikes = load_split(model.data, "test", network.n_steps, N_SAMPLES).spikes
        for label, one in ((name, network), (f"{name}, pruned", pruned(network))):
            placement, trace = place(one, target), emulate(one, spikes)
            base = seconds(lambda n=one, s=spikes: emulate(n, s))
            counting = seconds(lambda n=one, p=placement, t=trace: count(n, p, t))
            all_of_it = seconds(lambda n=one, p=placement, t=trace: account(n, p, t, target))
            print(f"{label:19s} {len(placement.cores):5d} {base:9.3f} {counting:9.4f} "
                  f"{counting / base:6.1%} {all_of_it - counting:8.3f} "
                  f"{(all_of_it - counting) / base:6.1%}", flush=True)


if __name__ == "__main__":
    main(tuple(sys.argv[1:]) or NAMES)
