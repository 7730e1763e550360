"""Splits are fixed and disjoint, spikes are reproducible, and bad sources say what is wrong."""

from __future__ import annotations

import gc
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.data.digits import DIGIT_RANGES, load_digits
from models.data.event_camera import (
    EVENT_DTYPE,
    RECORDING_US,
    EventCamera,
    bin_events,
    emulate_events,
    saccade_path,
)
from models.data.source import DataSource, check_source
from models.data.splits import SPLITS, SpikeSet, draw_samples, load_split
from pipeline.errors import DataError, MissingExtraError

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


@pytest.mark.parametrize(("split", "n"), [("calibration", 501), ("test", 1001), ("train", 7001)])
def test_more_samples_than_the_split_holds_are_refused(split: str, n: int) -> None:
    with pytest.raises(DataError, match=f"{split}: {n} samples asked for, the split holds {n - 1}"):
        load_split(DataSource(), split, 60, n)


@pytest.mark.parametrize("n", [0, -3])
@pytest.mark.parametrize("kind", ["emulated-nmnist", "npz", "nmnist"])
def test_fewer_samples_than_one_are_refused(n: int, kind: Any) -> None:
    with pytest.raises(DataError, match=f"{n} samples asked for, at least 1"):
        load_split(DataSource(kind=kind), "test", 60, n)


# ---------------------------------------------------------------- event camera


def test_an_image_has_the_same_events_alone_and_in_a_batch() -> None:
    indices = range(8000, 8006)
    images, _ = load_digits(indices)
    together = emulate_events(images, indices)
    for n, index in enumerate(indices):
        (alone,) = emulate_events(images[n : n + 1], range(index, index + 1))
        assert np.array_equal(alone, together[n])


def test_events_are_the_same_every_time_and_differ_between_seeds() -> None:
    indices = range(7000, 7002)
    images, _ = load_digits(indices)
    first, second = emulate_events(images, indices), emulate_events(images, indices)
    other = emulate_events(images, indices, EventCamera(seed=1))
    for n in range(2):
        assert np.array_equal(first[n], second[n])
        assert not np.array_equal(first[n], other[n])


def test_noise_belongs_to_the_image_number() -> None:
    blank = np.zeros((2, 28, 28), dtype=np.uint8)
    first, second = emulate_events(blank, range(2), EventCamera(noise_hz=20.0))
    assert len(first) > 100 and not np.array_equal(first, second)


def test_a_blank_image_without_noise_has_no_events() -> None:
    (events,) = emulate_events(
        np.zeros((1, 28, 28), dtype=np.uint8), range(1), EventCamera(noise_hz=0.0)
    )
    assert len(events) == 0


def test_noise_and_loss_occur_at_their_rates() -> None:
    blank = np.zeros((10, 28, 28), dtype=np.uint8)
    noisy = emulate_events(blank, range(10), EventCamera(noise_hz=5.0, loss_frac=0.0))
    lossy = emulate_events(blank, range(10), EventCamera(noise_hz=5.0, loss_frac=0.4))
    n_noisy, n_lossy = sum(map(len, noisy)), sum(map(len, lossy))
    expected = 10 * 34 * 34 * 5.0 * RECORDING_US * 1e-6
    assert n_noisy == pytest.approx(expected, rel=0.05)
    assert n_lossy == pytest.approx(0.6 * n_noisy, rel=0.05)


def test_events_are_sorted_and_within_sensor_and_recording() -> None:
    indices = range(8000, 8004)
    for events in emulate_events(load_digits(indices)[0], indices):
        assert events.dtype == EVENT_DTYPE and len(events) > 500
        assert np.all(np.diff(events["t"]) >= 0)
        assert events["t"].min() >= 0 and events["t"].max() < RECORDING_US
        for axis in ("x", "y"):
            assert events[axis].min() >= 0 and events[axis].max() < 34
        assert set(np.unique(events["p"])) == {0, 1}


def test_a_bright_edge_that_moves_right_gives_on_events_ahead_and_off_events_behind() -> None:
    image = np.zeros((1, 28, 28), dtype=np.uint8)
    image[0, 8:20, 10:18] = 255
    camera = EventCamera(noise_hz=0.0, loss_frac=0.0, mismatch_frac=0.0)
    (events,) = emulate_events(image, range(1), camera)
    second = events[(events["t"] >= 100_000) & (events["t"] < 200_000)]  # the saccade to the right
    middle = second[(second["y"] >= 14) & (second["y"] < 20)]  # away from the horizontal edges
    on, off = middle[middle["p"] == 1], middle[middle["p"] == 0]
    assert len(on) > 10 and len(off) > 10
    assert on["x"].min() > off["x"].max()


