"""The reading of a target: its file, the files it builds on, and every mistake in them.

In: the name of a shipped target, or the path of a YAML file. Out: a `Target`, or one
`TargetFileError` that lists all that is wrong. Deliberately not here: what a target must hold
(schema.py), and how YAML and refusals are worded (reading.py).

A file with ``base: loihi2`` holds only what differs from that target. What it gives is merged over
the base before anything is checked: sections key by key, a number always whole, so that no value
of one file ever stands beside the source of another. ``without`` lists key paths of the base that
are left out.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hardware_targets.prices import EventTimes, PriceSet, System
from hardware_targets.quantity import Quantity
from hardware_targets.reading import key_path, key_problems, read_yaml
from hardware_targets.schema import Capacities, Neurons, Synapses, Target
from hardware_targets.time_table import TimeTable

_FOLDER = Path(__file__).parent
_SUFFIXES = (".yaml", ".yml")
_SECTIONS = (
    Target, Capacities, Synapses, Neurons, System, PriceSet, EventTimes, Quantity, TimeTable)
_KNOWN_KEYS = frozenset(key for section in _SECTIONS for key in section.model_fields) | {"without"}
_OWN = ("name", "description")  # never taken from a base
_DEEPEST = 8  # levels of mappings; a target has five
# what is no number has its source beside it: who changes the one says where it comes from
_SOURCE_OF = {
    "formats": "formats_source", "shares_conv_kernels": "formats_source",
    "sign_modes": "sign_modes_source", "families": "families_source",
}
Content = dict[str, Any]


class TargetFileError(ValueError):
    """A target that does not exist, or a target file with mistakes.

    Attributes
    ----------
    path : str
        The file, or the name that was asked for.
    problems : tuple of str
        Every problem found, each as ``key path: problem; remedy``.
    """

    def __init__(self, path: str, problems: tuple[str, ...]) -> None:
        super().__init__(path, problems)  # both as args, so that the error survives pickling
        self.path = path
        self.problems = problems

    def __str__(self) -> str:
        """Return the file, then one problem a line."""
        return "\n  ".join((f"hardware target {self.path}:", *self.problems))


@dataclass(frozen=True)
class _File:
    """One file of a chain of bases, as written."""

    path: Path
    content: Content


def load_target(name_or_path: str | Path) -> Target:
    """Return the target of a shipped name (``"loihi2"``) or of a YAML file.

    Raises
    ------
    TargetFileError
        No such name or file, or the file has mistakes; the message lists all of them.
    """
    chain = _chain(_locate(name_or_path))
    path = str(chain[0].path)
    content, problems = _merged(chain)
    try:
        target = Target.model_validate(content)
    except ValidationError as error:
        for detail in error.errors():
            said = key_problems([detail], _KNOWN_KEYS)
            problems += [text + _origin(key_path(detail), chain) for text in said]
    if problems:
        raise TargetFileError(path, tuple(problems))
    return target


def list_targets() -> list[str]:
    """Return the names of the shipped targets, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def _locate(name_or_path: str | Path) -> Path:
    path = Path(name_or_path)
    if path.suffix in _SUFFIXES or path.name != str(name_or_path):
        return path
    if path.name in list_targets():
        return _FOLDER / f"{path.name}.yaml"
    shipped = ", ".join(list_targets())
    remedy = f"use one of {shipped}, or the path of a .yaml file"
    raise TargetFileError(repr(str(name_or_path)), (f"no target of this name; {remedy}",))


def _chain(path: Path) -> list[_File]:
    """Return the file, its base, the base of that, and so on."""
    chain = [_read(path)]
    while "base" in chain[-1].content:
        chain.append(_read_base(chain))
    return chain


def _read(path: Path) -> _File:
    try:
        content = read_yaml(path)
    except ValueError as error:
        raise TargetFileError(str(path), (str(error),)) from None
    if not isinstance(content, dict):
        found = "nothing" if content is None else f"a {type(content).__name__}"
        remedy = "write the sections listed in hardware_targets/README.md"
        raise TargetFileError(str(path), (f"top level: holds {found}, not a mapping; {remedy}",))
    if _is_deeper(content, _DEEPEST):
        problem = f"is nested more than {_DEEPEST} levels deep; write the sections of the README"
        raise TargetFileError(str(path), (f"top level: {problem}",))
    return _File(path, content)


