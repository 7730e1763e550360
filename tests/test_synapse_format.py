"""Bits of every format against the tables of facts/hardware.md 1.2 and the logs of section 10."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_targets import load_target
from pipeline.mapping import kernels_placement as kernels
from pipeline.mapping.synapse_format import (
    Widths,
    delay_bits,
    formats_of,
    measure_dense,
    shortest,
    widths_of,
)
from pipeline.network import INPUT, Layer, Network, Synapse
from pipeline.neuron import CubaNeuron

NEURON = CubaNeuron(1024, 128, 80)
ROWS = {"sparse": kernels.SPARSE, "run-length": kernels.RUN_LENGTH, "dense": kernels.DENSE}


def widths(bits: int, target: str = "loihi1", delay: int = 0) -> Widths:
    synapse = Synapse("a", INPUT, np.ones((1, 1), np.int32), None, bits)
    return widths_of(synapse, delay, load_target(target))


# hardware.md 1.2: words per source axon, random mask over 1,024 posts. "dense" is its dense2
TABLE = {
    8: {1.00: (277, 166, 134), 0.75: (209, 132, 132), 0.50: (140, 95, 129), 0.40: (114, 79, 128),
        0.30: (85, 61, 123), 0.20: (57, 42, 118), 0.10: (30, 23, 102), 0.05: (15.0, 13.9, 71),
        0.03: (9.2, 9.6, 48), 0.01: (3.8, 4.5, 15)},
    4: {1.00: (213, 102, 70), 0.75: (161, 84, 69), 0.50: (107, 62, 68), 0.40: (87, 52, 66),
        0.30: (66, 41, 65), 0.20: (45, 31, 61), 0.10: (23, 16, 52), 0.05: (11.7, 10.7, 39),
        0.03: (7.7, 8.1, 27), 0.01: (2.9, 4.1, 7.9)},
}


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("density", sorted(TABLE[8]))
def test_words_per_axon_are_those_of_the_table(bits, density):
    mask = np.random.default_rng(0).random((3000, 1024)) < density
    words = measure_dense(mask, widths(bits)).mean(axis=0)
    for name, expected in zip(
            ("sparse", "run-length", "dense"), TABLE[bits][density], strict=True):
        # one draw of a few masks made the table, rounded; dense2 at 1 % and 4 bits is farthest, 8.7
        assert words[ROWS[name]] == pytest.approx(expected, rel=0.04, abs=0.8), name


@pytest.mark.parametrize(("bits", "synapses"), [
    (8, 125_203), (6, 164_482), (4, 239_674), (2, 441_505), (1, 762_600)])
def test_synapses_in_128_kb_are_those_of_the_table(bits, synapses):
    words = int(measure_dense(np.ones((1, 1024), bool), widths(bits))[0, kernels.DENSE])
    assert 16_384 * 1024 // words == synapses


def test_dense_never_takes_more_than_a_list_that_splits_at_every_zero():
    mask = np.random.default_rng(0).random((300, 1024)) < 0.75
    # dense1 of the table: 154 words at 8 bits and a density of 0.75
    assert measure_dense(mask, widths(8))[:, kernels.DENSE].max() < 154


def list_bits(positions: list[int], w: Widths, name: str) -> int:
    """Return the bits of one list, written down again from the rules, entry by entry."""
    def narrow(allowed, value: int) -> int:
        return next((int(b) for b in allowed if value < 2**int(b)), int(allowed[-1]))

    entries: list[list[int]] = []
    for p in positions:
        last = entries[-1] if entries else None
        if last is None or (
            p - last[0] >= w.per_entry if name == "dense" else len(last) == w.per_entry
            or (name == "run-length" and p - last[-1] >= 2**int(w.skips[-1]))
        ):
            entries.append([p])
        else:
            last.append(p)
    total = 0
    for entry in entries:
        i = narrow(w.index, entry[-1])
        if name == "dense":
            total += w.prefix + i + (entry[-1] - entry[0] + 1) * w.synapse_bits
        elif name == "sparse":
            total += w.prefix + len(entry) * (w.synapse_bits + i)
        else:
            jump = max((b - a for a, b in zip(entry[:-1], entry[1:], strict=True)), default=0)
            total += w.prefix + i + len(entry) * (w.synapse_bits + narrow(w.skips, jump))
    words, rest = divmod(total, 64)
    # NxTF: one word more where the remainder is 0 or at least 59
    return words + (rest > 0) + (rest == 0 or rest >= 59)


@settings(max_examples=25, deadline=None)
@given(st.sets(st.integers(0, 1023), min_size=1, max_size=300), st.sampled_from([1, 4, 8]),
       st.sampled_from([0, 3, 6]))
def test_every_format_follows_its_rules_entry_by_entry(positions, bits, delay):
    w = widths(bits, delay=delay)
    mask = np.zeros((1, 1024), bool)
    mask[0, sorted(positions)] = True
    (measured,) = measure_dense(mask, w)
    for name, row in ROWS.items():
        assert measured[row] == list_bits(sorted(positions), w, name), name
    assert measured[kernels.EFFECTIVE] == len(positions)


def test_zeros_between_the_ends_of_a_dense_entry_are_executed():
    mask = np.zeros((3, 200), bool)
    mask[0, [5, 9]] = True
    mask[1, [0, 59, 60, 199]] = True  # entries 0..59, 60 and 199
    stored = shortest(measure_dense(mask, widths(8)), np.arange(3, dtype=np.int32), widths(8),
                      ("dense",), None)
    assert stored.sources.tolist() == [0, 1]
    assert stored.executed.tolist() == [5, 62] and stored.effective.tolist() == [2, 4]


@pytest.mark.parametrize("name", ["run-length", "sparse"])
def test_lists_with_indices_or_skips_execute_nonzero_weights_only(name):
    mask = np.random.default_rng(0).random((20, 300)) < 0.3
    stored = shortest(measure_dense(mask, widths(8)), np.arange(20, dtype=np.int32), widths(8),
                      (name,), None)
    assert stored.format == name
    assert np.array_equal(stored.executed, mask.sum(axis=1))


@pytest.mark.parametrize(("bits", "density", "best"), [
    (8, 1.0, "dense"), (8, 0.5, "run-length"), (8, 0.01, "sparse"),
    (4, 0.75, "dense"), (4, 0.3, "run-length"), (4, 0.03, "sparse"),
])
def test_the_shortest_format_is_taken(bits, density, best):
    mask = np.random.default_rng(0).random((200, 1024)) < density
    stored = shortest(measure_dense(mask, widths(bits)), np.arange(200, dtype=np.int32),
                      widths(bits), ("dense", "run-length", "sparse"), 256)
    assert stored.format == best


def test_a_format_whose_lists_are_too_long_is_not_taken():
    mask = np.ones((2, 1024), bool)  # sparse: 277 words a list
    measured, sources = measure_dense(mask, widths(8)), np.arange(2, dtype=np.int32)
    assert shortest(measured, sources, widths(8), ("sparse",), 256).peak_words == 277
    assert shortest(measured, sources, widths(8), ("sparse", "run-length"), 256).peak_words == 166


# hardware.md 10: ceil((n_post x bits + prefix) / word), axons without nonzero weights take none
@settings(max_examples=25, deadline=None)
@given(st.integers(1, 300), st.integers(1, 8), st.integers(0, 40), st.sampled_from([1, 32, 64]))
def test_words_of_loihi_2_are_one_entry_over_all_posts(n_posts, bits, prefix, word):
    w = Widths(bits, prefix, np.array([], np.int64), np.array([], np.int64), 0, word)
    mask = np.zeros((3, n_posts), bool)
    mask[0, n_posts // 2] = True
    mask[1] = True
    measured = measure_dense(mask, w)
    expected = -(-(n_posts * bits + prefix) // word)
    assert measured[:, kernels.DENSE].tolist() == [expected, expected, 0]
    assert measured[:, kernels.DENSE_EXECUTED].tolist() == [n_posts, n_posts, 0]


def delayed(delay: tuple[int, ...] | None) -> Network:
    weight = np.full((4, 3), 2, np.int32)
    return Network("n", (3,), 5, (
        Layer("a", (Synapse("a", INPUT, np.full((3, 3), 2, np.int32), None, 8),), NEURON, (3,),
              delay),
        Layer("b", (Synapse("b", "a", weight, None, 8),), NEURON, (4,), None,
              Synapse("b-rec", "b", np.full((4, 4), 2, np.int32), None, 8)),
    ))


@pytest.mark.parametrize(("steps", "bits"), [(0, 0), (1, 3), (8, 3), (9, 4), (33, 6), (62, 6)])
def test_synapses_of_delayed_spikes_keep_delay_bits(steps, bits):
    network, target = delayed((0, steps, 0)), load_target("loihi1")
    layer = network.layer("b")
    assert delay_bits(network, layer, layer.synapses[0], target) == bits
    assert delay_bits(network, layer, layer.recurrent, target) == 0
    assert delay_bits(network, network.layer("a"), network.synapse("a"), target) == 0


def test_formats_are_those_of_the_target_that_are_allowed():
    dense = Synapse("a", INPUT, np.ones((1, 1), np.int32), None, 8)
    target = load_target("loihi1")
    assert formats_of(dense, target, None) == ("dense", "run-length", "sparse")
    assert formats_of(dense, target, ("sparse", "conv")) == ("sparse",)
    assert formats_of(dense, target, ("conv",)) == ()
