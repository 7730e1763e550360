"""The nodes of another framework's NIR graph to a Network: which layer is fed by which.

In: nodes as nir makes them, and edges. Out: layers in order, joins, and a ledger. What a layer's
nodes say in numbers is read by :mod:`pipeline.ingest.nir_layer`. A layer adds one step here and
none in NIR: branches of unequal depth are balanced (:mod:`pipeline.balance`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from pipeline.balance import balanced
from pipeline.errors import CheckpointError, UnsupportedLayerError
from pipeline.ingest.integer_scale import rounded
from pipeline.ingest.nir_layer import MAX_NEURONS, read_group, read_layer
from pipeline.ledger import Ledger, LedgerEntry
from pipeline.network import INPUT, Join, Layer, Network, Shape

_NEURONS = ("CubaLIF", "LIF", "IF")
_SYNAPSES = ("Linear", "Affine", "Conv2d", "SumPool2d")
_SUPPORTED = (*_NEURONS, *_SYNAPSES, "Input", "Output", "Flatten", "Delay")
_NEAREST = {
    "AvgPool2d": "SumPool2d, and the threshold times the number of its pixels",
    "Conv1d": "Conv2d with kernels (1, k)",
    "CubaLI": "CubaLIF with a threshold that is never reached",
    "I": "IF with a threshold that is never reached",
    "LI": "LIF with a threshold that is never reached",
    "NIRGraph": "its nodes and edges in the graph itself",
    "Scale": "the weights of the synapses times the scale",
    "Threshold": "IF with this threshold, or the binary input it makes",
}


def check_kind(name: str, kind: str) -> None:
    """Raise UnsupportedLayerError for a node that has no counterpart here."""
    if kind not in _SUPPORTED:
        raise UnsupportedLayerError(
            f"node '{name}': {kind} is not supported; nearest: {_NEAREST.get(kind, 'see the list')}"
            f"; supported are {', '.join(_SUPPORTED)}")


@dataclass(frozen=True)
class _Source:
    """A neuron node or ``INPUT`` that a node reads, and what it passes on the way."""

    name: str
    delay: str | None
    is_flat: bool


@dataclass
class _Graph:
    nodes: dict[str, Any]
    into: dict[str, list[str]]
    delays: dict[str, set[str | None]] = field(default_factory=dict)

    def kind(self, name: str) -> str:
        return type(self.nodes[name]).__name__

    def of_kind(self, *kinds: str) -> list[str]:
        return [name for name in self.nodes if self.kind(name) in kinds]

    def feeders(self, name: str) -> list[str]:
        """Return the nodes that lead to one; none is a damaged file."""
        if not self.into[name]:
            raise CheckpointError(f"node '{name}': nothing leads to it")
        return self.into[name]

    def refuse(self, name: str, problem: str, nearest: str) -> NoReturn:
        raise UnsupportedLayerError(
            f"node '{name}': {self.kind(name)} {problem} is not supported; nearest: {nearest}")

    def sources(self, name: str) -> list[_Source]:
        """Return what a synapse or output node reads, behind delays and flattening."""
        return [self._source(name, origin) for origin in self.feeders(name)]

    def _source(self, reader: str, name: str) -> _Source:
        delay, is_flat = None, False
        for _ in self.nodes:
            kind = self.kind(name)
            if kind in (*_NEURONS, "Input"):
                return _Source(INPUT if kind == "Input" else name, delay, is_flat)
            if kind not in ("Flatten", "Delay") or len(self.into[name]) != 1:
                self.refuse(reader, f"behind '{name}' ({kind} of {len(self.into[name])} sources)",
                            "neurons in between, or the weights of both multiplied")
            if kind == "Delay" and delay is not None:
                self.refuse(name, f"before '{delay}'", "one Delay of their sum")
            is_flat = is_flat or kind == "Flatten"
            delay = name if kind == "Delay" else delay
            (name,) = self.into[name]
        self.refuse(reader, "in a loop without neurons", "neurons in the loop")


@dataclass(frozen=True)
class _Fed:
    """A neuron node's synapse nodes, each with its sources, and those that close a loop."""

    synapses: dict[str, list[_Source]]
    loops: list[str]


def to_network(
    name: str, nodes: dict[str, Any], edges: list[tuple[str, str]], n_steps: int, dt: float
) -> tuple[Network, Ledger]:
    """Return the network of ``name`` that the nodes describe, and what became of them."""
    graph = _graph(nodes, edges)
    fed = {neuron: _fed(graph, neuron) for neuron in graph.of_kind(*_NEURONS)}
    (source,), (output,) = graph.of_kind("Input"), graph.of_kind("Output")
    order = _order(graph, fed, _last(graph, output))
    late, ledger, takes_steps = _late(graph, order, dt)
    ledger.append(LedgerEntry(name, f"a step taken as {dt:g} s, which NIR does not say", 1, 1))
    shapes: dict[str, Shape] = {INPUT: _input_shape(graph, source)}
    layers, joins = list[Layer](), list[Join]()
    for neuron in order:
        read = {synapse: _read_from(graph, synapse, sources, shapes, joins)
                for synapse, sources in fed[neuron].synapses.items()}
        groups = [read_group(at, nodes[at], origin, shapes[origin]) for at, origin in read.items()]
        groups += [read_group(loop, nodes[loop], neuron, ()) for loop in fed[neuron].loops]
        layer, entries = read_layer(neuron, nodes[neuron], groups, late[neuron], dt)
        layers.append(layer)
        ledger += entries
        shapes[neuron] = layer.shape
    network = Network(name, shapes[INPUT], n_steps, tuple(layers), tuple(joins))
    waits: Ledger = ()
    if not takes_steps:
        network, waits = balanced(network)
    return network, (*ledger, *waits)