def _is_deeper(content: object, levels: int) -> bool:
    """Return whether mappings are nested deeper; a YAML alias of what holds it has no end."""
    return isinstance(content, dict) and (
        levels == 0 or any(_is_deeper(value, levels - 1) for value in content.values()))


def _read_base(chain: list[_File]) -> _File:
    """Return the base of the last file of a chain; a base is relative to the file that names it."""
    user, asked = chain[-1], chain[0].path
    base = user.content["base"]
    place = "base" if len(chain) == 1 else f"base (in {user.path.name})"
    if not isinstance(base, str) or not base.strip():
        remedy = "give the name of a shipped target, or the path of a .yaml file"
        raise TargetFileError(str(asked), (f"{place}: is {base!r}; {remedy}",))
    try:
        path = _locate(base)
        found = _read(path if path.parent == _FOLDER else user.path.parent / path)
    except TargetFileError as error:
        problems = tuple(f"{place}: {base!r}: {problem}" for problem in error.problems)
        raise TargetFileError(str(asked), problems) from None
    if any(found.path.resolve() == file.path.resolve() for file in chain):
        names = " -> ".join(file.path.name for file in (*chain, found))
        problem = f"{place}: builds on itself: {names}; take the base out of one of them"
        raise TargetFileError(str(asked), (problem,))
    return found


def _merged(chain: list[_File]) -> tuple[Content, list[str]]:
    """Return the content of all files, the first over the others, and what is wrong with it."""
    content: Content = copy.deepcopy(chain[-1].content)
    problems = [] if "without" not in content else [
        f"without{_place(chain[-1], chain)}: needs a base to leave something out of; remove it"]
    content.pop("without", None)
    for file in reversed(chain[:-1]):
        own, place = dict(file.content), _place(file, chain)
        left_out = own.pop("without", [])
        if not isinstance(left_out, list) or not all(isinstance(key, str) for key in left_out):
            problems.append(f"without{place}: is {left_out!r}; make it a list of key paths")
            left_out = []
        problems += [
            f"without{place}: the base {own['base']} has no {key}; correct it"
            for key in left_out if not _remove(content, key.split("."))
        ]
        problems += [f"{text}{place}" for text in _unsourced(own, content, ())]
        content = {key: value for key, value in content.items() if key not in _OWN}
        content = _over(content, own)
    return content, problems


def _over(base: Content, own: Mapping[Any, Any]) -> Content:
    """Return a mapping over another, key by key; a number, which has a value, is taken whole."""
    result = dict(base)
    for key, value in own.items():
        under = result.get(key)
        if isinstance(value, dict) and isinstance(under, dict) and not (
                "value" in value or "value" in under):
            value = _over(under, value)
        result[key] = value
    return result


def _remove(content: Content, path: list[str]) -> bool:
    """Take a key out of nested mappings; return whether it was there."""
    for key in path[:-1]:
        content = content.get(key, {})
        if not isinstance(content, dict):
            return False
    return content.pop(path[-1], ...) is not ...


def _unsourced(own: Mapping[Any, Any], base: object, path: tuple[str, ...]) -> list[str]:
    """Return a problem for each changed key whose source would be the base's."""
    found = []
    for key, value in own.items():
        under = base.get(key) if isinstance(base, dict) else None
        if isinstance(value, dict):
            found += _unsourced(value, under, (*path, str(key)))
        elif key in _SOURCE_OF and _SOURCE_OF[key] not in own and under is not None:
            found.append(
                f"{'.'.join((*path, key))}: is changed to {value!r}, but keeps the source of the "
                f"base; give {_SOURCE_OF[key]} too")
    return found


def _place(file: _File, chain: list[_File]) -> str:
    return "" if file is chain[0] else f" (in {file.path.name})"


def _origin(path: tuple[str, ...], chain: list[_File]) -> str:
    """Return which base a refused key stands in, or nothing if in the file itself or in none."""
    for file in chain if path[0] not in _OWN else chain[:1]:
        place: object = file.content
        for key in path:
            if isinstance(place, dict) and {"value", "unit"} & place.keys():
                return _place(file, chain)  # a number, which is taken whole
            if isinstance(place, list) and key.isdigit() and int(key) < len(place):
                place = place[int(key)]
            else:
                place = place.get(key, ...) if isinstance(place, dict) else ...
        if place is not ...:
            return _place(file, chain)
    return ""