def test_saccades_are_a_closed_triangle_of_three_equal_times() -> None:
    path = saccade_path(120, 2.0)
    assert path.shape == (121, 2)
    assert path[[0, 40, 80, 120]].tolist() == [[-2.0, -1.5], [0.0, 2.0], [2.0, -1.5], [-2.0, -1.5]]


# ---------------------------------------------------------------- binning


def recording(rows: list[tuple[int, int, int, int]]) -> NDArray[np.void]:
    return np.array(rows, dtype=EVENT_DTYPE)


@settings(max_examples=50)
@given(
    st.lists(st.tuples(
        st.integers(0, 2 * RECORDING_US), st.integers(0, 33), st.integers(0, 33), st.integers(0, 1)
    ), max_size=20),
    st.integers(1, 100),
)
def test_bins_hold_position_polarity_and_time_and_drop_late_events(
    rows: list[tuple[int, int, int, int]], n_steps: int
) -> None:
    spikes = bin_events([recording(rows)], n_steps)
    expected = {(p, y, x, t * n_steps // RECORDING_US) for t, x, y, p in rows if t < RECORDING_US}
    assert spikes.shape == (1, 2, 34, 34, n_steps) and spikes.dtype == np.uint8
    assert {tuple(where) for where in np.argwhere(spikes[0]).tolist()} == expected
    assert int(spikes.sum()) == len(expected)  # several events in a bin are one spike


def test_events_stay_with_their_sample() -> None:
    spikes = bin_events(
        [recording([(0, 3, 5, 1)]), recording([]), recording([(299_999, 33, 0, 0)])], 60
    )
    assert np.argwhere(spikes).tolist() == [[0, 1, 5, 3, 0], [2, 0, 0, 33, 59]]


# ---------------------------------------------------------------- a user's own archive


def archive(tmp_path: Path, **arrays: Any) -> DataSource:
    file = tmp_path / "own.npz"
    np.savez(file, **arrays)
    return DataSource(kind="npz", file=file)


def good(n: int = 4) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        "test_spikes": (rng.random((n, 3, 7)) < 0.5).astype(np.uint8),
        "test_labels": np.arange(n),
    }


def test_complete_source_passes_the_check_before_any_work(tmp_path: Path) -> None:
    check_source(DataSource())
    check_source(archive(tmp_path, **good()))


def test_missing_archive_fails_the_check_before_any_work(tmp_path: Path) -> None:
    for source in (DataSource(kind="npz"), DataSource(kind="npz", file=tmp_path / "none.npz")):
        with pytest.raises(DataError, match=f"'{source.file}', which does not exist"):
            check_source(source)


def test_own_spikes_come_back_as_they_are(tmp_path: Path) -> None:
    arrays = good()
    data = load_split(archive(tmp_path, **arrays), "test", 7, None)
    assert np.array_equal(data.spikes, arrays["test_spikes"])
    assert np.array_equal(data.labels, arrays["test_labels"])
    assert data.labels.dtype == np.int64 and data.origin == "own.npz, test split"
    two = load_split(archive(tmp_path, **arrays), "test", 7, 2)
    assert np.array_equal(two.spikes, arrays["test_spikes"][:2]) and len(two.labels) == 2


@pytest.mark.parametrize("dtype", [bool, np.float32, np.int64])
def test_own_spikes_of_any_type_become_bytes(dtype: Any, tmp_path: Path) -> None:
    arrays = good()
    arrays["test_spikes"] = arrays["test_spikes"].astype(dtype)
    assert load_split(archive(tmp_path, **arrays), "test", 7, None).spikes.dtype == np.uint8


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


def refused(source: DataSource, split: str = "test", n: int | None = None) -> str:
    with pytest.raises(DataError) as error:
        load_split(source, split, 7, n)
    return str(error.value)


def test_archive_without_a_path_is_refused() -> None:
    assert "needs the key 'file'" in refused(DataSource(kind="npz"))


def test_missing_archive_is_refused(tmp_path: Path) -> None:
    message = refused(DataSource(kind="npz", file=tmp_path / "none.npz"))
    assert "none.npz" in message


@pytest.mark.parametrize("content", ["text", "empty", "truncated", "array"])
def test_file_that_is_no_archive_is_refused(content: str, tmp_path: Path) -> None:
    file = archive(tmp_path, **good()).file
    assert file is not None
    if content == "text":
        file.write_text("t,x,y,p\n1,2,3,1\n")
    elif content == "empty":
        file.write_bytes(b"")
    elif content == "truncated":
        file.write_bytes(file.read_bytes()[:200])
    else:
        with file.open("wb") as stream:
            np.save(stream, good()["test_spikes"])
    try:
        assert "own.npz" in refused(DataSource(kind="npz", file=file))
    finally:
        gc.collect()  # a file left open must warn here and not in some later test


def test_archive_without_the_split_is_refused_with_what_it_needs(tmp_path: Path) -> None:
    message = refused(archive(tmp_path, **good()), split="validation")
    assert "own.npz" in message and "'validation_spikes'" in message


def test_archive_with_too_few_samples_is_refused(tmp_path: Path) -> None:
    assert "holds 4 spike trains" in refused(archive(tmp_path, **good()), n=5)


def test_archive_without_samples_is_refused(tmp_path: Path) -> None:
    assert "0 spike trains" in refused(archive(tmp_path, **good(0)))


def test_numbers_of_spikes_and_labels_that_differ_are_refused(tmp_path: Path) -> None:
    arrays = good()
    arrays["test_labels"] = np.arange(3)
    assert "own.npz: split 'test' holds 4 spike trains" in refused(archive(tmp_path, **arrays))


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf, 1 << 23, -1e30])
def test_input_that_is_no_message_is_refused(value: float, tmp_path: Path) -> None:
    arrays = good()
    arrays["test_spikes"] = arrays["test_spikes"].astype(np.float64)
    arrays["test_spikes"][1, 2, 3] = value
    assert "whole numbers up to 8388607" in refused(archive(tmp_path, **arrays))


