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
_TONIC_DTYPE = np.dtype([("x", int), ("y", int), ("t", int), ("p", int)])


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
        tonic_io = importlib.import_module("tonic.io")
    except ImportError:
        raise MissingExtraError("N-MNIST needs tonic: pip install 'spikefit[nmnist]'") from None
    # tonic's dataset class downloads what it does not find as it expects; its reader does not
    files = sorted((root / "NMNIST" / part).glob("[0-9]/*.bin")) if root else []
    first = indices.start if is_train else indices.start - _N_TRAIN_INDICES
    if first + len(indices) > len(files):
        raise DataError(
            f"data: {root / 'NMNIST' / part if root else root} holds {len(files)} recordings "
            f"(<digit>/*.bin), split '{split}' needs {first + len(indices)}; unpack all of "
            "the archive"
        )
    order = np.random.default_rng(_SHUFFLE_SEED).permutation(len(files))
    chosen = [files[position] for position in order[first : first + len(indices)]]
    recordings = [tonic_io.read_mnist_file(str(path), dtype=_TONIC_DTYPE) for path in chosen]
    events = [_as_events(recording) for recording in recordings]
    return events, np.asarray([int(path.parent.name) for path in chosen], dtype=np.int64)


def _as_events(recording: NDArray[np.void]) -> NDArray[np.void]:
    events = np.empty(len(recording), dtype=EVENT_DTYPE)
    for field in EVENT_DTYPE.names or ():
        events[field] = recording[field]
    return events
