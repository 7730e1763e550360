"""``spikefit targets``: which chips there are, every number of one, what is wrong with a file.

In: names and files of hardware targets. Out: text for the terminal, or JSON. Starts without numpy.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import rich.console

    from hardware_targets import PriceSet, Target

_FILE_WIDTH = 160  # columns where there is no terminal to ask
_NARROW = 120  # below, a table leaves no room for sources

app = typer.Typer(no_args_is_help=True, help="Hardware targets: list, show or check them.")


@app.command("list")
def list_all(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the shipped targets, one a line, and whether their prices are complete."""
    from hardware_targets import list_targets

    targets = [_load(name) for name in list_targets()]
    if as_json:
        _print_json([{
            "name": target.name, "description": target.description, "base": target.base,
            "price_sets": {
                name: {"is_complete": not prices.unpriced(), "unpriced": prices.unpriced()}
                for name, prices in target.price_sets.items()},
        } for target in targets])
        return
    console, width = _console(), max(len(target.name) for target in targets)
    for target in targets:
        console.print(f"[bold]{target.name:{width}s}[/]  {_escaped(target.description)}; "
                      f"{_escaped(_price_state(target))}", soft_wrap=True)


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(metavar="NAME|FILE", help="Of a target.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print every number of a target with its unit, status and source."""
    target = _load(name)
    if as_json:
        _print_json(target.model_dump(mode="json"))
        return
    console = _console()
    base = f" (builds on {target.base})" if target.base else ""
    console.print(f"[bold]{_escaped(target.name)}[/]{_escaped(base)}: "
                  f"{_escaped(target.description)}", soft_wrap=True)
    for title, section in _sections(target):
        console.print()
        console.print(f"[bold]{_escaped(title)}[/]", soft_wrap=True)
        _print_section(console, section)
    console.print()
    console.print(f"{_escaped(_tally(target))}; {_escaped(_price_state(target))}", soft_wrap=True)


@app.command("check")
def check(
    file: Annotated[str, typer.Argument(metavar="FILE|NAME", help="Of a target.")],
) -> None:
    """Say everything that is wrong with a target file, or that it is sound."""
    target = _load(file)
    console = _console()
    console.print(f"{_escaped(file)}: sound; {_escaped(_tally(target))}", soft_wrap=True)
    console.print(_escaped(_price_state(target)), soft_wrap=True)


def _load(name: str) -> Target:
    from hardware_targets import TargetFileError, load_target
    from pipeline.errors import TargetError

    try:
        return load_target(name)
    except TargetFileError as error:
        raise TargetError(str(error)) from None


def _price_state(target: Target) -> str:
    """Return whether each price set prices every event."""
    return "; ".join(
        f"{name}: {_completeness(prices)}" for name, prices in target.price_sets.items())


def _completeness(prices: PriceSet) -> str:
    missing = [name for name in prices.energies() if name in prices.unpriced()]
    total = len(prices.energies())
    if not missing:
        return f"prices complete ({total} events)"
    if len(missing) == total:
        return "no prices"
    return f"prices incomplete, {len(missing)} of {total} missing ({', '.join(missing)})"


def _tally(target: Target) -> str:
    """Return how many numbers the target has, by status."""
    numbers = [number for _, section in _sections(target) for number in section.values()
               if "source" in number]
    counts = Counter(number["status"] for number in numbers)
    by_status = ", ".join(f"{n} {status}" for status, n in counts.most_common())
    return f"{len(numbers)} numbers: {by_status}"


def _sections(target: Target) -> Iterator[tuple[str, dict[str, dict[str, Any]]]]:
    """Yield a title and, by name, each number as plain data; other keys as values alone."""
    content = target.model_dump(mode="json")
    for name in ("capacities", "synapses", "neurons", "system"):
        yield name, _rows(content[name])
    for name, prices in content["price_sets"].items():
        times = prices.pop("times")
        description = prices.pop("description")
        first = {key: prices[key] for key in ("status", "origin", "supply_voltage_v")}
        yield f"price set {name}: {' '.join(description.split())}", _rows(first | prices)
        yield f"times of {name}", _rows(times)


def _rows(section: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return each key's number; what is no number gets the source beside it, where there is one."""
    return {
        key: value if isinstance(value, dict) else {
            "value": value, "of": section.get(_source_key(key), "")}
        for key, value in section.items() if not key.endswith("_source")
    }


def _source_key(key: str) -> str:
    return "formats_source" if key == "shares_conv_kernels" else f"{key}_source"


def _print_section(console: rich.console.Console, section: dict[str, dict[str, Any]]) -> None:
    """Print a row a number; where the terminal is narrow, its source on lines of its own."""
    from rich.padding import Padding
    from rich.table import Table

    rows = [(
        name, _value(number), number.get("unit", ""), number.get("status", ""),
        number.get("source", number.get("of", ""))) for name, number in section.items()]
    if console.width < _NARROW:
        for name, value, unit, status, source in rows:
            console.print(_escaped(" ".join(filter(None, (f"{name}:", value, unit, status)))))
            if source:
                console.print(Padding(_escaped(source), (0, 0, 0, 4)))
        return
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for heading in ("quantity", "value", "unit", "status", "source"):
        table.add_column(heading, justify="right" if heading == "value" else "left",
                         no_wrap=heading not in ("value", "source"), overflow="fold")
    for row in rows:
        table.add_row(*map(_escaped, row))
    console.print(table)


def _value(number: dict[str, Any]) -> str:
    """Return a value as text; a table of times as its points and the rule between them."""
    value = number["value"]
    if value is None:
        return "none"
    if "interpolation" in number:
        points = ", ".join(f"{_plain(time)} at {count:,}" for count, time in value)
        return f"{points} {number['per']} ({number['interpolation']})"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return {True: "yes", False: "no"}.get(value, str(value))
    return f"{value:,}" if isinstance(value, int) else f"{value:,g}"


def _print_json(content: Any) -> None:
    print(json.dumps(content, indent=2, ensure_ascii=False))


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _console() -> rich.console.Console:
    import rich.console

    console = rich.console.Console(highlight=False)
    if not console.is_terminal:
        console.width = _FILE_WIDTH
    return console
