"""CIFAR-100 and ImageNet, read through torchvision from a folder the user has already filled.

In: a :class:`DataSource` of these kinds. Out: graded input ("direct coding"): every image, in
standard deviations from the mean of its color, as networks are trained on it, times ``frame_scale``
and rounded, in each of the first ``n_frame_steps`` steps; 0 in the steps after them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.on_disk import Item, chosen
from models.data.source import DataSource, find_folder
from pipeline.errors import DataError, MissingExtraError

# mean and standard deviation of red, green and blue of the training images, white is 1
_COLORS = {
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
_IMAGENET_SIDE, _IMAGENET_CROP = 256, 224  # the shorter side, then the middle, as is usual
_SUFFIXES = (".jpeg", ".jpg", ".png")


def load_frames(
    source: DataSource, split: str, n_steps: int, n_samples: int | None
) -> tuple[NDArray[np.int32], NDArray[np.int64], str]:
    """Return frames (n, 3, y, x, n_steps), labels (n,), and what they are.

    Raises
    ------
    DataError
        If the images are not there, too few, or damaged.
    MissingExtraError
        If torchvision is not installed.
    """
    n_shown = source.n_frame_steps or n_steps
    if n_shown > n_steps:
        raise DataError(
            f"data: n_frame_steps: {n_shown} is more than n_steps: {n_steps} of model.yaml; a "
            "network of depth D needs n_steps = n_frame_steps + D"
        )
    datasets, folder = _torchvision("datasets"), find_folder(source)
    items, image_of = _cifar(datasets, folder.parent, split, n_samples) \
        if source.kind == "cifar100" else _imagenet(datasets, folder.parent, split, n_samples)
    images = np.stack([image_of(path) for path, _ in items]).astype(np.float64) / 255
    mean, deviation = (np.array(values) for values in _COLORS[source.kind])
    graded = np.rint((images - mean) / deviation * source.frame_scale).astype(np.int32)
    frames = np.zeros((*graded.transpose(0, 3, 1, 2).shape, n_steps), dtype=np.int32)
    frames[..., :n_shown] = graded.transpose(0, 3, 1, 2)[..., None]
    labels = np.array([label for _, label in items], dtype=np.int64)
    name = {"cifar100": "CIFAR-100", "imagenet": "ImageNet"}[source.kind]
    return frames, labels, f"{name} images read through torchvision, shown for {n_shown} steps"


def _torchvision(part: str) -> Any:
    try:
        return importlib.import_module(f"torchvision.{part}")
    except ImportError:
        raise MissingExtraError("images need torchvision: pip install torchvision") from None


def _cifar(
    datasets: Any, root: Path, split: str, n_samples: int | None
) -> tuple[list[Item], Callable[[str], NDArray[np.uint8]]]:
    """Return the items of a split, and what reads an image (32, 32, 3) uint8."""
    try:
        part = datasets.CIFAR100(root, train=split != "test", download=False)
    except (RuntimeError, OSError, ValueError) as error:
        raise DataError(
            f"data: '{root / 'cifar-100-python'}' is not as published "
            f"({str(error).splitlines()[0]}); unpack cifar-100-python.tar.gz again"
        ) from None
    listed = [(str(index), int(label)) for index, label in enumerate(part.targets)]
    items = chosen(listed, listed, split, n_samples, f"'{root}'")
    return items, lambda index: np.asarray(part.data[int(index)])


def _imagenet(
    datasets: Any, root: Path, split: str, n_samples: int | None
) -> tuple[list[Item], Callable[[str], NDArray[np.uint8]]]:
    """Return the items of a split, and what reads an image (224, 224, 3) uint8."""
    folder = root / ("val" if split == "test" else "train")
    classes = sorted(path.name for path in folder.glob("n*") if path.is_dir()) \
        if folder.is_dir() else []
    if not classes:
        raise DataError(
            f"data: no folder per class (n01440764, ...) below '{folder}', which split '{split}' "
            "needs; unpack ILSVRC2012 there, the validation images sorted into classes"
        )
    listed = [(str(path), label) for label, name in enumerate(classes)
              for path in sorted((folder / name).iterdir()) if path.suffix.lower() in _SUFFIXES]
    items = chosen(listed, listed, split, n_samples, f"'{folder}'")

    def read(path: str) -> NDArray[np.uint8]:
        try:
            image = datasets.folder.pil_loader(path)
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: not a readable image ({error})") from None
        scale = _IMAGENET_SIDE / min(image.size)
        image = image.resize((round(image.width * scale), round(image.height * scale)), 2)
        left, top = ((size - _IMAGENET_CROP) // 2 for size in image.size)
        return np.asarray(image.crop((left, top, left + _IMAGENET_CROP, top + _IMAGENET_CROP)))

    return items, read
