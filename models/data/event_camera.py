"""An emulated event camera that watches a digit during three saccades, as N-MNIST was recorded.

In: grayscale images. Out: address events (t, x, y, polarity) on a 34 x 34 sensor over 300 ms.
The result is *emulated*, not recorded, and is called so wherever it is shown. It is deterministic:
every random number is a hash of (seed, image index, pixel, step), so one image gives the same
events alone or in a batch, on any number of threads.

The pixel model is the usual one for dynamic vision sensors: a pixel holds the log intensity at its
last event and fires when the present log intensity departs from it by a threshold
(Lichtsteiner et al., IEEE JSSC 43(2), 2008); thresholds differ between pixels, background
activity adds events and the readout loses some. The three saccades along an isosceles triangle,
100 ms each, follow Orchard et al., Front. Neurosci. 9:437, 2015. The parameter values are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

SENSOR_SIZE = 34
RECORDING_US = 300_000
EVENT_DTYPE = np.dtype([("t", "<i4"), ("x", "<i2"), ("y", "<i2"), ("p", "<i2")])
_MAX_EVENTS = 16_384


@dataclass(frozen=True)
class EventCamera:
    """Parameters of the emulated sensor and of its movement.

    Attributes
    ----------
    contrast_threshold : log-intensity change that makes an event
    mismatch_frac : standard deviation of the threshold between pixels, relative
    dark_level : intensity added before the logarithm, white is 1
    noise_hz : background events per pixel and second
    loss_frac : share of events lost in the readout
    saccade_px : half the base of the triangle the image moves along, pixels
    n_substeps : time steps of the emulation within the 300 ms
    seed : of the pixel mismatch, the noise and the loss
    """

    contrast_threshold: float = 0.35
    mismatch_frac: float = 0.12
    dark_level: float = 0.15
    noise_hz: float = 0.5
    loss_frac: float = 0.05
    saccade_px: float = 2.0
    n_substeps: int = 120
    seed: int = 2015


def emulate_events(
    images: NDArray[np.uint8], indices: range, camera: EventCamera | None = None
) -> list[NDArray[np.void]]:
    """Return the events of each image, sorted by time.

    Parameters
    ----------
    images : (n, 28, 28) uint8
    indices : n image numbers; they seed noise and loss, so that an image keeps its events
    camera : sensor parameters, the defaults if None

    Returns
    -------
    n structured arrays with fields t (microseconds, 0..299999), x, y (0..33), p (0 off, 1 on)
    """
    camera = camera or EventCamera()
    path = saccade_path(camera.n_substeps, camera.saccade_px)
    buffer = np.zeros((len(images), _MAX_EVENTS, 4), dtype=np.int32)
    counts = np.zeros(len(images), dtype=np.int64)
    _emulate(
        images.astype(np.float64) / 255.0, np.asarray(indices, dtype=np.uint64), path,
        camera.contrast_threshold, camera.mismatch_frac, camera.dark_level,
        camera.noise_hz * RECORDING_US * 1e-6 / camera.n_substeps, camera.loss_frac,
        np.uint64(camera.seed), buffer, counts,
    )
    return [_as_events(buffer[i, : counts[i]]) for i in range(len(images))]


def saccade_path(n_substeps: int, saccade_px: float) -> NDArray[np.float64]:
    """Return the image displacement (x, y) in pixels at each substep and before the first.

    Returns
    -------
    path : (n_substeps + 1, 2) float64; three equal saccades, each eased in and out
    """
    corners = saccade_px * np.array([[-1.0, -0.75], [0.0, 1.0], [1.0, -0.75], [-1.0, -0.75]])
    phase = np.linspace(0.0, 3.0, n_substeps + 1)
    leg = np.minimum(phase.astype(int), 2)
    within = phase - leg
    eased = within * within * (3.0 - 2.0 * within)
    path: NDArray[np.float64] = corners[leg] + (corners[leg + 1] - corners[leg]) * eased[:, None]
    return path


def bin_events(
    events: list[NDArray[np.void]], n_steps: int, duration_us: int = RECORDING_US
) -> NDArray[np.uint8]:
    """Return binary spikes: 1 where a pixel had at least one event of a polarity in a time bin.

    Parameters
    ----------
    events : structured arrays with fields t (microseconds), x, y, p, emulated or recorded
    n_steps : number of time bins; events at or after ``duration_us`` are left out

    Returns
    -------
    spikes : (n, 2, 34, 34, n_steps) uint8 in {0, 1}, polarity off before on
    """
    spikes = np.zeros((len(events), 2, SENSOR_SIZE, SENSOR_SIZE, n_steps), dtype=np.uint8)
    for n, recording in enumerate(events):
        step = recording["t"].astype(np.int64) * n_steps // duration_us
        kept = recording[step < n_steps]
        step = step[step < n_steps]
        spikes[n, kept["p"].astype(int), kept["y"], kept["x"], step] = 1
    return spikes


def _as_events(rows: NDArray[np.int32]) -> NDArray[np.void]:
    events = np.empty(len(rows), dtype=EVENT_DTYPE)
    for column, field in enumerate(("t", "x", "y", "p")):
        events[field] = rows[:, column]
    return events[np.argsort(events["t"], kind="stable")]


@njit(cache=True)
def _uniform(seed, a, b, c):
    """Return a uniform number in [0, 1) that depends on nothing but its arguments (SplitMix64)."""
    z = seed
    for key in (a, b, c):
        z = z ^ (key + np.uint64(0x9E3779B97F4A7C15) + (z << np.uint64(6)) + (z >> np.uint64(2)))
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return np.float64(z >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@njit(cache=True)
def _log_intensity(image, x, y, dark):
    """Return log(dark + intensity) at sub-pixel position (x, y); black outside the image."""
    x0, y0 = int(np.floor(x)), int(np.floor(y))
    fx, fy = x - x0, y - y0
    value = 0.0
    for dy in range(2):
        for dx in range(2):
            xi, yi = x0 + dx, y0 + dy
            if 0 <= xi < image.shape[1] and 0 <= yi < image.shape[0]:
                value += image[yi, xi] * (fx if dx else 1.0 - fx) * (fy if dy else 1.0 - fy)
    return np.log(dark + value)


@njit(parallel=True, cache=True)
def _emulate(images, indices, path, threshold, mismatch, dark, p_noise, p_loss, seed,
             buffer, counts):
    n_substeps = path.shape[0] - 1
    step_us = RECORDING_US / n_substeps
    margin = (SENSOR_SIZE - images.shape[1]) / 2.0
    for n in prange(images.shape[0]):
        count = 0
        for pixel in range(SENSOR_SIZE * SENSOR_SIZE):
            x, y = pixel % SENSOR_SIZE - margin, pixel // SENSOR_SIZE - margin
            key = np.uint64(pixel)
            # Irwin-Hall of four: near enough to a normal, and free of libm differences
            theta_off = threshold * (1.0 + mismatch * _spread(seed, key, np.uint64(0)))
            theta_on = threshold * (1.0 + mismatch * _spread(seed, key, np.uint64(1)))
            held = _log_intensity(images[n], x - path[0, 0], y - path[0, 1], dark)
            for step in range(n_substeps):
                now = _log_intensity(
                    images[n], x - path[step + 1, 0], y - path[step + 1, 1], dark)
                change = now - held
                polarity, theta = (1, theta_on) if change > 0 else (0, theta_off)
                n_events = int(abs(change) / theta)
                held += n_events * theta if change > 0 else -n_events * theta
                noise = _uniform(seed + np.uint64(1), indices[n], key, np.uint64(step))
                for k in range(n_events + (noise < p_noise)):
                    draw = np.uint64(step * 64 + k)
                    if count == buffer.shape[1] or k >= 64:
                        break
                    if k == n_events:
                        polarity = 1 if noise < 0.5 * p_noise else 0
                    if _uniform(seed + np.uint64(2), indices[n], key, draw) < p_loss:
                        continue
                    buffer[n, count, 0] = int((step + (k + 0.5) / (n_events + 1)) * step_us)
                    buffer[n, count, 1] = pixel % SENSOR_SIZE
                    buffer[n, count, 2] = pixel // SENSOR_SIZE
                    buffer[n, count, 3] = polarity
                    count += 1
        counts[n] = count


@njit(cache=True)
def _spread(seed, pixel, polarity):
    """Return a pixel's fixed deviation, mean 0 and variance 1, within +-3.5."""
    total = 0.0
    for k in range(4):
        total += _uniform(seed, pixel, polarity, np.uint64(k + 7))
    return (total - 2.0) * np.sqrt(3.0)
