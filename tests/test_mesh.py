"""Cores go where spikes have short ways; chips are told apart."""

from __future__ import annotations

import numpy as np
import pytest

from hardware_targets import load_target
from pipeline.mapping.mesh import arrange, traffic_of


def way(slots: np.ndarray, senders: np.ndarray, receivers: np.ndarray, w: np.ndarray) -> float:
    apart = np.abs(slots[senders] - slots[receivers])
    return float(w @ (apart[:, 1] + apart[:, 2] + 12 * (apart[:, 0] > 0)))


@pytest.mark.parametrize("n_chips", [1, 2])
def test_ways_are_shorter_than_in_network_order_and_slots_are_whole(n_chips):
    rng, n = np.random.default_rng(0), 100 * n_chips
    senders, receivers = rng.integers(0, n, (2, 400))
    weights = rng.random(400)
    traffic = traffic_of(n, senders, receivers, weights)
    slots = arrange(n, traffic, load_target("loihi1"), n_chips, 0)
    in_order = arrange(n, traffic_of(n, senders[:0], receivers[:0], weights[:0]),
                       load_target("loihi1"), n_chips, 0)
    assert way(slots, senders, receivers, weights) < 0.75 * way(
        in_order, senders, receivers, weights)
    _, counts = np.unique(slots, axis=0, return_counts=True)
    assert counts.max() <= 4
    assert slots.min() >= 0 and (slots.max(axis=0) <= [n_chips - 1, 7, 3]).all()


def test_cores_that_talk_most_share_a_tile():
    # four rings of four cores each, interleaved
    senders = np.arange(16)
    receivers = (senders + 4) % 16
    slots = arrange(16, traffic_of(16, senders, receivers, np.ones(16)), load_target("loihi1"),
                    1, 0)
    assert all(len({tuple(slots[k]) for k in range(ring, 16, 4)}) == 1 for ring in range(4))


def test_traffic_is_both_directions_of_a_pair():
    traffic = traffic_of(3, np.array([0, 1, 2, 2]), np.array([1, 0, 2, 1]),
                         np.array([1.0, 2.0, 50.0, 4.0]))
    assert traffic.indptr.tolist() == [0, 1, 3, 4]
    assert traffic.partners.tolist() == [1, 0, 2, 1]
    assert traffic.weights.tolist() == [3, 3, 4, 4]


def test_the_arrangement_depends_on_the_seed_only():
    rng = np.random.default_rng(0)
    traffic = traffic_of(40, rng.integers(0, 40, 200), rng.integers(0, 40, 200), rng.random(200))
    first, second = (arrange(40, traffic, load_target("loihi1"), 1, 7) for _ in range(2))
    assert np.array_equal(first, second)


def test_one_core_without_traffic_has_a_slot():
    none = np.zeros(0, np.int64)
    slots = arrange(1, traffic_of(1, none, none, np.zeros(0)), load_target("loihi1"), 1, 0)
    assert slots.tolist() == [[0, 0, 0]]
