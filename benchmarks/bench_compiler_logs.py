"""Cores per layer that Intel's Loihi 2 compiler printed, against those predicted here.

    python benchmarks/bench_compiler_logs.py

The logs are outputs of two tutorial notebooks of lava-nc/lava-dl (BSD-3): ``netx/mnist/run.ipynb``
and ``netx/pilotnet_sdnn/benchmark.ipynb`` (facts: hardware.md 10). Two predictions, both from the
layer descriptions and the limits of the target ``loihi2-compiler`` alone, weights of 8 bits:

* fewest: what this project's placement needs;
* by its way: how the compiler went about it, as its log shows the tries for 2,560 -> 100 neurons
  (66,560 words, then 12,800, then 12 cores): as many slices as the excess, rounded up, then twice
  as many until they fit; tiles of a convolution keep y and c and take a power of two in x.

The wheel of lava-dl has another network of this name (36 -> 64 channels where the log has 36 -> 48
-> 64): its weights belong to other layers, so weights are drawn, none of them zero. Nothing here is
fitted: what the limits do not explain is said to differ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hardware_targets import Target, load_target
from pipeline.mapping.place import place
from pipeline.mapping.placement import Placement
from pipeline.network import INPUT, ConvGeometry, Layer, Network, Synapse
from pipeline.network_checks import conv_output_shape
from pipeline.neuron import CubaNeuron, Neuron, SigmaDeltaNeuron

BITS = 8


@dataclass(frozen=True)
class Logged:
    """One line of a log: a layer and its cores; tile in x of a convolution."""

    layer: str
    n_cores: int
    tile_x: int | None = None
    why: str = ""


MNIST = (
    Logged("784-128", 3, None,
           "the log's 1.22 % are 50 neurons a core, and 12 words an axon: neither a third of 128 "
           "nor 8 bits; the core count follows all the same"),
    Logged("128-64", 1), Logged("64-10", 1),
)
PILOTNET = (
    Logged("conv1", 25, 4, "fewest: tiles of other widths, up to 4,096 neurons"),
    Logged("conv2", 13, 4, "fewest: as conv1"),
    Logged("conv3", 3, 8, "fewest: as conv1; two tiles of 12 columns are 4,032 neurons"),
    Logged("conv4", 3, 8,
           "16 columns are exactly 4,096 neurons: by the printed limit they fit, the log has 8"),
    Logged("conv5", 2, 16,
           "all 20 columns are 2,560 neurons and fit; padded to 32 they would be exactly 4,096, "
           "which the log does not use in conv4 either"),
    Logged("2560-100", 12, None,
           "fewest: slices as wide as 12,000 words allow; the compiler halves its 6 slices of 17 "
           "(5 words an axon: the printed 12,800) to slices of 9; 11 slices of 9 with 3 words and "
           "one of 1 with 1 are on average the printed 7,253 words"),
    Logged("100-50", 1), Logged("50-10", 1), Logged("10-1", 1),
)


def _weight(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return (2 * rng.integers(1, 128, shape) * rng.choice((-1, 1), shape)).astype(np.int32)


def _dense(names: tuple[str, ...], sizes: tuple[int, ...], source: str, neuron: Neuron,
           rng: np.random.Generator) -> list[Layer]:
    layers = []
    for name, n_in, n_out in zip(names, sizes[:-1], sizes[1:], strict=True):
        synapse = Synapse(name, source, _weight(rng, n_out, n_in), None, BITS)
        layers.append(Layer(name, (synapse,), neuron, (n_out,)))
        source = name
    return layers


def mnist() -> Network:
    """Return 784-128-64-10, CUBA neurons."""
    layers = _dense(tuple(row.layer for row in MNIST), (784, 128, 64, 10), INPUT,
                    CubaNeuron(1024, 128, 80), np.random.default_rng(0))
    return Network("mnist", (784,), 10, tuple(layers))


def pilotnet() -> Network:
    """Return the nine layers the notebook prints: input 3 x 66 x 200, sigma-delta neurons."""
    rng, neuron = np.random.default_rng(0), SigmaDeltaNeuron(10)
    shape, source, layers = (3, 66, 200), INPUT, []
    # channels, stride (y, x), padding (y, x), as printed
    for n, (channels, stride, padding) in enumerate((
        (24, (2, 2), (0, 0)), (36, (2, 2), (0, 0)), (48, (2, 2), (0, 0)), (64, (2, 1), (1, 0)),
        (64, (1, 1), (0, 0))), 1):
        geometry = ConvGeometry(stride, padding)
        weight = _weight(rng, channels, shape[0], 3, 3)
        shape = conv_output_shape(weight.shape, geometry, shape)
        layers.append(Layer(f"conv{n}", (Synapse(f"conv{n}", source, weight, geometry, BITS),),
                            neuron, shape))
        source = f"conv{n}"
    names = tuple(row.layer for row in PILOTNET[5:])
    layers += _dense(names, (2560, 100, 50, 10, 1), source, neuron, rng)
    return Network("pilotnet", (3, 66, 200), 10, tuple(layers))


def by_its_way(layer: Layer, target: Target) -> int:
    """Return the cores of a layer as the compiler goes about it, from the printed limits."""
    capacities = target.capacities
    most = capacities.neurons_per_core.value
    if len(layer.shape) == 3:
        channels, height, width = layer.shape
        tile = 1 << (width - 1).bit_length()
        while tile > 1 and min(tile, width) * height * channels > most:
            tile //= 2
        return -(-width // tile)
    word = capacities.memory_word_bits.value or 1
    n_words = capacities.synapse_memory_bits_per_core.value // word
    prefix = target.synapses.entry_prefix_bits.value or 0
    n_in = layer.synapses[0].weight.shape[1]

    def words(n_posts: int) -> int:
        return n_in * -(-(n_posts * BITS + prefix) // word)

    width = math.ceil(layer.n_neurons / math.ceil(words(layer.n_neurons) / n_words))
    while words(width) > n_words or width > most:
        width = -(-width // 2)
    return -(-layer.n_neurons // width)


def _table(network: Network, log: tuple[Logged, ...], target: Target) -> None:
    placement: Placement = place(network, target)
    totals = [0, 0, 0]
    print(f"{network.name} on {target.name}")
    print(f"  {'layer':10s} {'log':>4s} {'fewest':>7s} {'by its way':>11s}  decided by")
    for row in log:
        cut = placement.cuts[row.layer]
        way = by_its_way(network.layer(row.layer), target)
        decided = f"{cut.limit} {cut.value:,} > {cut.bound:,}" if cut.limit else "one core holds it"
        print(f"  {row.layer:10s} {row.n_cores:4d} {cut.n_cores:7d} {way:11d}  {decided}")
        if row.why:
            print(f"  {'':10s} {row.why}")
        for k, n in enumerate((row.n_cores, cut.n_cores, way)):
            totals[k] += n
    print(f"  {'total':10s} {totals[0]:4d} {totals[1]:7d} {totals[2]:11d}\n")


def main() -> None:
    target = load_target("loihi2-compiler")
    prefix = target.synapses.entry_prefix_bits.value
    print(f"word {target.capacities.memory_word_bits.value} bits, prefix "
          f"{'not known, counted as 0' if prefix is None else prefix} bits, weights {BITS} bits\n")
    _table(mnist(), MNIST, target)
    _table(pilotnet(), PILOTNET, target)


if __name__ == "__main__":
    main()
