"""The van Rossum distance equals values by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter

from pipeline.distance import executed_losses, van_rossum_distance
from pipeline.emulate import emulate


def trains(*rows: str) -> NDArray[np.uint8]:
    """Return one sample of spike trains, a row of digits each."""
    return np.array([[[int(digit) for digit in row] for row in rows]], dtype=np.uint8)


@pytest.mark.parametrize(
    ("a", "b", "decay", "expected"),
    [
        (["0100"], ["0000"], 2048, 1 + 1 / 4 + 1 / 16),
        (["0100"], ["0010"], 2048, 1 + 1 / 4 + 1 / 16),  # 1, then 1/2 - 1, then half of that
        (["0100"], ["0001"], 2048, 1 + 1 / 4 + 9 / 16),
        (["1111"], ["0000"], 2048, 1 + (3 / 2) ** 2 + (7 / 4) ** 2 + (15 / 8) ** 2),
        (["0110", "1000"], ["0011", "0001"], 4096, 4),  # no memory: differing spikes
        (["1000"], ["0001"], 0, 3),                     # no leak: 1, 1, 1, then even
        (["1000"], ["0000"], 1024, 1 + (3 / 4) ** 2 + (3 / 4) ** 4 + (3 / 4) ** 6),
        (["0100", "0010"], ["0000", "0000"], 2048, 1 + 1 / 4 + 1 / 16 + 1 + 1 / 4),
    ],
)
def test_distance_equals_the_value_by_hand(
    a: list[str], b: list[str], decay: int, expected: float
) -> None:
    assert van_rossum_distance(trains(*a), trains(*b), decay).tolist() == [expected]
    assert van_rossum_distance(trains(*b), trains(*a), decay).tolist() == [expected]


@pytest.mark.parametrize("decay", [0, 128, 4096])
def test_equal_trains_have_no_distance_and_each_sample_has_its_own(decay: int) -> None:
    rng = np.random.default_rng(0)
    a = (rng.random((4, 3, 5, 2, 40)) < 0.2).astype(np.uint8)
    b = a.copy()
    b[2] = rng.random(b[2].shape) < 0.2
    distance = van_rossum_distance(a, b, decay)
    assert distance.shape == (4,) and distance.dtype == np.float64
    assert distance[[0, 1, 3]].tolist() == [0, 0, 0] and distance[2] > 0
    filtered = [lfilter([1.0], [1.0, decay / 4096 - 1], x.astype(float), axis=-1) for x in (a, b)]
    expected = ((filtered[0] - filtered[1]) ** 2).sum(axis=(1, 2, 3, 4))
    assert distance == pytest.approx(expected)


def test_trains_of_different_shapes_have_no_distance() -> None:
    with pytest.raises(ValueError, match=r"\(1, 1, 3\).*\(1, 1, 4\)"):
        van_rossum_distance(trains("010"), trains("0100"), 128)


def test_each_layer_answers_for_itself(dense_chain: Any, random_spikes: Any) -> None:
    dense = dense_chain(sizes=(12, 16, 10, 4))
    spikes = random_spikes(dense, n_samples=20)  # more than are worked on at once
    first, changed, last = dense.layers
    (synapse,) = changed.synapses
    changed = replace(changed, synapses=(replace(synapse, weight=-synapse.weight),))
    losses = executed_losses(dense.with_layers((first, changed, last)), dense, spikes)
    assert losses[first.name] == losses[last.name] == 0.0
    ours = emulate(dense.with_layers((first, changed)), spikes).spikes[changed.name]
    theirs = emulate(dense, spikes).spikes[changed.name]
    expected = van_rossum_distance(ours, theirs, changed.neuron.voltage_decay).mean()
    assert losses[changed.name] == pytest.approx(expected, rel=1e-12) and expected > 0
