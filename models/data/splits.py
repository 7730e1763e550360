"""Spikes and labels of one split, from whichever source a model names.

In: a :class:`DataSource` (``model.yaml``, key ``data``) and the name of a split.
Out: a :class:`SpikeSet`. The sources: the emulated event camera over the digits of this
repository; sets of recordings or images in a folder of the user's; a ``.npz`` of the user's own
spikes. Nothing is ever downloaded here.
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from models.data.digits import DIGIT_RANGES, load_digits
from models.data.event_camera import bin_events, emulate_events
from models.data.frames import load_frames
from models.data.nmnist import load_recordings
from models.data.recordings import load_events
from models.data.source import ON_DISK, DataSource
from pipeline.errors import DataError

_MAX_GRADED = (1 << 23) - 1  # 24 bits with the sign
SPLITS = ("train", "calibration", "validation", "test")


@dataclass(frozen=True)
class SpikeSet:
    """Binary spikes, or graded input, with their labels.

    Attributes
    ----------
    spikes : (n, *input_shape, n_steps) uint8 in {0, 1}; int32 where the input is graded
    labels : (n,) int64
    origin : one line that says what the data are, shown beside every figure made from them
    """

    spikes: NDArray[Any]
    labels: NDArray[np.int64]
    origin: str


def load_split(source: DataSource, split: str, n_steps: int, n_samples: int | None) -> SpikeSet:
    """Return the first ``n_samples`` of a split (all of it if None).

    Raises
    ------
    DataError
        If the source lacks the split, holds fewer samples than asked, or is malformed.
    """
    if n_samples is not None and n_samples < 1:
        raise DataError(
            f"{split}: {n_samples} samples asked for, at least 1 is needed; raise the number in "
            "the recipe"
        )
    if source.n_silent_steps:
        return _followed_by_silence(source, split, n_steps, n_samples)
    if source.kind == "npz":
        return _load_npz(source, split, n_steps, n_samples)
    if source.kind in ON_DISK:
        load = load_frames if source.kind in ("cifar100", "imagenet") else load_events
        spikes, labels, what = load(source, split, n_steps, n_samples)
        return SpikeSet(spikes, labels, f"{what}, {split} split")
    indices = DIGIT_RANGES[split]
    if n_samples is not None and n_samples > len(indices):
        raise DataError(
            f"{split}: {n_samples} samples asked for, the split holds {len(indices)}; "
            "lower the number in the recipe"
        )
    indices = indices[: n_samples or len(indices)]
    if source.kind == "nmnist":
        events, labels = load_recordings(source.root, split, indices)
        origin = "N-MNIST recordings (Orchard et al. 2015) read through tonic"
    else:
        images, labels = load_digits(indices)
        events = emulate_events(images, indices)
        origin = "emulated event camera over MNIST digits (not recorded N-MNIST)"
    return SpikeSet(bin_events(events, n_steps), labels, f"{origin}, {split} split")


def _followed_by_silence(
    source: DataSource, split: str, n_steps: int, n_samples: int | None
) -> SpikeSet:
    n_silent = source.n_silent_steps
    if n_silent >= n_steps:
        raise DataError(
            f"data: n_silent_steps: {n_silent} leaves nothing of n_steps: {n_steps} of model.yaml; "
            "lower it, or raise n_steps")
    data = load_split(
        source.model_copy(update={"n_silent_steps": 0}), split, n_steps - n_silent, n_samples)
    margin = [(0, 0)] * (data.spikes.ndim - 1) + [(0, n_silent)]
    return replace(data, spikes=np.pad(data.spikes, margin))


def draw_samples(data: SpikeSet, n_samples: int, seed: int) -> SpikeSet:
    """Return ``n_samples`` of a split, drawn without replacement.

    Raises
    ------
    DataError
        If the split holds fewer.
    """
    if n_samples > len(data.labels):
        raise DataError(
            f"{data.origin}: {n_samples} samples asked for, it holds {len(data.labels)}; lower "
            "the number in the recipe"
        )
    drawn = np.random.default_rng(seed).permutation(len(data.labels))[:n_samples]
    return SpikeSet(data.spikes[drawn], data.labels[drawn], f"{data.origin}, seed {seed}")


def _open_archive(file: BinaryIO) -> NpzFile:
    """Return the archive in ``file``; numpy opens single arrays and pickles as well."""
    archive = np.load(file)
    if not isinstance(archive, NpzFile):
        raise ValueError("a single array, not an archive")
    return archive


def _load_npz(
    source: DataSource, split: str, n_steps: int, n_samples: int | None
) -> SpikeSet:
    if source.file is None:
        raise DataError("data: kind 'npz' needs the key 'file', the path of a .npz archive")
    try:
        with source.file.open("rb") as file, _open_archive(file) as archive:
            spikes, labels = archive[f"{split}_spikes"], archive[f"{split}_labels"]
    except KeyError as error:
        raise DataError(
            f"{source.file}: {error.args[0]}; the archive needs '{split}_spikes' "
            f"(n, *input_shape, n_steps) and '{split}_labels' (n,)"
        ) from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{source.file}: not a readable .npz archive ({error})") from None
    if labels.ndim != 1:
        raise DataError(
            f"{source.file}: '{split}_labels' has shape {labels.shape}; one class number per "
            "sample is needed, shape (n,)"
        )
    n_samples = len(spikes) if n_samples is None else n_samples
    if len(spikes) != len(labels) or len(spikes) < max(n_samples, 1):
        raise DataError(
            f"{source.file}: split '{split}' holds {len(spikes)} spike trains and {len(labels)} "
            f"labels, {max(n_samples, 1)} of each are needed"
        )
    if spikes.shape[-1] != n_steps:
        raise DataError(
            f"{source.file}: '{split}_spikes' of shape {spikes.shape} holds {spikes.shape[-1]} "
            f"time steps, model.yaml says n_steps: {n_steps}"
        )
    spikes, labels = spikes[:n_samples], labels[:n_samples]
    return SpikeSet(
        _checked(spikes, f"{source.file}: '{split}_spikes'"), labels.astype(np.int64),
        f"{source.file.name}, {split} split")


def _checked(spikes: NDArray[Any], where: str) -> NDArray[Any]:
    """Return spikes as bytes, graded input as 32-bit integers.

    Raises
    ------
    DataError
        Unless all are whole numbers that a message of Lava's holds.
    """
    if spikes.dtype.kind not in "buif":
        raise DataError(f"{where} are of type {spikes.dtype}; 0 and 1, or integers, are needed")
    low, high = (spikes.min(), spikes.max()) if spikes.size else (0, 0)
    is_whole = spikes.dtype.kind != "f" or bool((spikes == np.rint(spikes)).all())
    if not is_whole or low < -_MAX_GRADED or high > _MAX_GRADED:
        raise DataError(
            f"{where} hold values from {low:g} to {high:g}"
            + ("" if is_whole else " that are not whole numbers")
            + f"; spikes are 0 or 1, graded input whole numbers up to {_MAX_GRADED}: round or "
            "scale the data"
        )
    return spikes.astype(np.uint8 if low >= 0 and high <= 1 else np.int32)
