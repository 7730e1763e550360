"""From the bytes of a target file to plain data, and from refusals to words.

In: a path, or the error details of pydantic. Out: what the YAML says, or ``key path: problem;
remedy``. Deliberately not here: what a target file must hold (schema.py, quantity.py).
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

_MAX_SHOWN = 60  # characters of a refused input that are repeated to the user


def read_yaml(path: Path) -> object:
    """Return what the file says, as dicts, lists, text and numbers.

    Raises
    ------
    ValueError
        The file cannot be read, or is not YAML; the message says where, why and what to do.
    """
    try:
        return yaml.load(path.read_bytes(), Loader=_UniqueKeyLoader)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise ValueError(f"cannot be read ({reason}); give the path of a .yaml file") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ValueError(f"{place}{error.problem}; correct the YAML there") from None
    # PyYAML 6 lets a bare ValueError out of a bad date, and a RecursionError out of a deep nest.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"not readable as YAML ({reason}); save it as UTF-8 YAML text") from None


class _UniqueKeyLoader(yaml.SafeLoader):
    """A safe loader that refuses a key given twice; plain YAML would keep the last one silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                text = f"key {key.value!r} appears twice"
                raise yaml.constructor.ConstructorError(None, None, text, key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def key_problems(
    details: Iterable[Mapping[str, Any]], known_keys: Collection[str]
) -> tuple[str, ...]:
    """Return ``key path: problem; remedy`` for each error detail of pydantic.

    Parameters
    ----------
    details : iterable of mapping
        ``ValidationError.errors()``, each with loc, type, msg and input.
    known_keys : collection of str
        Every key a target file may hold, to guess what a misspelled one meant.
    """
    return tuple(
        f"{'.'.join(key_path(detail))}: {_problem_and_remedy(detail, known_keys)}"
        for detail in details
        # A list whose items were all refused counts as short too; the items are reported anyway.
        if not (detail["type"] == "too_short" and detail["input"])
    )


def key_path(detail: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the keys that lead to what an error detail of pydantic is about."""
    below = detail.get("ctx", {}).get("key") if detail["type"] == "target_file" else None
    return (*map(str, detail["loc"]), *([below] if below else []))


def _problem_and_remedy(detail: Mapping[str, Any], known_keys: Collection[str]) -> str:
    kind, message, given = detail["type"], str(detail["msg"]), _shown(detail["input"])
    if kind == "target_file":  # raised by our own validators, remedy included
        return message
    if kind == "missing":
        return "is missing; add it as in the table of hardware_targets/README.md"
    if kind == "extra_forbidden":
        key = str(detail["loc"][-1])
        if key in known_keys:
            return "does not belong here; move it as in the table of hardware_targets/README.md"
        near = difflib.get_close_matches(key, known_keys, n=1)
        hint = f"did you mean {near[0]}?" if near else "remove it"
        return f"unknown key; {hint}"
    if kind == "invalid_key":
        return "is a key, but not text; put it in quotes, or remove it"
    if detail["input"] is None:
        return "is null, but is needed; give it, with its source where it is a number"
    if kind in ("model_type", "dict_type", "mapping_type"):
        return f"is {given}; make it a mapping (a number: value, unit, status, source)"
    if kind in ("too_short", "string_too_short"):
        return "is empty; give at least one"
    if given in ("nan", "inf", "-inf"):
        return f"is {given}, not a finite number; give the number, or null with status not-found"
    demand = message.removeprefix("Input should be ").removeprefix("a valid ")
    if isinstance(detail["input"], str) and demand in ("integer", "number"):
        return f"is the text {given}, must be {demand}; write plain digits, without quotes"
    return f"is {given}, must be {demand}; correct it"


def _shown(given: object) -> str:
    text = repr(given)
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + "..."
