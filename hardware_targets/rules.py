"""Rules a layer must keep to run on a target, one small function each.

In: `LayerFacts`, the few integers of a quantized layer that a chip can refuse, and a `Target`.
Out: a list of every `Violation`, none hidden behind another. Deliberately not here: core and memory
counts, which need a placement, and the overflow of accumulated state, which needs spikes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from hardware_targets.schema import NeuronFamily, Target


@dataclass(frozen=True)
class LayerFacts:
    """The integers of one quantized layer that a chip can refuse.

    Attributes
    ----------
    layer : str
        Name as the user knows it.
    family : {"cuba", "sigma-delta", "resonate-and-fire"}
        Of its neurons.
    kind : {"dense", "conv"}
    n_neurons : int
    has_synapses : bool
        False for neurons that take the network's input by themselves.
    weight_bits : int
        Declared width, sign included.
    weight_min, weight_max : int
        Extremes of the integer codes, before ``weight_exp``.
    weight_exp : int
        Weight = code * 2^weight_exp.
    vth_mant : int
        Threshold mantissa (threshold = vth_mant * 2^6).
    current_decay, voltage_decay : int
        Numerators over 4096; 4096 is a full decay in one step.
    worst_case_current : int
        Largest possible abs(u) after one step in which every synapse fires, in state units.
    axonal_delay : int
        Largest delay of the layer, in time steps.
    """

    layer: str
    family: NeuronFamily
    kind: Literal["dense", "conv"]
    n_neurons: int
    has_synapses: bool
    weight_bits: int
    weight_min: int
    weight_max: int
    weight_exp: int
    vth_mant: int
    current_decay: int
    voltage_decay: int
    worst_case_current: int
    axonal_delay: int


@dataclass(frozen=True)
class Violation:
    """One rule broken by one layer: what was found, what is allowed, what to do."""

    layer: str
    rule: str
    value: str
    limit: str
    remedy: str

    def __str__(self) -> str:
        """Return ``layer · rule · value · limit · remedy`` on one line."""
        parts = (self.layer, self.rule, self.value, f"limit {self.limit}", self.remedy)
        return " · ".join(parts)


Rule = Callable[[LayerFacts, Target], Violation | None]


def family_supported(facts: LayerFacts, target: Target) -> Violation | None:
    """Require a family of neurons that the chip runs."""
    families = target.neurons.families
    if facts.family in families:
        return None
    return Violation(
        facts.layer,
        "family_supported",
        f"{facts.family} neurons",
        ", ".join(families),
        "use a target with programmable neurons, or train with CUBA neurons",
    )


def weight_bits_supported(facts: LayerFacts, target: Target) -> Violation | None:
    """Require a declared width that memory can store."""
    widest = target.synapses.weight_bits.value[-1]
    if 1 <= facts.weight_bits <= widest or not facts.has_synapses:
        return None
    return Violation(
        facts.layer,
        "weight_bits_supported",
        f"weight_bits {facts.weight_bits}",
        f"1..{widest}",
        f"choose at most {widest} bits for this layer in the recipe",
    )


def weights_in_range(facts: LayerFacts, target: Target) -> Violation | None:
    """Require codes within the range of their sign mode, even ones if signs are mixed.

    With b the widest stored width: mixed signs spend one bit on the sign, so the step is 2 and the
    range [-2^b, 2^b - 2]; one sign only keeps step 1 and 0..2^b - 1 (or its negative). Only the
    two extremes are seen here; that every weight is even is the quantizer's promise.

    References
    ----------
    Lava ``utils/weightutils.py`` L106-162; nengo-loihi ``builder/discretize.py`` L464-509.
    """
    span = 2 ** target.synapses.weight_bits.value[-1]
    low, high = facts.weight_min, facts.weight_max
    if low < 0 < high:
        lowest, highest, step, mode = -span, span - 2, 2, "mixed signs"
    elif low >= 0:
        lowest, highest, step, mode = 0, span - 1, 1, "excitatory"
    else:
        lowest, highest, step, mode = -(span - 1), 0, 1, "inhibitory"
    if lowest <= low <= high <= highest and low % step == 0 and high % step == 0:
        return None
    return Violation(
        facts.layer,
        "weights_in_range",
        f"weights {low}..{high} ({mode})",
        f"{lowest}..{highest}" + (", even" if step == 2 else ""),
        "scale the layer's weights and vth_mant down together, then round to the grid again",
    )


def threshold_in_range(facts: LayerFacts, target: Target) -> Violation | None:
    """Require a threshold mantissa that fits its field."""
    highest = 2**target.neurons.threshold_mant_bits.value - 1
    if 0 <= facts.vth_mant <= highest:
        return None
    return Violation(
        facts.layer,
        "threshold_in_range",
        f"vth_mant {facts.vth_mant}",
        f"0..{highest}",
        "scale the layer's weights and vth_mant down together; a negative threshold has no form",
    )


def decay_in_range(facts: LayerFacts, target: Target) -> Violation | None:
    """Require both decays between none (0) and a full decay in one step (2^decay_bits).

    The upper end is included, as in SLAYER and NetX, although a field of `decay_bits` bits holds
    one less: NetX stores current_decay - 1, and Lava accepts a voltage decay of 4096.
    """
    full = 2**target.neurons.decay_bits.value
    decays = {"current_decay": facts.current_decay, "voltage_decay": facts.voltage_decay}
    outside = [f"{name} {value}" for name, value in decays.items() if not 0 <= value <= full]
    if not outside:
        return None
    return Violation(
        facts.layer,
        "decay_in_range",
        ", ".join(outside),
        f"0..{full}",
        f"give the decay as a fraction of {full}: 0 keeps the state, {full} forgets it each step",
    )


def delay_in_range(facts: LayerFacts, target: Target) -> Violation | None:
    """Require delays within the limit; a delay of 0 passes even where the limit is unknown."""
    longest = target.neurons.max_axonal_delay_steps.value
    if facts.axonal_delay == 0 or 0 < facts.axonal_delay <= (longest or 0):
        return None
    if longest is None:
        limit, remedy = "not known", "enter max_axonal_delay_steps, with its source, in the target"
    else:
        limit = f"0..{longest} steps"
        remedy = f"train with delays of at most {longest} steps, or use a target that allows more"
    value = f"axonal_delay {facts.axonal_delay} steps"
    return Violation(facts.layer, "delay_in_range", value, limit, remedy)


def layer_fits_chip(facts: LayerFacts, target: Target) -> Violation | None:
    """Require that all cores together hold the layer's neurons (memory is for the placement)."""
    per_core = target.capacities.neurons_per_core.value
    cores = target.capacities.cores_per_chip.value
    if facts.n_neurons <= per_core * cores:
        return None
    return Violation(
        facts.layer,
        "layer_fits_chip",
        f"{facts.n_neurons} neurons",
        f"{per_core * cores} ({cores} cores x {per_core})",
        "prune or narrow the layer, or choose a larger target",
    )


def current_in_range(facts: LayerFacts, target: Target) -> Violation | None:
    """Require that one step of all synapses firing stays within the range of the state.

    With s state bits, sign included, the range is [-2^(s-1), 2^(s-1) - 1]; an absolute value of
    exactly 2^(s-1) passes, because it may be the negative end. Currents that only add up over
    several steps depend on the data and are not judged here.
    """
    largest = 2 ** (target.neurons.state_bits.value - 1)
    if facts.worst_case_current <= largest:
        return None
    return Violation(
        facts.layer,
        "current_in_range",
        f"worst-case current {facts.worst_case_current}",
        f"{largest}",
        "halve the layer's weights and vth_mant together until it fits (spikes stay the same up to "
        "rounding), or prune inputs",
    )


RULES: tuple[Rule, ...] = (
    family_supported,
    weight_bits_supported,
    weights_in_range,
    threshold_in_range,
    decay_in_range,
    delay_in_range,
    layer_fits_chip,
    current_in_range,
)


def check_layers(facts: Iterable[LayerFacts], target: Target) -> list[Violation]:
    """Return every violation of every layer, in the order of the layers."""
    found = (rule(layer, target) for layer in facts for rule in RULES)
    return [violation for violation in found if violation is not None]
