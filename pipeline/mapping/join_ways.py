"""Both ways of a sum of spikes on a chip, priced: a copy of synapses a source, or a graded relay.

In: an integer network with its joins, a target. Out: a :class:`JoinWays` for each sum. Copies are
what :func:`~pipeline.lower.without_joins` makes: no step, but every layer that hears the sum stores
its synapses once a source. A relay adds the spikes up, stores the synapses once, and sends graded
messages a step later, which only the sources' delays can make up for.

The line takes copies: a network is deployed as it was trained, and a relay is a layer that its
module does not have. What a relay would save is told, and how a module gets one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hardware_targets import Target
from pipeline.lower import without_joins
from pipeline.mapping.partition import CutLayer, Misfit, Partition
from pipeline.mapping.placement import Format
from pipeline.network import INPUT, ConvGeometry, Join, Layer, Network, Synapse
from pipeline.neuron import RelayNeuron


@dataclass(frozen=True)
class WayPrice:
    """What one way takes, of the layers that hear the sum, the relay, and what sends to them.

    Attributes
    ----------
    n_groups : synapse groups from the sources to the layers that hear them
    n_cores, memory_bits : of the whole network, where only these layers differ
    """

    n_groups: int
    n_cores: int
    memory_bits: int


@dataclass(frozen=True)
class JoinWays:
    """A sum, both prices and why copies were taken.

    Attributes
    ----------
    relay : None where the chip has none, or a single neuron of that way fits no core
    """

    join: str
    sources: tuple[str, ...]
    heard_by: tuple[str, ...]
    copies: WayPrice
    relay: WayPrice | None
    reason: str


def join_ways(
    network: Network, target: Target, formats: tuple[Format, ...] | None = None
) -> tuple[JoinWays, ...]:
    """Return the prices of each sum that a layer hears."""
    heard = {join.name: _heard_by(network, join) for join in network.joins if join.kind == "add"}
    joins = [join for join in network.joins if heard.get(join.name)]
    if not joins:
        return ()
    base = Partition(without_joins(network), target, formats)
    cut = base.cut({})
    if isinstance(cut, Misfit):
        return ()  # placement said so before
    found = []
    for join in joins:
        price = _price(cut, len(join.sources) * len(heard[join.name]))
        relay = _relay_price(network, join, heard[join.name], base)
        found.append(JoinWays(
            join.name, join.sources, tuple(layer.name for layer in heard[join.name]), price, relay,
            _reason(network, join, target, price, relay)))
    return tuple(found)


def with_relay(network: Network, join: Join) -> Network:
    """Return the network with a layer of graded relays in the place of a sum.

    Its spikes come a step later, and are others unless that is made up for.
    """
    name, shape = f"{join.name}.relay", join.shape
    if len(shape) == 3:
        weight, geometry = np.ones((shape[0], 1, 1, 1), np.int32), ConvGeometry(groups=shape[0])
    else:
        weight, geometry = np.eye(int(np.prod(shape)), dtype=np.int32), None
    group = Synapse(name, join.name, weight, geometry, 8, is_fixed=True)
    layers, is_there = list[Layer](), False
    for layer in network.layers:
        if any(group.source == join.name for group in layer.synapses) and not is_there:
            layers.append(Layer(name, (group,), RelayNeuron(), shape))
            is_there = True
        layers.append(replace(layer, synapses=tuple(
            replace(s, source=name) if s.source == join.name else s for s in layer.synapses)))
    return network.with_layers(tuple(layers))


def _heard_by(network: Network, join: Join) -> list[Layer]:
    """Return the layers that hear a sum; one that is a relay already is none."""
    return [layer for layer in network.layers
            if any(group.source == join.name for group in layer.synapses)
            and not isinstance(layer.neuron, RelayNeuron)]


def _relay_price(
    network: Network, join: Join, heard: list[Layer], base: Partition
) -> WayPrice | None:
    if "graded-relay" not in base.target.neurons.families:
        return None
    changed = {layer.name for layer in heard} | {f"{join.name}.relay"}
    relayed = without_joins(with_relay(network, join))
    # what is stored is measured once: only the layers around the sum are others
    own = {group.name for layer in relayed.layers if layer.name in changed
           for group in layer.synapses}
    trial = Partition(relayed, base.target, base.formats)
    trial._groups.update({k: v for k, v in base._groups.items() if k not in own})
    trial._cuts.update({k: v for k, v in base._cuts.items() if k[0] not in changed})
    cut = trial.cut({})
    if isinstance(cut, Misfit):
        return None
    return _price(cut, len(join.sources) + len(heard))


def _price(cut: dict[str, CutLayer], n_groups: int) -> WayPrice:
    pieces = [piece for layer in cut.values() for piece in layer.pieces]
    return WayPrice(n_groups, len(pieces), sum(
        stored.memory_bits for piece in pieces for stored in piece.stored))


def _reason(
    network: Network, join: Join, target: Target, copies: WayPrice, relay: WayPrice | None
) -> str:
    if "graded-relay" not in target.neurons.families:
        return f"copies: {target.name} has no graded messages"
    if relay is None:
        return "copies: a relay, or what hears it, fits no core"
    saved = (copies.n_cores - relay.n_cores, copies.memory_bits - relay.memory_bits)
    if saved <= (0, 0):
        return (f"copies: fewest cores, then least memory; with a relay {-saved[0]:+d} cores and "
                f"{-saved[1]:+,d} bits")
    late = [source for source in join.sources if not _has_a_step_to_give(network, join, source)]
    if late:
        return (f"copies: a relay would save {saved[0]} cores and {saved[1]:,} bits, but takes a "
                f"step that '{late[0]}' cannot make up for; spikes would be others")
    return (f"copies, as the module has no relay; one would save {saved[0]} cores and "
            f"{saved[1]:,} bits: put models.deep.blocks.GradedRelay there, and a step less into "
            "the delays before it")


def _has_a_step_to_give(network: Network, join: Join, source: str) -> bool:
    """Whether a source's axons wait at least a step, and for nobody else."""
    if source == INPUT or any(other.name == source for other in network.joins):
        return False
    layer = network.layer(source)
    n_heard = sum(group.source == source for other in network.layers for group in other.synapses)
    n_joined = sum(source in other.sources for other in network.joins)
    return n_heard == 0 and n_joined == 1 and min(layer.axonal_delay or (0,)) > 0
