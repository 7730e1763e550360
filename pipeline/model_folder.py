"""A model on disk: a folder with ``model.yaml`` and a SLAYER module with its checkpoint, or a file.

In: the name of a bundled model (``models/<name>/``) or the path of any folder.
Out: a :class:`ModelFolder`, checked as far as that is possible without importing torch or lava.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

import models
from models.data.source import DataSource, check_source
from pipeline.errors import CheckpointError, RecipeError
from pipeline.strict_yaml import read_strict

BUNDLED = Path(models.__file__).parent
NETWORK_SUFFIXES = (".net", ".nir")


class ModelDescription(BaseModel):
    """The keys of ``model.yaml``.

    Attributes
    ----------
    description : one line
    network : ``file.py:ClassName`` of a torch module made of SLAYER blocks, where the file may be
        another model's; or a NetX or NIR file (``.net``, ``.nir``), which has no checkpoint
    arguments : keyword arguments of the class
    checkpoint : state dict saved with ``torch.save``
    input_shape : (c, y, x) or (features,) of the input, binary or integers
    n_steps : time steps of one sample
    data : where calibration, validation and test spikes come from
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str = ""
    network: str = "network.py:Network"
    arguments: dict[str, Any] = Field(default_factory=dict)
    checkpoint: str = "checkpoint.pt"
    input_shape: tuple[PositiveInt, ...] = Field(min_length=1, max_length=3)
    n_steps: PositiveInt
    data: DataSource = DataSource()


@dataclass(frozen=True)
class ModelFolder:
    """Where a model lives and what its ``model.yaml`` says.

    Attributes
    ----------
    name : name of the folder
    """

    name: str
    folder: Path
    description: ModelDescription

    @property
    def is_module(self) -> bool:
        """Whether the network is a module with a checkpoint, and not a NetX or NIR file."""
        return Path(self.description.network).suffix not in NETWORK_SUFFIXES

    @property
    def checkpoint(self) -> Path:
        """Path of what holds the weights: the checkpoint, or the NetX or NIR file."""
        return self.folder / self.description.checkpoint if self.is_module else self.network_file

    @property
    def network_file(self) -> Path:
        """Path of the Python file that defines the module, or of the NetX or NIR file."""
        return (self.folder / self.description.network.split(":")[0]).resolve()

    @property
    def class_name(self) -> str:
        """Name of the module's class."""
        return self.description.network.split(":")[1]

    @property
    def data(self) -> DataSource:
        """The data source, with relative paths taken from the folder."""
        source = self.description.data
        paths = {
            key: self.folder / value
            for key, value in (("root", source.root), ("file", source.file))
            if value is not None
        }
        return source.model_copy(update=paths)


def find_model(name_or_path: str) -> ModelFolder:
    """Return the model of a bundled name or of a folder anywhere on disk.

    Raises
    ------
    RecipeError
        If there is no such model, or ``model.yaml`` is malformed.
    CheckpointError
        If the module's file or the checkpoint is missing.
    DataError
        If the data it names are missing.
    """
    folder = Path(name_or_path).expanduser()
    if not (folder / "model.yaml").is_file():
        folder = BUNDLED / name_or_path
    if not (folder / "model.yaml").is_file():
        raise RecipeError(
            f"model '{name_or_path}': neither a folder with a model.yaml nor one of the bundled "
            f"models ({', '.join(bundled_models())})"
        )
    description = read_strict(folder / "model.yaml", ModelDescription)
    model = ModelFolder(folder.resolve().name, folder.resolve(), description)
    if model.is_module and description.network.count(":") != 1:
        raise RecipeError(
            f"{folder / 'model.yaml'}: network: '{description.network}' is not of the form "
            "file.py:ClassName, nor a .net or .nir file"
        )
    what_is_there = "module file" if model.is_module else "network file"
    for path, what in ((model.network_file, what_is_there), (model.checkpoint, "checkpoint")):
        if not path.is_file():
            raise CheckpointError(
                f"model '{model.name}': {what} {path} does not exist; train the model or mend "
                f"{folder / 'model.yaml'}"
            )
    check_source(model.data)
    return model


def bundled_models() -> list[str]:
    """Return the names of the models of this repository."""
    return sorted(path.parent.name for path in BUNDLED.glob("*/model.yaml"))
