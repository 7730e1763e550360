"""What the tests of the account share: random networks, small cores, and a count by plain loops."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware_targets import Target, load_target
from pipeline.emulate import Trace, emulate
from pipeline.lower import without_joins
from pipeline.mapping.place import place
from pipeline.mapping.placement import Core, CoreSynapses, Placement
from pipeline.network import INPUT, ConvGeometry, Join, Layer, Network, Synapse
from pipeline.network_checks import conv_output_shape
from pipeline.neuron import CubaNeuron, ResonatorNeuron, SigmaDeltaNeuron

N_STEPS = 14


def small_cores(name: str = "loihi1", n_neurons: int = 9, **capacities: int) -> Target:
    """Return a target with cores so small that layers span several."""
    target = load_target(name)
    changed = {
        key: getattr(target.capacities, key).model_copy(update={"value": value})
        for key, value in {"neurons_per_core": n_neurons, **capacities}.items()
    }
    return target.model_copy(
        update={"capacities": target.capacities.model_copy(update=changed)})


def weights(rng: np.random.Generator, *shape: int, density: float = 0.3) -> NDArray[np.int32]:
    values = 32 * rng.integers(-3, 5, shape)
    return np.where(rng.random(shape) < density, values, 0).astype(np.int32)


def convolution(
    rng: np.random.Generator, name: str, source: str, in_shape: tuple[int, ...], n_out: int,
    geometry: ConvGeometry, kernel: tuple[int, int] = (3, 2), density: float = 0.5,
) -> tuple[Synapse, tuple[int, ...]]:
    weight = weights(rng, n_out, in_shape[0] // geometry.groups, *kernel, density=density)
    synapse = Synapse(name, source, weight, geometry, 8)
    return synapse, conv_output_shape(synapse.weight.shape, geometry, in_shape)


def random_network(seed: int, current_decay: int | None = None) -> Network:
    """Return conv, delayed conv, joined and recurrent dense layers; biases here and there."""
    rng = np.random.default_rng(seed)

    def neuron(channels: int) -> CubaNeuron:
        decay = int(rng.choice([512, 2048, 4096])) if current_decay is None else current_decay
        bias = tuple(int(b) for b in rng.integers(0, 9, channels)) if rng.random() < 0.4 else None
        return CubaNeuron(decay, int(rng.choice([0, 128, 1024])), 50, bias=bias)

    def delay(channels: int) -> tuple[int, ...] | None:
        return tuple(int(d) for d in rng.integers(0, 5, channels)) if rng.random() < 0.7 else None

    shape_in = (2, 6, 5)
    a, shape = convolution(rng, "a", INPUT, shape_in, 4, ConvGeometry((1, 1), (1, 1), (1, 1), 2))
    b, shape_b = convolution(rng, "b", INPUT, shape_in, 4, ConvGeometry((1, 1), (1, 1)))
    is_sum = rng.random() < 0.5
    join = Join("j", "add" if is_sum else "concat", ("a", "b"),
                shape if is_sum else (shape[0] + shape_b[0], *shape[1:]))
    c, shape_c = convolution(
        rng, "c", "j", join.shape, 3, ConvGeometry((2, 1), (0, 1)), (2, 2))
    n_c, n_d = int(np.prod(shape_c)), 12
    recurrent = Synapse("d.rec", "d", weights(rng, n_d, n_d), None, 8)
    return Network("random", shape_in, N_STEPS, (
        Layer("a", (a,), neuron(4), shape, delay(4)),
        Layer("b", (b,), neuron(4), shape_b, delay(4)),
        Layer("c", (c,), neuron(3), shape_c),
        Layer("d", (Synapse("d", "c", weights(rng, n_d, n_c), None, 8),), neuron(n_d), (n_d,),
              delay(n_d), recurrent if rng.random() < 0.8 else None),
        Layer("e", (Synapse("e", "d", weights(rng, 4, n_d, density=0.6), None, 8),), neuron(4),
              (4,)),
    ), (join,))


def sigma_delta_network(seed: int) -> Network:
    """Return neurons that encode the input, send graded messages, and decode them."""
    rng = np.random.default_rng(seed)
    n_in, n = 6, 20
    eye = Synapse("in", INPUT, np.eye(n_in, dtype=np.int32), None, None, is_fixed=True)
    return Network("graded", (n_in,), N_STEPS, (
        Layer("in", (eye,), SigmaDeltaNeuron(4, "delta", "none"), (n_in,)),
        Layer("h", (Synapse("h", "in", weights(rng, n, n_in), None, 8),),
              SigmaDeltaNeuron(6), (n,)),
        Layer("out", (Synapse("out", "h", weights(rng, 3, n), None, 8),),
              SigmaDeltaNeuron(0, "sigma", "none"), (3,)),
    ))


def resonator_network(seed: int) -> Network:
    """Return resonators with real and imaginary weights, and delays."""
    rng = np.random.default_rng(seed)

    def groups(name: str, source: str, *shape: int) -> tuple[Synapse, ...]:
        return (Synapse(f"{name}.re", source, weights(rng, *shape), None, 8),
                Synapse(f"{name}.im", source, weights(rng, *shape), None, 8, part="imag"))

    neuron = ResonatorNeuron("rf", 900, 3800, 40)
    return Network("resonators", (10,), N_STEPS, (
        Layer("r", groups("r", INPUT, 21, 10), neuron, (21,),
              tuple(int(d) for d in rng.integers(0, 4, 21))),
        Layer("q", groups("q", "r", 5, 21), neuron, (5,)),
    ))


def inputs(network: Network, n: int = 3, rate: float = 0.3, seed: int = 1) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    shape = (n, *network.input_shape, network.n_steps)
    if network.name == "graded":
        return rng.integers(-40, 40, shape).astype(np.int32)
    return (rng.random(shape) < rate).astype(np.uint8)


@dataclass(frozen=True)
class Case:
    """A network on small cores, and a run of it."""

    network: Network
    target: Target
    placement: Placement
    trace: Trace


def case(network: Network, target: Target | None = None, **given: Any) -> Case:
    target = target or small_cores()
    return Case(network, target, place(network, target, max_chips=8),
                emulate(network, inputs(network, **given)))


def count_by_loops(case: Case) -> dict[str, Counter[tuple[int, int]]]:
    """Return per event how often it happened, by (sample, core): a loop over spikes and synapses.

    Nothing of the account, of the unrolled matrices or of the placement's tables is used but which
    neurons a core holds and in which format it stores a group.
    """
    network = without_joins(case.network)
    counted: dict[str, Counter[tuple[int, int]]] = {}
    events = [(layer, spike) for layer in network.layers for spike in arrivals(case, layer)]
    cores = {layer.name: case.placement.cores_of(layer.name) for layer in network.layers}
    home = {(core.layer, int(i)): core for core in case.placement.cores for i in core.neurons}
    per_entry = case.target.synapses.max_synapses_per_entry.value
    reach = {layer.name: reaches(network, layer, cores[layer.name], per_entry)
             for layer in network.layers}

    def add(event: str, sample: int, core: int, n: int = 1) -> None:
        counted.setdefault(event, Counter())[sample, core] += n

    for layer, (sample, source, neuron, is_graded) in events:
        for core in cores[layer.name]:
            found = reach[layer.name].get((source, neuron, core.index), Counter())
            if not found:
                continue
            for event, n in found.items():
                add(event, sample, core.index, n)
            if is_graded:
                add("effective_macs", sample, core.index, found["effective_synops"])
            add("messages_in", sample, core.index)
            if source == INPUT:
                add("messages_from_outside", sample, core.index)
                continue
            sender = home[source, neuron]
            add("messages_out", sample, sender.index)
            if sender.chip != core.chip:
                add("messages_off_chip", sample, sender.index)
                continue
            dx, dy = abs(sender.tile_x - core.tile_x), abs(sender.tile_y - core.tile_y)
            add("hops_east_west", sample, sender.index, dx)
            add("hops_north_south", sample, sender.index, dy)
            add("messages_within_tile", sample, sender.index, int(dx + dy == 0))
    for name, fired in all_fired(case).items():
        for sample, neuron, _ in np.argwhere(fired):
            add("spikes", int(sample), home[name, int(neuron)].index)
    return counted


def arrivals(case: Case, layer: Layer) -> list[tuple[int, str, int, bool]]:
    """Return (sample, source, source neuron, whether it is graded) of each spike that arrives."""
    fired = all_fired(case)
    found = []
    for source in dict.fromkeys(group.source for group in without_joins(case.network)
                                .layer(layer.name).groups):
        sent = case.trace.spikes[source]
        sent = sent.reshape(len(sent), -1, sent.shape[-1])
        if source == layer.name:
            sent = fired[source]
        for sample, neuron, _ in np.argwhere(sent):
            is_graded = bool(np.abs(sent[sample]).max() > 1)
            found.append((int(sample), source, int(neuron), is_graded))
    return found


def all_fired(case: Case) -> dict[str, NDArray[Any]]:
    """Return what each layer fired, one step later, whatever its delays: run without them."""
    fired = {}
    for index, layer in enumerate(case.network.layers):
        if getattr(layer.neuron, "role", None) == "sigma":
            continue
        prompt = replace(layer, axonal_delay=None)
        twin = case.network.with_layers(
            (*case.network.layers[:index], prompt, *case.network.layers[index + 1:]))
        spikes = emulate(twin, case.trace.spikes[INPUT]).spikes[layer.name]
        fired[layer.name] = (spikes != 0).reshape(len(spikes), -1, spikes.shape[-1])
    return fired


def reaches(
    network: Network, layer: Layer, cores: tuple[Core, ...], per_entry: int | None
) -> dict[tuple[str, int, int], Counter[str]]:
    """Return what one spike of (source, neuron) makes a core do."""
    found: dict[tuple[str, int, int], Counter[str]] = {}
    if layer.is_driven:
        return {(INPUT, int(i), core.index): Counter({"driven": 1})
                for core in cores for i in core.neurons}
    for group in layer.groups:
        rows: dict[tuple[int, int], list[tuple[int, bool]]] = {}
        position = {int(i): (core, at) for core in cores for at, i in enumerate(core.neurons)}
        for source, target, weight in synapses_of(network, layer, group):
            core, at = position[target]
            rows.setdefault((source, core.index), []).append((at, weight != 0))
        for (source, index), row in rows.items():
            n_effective = sum(is_nonzero for _, is_nonzero in row)
            if not n_effective:
                continue
            core = next(core for core in cores if core.index == index)
            (stored,) = [s for s in core.synapses if s.synapse == group.name]
            own = found.setdefault((group.source, source, index), Counter())
            own["effective_synops"] += n_effective
            n = executed(stored, row, core, per_entry)
            own["executed_synops"] += n
            own[f"executed_synops_{stored.format.replace('-', '_')}"] += n
    return found


def executed(
    stored: CoreSynapses, row: list[tuple[int, bool]], core: Core, per_entry: int | None
) -> int:
    """Return what a format makes one spike execute, by its description."""
    nonzero = sorted(at for at, is_nonzero in row if is_nonzero)
    if stored.format in ("sparse", "run-length"):
        return len(nonzero)
    if stored.format == "conv":
        return len(row)
    if per_entry is None:
        return core.n_neurons
    n = 0  # windows of so many positions at most, from a nonzero weight to a nonzero weight
    while nonzero:
        window = [at for at in nonzero if at < nonzero[0] + per_entry]
        n += window[-1] - window[0] + 1
        nonzero = nonzero[len(window):]
    return n


def synapses_of(
    network: Network, layer: Layer, group: Synapse
) -> list[tuple[int, int, int]]:
    """Return (source neuron, target neuron, weight) of each synapse, zeros too, by its formula."""
    if group.geometry is None:
        return [(i, j, int(group.weight[j, i])) for j, i in product(*map(range,
                group.weight.shape))]
    g = group.geometry
    shape_in = network.shape_of(group.source)
    n_out, n_in, ky, kx = group.weight.shape
    found = []
    for co, oy, ox in product(*map(range, layer.shape)):
        for ci, dy, dx in product(range(n_in), range(ky), range(kx)):
            y = oy * g.stride[0] - g.padding[0] + dy * g.dilation[0]
            x = ox * g.stride[1] - g.padding[1] + dx * g.dilation[1]
            if 0 <= y < shape_in[1] and 0 <= x < shape_in[2]:
                channel = co // (n_out // g.groups) * n_in + ci
                source = (channel * shape_in[1] + y) * shape_in[2] + x
                target = (co * layer.shape[1] + oy) * layer.shape[2] + ox
                found.append((source, target, int(group.weight[co, ci, dy, dx])))
    return found
