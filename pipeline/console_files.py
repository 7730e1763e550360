"""Commands on files of any origin: ``spikefit inspect FILE``, and ``compare A B``.

In: what the user typed. Out: what :mod:`pipeline.console_network` shows. Nothing heavy is imported
before a command needs it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

StepsOption = Annotated[
    int | None, typer.Option("--steps", min=1, help="Steps of a sample, if no file says.")
]
ShapeOption = Annotated[
    str | None, typer.Option("--input-shape", help="c,y,x or features, if no file says.")
]


def inspect(
    file: Annotated[str, typer.Argument(help="NetX or NIR file, checkpoint, or model folder.")],
    steps: StepsOption = None,
    input_shape: ShapeOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show layers, bits and ranges of a file, what NetX will infer, what will go wrong."""
    from pipeline.console_network import show_checkpoint, show_network

    if Path(file).suffix in (".pt", ".pth"):
        from pipeline.inspection import inspect_checkpoint

        show_checkpoint(file, inspect_checkpoint(Path(file)), json)
        return
    from pipeline.network_file import read_network

    show_network(read_network(file, steps, shape(input_shape)), json)


def compare_files(
    names: list[str], n_samples: int, rate: float, seed: int, n_steps: int | None,
    input_shape: tuple[int, ...] | None, with_lava: bool,
) -> None:
    """Show where two networks part, and why.

    Raises
    ------
    EquivalenceError
        If they do.
    """
    from pipeline.console_network import show_divergence
    from pipeline.diverge import diverge
    from pipeline.errors import EquivalenceError, RecipeError
    from pipeline.network_file import kind_of, read_network, spikes_for

    if len(names) != 2:
        raise RecipeError(f"compare takes two networks, A and B, not {len(names)}")
    # modules first: they tell how many steps a sample has
    order = sorted((0, 1), key=lambda i: kind_of(names[i]) != "module")
    read = {}
    for index in order:
        read[index] = read_network(names[index], n_steps, input_shape)
        n_steps = n_steps or read[index].network.n_steps
        input_shape = input_shape or read[index].network.input_shape
    first, second = read[0], read[1]
    spikes, origin = spikes_for([first, second], n_samples, rate, seed)
    rows = diverge(first.network, first.run(spikes), second.network,
                   second.run(spikes, with_lava))
    show_divergence(f"{first.path} ({first.backend})",
                    f"{second.path} ({'Lava' if with_lava else second.backend})", origin,
                    len(spikes), rows)
    parted = [row for row in rows if row.n_differing]
    if parted:
        raise EquivalenceError(
            f"A and B part in layer '{parted[0].layer}': {parted[0].n_differing:,} of "
            f"{parted[0].n_spikes:,} spikes differ; {sum(r.n_differing for r in parted):,} in all "
            "layers")
    print("no spike differs")


def shape(text: str | None) -> tuple[int, ...] | None:
    """Return the shape a user typed."""
    from pipeline.errors import RecipeError

    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.replace("x", ",").split(","))
    except ValueError:
        raise RecipeError(f"--input-shape: '{text}' is not of the form 2,34,34") from None
