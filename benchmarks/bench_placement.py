"""A network of a million neurons and 100 million synapses placed: seconds, memory, cores.

    python benchmarks/bench_placement.py [--target loihi1] [--density 0.65] [--seed 0]

Weights are drawn, kernels of convolutions pruned at random; rates are drawn too. Each target runs
in a process of its own, so that the peak of its memory is its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np

from hardware_targets import load_target
from pipeline.mapping.connectivity import unrolled
from pipeline.mapping.place import place
from pipeline.network import INPUT, ConvGeometry, Layer, Network, Synapse
from pipeline.network_checks import conv_output_shape
from pipeline.neuron import CubaNeuron

NEURON = CubaNeuron(1024, 128, 80)
# channels, kernel, stride; the fourth is depthwise, as are those before pointwise ones
CONVS = ((16, 3, 1, 1), (16, 3, 1, 1), (32, 3, 2, 1), (32, 3, 1, 1), (32, 3, 1, 32), (64, 1, 1, 1),
         (64, 3, 2, 1), (64, 3, 2, 1), (64, 3, 2, 1), (8, 3, 1, 1))
DENSE = (512, 256, 10)


def million(density: float, seed: int, side: int = 128) -> Network:
    """Return the network: convolutions over ``side`` x ``side`` pixels, then dense layers."""
    rng = np.random.default_rng(seed)

    def weight(*shape: int) -> np.ndarray:
        values = 2 * rng.integers(1, 128, shape, dtype=np.int32) * rng.choice((-1, 1), shape)
        return np.where(rng.random(shape) < density, values, 0).astype(np.int32)

    layers, source, shape = [], INPUT, (2, side, side)
    for n, (channels, kernel, stride, groups) in enumerate(CONVS):
        geometry = ConvGeometry((stride, stride), (kernel // 2, kernel // 2), (1, 1), groups)
        w = weight(channels, shape[0] // groups, kernel, kernel)
        shape = conv_output_shape(w.shape, geometry, shape)
        layers.append(Layer(f"conv{n}", (Synapse(f"conv{n}", source, w, geometry, 8),), NEURON,
                            shape))
        source = f"conv{n}"
    features = int(np.prod(shape))
    for n, size in enumerate(DENSE):
        layers.append(Layer(
            f"fc{n}", (Synapse(f"fc{n}", source, weight(size, features), None, 8),), NEURON,
            (size,)))
        source, features = f"fc{n}", size
    return Network("million", (2, side, side), 10, tuple(layers))


def measure(target_name: str, density: float, seed: int) -> dict[str, object]:
    """Place the network on as many chips as it takes."""
    network, target = million(density, seed), load_target(target_name)
    rng = np.random.default_rng(seed)
    rates = {layer.name: rng.random(layer.n_neurons) for layer in network.layers}
    rates[INPUT] = rng.random(int(np.prod(network.input_shape)))
    place(_warm_up(network), target, max_chips=64)  # compiles, or reads the compiled kernels
    before = time.perf_counter()
    placement = place(network, target, rates=rates, max_chips=256, seed=seed)
    elapsed = time.perf_counter() - before
    effective = sum(int(s.effective.sum(dtype=np.int64)) for c in placement.cores
                    for s in c.synapses)
    positions = sum(
        (s.weight.size if s.geometry is None
         else s.weight[0].size * int(np.prod(network.layer_of(s.name).shape)))
        for s in network.synapses)
    return {
        "target": target_name, "density": density,
        "n_neurons": sum(layer.n_neurons for layer in network.layers),
        "n_synapse_positions": positions, "n_synapses_nonzero": effective,
        "seconds": round(elapsed, 1),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "n_cores": len(placement.cores), "n_chips": placement.n_chips,
        "n_off_chip_axons": sum(core.n_off_chip_axons for core in placement.cores),
        "cuts": {name: [cut.n_cores, cut.limit, cut.value, cut.bound]
                 for name, cut in placement.cuts.items()},
    }


def _warm_up(network: Network) -> Network:
    layer = network.layers[-1]
    alone = Synapse(layer.name, INPUT, layer.synapses[0].weight, None, 8)
    small = Network("warm-up", (layer.synapses[0].weight.shape[1],), 5, (
        Layer(layer.name, (alone,), NEURON, layer.shape),
        Layer("after", (Synapse("after", layer.name, np.full((3, 10), 2, np.int32), None, 8),),
              NEURON, (3,))))
    assert unrolled(small, alone).shape[1] == layer.n_neurons
    return small


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", help="one target, in this process; default: several")
    parser.add_argument("--density", type=float, default=0.65, help="share of nonzero weights")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.target:
        print(json.dumps(measure(options.target, options.density, options.seed)))
        return
    for target in ("loihi1", "loihi2", "loihi2-compiler"):
        command = [sys.executable, __file__, "--target", target, "--density",
                   str(options.density), "--seed", str(options.seed)]
        result = json.loads(subprocess.run(
            command, check=True, capture_output=True, text=True).stdout)
        cuts = result.pop("cuts")
        print("  ".join(f"{key} {value}" for key, value in result.items()))
        for name, (n, limit, value, bound) in cuts.items():
            print(f"    {name:8s} {n:5d} cores  {limit} {value} > {bound}" if limit
                  else f"    {name:8s} {n:5d} core")


if __name__ == "__main__":
    main()
