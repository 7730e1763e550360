"""What a running stage may ask of the line: the deployment's settings and earlier artifacts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from hardware_targets import Target
from pipeline.model_folder import ModelFolder
from pipeline.recipe import Recipe


class Context(Protocol):
    """What the line offers a running stage."""

    model: ModelFolder
    recipe: Recipe
    target: Target
    out: Path

    def value(self, stage: str) -> Any:
        """Return the artifact of an earlier stage."""

    def key(self, stage: str) -> str:
        """Return the content key of an earlier stage."""

    def parts(self, stage: str) -> Path:
        """Return the folder of what the running stage has finished of its work."""

    def progress(self, message: str) -> None:
        """Show what is being worked on."""
