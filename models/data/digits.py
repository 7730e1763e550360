"""The 9,000 MNIST digits of the repository, and which of them train, calibrate, validate and test.

In: ``mnist-9k.npz`` beside this file (CC BY-SA 3.0; LeCun, Cortes and Burges).
Out: images and labels of one split. The index ranges never change: a figure in this repository
that names a split means these images.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DIGITS_FILE = Path(__file__).with_name("mnist-9k.npz")

DIGIT_RANGES: dict[str, range] = {
    "train": range(0, 7000),
    "calibration": range(7000, 7500),
    "validation": range(7500, 8000),
    "test": range(8000, 9000),
}


def load_digits(indices: range) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the digits at ``indices`` and their labels.

    Returns
    -------
    images : (n, 28, 28) uint8, 0 black to 255 white
    labels : (n,) int64 in 0..9
    """
    with np.load(DIGITS_FILE) as archive:
        images = archive["images"][indices.start : indices.stop : indices.step]
        labels = archive["labels"][indices.start : indices.stop : indices.step]
    return images, labels.astype(np.int64)
