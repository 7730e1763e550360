"""YAML files read into strict pydantic models, with errors a stranger can act on."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from pipeline.errors import RecipeError

Document = TypeVar("Document", bound=BaseModel)


def read_strict(path: Path, kind: type[Document]) -> Document:
    """Return the document in ``path``, every key known and every value in range.

    Raises
    ------
    RecipeError
        With the path, and for each problem its key path, what is wrong and the known keys.
    """
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read ({error})") from None
    except yaml.YAMLError as error:
        raise RecipeError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    content = {} if content is None else content
    if not isinstance(content, dict):
        raise RecipeError(f"{path}: holds a {type(content).__name__}, not keys and values")
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        problems = "\n".join(f"  {_describe(problem, kind)}" for problem in error.errors())
        raise RecipeError(f"{path}:\n{problems}") from None


def _describe(problem: Any, kind: type[BaseModel]) -> str:
    """Return one problem as *key path: what is wrong; what would be right*."""
    location = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = ", ".join(_known_keys(kind, problem["loc"][:-1]))
        return f"{location}: unknown key; known keys here: {known}"
    if problem["type"] == "missing":
        return f"{location}: missing; this key has no default"
    return f"{location}: {problem['msg']} (found {problem['input']!r})"


def _known_keys(kind: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    """Return the keys of the section at ``location``."""
    section: Any = kind
    for part in location:
        field = getattr(section, "model_fields", {}).get(part)
        if field is not None:
            section = field.annotation
        for candidate in getattr(section, "__args__", ()):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                section = candidate
    return sorted(getattr(section, "model_fields", {}))
