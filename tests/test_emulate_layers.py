"""Layer by layer the emulator sends what it sends at once, and keeps what is still needed only."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_graded_relays import given, relayed

from pipeline import emulate_layers as layers_module
from pipeline.emulate import emulate
from pipeline.emulate_layers import emulate_layers, in_bytes, last_uses, sent_counts
from pipeline.network import INPUT, Network
from pipeline.windows import windows


def compare(network: Network, spikes: Any) -> list[set[str]]:
    """Compare with the emulator; return what was kept at each layer."""
    expected, kept = emulate(network, spikes).spikes, []
    for layer, outputs in emulate_layers(network, spikes, windows(network, spikes)):
        kept.append(set(outputs))
        for name, sent in outputs.items():
            np.testing.assert_array_equal(sent.between(0, spikes.shape[-1]), expected[name])
        assert layer.name in outputs
    return kept


@pytest.mark.parametrize("delay", [None, (3, 0)])
@pytest.mark.parametrize("acc_bytes", [1 << 28, 4 * 24 * 3 * 7])
def test_graphs_with_relays(delay: Any, acc_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers_module, "ACC_BYTES", acc_bytes)  # pieces of 7 steps
    kept = compare(relayed(delay), given())
    # the first train is heard until the second relay, the input by the first layer only
    assert kept == [{INPUT, "a"}, {"a", "b"}, {"a", "b", "first"}, {"a", "first", "second"},
                    {"second", "c"}]


def test_chains(conv_chain: Any, random_spikes: Any) -> None:
    network = conv_chain(input_shape=(2, 5, 4))
    kept = compare(network, random_spikes(network, 5))
    assert all(len(names) == 2 for names in kept)


def test_the_last_use_of_a_source_is_found_through_joins() -> None:
    assert last_uses(relayed()) == {INPUT: 0, "a": 3, "b": 2, "first": 3, "second": 4, "c": -1}


@pytest.mark.parametrize("at_once", [2, 64])
def test_all_that_is_sent_is_counted(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what no longer reaches the output, and messages below zero."""
    monkeypatch.setattr(layers_module, "_SAMPLES_AT_ONCE", at_once)
    spikes = given(5, 8)
    spikes[..., :2] = 0
    network = relayed((3, 0))
    assert any(w.sent_until < 8 for w in windows(network, spikes).values())
    expected = emulate(network, spikes).spikes
    found = sent_counts(network, spikes)
    assert found.keys() == expected.keys() and expected["first"].min() < 0
    for name, sent in expected.items():
        np.testing.assert_array_equal(
            found[name], np.count_nonzero(sent.reshape(5, -1, 8), axis=(0, 2)))


def test_messages_are_bytes_where_they_fit() -> None:
    assert in_bytes(np.array([0, 255], dtype=np.int32)).dtype == np.uint8
    assert in_bytes(np.array([-1, 3], dtype=np.int32)).dtype == np.int32
    assert in_bytes(np.array([0, 256], dtype=np.int64)).dtype == np.int32
