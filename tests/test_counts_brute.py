"""Placements of random networks on tight chips, recounted from single synapses.

Every list of every core in bits and words, every axon, every limit, every counted event: written
down again from the rules of facts/hardware.md 1.2 and 10, for all formats a group could have had.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import product

import numpy as np
import pytest
from accounting import Case, convolution, count_by_loops, inputs, synapses_of, weights

from hardware_targets import Target, load_target
from pipeline.account.counts import count
from pipeline.emulate import emulate
from pipeline.errors import DesignRuleError
from pipeline.lower import without_joins
from pipeline.mapping.place import place
from pipeline.mapping.placement import Core
from pipeline.network import INPUT, ConvGeometry, Join, Layer, Network, Synapse
from pipeline.neuron import CubaNeuron

Rows = dict[int, list[tuple[int, int]]]


def drawn_network(rng: np.random.Generator) -> Network:
    """Return convolutions of any geometry, joined, then delayed and recurrent dense layers."""
    def number(low: int, high: int) -> int:
        return int(rng.integers(low, high + 1))

    def neuron(n: int) -> CubaNeuron:
        bias = tuple(int(b) for b in rng.integers(0, 9, n)) if rng.random() < 0.3 else None
        return CubaNeuron(int(rng.choice([512, 4096])), int(rng.choice([0, 1024])), number(1, 40),
                          bias=bias)

    def delay(n: int) -> tuple[int, ...] | None:
        longest = int(rng.choice([0, 4, 30]))
        return tuple(int(d) for d in rng.integers(0, longest + 1, n)) if longest else None

    groups = number(1, 2)
    shape_in = (2 * groups, number(4, 7), number(4, 7))
    layers = []
    for name in ("a", "b"):
        kernel = number(1, 3), number(1, 2)
        geometry = ConvGeometry((1, 2), (number(0, 2), number(0, 1)), (1, number(1, 2)), groups)
        synapse, shape = convolution(rng, name, INPUT, shape_in, groups * number(1, 3), geometry,
                                     kernel, density=float(rng.choice([0.1, 0.5, 1.0])))
        layers.append(Layer(name, (synapse,), neuron(shape[0]), shape, delay(shape[0])))
    sizes = [layer.n_neurons for layer in layers]
    join = Join("j", "concat", ("a", "b"), (sum(sizes),))
    n_c, n_d = number(1, 24), number(1, 9)
    density = float(rng.choice([0.05, 0.4, 1.0]))
    recurrent = Synapse("c.rec", "c", weights(rng, n_c, n_c), None, 8)
    layers.append(Layer(
        "c", (Synapse("c", "j", weights(rng, n_c, sum(sizes), density=density), None,
                      number(1, 8)),), neuron(n_c), (n_c,), delay(n_c),
        recurrent if rng.random() < 0.6 else None))
    layers.append(Layer("d", (Synapse("d", "c", weights(rng, n_d, n_c, density=0.6), None, 3),),
                        neuron(n_d), (n_d,)))
    return Network("drawn", shape_in, int(rng.choice([1, 9])), tuple(layers), (join,))


def drawn_target(rng: np.random.Generator) -> Target:
    """Return a chip of few small cores; limits that no network could keep to are left out."""
    def one_of(*values: int | None) -> int | None:
        return values[int(rng.integers(len(values)))]

    target = load_target(str(rng.choice(["loihi1", "loihi2", "example-chip"])))
    columns, rows = int(rng.integers(1, 5)), int(rng.integers(1, 4))
    values = {
        "neurons_per_core": one_of(5, 9, 64), "synapse_memory_bits_per_core": one_of(8192, 32768),
        "output_axons_per_core": one_of(100, None), "words_per_axon": one_of(3, 256, None),
        "input_axons_per_core": one_of(90, None), "off_chip_axons_per_core": one_of(40, None),
        "cores_per_tile": 2, "tile_columns": columns, "tile_rows": rows,
        "cores_per_chip": 2 * columns * rows,
    }
    capacities = target.capacities.model_copy(update={
        key: getattr(target.capacities, key).model_copy(update={"value": value})
        for key, value in values.items()})
    synapses = target.synapses.model_copy(update={"shares_conv_kernels": rng.random() < 0.7})
    return target.model_copy(update={"capacities": capacities, "synapses": synapses})


def narrowest(widths: tuple[int, ...] | None, value: int) -> int:
    fitting = [width for width in widths or () if value < 2**width]
    return fitting[0] if fitting else (widths or (0,))[-1]


def list_words(target: Target, bits: int, at: list[int], n_posts: int, name: str) -> int:
    """Return the memory words of a list with nonzero weights at these positions."""
    s, word = target.synapses, target.capacities.memory_word_bits.value or 1
    prefix, per_entry = s.entry_prefix_bits.value or 0, s.max_synapses_per_entry.value
    if per_entry is None:
        assert name == "dense"
        return -(-(prefix + n_posts * bits) // word)
    total, rest = 0, list(at)
    while rest:
        entry = rest[:per_entry]
        if name == "dense":
            entry = [p for p in rest if p < rest[0] + per_entry]
        if name == "run-length":
            jumps = [b - a >= 2**s.skip_bits.value[-1]
                     for a, b in zip(entry[:-1], entry[1:], strict=True)]
            entry = entry[: jumps.index(True) + 1] if True in jumps else entry
        rest, index = rest[len(entry):], narrowest(s.index_bits.value, entry[-1])
        if name == "dense":
            total += prefix + index + (entry[-1] - entry[0] + 1) * bits
        elif name == "sparse":
            total += prefix + len(entry) * (bits + index)
        else:
            jump = max((b - a for a, b in zip(entry[:-1], entry[1:], strict=True)), default=0)
            total += prefix + index + len(entry) * (bits + narrowest(s.skip_bits.value, jump))
    return -(-(total + 6) // word)


def synapse_bits(network: Network, target: Target, layer: Layer, group: Synapse) -> int:
    """Return the bits of one synapse: the next width up, and the delay of its source's spikes."""
    bits = min(b for b in target.synapses.weight_bits.value if b >= group.weight_bits)
    if group.source in (INPUT, layer.name):
        return bits
    longest = max(network.layer(group.source).axonal_delay or (0,))
    fields = target.synapses.delay_bits.value
    return bits + (min([b for b in fields if 2**b >= longest] or fields[-1:]) if longest else 0)


