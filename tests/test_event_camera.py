"""The emulated event camera and recordings give reproducible, sorted, binned events."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.data.digits import load_digits
from models.data.event_camera import (
    EVENT_DTYPE,
    RECORDING_US,
    EventCamera,
    bin_events,
    emulate_events,
    saccade_path,
)

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
