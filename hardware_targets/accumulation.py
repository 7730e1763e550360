"""Worst cases over several steps: how far a state could go if the same synapses fired every step.

In: :class:`LayerFacts` and a `Target`. Out: a `Violation` for each state whose bound is beyond its
width. These are cautions, not refusals: a bound that holds proves that nothing wraps around or
saturates, whatever the data; one that does not hold proves nothing, and only a run can tell. What
one step can do is refused by `rules.current_in_range`.

With x the largest input of a step and a leak of d / 4096, a state stays below the sum of
x (1 - d / 4096)^k over all k, that is 4096 x / d; without a leak no bound is finite, and nothing is
said. Products truncated toward zero only make a state smaller.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from hardware_targets.facts import LayerFacts, Violation
from hardware_targets.rules import Rule
from hardware_targets.schema import STATE_EXP, Target

_FULL = 4096


def accumulated_current_in_range(facts: LayerFacts, target: Target) -> Violation | None:
    """Say where the current, or the state of a resonator, could leave its width; currents wrap.

    Both parts of a complex state take input: its amplitude grows by at most sqrt(2) times the
    larger.
    """
    if not facts.leak:
        return None
    parts = math.sqrt(2) if facts.family == "resonate-and-fire" else 1.0
    bound = parts * facts.worst_case_current * _FULL / facts.leak
    return _beyond(facts, target, "accumulated_current_in_range", "current", bound)


def accumulated_voltage_in_range(facts: LayerFacts, target: Target) -> Violation | None:
    """Say where the voltage of CUBA neurons could leave its width, where Lava saturates it.

    A spike sets the voltage back, so only what is below zero adds up in neurons that fire.
    """
    leak = facts.decays.get("voltage_decay", (0, 0))[0]
    if facts.family != "cuba" or leak <= 0 or not facts.leak:
        return None
    inhibition, bias = facts.worst_case_inhibition, max(0, -facts.bias_min)
    if not facts.fires:
        inhibition, bias = facts.worst_case_current, max(bias, facts.bias_max)
    current = inhibition * _FULL / facts.leak
    bound = (current + bias * 2**STATE_EXP) * _FULL / leak
    return _beyond(facts, target, "accumulated_voltage_in_range", "voltage", bound)


ACCUMULATION_RULES: tuple[Rule, ...] = (accumulated_current_in_range, accumulated_voltage_in_range)


def check_accumulation(facts: Iterable[LayerFacts], target: Target) -> list[Violation]:
    """Return every state of every layer that could leave its width, in the order of the layers."""
    found = (rule(layer, target) for layer in facts for rule in ACCUMULATION_RULES)
    return [violation for violation in found if violation is not None]


def _beyond(
    facts: LayerFacts, target: Target, rule: str, state: str, bound: float
) -> Violation | None:
    largest = 2 ** (target.neurons.state_bits.value - 1)
    if bound <= largest:
        return None
    return Violation(
        facts.layer, rule, f"worst-case {state} {math.ceil(bound):,} if the same synapses "
        "always fire", f"{largest:,}",
        "look at the largest state of a run; scale the layer's weights and vth_mant down together "
        "if it comes near",
    )