def recounted(
    network: Network, target: Target, core: Core, group: Synapse, name: str, rows: Rows
) -> tuple[int, int]:
    """Return memory bits and longest list of a group on a core, in one format."""
    layer = network.layer(core.layer)
    word = target.capacities.memory_word_bits.value or 1
    bits, at = synapse_bits(network, target, layer, group), {
        int(neuron): k for k, neuron in enumerate(core.neurons)}
    lists = [sorted(at[t] for t, weight in row if weight and t in at) for row in rows.values()]
    if name != "conv":
        words = [list_words(target, bits, one, core.n_neurons, name) for one in lists if one]
        return sum(words) * word, max(words, default=0)
    _, c_in, *kernel = group.weight.shape
    per_group = layer.shape[0] // group.geometry.groups
    n_words = []  # of one kernel position, by input channel that has a nonzero weight
    for channel in range(group.geometry.groups * c_in):
        own = [c for c in range(*core.region[0]) if c // per_group == channel // c_in]
        if own and group.weight[own, channel % c_in].any():
            n_words.append(list_words(target, bits, list(range(len(own))), len(own), "dense"))
    height, width = network.shape_of(group.source)[1:]
    under = Counter[tuple[int, int]]()  # kernel positions over each input pixel
    geometry, (ys, xs) = group.geometry, core.region[1:]
    for oy, ox, ky, kx in product(range(*ys), range(*xs), *map(range, kernel)):
        y = oy * geometry.stride[0] - geometry.padding[0] + ky * geometry.dilation[0]
        x = ox * geometry.stride[1] - geometry.padding[1] + kx * geometry.dilation[1]
        under[y, x] += 0 <= y < height and 0 <= x < width
    longest = max(n_words, default=0) * max(under.values(), default=0)
    return sum(n_words) * int(np.prod(kernel)) * word, longest


def check_memory(of: Case) -> None:
    """Assert bits, longest lists and limits of each core, and that no other format takes less."""
    network, target = without_joins(of.network), of.target
    most, longest = (getattr(target.capacities, key).value for key in (
        "synapse_memory_bits_per_core", "words_per_axon"))
    for layer in network.layers:
        for index, group in enumerate(layer.stored_groups):
            rows: Rows = defaultdict(list)
            for source, neuron, weight in synapses_of(network, layer, group):
                rows[source].append((neuron, weight))
            names = [*target.synapses.formats]
            if group.geometry is not None and target.synapses.shares_conv_kernels:
                names.append("conv")
            for core in of.placement.cores_of(layer.name):
                stored = core.synapses[index]
                found = {name: recounted(network, target, core, group, name, rows)
                         for name in names}
                assert stored.memory_bits == found[stored.format][0], (group.name, stored.format)
                allowed = [n for n, words in found.values() if words <= (longest or words)]
                assert found[stored.format][1] <= (longest or np.inf)
                assert stored.memory_bits == min(allowed)
                assert core.synapse_bits <= most


def check_axons(of: Case) -> None:
    """Assert the axons of each core, and their limits."""
    network, capacities = without_joins(of.network), of.target.capacities
    home = {(core.layer, int(n)): core for core in of.placement.cores for n in core.neurons}
    assert len(home) == sum(core.n_neurons for core in of.placement.cores) == sum(
        layer.n_neurons for layer in network.layers)
    sent, far = Counter[int](), Counter[int]()
    for core in of.placement.cores:
        for stored, group in zip(
                core.synapses, network.layer(core.layer).stored_groups, strict=True):
            for neuron in stored.sources if group.source != INPUT else ():
                sender = home[group.source, int(neuron)]
                sent[sender.index] += 1
                far[sender.index] += sender.chip != core.chip
    for core in of.placement.cores:
        assert (core.n_output_axons, core.n_off_chip_axons) == (sent[core.index], far[core.index])
        for n, limit in ((sent[core.index], capacities.output_axons_per_core.value),
                         (far[core.index], capacities.off_chip_axons_per_core.value),
                         (sum(len(s.sources) for s in core.synapses),
                          capacities.input_axons_per_core.value),
                         (core.n_neurons, capacities.neurons_per_core.value)):
            assert limit is None or n <= limit
    slots = Counter((core.chip, core.tile_x, core.tile_y) for core in of.placement.cores)
    assert max(slots.values()) <= capacities.cores_per_tile.value
    assert all(x < capacities.tile_columns.value and y < capacities.tile_rows.value
               and chip < of.placement.n_chips for chip, x, y in slots)


@pytest.mark.parametrize("seed", range(10))
def test_lists_axons_and_events_are_those_of_single_synapses(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network, target = drawn_network(rng), drawn_target(rng)
    try:
        placement = place(network, target, max_chips=40, seed=seed)
    except DesignRuleError as error:
        assert "limit of" in str(error)
        return
    rate = float(rng.choice([0.0, 0.4, 0.9], p=[0.1, 0.7, 0.2]))
    of = Case(network, target, placement, emulate(network, inputs(network, 2, rate)))
    check_memory(of)
    check_axons(of)
    counts, expected = count(network, placement, of.trace), count_by_loops(of)
    for event in set(counts.events) - {"neuron_updates_active", "neuron_updates_idle",
                                       "neuron_updates_spiked"}:
        found = {(int(n), int(core)): int(counts[event][n, core])
                 for n, core in np.argwhere(counts[event])}
        assert found == {key: n for key, n in expected.get(event, {}).items() if n}, event
