"""Rules a layer must keep to run on a target, one small function each.

In: :class:`LayerFacts`, the few integers of a quantized layer that a chip can refuse, and a
`Target`. Out: a list of every `Violation`, none hidden behind another. A limit the target does not
know binds delays and biases only: any would be a guess. Deliberately not here: core and memory
counts, which need a placement, and what adds up over several steps (accumulation.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from hardware_targets.facts import LayerFacts, Violation
from hardware_targets.schema import STATE_EXP, SignMode, Target

Rule = Callable[[LayerFacts, Target], Violation | None]


def family_supported(facts: LayerFacts, target: Target) -> Violation | None:
    """Require a family of neurons that the chip runs."""
    families = target.neurons.families
    if facts.family in families:
        return None
    return Violation(
        facts.layer, "family_supported", f"{facts.family} neurons", ", ".join(families),
        "use a target with programmable neurons, or train with CUBA neurons",
    )


def weight_bits_supported(facts: LayerFacts, target: Target) -> Violation | None:
    """Require a declared width that memory can store."""
    widest = target.synapses.weight_bits.value[-1]
    if 1 <= facts.weight_bits <= widest or not facts.has_synapses:
        return None
    return Violation(
        facts.layer, "weight_bits_supported", f"weight_bits {facts.weight_bits}", f"1..{widest}",
        f"choose at most {widest} bits for this layer in the recipe",
    )


def signs_supported(facts: LayerFacts, target: Target) -> Violation | None:
    """Require a sign mode of the chip that can hold the layer's signs."""
    mode = _sign_mode(facts, target)
    if mode in target.synapses.sign_modes or facts.weight_min == facts.weight_max == 0:
        return None
    return Violation(
        facts.layer, "signs_supported",
        f"weights {facts.weight_min}..{facts.weight_max} ({mode})",
        ", ".join(target.synapses.sign_modes),
        "train with weights of the signs the chip stores, or use a target that stores both",
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
    low, high, mode = facts.weight_min, facts.weight_max, _sign_mode(facts, target)
    lowest, highest, step = {
        "mixed": (-span, span - 2, 2), "excitatory": (0, span - 1, 1),
        "inhibitory": (-(span - 1), 0, 1),
    }[mode]
    if lowest <= low <= high <= highest and low % step == 0 and high % step == 0:
        return None
    return Violation(
        facts.layer, "weights_in_range",
        f"weights {low}..{high} ({mode}{' signs' if mode == 'mixed' else ''})",
        f"{lowest}..{highest}" + (", even" if step == 2 else ""),
        "scale the layer's weights and vth_mant down together, then round to the grid again",
    )


def fan_in_in_range(facts: LayerFacts, target: Target) -> Violation | None:
    """Require no more synapses on one neuron than the chip allows one to have."""
    most = target.capacities.fan_in_per_neuron.value
    if most is None or facts.fan_in <= most:
        return None
    return Violation(
        facts.layer, "fan_in_in_range", f"{facts.fan_in} synapses on one neuron", f"{most}",
        f"prune the neuron's inputs to {most}, or split the layer",
    )


def input_axons_fit_core(facts: LayerFacts, target: Target) -> Violation | None:
    """Require that the sources of one neuron fit the input axons of the core it must be on.

    Each source takes one axon. The sources of a shared convolution may take fewer, so they are the
    placement's to judge.
    """
    most = target.capacities.input_axons_per_core.value
    is_shared = facts.kind == "conv" and target.synapses.shares_conv_kernels
    if most is None or is_shared or facts.fan_in <= most:
        return None
    return Violation(
        facts.layer, "input_axons_fit_core", f"{facts.fan_in} sources of one neuron",
        f"{most} input axons of a core", f"prune the neuron's inputs to {most}, or split the layer",
    )


def synapses_fit_core(facts: LayerFacts, target: Target) -> Violation | None:
    """Require that the weights alone of one neuron fit the memory of the core it must be on."""
    memory = target.capacities.synapse_memory_bits_per_core.value
    if facts.weight_bits > target.synapses.weight_bits.value[-1]:  # told by weight_bits_supported
        return None
    needed = facts.fan_in * target.synapses.stored_weight_bits(facts.weight_bits)
    if needed <= memory:
        return None
    return Violation(
        facts.layer, "synapses_fit_core",
        f"{facts.fan_in} synapses on one neuron, {needed} bits", f"{memory} bits of a core",
        "prune the neuron's inputs, lower the layer's weight_bits, or split the layer",
    )


def threshold_in_range(facts: LayerFacts, target: Target) -> Violation | None:
    """Require threshold mantissas that fit their field."""
    highest = 2**target.neurons.threshold_mant_bits.value - 1
    outside = [v for v in (facts.vth_mant_min, facts.vth_mant_max) if not 0 <= v <= highest]
    if not outside:
        return None
    return Violation(
        facts.layer, "threshold_in_range", f"vth_mant {_listed(outside)}", f"0..{highest}",
        "scale the layer's weights and vth_mant down together; a negative threshold has no form",
    )


def decay_in_range(facts: LayerFacts, target: Target) -> Violation | None:
    """Require all decays between none (0) and a full decay in one step (2^decay_bits).

    The upper end is included, as in SLAYER and NetX, although a field of `decay_bits` bits holds
    one less: NetX stores current_decay - 1, and Lava accepts a voltage decay of 4096.
    """
    full = 2**target.neurons.decay_bits.value
    outside = {
        name: [v for v in extremes if not 0 <= v <= full] for name, extremes in facts.decays.items()
    }
    named = [f"{name} {_listed(values)}" for name, values in outside.items() if values]
    if not named:
        return None
    return Violation(
        facts.layer, "decay_in_range", ", ".join(named), f"0..{full}",
        f"give the decay as a fraction of {full}: 0 keeps the state, {full} forgets it each step",
    )


def bias_in_range(facts: LayerFacts, target: Target) -> Violation | None:
    """Require biases whose mantissa and exponent fit; none passes where no width is known.

    A bias b adds b * 2^6 to the voltage: mantissa b, exponent 6. Where the exponent field ends
    below 6, the mantissa takes up the rest. Sigma-delta neurons hold theirs in 32 bits of state.
    """
    if facts.family != "cuba" or facts.bias_min == facts.bias_max == 0:
        return None
    mantissa, exponent = target.neurons.bias_mant_bits.value, target.neurons.bias_exp_bits.value
    value, remedy = f"biases {facts.bias_min}..{facts.bias_max}", "enter their widths in the target"
    if not mantissa or exponent is None:
        return Violation(facts.layer, "bias_in_range", value, "not known", remedy)
    span = 2 ** (mantissa - 1) >> max(0, STATE_EXP - (2**exponent - 1))
    if -span <= facts.bias_min and facts.bias_max <= span - 1:
        return None
    return Violation(
        facts.layer, "bias_in_range", value, f"{-span}..{span - 1}",
        "scale the layer's weights, vth_mant and biases down together",
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
    return Violation(
        facts.layer, "delay_in_range", f"axonal_delay {facts.axonal_delay} steps", limit, remedy)


def layer_fits_chip(facts: LayerFacts, target: Target, max_chips: int = 1) -> Violation | None:
    """Require that all cores together hold the layer's neurons (memory is for the placement)."""
    per_core = target.capacities.neurons_per_core.value
    cores = target.capacities.cores_per_chip.value * max_chips
    if facts.n_neurons <= per_core * cores:
        return None
    return Violation(
        facts.layer, "layer_fits_chip", f"{facts.n_neurons} neurons",
        f"{per_core * cores} ({cores} cores x {per_core})",
        f"prune or narrow the layer, allow {-(-facts.n_neurons * max_chips // (per_core * cores))} "
        "chips, or choose a larger target",
    )


def current_in_range(facts: LayerFacts, target: Target) -> Violation | None:
    """Require that one step of all synapses firing stays within the range of the state.

    With s state bits, sign included, the range is [-2^(s-1), 2^(s-1) - 1]; an absolute value of
    exactly 2^(s-1) passes, because it may be the negative end.
    """
    largest = 2 ** (target.neurons.state_bits.value - 1)
    if facts.worst_case_current <= largest:
        return None
    return Violation(
        facts.layer, "current_in_range", f"worst-case current {facts.worst_case_current}",
        str(largest), "halve the layer's weights and vth_mant together until it fits (spikes stay "
        "the same up to rounding), or prune inputs",
    )


RULES: tuple[Rule, ...] = (
    family_supported, weight_bits_supported, signs_supported, weights_in_range, fan_in_in_range,
    input_axons_fit_core, synapses_fit_core, threshold_in_range, decay_in_range, bias_in_range,
    delay_in_range, layer_fits_chip, current_in_range,
)


def check_layers(
    facts: Iterable[LayerFacts], target: Target, max_chips: int = 1
) -> list[Violation]:
    """Return every violation of every layer, in the order of the layers."""
    found = (
        layer_fits_chip(layer, target, max_chips) if rule is layer_fits_chip
        else rule(layer, target)
        for layer in facts for rule in RULES
    )
    return [violation for violation in found if violation is not None]


def _sign_mode(facts: LayerFacts, target: Target) -> SignMode:
    """Return how the chip would store the signs: one sign only if it is the layer's and a mode."""
    if facts.weight_min < 0 < facts.weight_max:
        return "mixed"
    own: SignMode = "excitatory" if facts.weight_min >= 0 else "inhibitory"
    modes = target.synapses.sign_modes
    return own if own in modes or "mixed" not in modes else "mixed"


def _listed(values: list[int]) -> str:
    return ", ".join(map(str, dict.fromkeys(values)))
