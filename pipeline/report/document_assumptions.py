"""What counts, energies and times rest on, in sentences.

In: the account of a deployment, its target and the rows of its cores. Out: plain sentences.
"""

from __future__ import annotations

from typing import Any

from hardware_targets import Target
from pipeline.account.energy_report import EXCLUDED, EnergyReport

Section = dict[str, Any]


def build_assumptions(report: EnergyReport, target: Target, cores: list[Section]) -> list[str]:
    """Return what counts and energies rest on, one sentence or two each."""
    n_input = int(report.input_messages.sum()) / report.n_samples
    return [
        "Energy is a proxy: counted events times the prices of a set. Nothing was measured on a "
        "chip, and sets of different origin are shown side by side, never mixed.",
        "An event without a published price is never priced at zero: the total is then incomplete, "
        "lower than the set would give with all its prices, and the event is named.",
        "Effective synops are spikes times the nonzero synapses they reach. Executed synops are "
        "spikes times the positions the core's format stores, zeros of a dense format or of a "
        "kernel included; they are what is priced. Whether a stored zero costs a full operation is "
        "not published; here it does.",
        "Every neuron is updated at every step. The update is active if the neuron had input or "
        "nonzero state in that step, else idle. The sources do not define the words: the other "
        "reading, that only a neuron that spikes is active, is the other end of each band.",
        "A message is one spike to one destination core. It pays delivery within a tile where it "
        "stays in its tile, else its hops along x, then along y; savings by multicast are not "
        "published and not counted.",
        f"Spikes of the input come from outside the mesh: {n_input:,.2f} messages a sample, "
        "counted as received by the cores they reach, not priced.",
        "In no total: " + "; ".join(
            f"{name.replace('_', ' ')} ({why})" for name, why in EXCLUDED.items()) + ".",
        "A step lasts as long as its slowest core or its busiest link, and then the barrier. "
        "Inside a core nothing overlaps; cores and links work side by side. A time that nobody has "
        "published counts as nothing: times that lack one are lower bounds.",
        f"Counts are means over {report.n_samples:,} test samples of {report.n_steps} steps; the "
        "standard deviation is that of these samples.",
        "Neurons are placed by this project's mapper: no two layers share a core, each takes the "
        "fewest cores its limits allow; a vendor's compiler may place them otherwise.",
        *_memory_assumptions(target, cores),
    ]


def _memory_assumptions(target: Target, cores: list[Section]) -> list[str]:
    widths = {
        "memory word": target.capacities.memory_word_bits.value,
        "entry prefix": target.synapses.entry_prefix_bits.value,
        "index": target.synapses.index_bits.value,
    }
    missing = [name for name, value in widths.items() if value is None]
    sentences = []
    if missing:
        sentences.append(
            f"Widths that are not published for {target.name} ({', '.join(missing)}) count as no "
            "bits: synapse memory is a lower bound."
        )
    if any(core["format"] == "conv" for core in cores):
        sentences.append(
            "Kernels are stored once per core; the lists that positions at the border of an image "
            "need are left out, so the memory of a convolution is a lower bound."
        )
    unlimited = [
        name.replace("_per_core", "").replace("_", " ")
        for name in ("input_axons_per_core", "output_axons_per_core")
        if getattr(target.capacities, name).value is None
    ]
    if unlimited:
        sentences.append(
            f"No limit is published for {target.name} on {' and '.join(unlimited)} of a core: they "
            "do not bind, and more cores may be needed than shown."
        )
    return sentences
