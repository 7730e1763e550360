"""Recorded N-MNIST, read through tonic from a folder the user has already filled.

In: the folder that holds ``NMNIST/Train`` and ``NMNIST/Test``; out: address events and labels.
Nothing is downloaded: a missing folder is an error that says where to get the recordings.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.data.event_camera import EVENT_DTYPE
from models.data.source import DataSource, check_source
from pipeline.errors import DataError, MissingExtraError

# The repository's ranges index one list of 9,000 digits; of the recordings, the first 8,000 of a
# fixed shuffle of Train and the first 1,000 of a fixed shuffle of Test play the same parts.
_SHUFFLE_SEED = 0
_N_TRAIN_INDICES = 8000


def load_recordings(
    root: Path | None, split: str, indices: range
) -> tuple[list[NDArray[np.void]], NDArray[np.int64]]:
    """Return events (fields t in microseconds, x, y, p) and labels of recorded N-MNIST digits.

    Raises
    ------
    DataError
        If the recordings are not below ``root``.
    MissingExtraError
        If tonic is not installed.
    """
    is_train = split != "test"
    check_source(DataSource(kind="nmnist", root=root))
    part = "Train" if is_train else "Test"
    if root is not None and not (root / "NMNIST" / part).is_dir():
        raise DataError(
            f"data: no N-MNIST recordings below '{root / 'NMNIST' / part}', which split '{split}' "
            f"needs; unpack the {part} archive there"
        )
    try:
        tonic_datasets = importlib.import_module("tonic.datasets")
    except ImportError:
        raise MissingExtraError("N-MNIST needs tonic: pip install 'spikefit[nmnist]'") from None
    recordings = tonic_datasets.NMNIST(save_to=str(root), train=is_train)
    order = np.random.default_rng(_SHUFFLE_SEED).permutation(len(recordings))
    first = indices.start if is_train else indices.start - _N_TRAIN_INDICES
    if first + len(indices) > len(recordings):
        raise DataError(
            f"data: {root} holds {len(recordings)} {'train' if is_train else 'test'} recordings, "
            f"split '{split}' needs {first + len(indices)}; unpack the whole archive"
        )
    events, labels = [], []
    for position in order[first : first + len(indices)]:
        recording, label = recordings[int(position)]
        converted = np.empty(len(recording), dtype=EVENT_DTYPE)
        for field in EVENT_DTYPE.names or ():
            converted[field] = recording[field]
        events.append(converted)
        labels.append(int(label))
    return events, np.asarray(labels, dtype=np.int64)
