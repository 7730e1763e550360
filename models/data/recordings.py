"""CIFAR10-DVS and DVS128-Gesture, read from a folder the user has already filled through tonic.

In: a :class:`DataSource` of these kinds. Out: binary spikes, 1 where a pixel had at least one event
of a polarity in a time bin; bins are equal parts of a recording, from its first event to its last.
"""

from __future__ import annotations

import importlib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.on_disk import Item, chosen, parted
from models.data.source import DataSource, find_folder
from pipeline.errors import DataError, MissingExtraError

SENSOR_SIZE = 128
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship",
                   "truck")
_COLUMNS_OF_GESTURES = ("x", "y", "p", "t")
Events = dict[str, NDArray[np.int64]]


def load_events(
    source: DataSource, split: str, n_steps: int, n_samples: int | None
) -> tuple[NDArray[np.uint8], NDArray[np.int64], str]:
    """Return spikes (n, 2, 128, 128, n_steps), labels (n,), and what they are.

    Raises
    ------
    DataError
        If the recordings are not there, too few, or damaged.
    MissingExtraError
        If what reads them is not installed.
    """
    folder = find_folder(source)
    if source.kind == "cifar10-dvs":
        train, test = parted(_of_classes(folder.parent))
        read, what = _cifar_reader(), "CIFAR10-DVS recordings (Li et al. 2017) read through tonic"
    else:
        train, test = (_of_users(folder.parent / f"ibmGesture{part}") for part in ("Train", "Test"))
        read, what = _read_gesture, "DVS128-Gesture recordings (Amir et al. 2017)"
    items = chosen(train, test, split, n_samples, f"'{folder.parent}'")
    spikes = np.zeros((len(items), 2, SENSOR_SIZE, SENSOR_SIZE, n_steps), dtype=np.uint8)
    for n, (path, _) in enumerate(items):
        spikes[n] = binned(_checked(read, path), n_steps)
    return spikes, np.array([label for _, label in items], dtype=np.int64), what


def binned(events: Events, n_steps: int) -> NDArray[np.uint8]:
    """Return spikes (2, 128, 128, n_steps), off before on, of one recording."""
    spikes = np.zeros((2, SENSOR_SIZE, SENSOR_SIZE, n_steps), dtype=np.uint8)
    if len(events["t"]) == 0:
        return spikes
    t = events["t"] - events["t"].min()
    step = t * n_steps // (int(t.max()) + 1)
    spikes[events["p"], events["y"], events["x"], step] = 1
    return spikes


def _of_classes(folder: Path) -> list[Item]:
    return [(str(path), label) for label, name in enumerate(CIFAR10_CLASSES)
            for path in sorted((folder / name).glob("*.aedat4"))]


def _of_users(folder: Path) -> list[Item]:
    """Return the recordings of a part; a file's name is its label."""
    files = sorted(folder.glob("*/*.npy")) or sorted(folder.glob("*.npy"))
    return [(str(path), int(path.stem)) for path in files if path.stem.isdigit()]


def _cifar_reader() -> Callable[[str], Events]:
    try:
        tonic_io = importlib.import_module("tonic.io")
    except ImportError:
        raise MissingExtraError("CIFAR10-DVS needs tonic: pip install 'spikefit[nmnist]'") from None

    def read(path: str) -> Events:
        found: Any = tonic_io.read_aedat4(path)
        return {field: np.asarray(found[field], dtype=np.int64) for field in ("t", "x", "y", "p")}

    return read


def _read_gesture(path: str) -> Events:
    rows = np.load(path)  # (n, 4), as tonic unpacks them
    if rows.ndim != 2 or rows.shape[1] != len(_COLUMNS_OF_GESTURES):
        raise ValueError(f"an array of shape {rows.shape}, not (events, 4)")
    return {field: rows[:, k].astype(np.int64) for k, field in enumerate(_COLUMNS_OF_GESTURES)}


def _checked(read: Callable[[str], Events], path: str) -> Events:
    try:
        events = read(path)
    except (OSError, ValueError, LookupError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not a readable recording ({error}); unpack it again") from None
    for field, end in (("x", SENSOR_SIZE), ("y", SENSOR_SIZE), ("p", 2)):
        values = events[field]
        if len(values) and not 0 <= values.min() <= values.max() < end:
            raise DataError(
                f"{path}: '{field}' of an event is {values.min()}..{values.max()}, outside 0.."
                f"{end - 1}; this is no recording of that set"
            )
    return events
