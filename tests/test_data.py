"""Splits are fixed and disjoint, and samples are drawn reproducibly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.data.digits import DIGIT_RANGES, load_digits
from models.data.source import DataSource
from models.data.splits import SPLITS, SpikeSet, draw_samples, load_split
from pipeline.errors import DataError

# ---------------------------------------------------------------- digits and splits


def test_splits_are_disjoint_and_have_the_stated_sizes() -> None:
    assert tuple(DIGIT_RANGES) == SPLITS
    sizes = {name: len(indices) for name, indices in DIGIT_RANGES.items()}
    assert sizes == {"train": 7000, "calibration": 500, "validation": 500, "test": 1000}
    everything = [i for indices in DIGIT_RANGES.values() for i in indices]
    assert sorted(everything) == list(range(9000))


def test_no_image_is_in_two_splits() -> None:
    seen: dict[bytes, str] = {}
    for split, indices in DIGIT_RANGES.items():
        images, labels = load_digits(indices)
        assert images.shape == (len(indices), 28, 28) and len(labels) == len(indices)
        for image in images:
            assert seen.setdefault(image.tobytes(), split) == split


def test_every_split_holds_every_digit() -> None:
    for indices in DIGIT_RANGES.values():
        counts = np.bincount(load_digits(indices)[1], minlength=10)
        assert len(counts) == 10 and counts.min() > 0.05 * len(indices)


@pytest.mark.parametrize("split", SPLITS)
def test_split_gives_its_own_digits_as_binary_spikes(split: str) -> None:
    data = load_split(DataSource(), split, 60, 3)
    assert data.spikes.shape == (3, 2, 34, 34, 60) and data.spikes.dtype == np.uint8
    assert set(np.unique(data.spikes)) == {0, 1}
    assert np.array_equal(data.labels, load_digits(DIGIT_RANGES[split])[1][:3])
    assert "emulated" in data.origin and f"{split} split" in data.origin


def test_fewer_samples_are_the_first_of_more() -> None:
    few, more = (load_split(DataSource(), "calibration", 20, n) for n in (2, 5))
    assert np.array_equal(few.spikes, more.spikes[:2])
    assert np.array_equal(few.labels, more.labels[:2])


def test_silence_follows_the_recording() -> None:
    plain = load_split(DataSource(), "calibration", 20, 2)
    longer = load_split(DataSource(n_silent_steps=7), "calibration", 27, 2)
    assert np.array_equal(longer.spikes[..., :20], plain.spikes)
    assert longer.spikes.shape[-1] == 27 and not longer.spikes[..., 20:].any()
    with pytest.raises(DataError, match="n_silent_steps: 7 leaves nothing of n_steps: 7"):
        load_split(DataSource(n_silent_steps=7), "calibration", 7, 2)


@pytest.mark.parametrize(("split", "n"), [("calibration", 501), ("test", 1001), ("train", 7001)])
def test_more_samples_than_the_split_holds_are_refused(split: str, n: int) -> None:
    with pytest.raises(DataError, match=f"{split}: {n} samples asked for, the split holds {n - 1}"):
        load_split(DataSource(), split, 60, n)


@pytest.mark.parametrize("n", [0, -3])
@pytest.mark.parametrize("kind", ["emulated-nmnist", "npz", "nmnist"])
def test_fewer_samples_than_one_are_refused(n: int, kind: Any) -> None:
    with pytest.raises(DataError, match=f"{n} samples asked for, at least 1"):
        load_split(DataSource(kind=kind), "test", 60, n)


# ---------------------------------------------------------------- drawn samples


def numbered(n: int) -> SpikeSet:
    """Return samples that carry their own number."""
    spikes = ((np.arange(n)[:, None] >> np.arange(8)) & 1).astype(np.uint8)[:, None]
    return SpikeSet(spikes, np.arange(n), "numbers")


@pytest.mark.parametrize("seed", [0, 1, 7])
@pytest.mark.parametrize("n_samples", [1, 10, 60])
def test_samples_are_drawn_without_repeats_and_keep_their_labels(seed: int, n_samples: int) -> None:
    drawn = draw_samples(numbered(60), n_samples, seed)
    assert len(set(drawn.labels.tolist())) == len(drawn.labels) == n_samples
    assert np.array_equal(drawn.spikes, numbered(60).spikes[drawn.labels])
    assert drawn.origin.startswith("numbers")


def test_a_seed_draws_the_same_samples_every_time_and_another_seed_draws_others() -> None:
    first, again, other = (draw_samples(numbered(60), 10, seed).labels for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert set(first.tolist()) != set(other.tolist())


def test_a_larger_draw_holds_the_smaller_one_of_its_seed() -> None:
    few, many = (draw_samples(numbered(60), n, 3).labels for n in (10, 30))
    assert np.array_equal(many[:10], few)


def test_every_sample_may_be_drawn() -> None:
    drawn = [draw_samples(numbered(20), 3, seed).labels for seed in range(60)]
    assert set(np.concatenate(drawn).tolist()) == set(range(20))


def test_drawing_more_samples_than_there_are_is_refused() -> None:
    with pytest.raises(DataError, match="numbers: 61 samples asked for, it holds 60; lower"):
        draw_samples(numbered(60), 61, 0)
