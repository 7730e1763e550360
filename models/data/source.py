"""Where a model's spikes come from: the ``data`` section of ``model.yaml``. Light to import."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from pipeline.errors import DataError


class DataSource(BaseModel):
    """Where the spikes of a model come from.

    ``kind: emulated-nmnist`` needs nothing else; ``nmnist`` needs ``root``, the folder that
    tonic filled; ``npz`` needs ``file`` with arrays ``<split>_spikes`` and ``<split>_labels``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["emulated-nmnist", "nmnist", "npz"] = "emulated-nmnist"
    root: Path | None = None
    file: Path | None = None


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
