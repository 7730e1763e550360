"""The verdict in words: what a stranger should know after ten seconds.

In: the document. Out: plain sentences and headline values; nothing that is not in the document.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.report.units import (
    exact,
    human_band,
    human_bytes,
    human_count,
    percent,
    words,
)

Row = dict[str, Any]


@dataclass(frozen=True)
class Card:
    """One headline: a question, its answer in a few characters, and what that rests on."""

    question: str
    answer: str
    note: str
    is_good: bool = True


def lead(document: Row) -> str:
    """Return the whole verdict in one or two sentences."""
    verdict, name = document["verdict"], document["target"]["name"]
    chips = f"one {name} chip" if verdict["n_chips"] == 1 else f"{verdict['n_chips']} {name} chips"
    fits = f"The compressed network {'fits' if verdict['fits'] else 'does not fit'} {chips}"
    exact_or_not = (
        "does exactly what was tested" if verdict["is_bit_exact"]
        else "does not do what was tested: do not deploy it")
    points = 100 * (verdict["accuracy_compressed_frac"] - verdict["accuracy_dense_frac"])
    than = (
        "as before compression" if abs(points) < 0.05
        else f"{abs(points):.1f} points {'less' if points < 0 else 'more'} than before compression")
    return (
        f"{fits}, {exact_or_not}, and answers {percent(verdict['accuracy_compressed_frac'])} of "
        f"the test samples right, {than}. {_energy_sentence(document)}")


def cards(document: Row) -> tuple[Card, ...]:
    """Return the headlines, the most asked for first."""
    return (
        _accuracy(document), _fit(document), _exactness(document), _energy(document),
        _compression(document), _synops(document),
    )


def comparisons(document: Row) -> tuple[str, ...]:
    """Return what was compared with what and how it came out, one sentence per pair."""
    pairs: dict[tuple[str, str], list[Row]] = {}
    for row in document["equivalence"]:
        pairs.setdefault((row["first_backend"], row["second_backend"]), []).append(row)
    sentences = []
    for (first, second), rows in pairs.items():
        differing = [row for row in rows if row["n_differing"]]
        n = sum(row["n_differing"] for row in rows)
        told = (
            f"{first} and {second}: {exact(sum(row['n_spikes'] for row in rows))} spikes in "
            f"{exact(sum(row['n_positions'] for row in rows))} positions (sample, neuron, step) of "
            f"{len(rows)} layers, {exact(rows[0]['n_samples'])} samples; ")
        if not differing:
            sentences.append(told + "no difference anywhere.")
            continue
        at = differing[0]["first_difference"]
        sentences.append(
            f"{told}{exact(n)} {'difference' if n == 1 else 'differences'}, the first layer to "
            f"part is {differing[0]['layer']}: sample {at['sample']}, step {at['step']}, neuron "
            f"{at['neuron']}.")
    return tuple(sentences)


def latency(document: Row) -> str:
    """Return how many steps the outputs take to hear of the input, and to decide."""
    found = document["energy"]["latency"]
    delays = found["longest_delay_steps"]
    told = (f"The input reaches the outputs after {exact(found['depth_steps'])} steps"
            + (f" and at most {exact(delays)} more of axonal delays" if delays else "") + ". ")
    decided = found["decision_step"]
    if decided is None:
        return told + "When the outputs decide cannot be told from the spikes of this network."
    silent = (f" {exact(found['n_undecided'])} samples gave no output spike."
              if found["n_undecided"] else "")
    return (
        f"{told}The class that wins in the end leads for good from step {exact(decided['median'])} "
        f"(median; {exact(decided['min'])} to {exact(decided['max'])}) of "
        f"{exact(document['energy']['n_steps'])}.{silent}")


def _accuracy(document: Row) -> Card:
    verdict = document["verdict"]
    return Card(
        "Test accuracy, dense → compressed",
        f"{percent(verdict['accuracy_dense_frac'])} → "
        f"{percent(verdict['accuracy_compressed_frac'])}",
        f"n = {exact(verdict['accuracy_n_samples'])} samples: {verdict['data_origin']}. 95 % "
        f"interval of the compressed: {percent(verdict['accuracy_ci95_low_frac'])} to "
        f"{percent(verdict['accuracy_ci95_high_frac'])}.")


def _fit(document: Row) -> Card:
    verdict, name = document["verdict"], document["target"]["name"]
    chips = f"one {name} chip" if verdict["n_chips"] == 1 else f"{verdict['n_chips']} {name} chips"
    return Card(
        "Fits the chip" if verdict["fits"] else "Does not fit the chip",
        f"{exact(verdict['n_cores'])} of {exact(verdict['n_cores_limit'])} cores",
        f"On {chips}; {human_bytes(verdict['footprint_bytes'])} of synapse memory, the fullest "
        f"core {percent(verdict['fullest_core_memory_used_frac'])} full.", verdict["fits"])


def _exactness(document: Row) -> Card:
    verdict = document["verdict"]
    n = verdict["n_differing"]
    return Card(
        "Bit-exact" if verdict["is_bit_exact"] else "Not bit-exact",
        f"{exact(n)} {'difference' if n == 1 else 'differences'}",
        f"{exact(verdict['n_spikes_compared'])} spikes in "
        f"{exact(verdict['n_positions_compared'])} compared positions, all layers of "
        f"{exact(verdict['n_samples_compared'])} samples: {', '.join(verdict['backends'])}.",
        verdict["is_bit_exact"])


def _energy(document: Row) -> Card:
    energy, question = document["energy"], "Energy per sample (proxy)"
    if energy["status"] == "unpriced":
        return Card(question, "unpriced", f"No published {document['target']['name']} energies: "
                    "events are counted, no figure is given.", False)
    parts = []
    for prices in energy["price_sets"]:
        lacking = ", ".join(
            words(term) + _share_of_synops(energy["totals"], term) for term in prices["unpriced"])
        parts.append(
            f"{prices['name']}: unpriced" if not prices["is_priced"]
            else f"{prices['name']} lacks {lacking}" if lacking
            else f"{prices['name']}: all events priced")
    status = "Incomplete" if energy["status"] == "incomplete" else "Complete"
    guess = _guess(document)
    return Card(
        question, human_band(energy["low_pj_per_sample"], energy["high_pj_per_sample"]),
        (f"A guess at {guess}. " if guess else "") + f"{status}; {'; '.join(parts)}. The band "
        "spans both readings of an active update and, where there are any, the sets that price "
        "every synop.", not guess)


def _share_of_synops(totals: Row, term: str) -> str:
    """Return what share of the synops an unpriced format has; nothing of other events."""
    executed = totals.get(f"executed_{term.replace('synop', 'synops')}_per_sample")
    if executed is None:
        return ""
    return f" ({percent(executed / totals['executed_synops_per_sample'])} of the synops)"


def _energy_sentence(document: Row) -> str:
    energy = document["energy"]
    if energy["status"] == "unpriced":
        return (f"No energies are published for {document['target']['name']}, so none is given; "
                "events are counted.")
    low, high = energy["low_pj_per_sample"], energy["high_pj_per_sample"]
    bound = "at least " if energy["status"] == "incomplete" else ""
    return (f"A sample costs {bound}{human_band(low, high)} at "
            f"{_guess(document) or 'published prices'}: counted events times prices, not a "
            "measurement.")


def _guess(document: Row) -> str:
    """Return whose prices these are if they are not the target's own; else nothing."""
    origins = {prices["origin"] for prices in document["energy"]["price_sets"]
               if prices["is_priced"]}
    return ("invented prices" if "invented" in origins
            else "another chip’s prices" if "other-chip" in origins else "")


def _compression(document: Row) -> Card:
    verdict, model = document["verdict"], document["model"]
    left = (
        f"; {exact(model['n_neurons'])} of {exact(model['n_neurons_dense'])} neurons are left"
        if model["n_neurons"] < model["n_neurons_dense"] else "")
    bits = ", ".join(str(n) for n in verdict["weight_bits"])
    return Card(
        "Zero weights, as trained → compressed",
        f"{percent(verdict['connection_sparsity_dense_frac'])} → "
        f"{percent(verdict['connection_sparsity_frac'])}",
        f"{exact(model['n_weights_dense'])} weights in {exact(model['n_layers'])} layers, at "
        f"{bits} bits after{left}.")


def _synops(document: Row) -> Card:
    verdict, energy = document["verdict"], document["energy"]
    return Card(
        "Synaptic operations per sample",
        f"{human_count(verdict['synaptic_operations_executed'])} executed",
        f"{human_count(verdict['synaptic_operations_effective'])} of them effective (with a "
        f"nonzero weight); means of {exact(energy['n_samples'])} samples of "
        f"{exact(energy['n_steps'])} steps.")