def _graph(nodes: dict[str, Any], edges: list[tuple[str, str]]) -> _Graph:
    into: dict[str, list[str]] = {name: [] for name in nodes}
    for source, target in edges:
        if source not in nodes or target not in nodes:
            raise CheckpointError(f"edge '{source}' -> '{target}' joins no two nodes")
        into[target].append(source)
    graph = _Graph(nodes, into)
    for kind in ("Input", "Output"):
        found = graph.of_kind(kind)
        if len(found) != 1:
            raise UnsupportedLayerError(
                f"{len(found)} nodes of type {kind} ({', '.join(found)}); supported is one")
    return graph


def _input_shape(graph: _Graph, name: str) -> Shape:
    shape = tuple(int(size) for size in np.atleast_1d(graph.nodes[name].input_type["input"]))
    if len(shape) not in (1, 3) or min(shape) < 1 or math.prod(shape) > MAX_NEURONS:
        graph.refuse(name, f"of shape {shape}", "shape (features,) or (c, y, x)")
    return shape


def _fed(graph: _Graph, neuron: str) -> _Fed:
    synapses, loops = {}, []
    for name in graph.feeders(neuron):
        if graph.kind(name) not in _SYNAPSES:
            graph.refuse(neuron, f"fed by '{name}' ({graph.kind(name)})",
                         "a Linear with the identity in between, and any Delay before it")
        sources = graph.sources(name)
        if neuron not in [source.name for source in sources]:
            synapses[name] = sources
            for source in sources:
                graph.delays.setdefault(source.name, set()).add(source.delay)
        elif sources == [_Source(neuron, None, False)] and graph.kind(name) in ("Linear", "Affine"):
            loops.append(name)
        else:
            graph.refuse(name, f"from '{neuron}' to itself", "a Linear from it alone, undelayed")
    if len(loops) > 1:
        graph.refuse(neuron, f"with {len(loops)} loops", "one Linear with the sum of the weights")
    return _Fed(synapses, loops)


def _last(graph: _Graph, output: str) -> str:
    sources = graph.sources(output)
    if len(sources) != 1 or sources[0].name == INPUT:
        graph.refuse(output, f"of {len(sources)} sources", "one layer of neurons")
    graph.delays.setdefault(sources[0].name, set()).add(sources[0].delay)
    return sources[0].name


def _order(graph: _Graph, fed: dict[str, _Fed], last: str) -> list[str]:
    """Return the neuron nodes so that sources come first and the output comes last."""
    waiting = {
        name: {s.name for sources in each.synapses.values() for s in sources} - {INPUT}
        for name, each in fed.items()
    }
    order: list[str] = []
    while waiting:
        ready = [name for name, sources in waiting.items() if sources <= set(order)]
        ready = [name for name in ready if name != last or len(waiting) == 1]
        if not ready:
            graph.refuse(next(iter(waiting)), "in a loop over several layers, or behind the "
                         f"output's ({', '.join(waiting)}),", "loops from a layer to itself")
        order.append(ready[0])
        del waiting[ready[0]]
    return order


def _late(
    graph: _Graph, order: list[str], dt: float
) -> tuple[dict[str, NDArray[np.int64] | None], list[LedgerEntry], bool]:
    """Return each layer's axonal delays, (neurons,) in steps, and whether they make up its step.

    They do where there is a delay of a step or more behind every layer: a graph made for chips.
    """
    late: dict[str, NDArray[np.int64] | None] = {name: None for name in order}
    ledger: list[LedgerEntry] = []
    for name, delays in graph.delays.items():
        delay = next(iter(delays))
        if len(delays) > 1 or (name == INPUT and delay is not None):
            graph.refuse(next(filter(None, delays)), f"for some targets of '{name}', or the input",
                         "one Delay behind a layer, for all that read it")
        if delay is not None:
            steps = np.asarray(graph.nodes[delay].delay, dtype=np.float64).ravel() / dt
            late[name], entries = rounded(delay, "delays in steps", steps)
            ledger += entries
    delayed = {name: steps - 1 for name, steps in late.items() if steps is not None}
    if all(steps.min() >= 0 for steps in delayed.values()) and len(delayed) == len(late):
        return dict(delayed), ledger, True
    return late, ledger, False


def _read_from(
    graph: _Graph, name: str, sources: list[_Source], shapes: dict[str, Shape], joins: list[Join]
) -> str:
    """Return the source of a synapse node; a new join where it has several."""
    names, is_conv = tuple(s.name for s in sources), graph.kind(name) in ("Conv2d", "SumPool2d")
    maps = [s for s in sources if len(shapes[s.name]) == 3 and not s.is_flat]
    if len(maps) != (len(sources) if is_conv else 0):
        graph.refuse(name, f"of {', '.join(names)}",
                     "feature maps, unflattened" if is_conv else "a Flatten before it")
    if len(sources) == 1:
        return names[0]
    shape = shapes[names[0]]
    join = Join(f"{name}.sum", "add", names, shape if is_conv else (math.prod(shape),))
    joins.append(join)
    shapes[join.name] = join.shape
    return join.name
