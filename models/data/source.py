"""Where a model's spikes come from: the ``data`` section of ``model.yaml``. Light to import.

Nothing is downloaded, ever: a set that is not there is an error that says where to get it and where
it belongs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt

from pipeline.errors import DataError

Folders = tuple[str, ...]
# of every set that a user has on disk: its name, folders of which one below 'root' must be there,
# and where it is to be had
ON_DISK: dict[str, tuple[str, Folders, str]] = {
    "cifar10-dvs": (
        "CIFAR10-DVS recordings", ("CIFAR10DVS/CIFAR10DVS/airplane", "CIFAR10DVS/airplane"),
        "get CIFAR10DVS as tonic does (tonic.datasets.CIFAR10DVS, .aedat4 files in a folder per "
        "class)"),
    "dvs-gesture": (
        "DVS128-Gesture recordings",
        ("DVSGesture/ibmGestureTrain", "DVSGesture/ibmGestureTest"),
        "get ibmGestureTrain and ibmGestureTest as tonic does (tonic.datasets.DVSGesture, .npy "
        "files in a folder per user and light)"),
    "cifar100": (
        "CIFAR-100 images", ("cifar-100-python",),
        "get cifar-100-python.tar.gz from cs.toronto.edu/~kriz/cifar.html and unpack it there"),
    "imagenet": (
        "ImageNet images", ("train", "val"),
        "get ILSVRC2012 from image-net.org and unpack train and val into a folder per class "
        "(n01440764, ...)"),
}


class DataSource(BaseModel):
    """Where the spikes of a model come from.

    ``kind: emulated-nmnist`` needs nothing else; ``nmnist``, ``cifar10-dvs`` and ``dvs-gesture``
    need ``root``, the folder that tonic filled, ``cifar100`` and ``imagenet`` that of torchvision;
    ``npz`` needs ``file`` with arrays ``<split>_spikes`` and ``<split>_labels``.

    Attributes
    ----------
    n_frame_steps : of images, the steps they are shown, nothing after them; None for all
    frame_scale : of images, the integer that stands for one standard deviation of a color
    n_silent_steps : the last steps of a sample in which nothing comes in; recordings are binned
        into the steps before them
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal[
        "emulated-nmnist", "nmnist", "npz", "cifar10-dvs", "dvs-gesture", "cifar100", "imagenet"
    ] = "emulated-nmnist"
    root: Path | None = None
    file: Path | None = None
    n_frame_steps: PositiveInt | None = None
    frame_scale: PositiveInt = 16
    n_silent_steps: NonNegativeInt = 0


def check_source(source: DataSource) -> None:
    """Raise DataError unless what the source names is there; reads nothing."""
    if source.kind == "npz" and not (source.file and source.file.is_file()):
        raise DataError(
            f"data: kind 'npz' names the file '{source.file}', which does not exist; it must hold "
            "<split>_spikes (n, *input_shape, n_steps) and <split>_labels (n,)"
        )
    if source.kind == "nmnist" and not (source.root and (source.root / "NMNIST").is_dir()):
        raise DataError(
            f"data: no N-MNIST recordings below '{source.root}' (expected the folders NMNIST/Train "
            "and NMNIST/Test); get them from garrickorchard.com/datasets/n-mnist, unpack both, and "
            "name their parent as 'root'"
        )
    if source.kind in ON_DISK:
        find_folder(source)


def find_folder(source: DataSource) -> Path:
    """Return the first folder of a set on disk that is there.

    Raises
    ------
    DataError
        If none is.
    """
    what, folders, remedy = ON_DISK[source.kind]
    for folder in folders:
        if source.root is not None and (source.root / folder).is_dir():
            return source.root / folder
    raise DataError(
        f"data: no {what} below '{source.root}' (expected the folder {' or '.join(folders)}); "
        f"{remedy}, and name the folder above as 'root' in model.yaml"
    )
