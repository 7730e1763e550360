"""NetX HDF5: written by us, read back and compared; the format is lava-dl 0.6.0's.

In: an integer network that is a chain. Out: a ``.net`` file that the stock
``lava.lib.dl.netx.hdf5.Network`` loads. SLAYER's own exporter is not used: it needs a forward pass,
alters the module, and can write what NetX silently ruins. Keys per layer are listed in
``netx_exports/README.md``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from pipeline.errors import ExportError, OutputError
from pipeline.fixedpoint import MIXED_WEIGHT_RANGE, inferred_weight_bits
from pipeline.network import Network
from pipeline.netx_entries import entries, netx_obstacle


def write_netx(network: Network, path: Path, origin: str) -> None:
    """Write ``network`` to ``path`` whole or not at all, and verify it by reading it back.

    Parameters
    ----------
    origin : one line stored as a file attribute: what made the file

    Raises
    ------
    ExportError
        If the network is not a chain, a layer has one threshold per channel, a weight is outside
        the chip's range, or the file does not read back as written.
    OutputError
        If the file cannot be written.
    """
    _check_exportable(network)
    partial = path.with_suffix(".tmp")
    try:
        with h5py.File(partial, "w") as file:
            file.attrs["origin"] = origin
            for index, entry in enumerate(entries(network)):
                group = file.create_group(f"layer/{index}")
                for key, value in entry.items():
                    group.create_dataset(key, data=value)
        compare_netx(network, partial)
        os.replace(partial, path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error})") from None
    finally:
        if partial.is_file():
            partial.unlink()


def compare_netx(network: Network, path: Path) -> None:
    """Raise ExportError unless the file at ``path`` holds exactly ``network``."""
    _check_exportable(network)
    expected = entries(network)
    with h5py.File(path, "r") as file:
        if len(file["layer"]) != len(expected):
            raise ExportError(
                f"{path}: holds {len(file['layer'])} entries, {len(expected)} were written"
            )
        for index, entry in enumerate(expected):
            group = file[f"layer/{index}"]
            found = _datasets(group)
            if found != set(entry):
                raise ExportError(
                    f"{path}: layer/{index} holds the keys {', '.join(sorted(found))}; written "
                    f"were {', '.join(sorted(entry))}"
                )
            for key, value in entry.items():
                if not np.array_equal(_plain(group[key][()]), _plain(value)):
                    raise ExportError(f"{path}: layer/{index}/{key} does not read back as written")


def _datasets(group: h5py.Group) -> set[str]:
    """Return the path of every dataset below a group."""
    names: list[str] = []
    group.visititems(
        lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None
    )
    return set(names)


def _plain(value: Any) -> Any:
    return value.decode("ascii") if isinstance(value, bytes) else value


def _check_exportable(network: Network) -> None:
    obstacle = netx_obstacle(network)
    if obstacle is not None:
        raise ExportError(obstacle)
    low, high = MIXED_WEIGHT_RANGE
    for layer, group in ((x, g) for x in network.layers for g in x.stored_groups):
        # NetX looks for bits that recurrent weights can share
        is_shared = layer.recurrent is not None
        weight = np.concatenate([g.weight.ravel() for g in layer.groups]) if is_shared else \
            group.weight
        in_range = network.is_integer and weight.min() >= low and weight.max() <= high
        if not in_range or (weight & 1).any():
            raise ExportError(
                f"layer '{layer.name}': weights must be even integers in {low}..{high}, found "
                f"{weight.min()}..{weight.max()}; quantize the network first"
            )
        if group.kind == "dense" and weight.min() == low and weight.max() <= 0:
            raise ExportError(
                f"layer '{layer.name}': its weights {low}..{weight.max()} have one sign, for which "
                "Lava clips at -255; scale weights and threshold down together"
            )
        if not weight.any():
            raise ExportError(
                f"layer '{layer.name}': all weights are zero, which NetX cannot load; lower the "
                "sparsity or raise the bits"
            )
        found, declared = inferred_weight_bits(weight), group.weight_bits
        if not is_shared and found != declared:
            raise ExportError(
                f"layer '{layer.name}': NetX would infer {found} weight bits, declared are "
                f"{declared}"
            )
