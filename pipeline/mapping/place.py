"""Neurons to cores: which limits bind, which synapse format each core uses, what does not fit.

In: an integer network and a target. Out: a :class:`~pipeline.mapping.placement.Placement`. Each
layer takes the fewest cores that keep to every limit of a core (:mod:`pipeline.mapping.partition`),
no two layers share one, and the cores go where spikes have short ways
(:mod:`pipeline.mapping.chips`, :mod:`pipeline.mapping.mesh`). A limit the target does not know does
not bind.
"""

from __future__ import annotations

from math import ceil

from hardware_targets import LayerFacts, Target, Violation, check_accumulation, check_layers
from pipeline.errors import DesignRuleError
from pipeline.lower import without_joins
from pipeline.mapping.chips import Overflow, spread
from pipeline.mapping.layer_facts import facts_of, message_bounds
from pipeline.mapping.partition import Misfit, Partition, Rates
from pipeline.mapping.placement import Format, Placement
from pipeline.mapping.remedy import what_chips_would_fit, what_would_fit
from pipeline.network import Network


def check_rules(network: Network, target: Target, max_chips: int = 1) -> None:
    """Raise DesignRuleError with every rule of the target that the network breaks."""
    violations = check_layers(_facts(network), target, max_chips)
    if violations:
        lines = "\n".join(f"  {violation}" for violation in violations)
        raise DesignRuleError(
            f"network '{network.name}' breaks {len(violations)} rule(s) of target "
            f"'{target.name}':\n{lines}"
        )


def _facts(network: Network) -> list[LayerFacts]:
    bounds = message_bounds(network)
    return [facts_of(layer, bounds) for layer in network.layers]


def cautions(network: Network, target: Target) -> list[Violation]:
    """Return what the target allows but may go wrong: states that could leave their width."""
    return check_accumulation(_facts(network), target)


def place(
    network: Network, target: Target, *, formats: tuple[Format, ...] | None = None,
    rates: Rates | None = None, max_chips: int = 1, seed: int = 0,
) -> Placement:
    """Return the placement with the fewest cores per layer, and short ways between them.

    Parameters
    ----------
    formats : that synapses may take, of those the target has; None for all
    rates : per source (n_neurons,), spikes of each neuron in any unit, the input's too; None takes
        every neuron to spike alike
    max_chips : that may be used; as few are as hold the cores
    seed : of the swaps on the mesh

    Raises
    ------
    DesignRuleError
        If the network does not fit the chips: which limit, by how much, and what would fit.
    """
    partition = Partition(without_joins(network), target, formats, rates)
    found = spread(partition, max_chips, seed)
    if isinstance(found, Placement):
        return found
    if isinstance(found, Misfit):
        raise DesignRuleError(_neuron_too_big(partition, found, max_chips, seed))
    if found.excess is not None:
        raise DesignRuleError(_too_far(partition, found, max_chips, seed))
    raise DesignRuleError(_too_many_cores(partition, found, max_chips, seed))


def _neuron_too_big(partition: Partition, misfit: Misfit, max_chips: int, seed: int) -> str:
    excess = misfit.excess
    return (
        f"layer '{misfit.layer}': a single neuron does not fit a core of "
        f"'{partition.target.name}': {excess.limit}: {excess.value} against a limit of "
        f"{excess.bound}; {what_would_fit(partition, misfit.layer, max_chips, seed)}"
    )


def _too_far(partition: Partition, overflow: Overflow, max_chips: int, seed: int) -> str:
    excess, per_chip = overflow.excess, partition.target.capacities.cores_per_chip.value
    assert excess is not None
    return (
        f"network '{partition.network.name}': {excess.limit}: {excess.value} of a core against a "
        f"limit of {excess.bound}, even with {overflow.n_cores} cores on "
        f"{ceil(overflow.n_cores / per_chip)} chips of '{partition.target.name}'; "
        f"{what_would_fit(partition, None, max_chips, seed)}"
    )


def _too_many_cores(partition: Partition, overflow: Overflow, max_chips: int, seed: int) -> str:
    network, target, n_cores = partition.network, partition.target, overflow.n_cores
    limit = target.capacities.cores_per_chip.value * max_chips
    chips = f"one '{target.name}' chip" if max_chips == 1 else f"{max_chips} '{target.name}' chips"
    lines = "\n".join(
        f"  {name} · {cut.n_cores} core{'s' * (cut.n_cores > 1)}" + (
            f" · decided by {cut.limit}: {cut.value} against a limit of {cut.bound} on fewer cores"
            if cut.limit else "")
        for name, cut in overflow.cuts.items()
    )
    return (
        f"network '{network.name}' needs {n_cores} cores, {n_cores - limit} more than the {limit} "
        f"of {chips}; {what_would_fit(partition, None, max_chips, seed)}; "
        f"{what_chips_would_fit(partition, n_cores, seed)}:\n{lines}"
    )