@pytest.mark.parametrize("kind", [np.int8, np.int64, np.float32])
def test_graded_input_is_taken_as_integers(kind: Any, tmp_path: Path) -> None:
    arrays = good()
    arrays["test_spikes"] = arrays["test_spikes"].astype(kind)
    arrays["test_spikes"][1, 2, 3] = -100
    data = load_split(archive(tmp_path, **arrays), "test", arrays["test_spikes"].shape[-1], None)
    assert data.spikes.dtype == np.int32
    assert np.array_equal(data.spikes, arrays["test_spikes"])


def test_text_is_refused(tmp_path: Path) -> None:
    arrays = good()
    arrays["test_spikes"] = arrays["test_spikes"].astype(str)
    assert "of type <U" in refused(archive(tmp_path, **arrays))


def test_pickled_objects_in_an_archive_are_refused(tmp_path: Path) -> None:
    arrays = good()
    arrays["test_spikes"] = np.array([{"a": 1}] * 4, dtype=object)
    assert "own.npz" in refused(archive(tmp_path, **arrays))


@pytest.mark.parametrize("labels", [np.eye(4), np.arange(4)[:, None]], ids=["one-hot", "column"])
def test_labels_that_are_not_one_number_per_sample_are_refused(
    labels: Any, tmp_path: Path
) -> None:
    arrays = good()
    arrays["test_labels"] = labels
    assert "labels" in refused(archive(tmp_path, **arrays))


# ---------------------------------------------------------------- recorded N-MNIST


def test_missing_recordings_are_an_error_that_names_the_folder(tmp_path: Path) -> None:
    message = refused(DataSource(kind="nmnist", root=tmp_path / "events"))
    assert f"'{tmp_path / 'events'}'" in message and "garrickorchard.com" in message


def test_recordings_without_a_folder_are_refused() -> None:
    assert "no N-MNIST recordings below 'None'" in refused(DataSource(kind="nmnist"))


def test_folder_with_train_alone_has_no_test_split(tmp_path: Path) -> None:
    (tmp_path / "NMNIST" / "Train").mkdir(parents=True)
    assert "no N-MNIST recordings" in refused(DataSource(kind="nmnist", root=tmp_path))


@pytest.mark.skipif(importlib.util.find_spec("tonic") is not None, reason="tonic is installed")
def test_recordings_without_tonic_say_how_to_install_it(tmp_path: Path) -> None:
    for folder in ("Train", "Test"):
        (tmp_path / "NMNIST" / folder).mkdir(parents=True)
    with pytest.raises(MissingExtraError, match=r"pip install 'spikefit\[nmnist\]'"):
        load_split(DataSource(kind="nmnist", root=tmp_path), "train", 60, 2)
