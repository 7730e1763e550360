"""Branches of unequal depth brought into step.

In: a network that was made for steps in which a spike passes all layers at once, as in most other
frameworks. Out: one for Lava and a chip, where every layer takes a step: what reaches a layer on
shorter paths waits as long as on the longest. A source waits by its axonal delay where all that
read it want the same; elsewhere in a relay, a layer of neurons that repeat its spikes. The output
is that of the other framework, later by the depth of the network (facts: netx 3.2).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from pipeline.ledger import Ledger, LedgerEntry
from pipeline.network import INPUT, ConvGeometry, Join, Layer, Network, Synapse
from pipeline.neuron import CubaNeuron

# a spike of weight 2 exceeds the threshold 1; nothing is left of it in the next step
_RELAY, _WEIGHT = CubaNeuron(4096, 4096, 1), 2


def balanced(network: Network) -> tuple[Network, Ledger]:
    """Return the network with waiting branches, and an entry for each source that waits.

    Raises
    ------
    UnsupportedLayerError
        If a branch would have to wait for more steps than a delay holds.
    """
    plan = _Plan(network)
    if not any(lags - {0} for lags in plan.lags.values()):
        return network, ()
    joins = {join.name: join for join in network.joins}
    layers, made_joins = [*plan.relays(INPUT)], list[Join]()

    def late(name: str, lag: int) -> str:
        """Return the name of a source ``lag`` steps later; a join gets a twin."""
        if name not in joins:
            waits = lag - plan.axonal[name]
            return name if waits == 0 else _relay_name(name, waits)
        join = joins[name]
        twin = name if lag == 0 else f"{name}.late{lag}"
        if twin not in {made.name for made in made_joins}:
            sources = tuple(late(s, lag + plan.depth[name] - plan.depth[s]) for s in join.sources)
            made_joins.append(Join(twin, join.kind, sources, join.shape))
        return twin

    for layer in network.layers:
        latest = max(plan.depth[synapse.source] for synapse in layer.synapses)
        synapses = tuple(
            replace(synapse, source=late(synapse.source, latest - plan.depth[synapse.source]))
            for synapse in layer.synapses)
        wait = plan.axonal[layer.name]
        delay = layer.axonal_delay or (0,) * layer.n_channels
        layers.append(replace(
            layer, synapses=synapses,
            axonal_delay=tuple(d + wait for d in delay) if wait else layer.axonal_delay))
        layers.extend(plan.relays(layer.name))
    found = replace(network, layers=tuple(layers), joins=tuple(made_joins))
    return found, tuple(plan.entries())


class _Plan:
    """How deep every source is, and by how much it has to wait for whom.

    Attributes
    ----------
    depth : steps after which the input reaches a source's output, delays of the network aside
    lags : of the input and every layer, the steps its readers want it later
    axonal : the part of them that its axonal delay takes
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._joins = {join.name: join for join in network.joins}
        self.depth = {INPUT: 0}
        self.lags: dict[str, set[int]] = {INPUT: set()}
        for layer in network.layers:
            self.lags[layer.name] = set()
            for synapse in layer.synapses:
                self._reach(synapse.source)
            latest = max(self.depth[synapse.source] for synapse in layer.synapses)
            self.depth[layer.name] = latest + 1
            for synapse in layer.synapses:
                for leaf, lag in self._leaves(synapse.source, latest - self.depth[synapse.source]):
                    self.lags[leaf].add(lag)
        # what enters the network has no delay of its own
        self.axonal = {name: 0 if name == INPUT else min(lags, default=0)
                       for name, lags in self.lags.items()}

    def _reach(self, name: str) -> None:
        if name in self._joins:
            for source in self._joins[name].sources:
                self._reach(source)
            self.depth[name] = max(self.depth[s] for s in self._joins[name].sources)

    def _leaves(self, name: str, lag: int) -> Iterator[tuple[str, int]]:
        if name not in self._joins:
            yield name, lag
            return
        for source in self._joins[name].sources:
            yield from self._leaves(source, lag + self.depth[name] - self.depth[source])

    def relays(self, name: str) -> Iterator[Layer]:
        """Yield a relay for every wait that the axonal delay of a source does not cover."""
        shape = self._network.shape_of(name)
        for waits in sorted(lag - self.axonal[name] for lag in self.lags[name]):
            if waits == 0:
                continue
            relay, geometry = _relay_name(name, waits), None
            weight = np.full((shape[0], 1, 1, 1), _WEIGHT, dtype=np.int32)
            if len(shape) == 3:
                geometry = ConvGeometry(groups=shape[0])
            else:
                weight = _WEIGHT * np.eye(shape[0], dtype=np.int32)
            synapse = Synapse(relay, name, weight, geometry, 8, is_fixed=True)
            delay = (waits - 1,) * shape[0] if waits > 1 else None
            yield Layer(relay, (synapse,), _RELAY, shape, delay)

    def entries(self) -> Iterator[LedgerEntry]:
        """Yield what was done to each source that waits."""
        for name, lags in self.lags.items():
            n = int(np.prod(self._network.shape_of(name)))
            if self.axonal[name]:
                yield LedgerEntry(name, f"spikes leave {_steps(self.axonal[name])} later, to "
                                  "meet those of deeper layers", n, n)
            for waits in sorted(lag - self.axonal[name] for lag in lags):
                if waits:
                    yield LedgerEntry(name, f"repeated by a relay {_steps(waits)} later, to meet "
                                      "the spikes of deeper layers", n, n)


def _relay_name(source: str, waits: int) -> str:
    return f"{source}.relay{waits}"


def _steps(n: int) -> str:
    return f"{n} step" if n == 1 else f"{n} steps"
