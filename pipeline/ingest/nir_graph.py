"""NIR files to Network: our own without loss, those of other frameworks with a ledger.

In: an HDF5 file as ``nir.write`` of nir 1.0.8 makes it. Out: a network. A file that
:func:`pipeline.export_nir.write_nir` made holds the network in its metadata; its nodes are checked
against it, and if anyone changed either, neither is taken. Without our metadata the nodes are
interpreted (:mod:`pipeline.ingest.nir_foreign`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import nir
import numpy as np

from pipeline.errors import CheckpointError, PipelineError
from pipeline.export_nir import DT, METADATA_KEY, SCHEMA, to_graph
from pipeline.ingest.hdf5_bounded import FAULTS_OF_A_DAMAGED_FILE, printable, reason
from pipeline.ingest.hdf5_tree import Tree, digest, read_tree
from pipeline.ingest.nir_foreign import check_kind, to_network
from pipeline.ingest.nir_layer import MAX_NEURONS
from pipeline.ledger import Ledger, LedgerEntry
from pipeline.network import Network, Shape, Synapse
from pipeline.nir_difference import comparable, difference

# a node saved again in single precision still stands for the same integers: half a step of the
# finest one, a decay, is 1.2e-4 of it
_SINGLE_PRECISION = 1e-6
_T = TypeVar("_T")
_SCALARS: dict[Any, tuple[type, ...]] = {
    int: (np.integer,), float: (np.floating, np.integer), bool: (np.bool_,), str: (str,),
}


def read_nir(
    path: Path, n_steps: int | None = None, *, dt: float = DT
) -> tuple[Network, Ledger]:
    """Return the network in a NIR file and what was rounded, rescaled or assumed.

    Parameters
    ----------
    n_steps : time steps of a sample; None takes those of a file of ours
    dt : seconds per step of a file of another framework; NIR files do not say

    Raises
    ------
    CheckpointError
        If the file is damaged or too large, its nodes contradict its metadata, or it does not say
        how many steps a sample has.
    UnsupportedLayerError
        If a node has no counterpart here.
    """
    tree = read_tree(path)
    with np.errstate(all="ignore"):  # what overflows is found where it ends
        return _guarded(lambda: _network(path, tree, n_steps, dt), str(path))


def _network(path: Path, tree: Tree, n_steps: int | None, dt: float) -> tuple[Network, Ledger]:
    if str(tree.get("node", {}).get("type")) != "NIRGraph":
        raise CheckpointError("holds no NIR graph; write one with nir.write(path, graph)")
    graph = tree["node"]
    saved = graph.get("metadata", {}).get(METADATA_KEY)
    if saved is None:
        if n_steps is None:
            raise CheckpointError("does not say how many steps a sample has; give n_steps")
        edges = [(str(source), str(target)) for source, target in graph["edges"]]
        if len(set(edges)) < len(edges):
            raise CheckpointError("names an edge twice; NIR allows one between two nodes")
        return to_network(path.stem, _nodes(graph["nodes"]), edges, n_steps, dt)
    network = _restored(saved)
    changed = difference(
        comparable(to_graph(network).to_dict()), comparable(graph), rtol=_SINGLE_PRECISION)
    if changed is not None:
        raise CheckpointError(
            f"{changed} differs from what the metadata of the graph say; write the file anew, or "
            f"delete node/metadata/{METADATA_KEY} from it to have the nodes read")
    if n_steps in (None, network.n_steps):
        return network, ()
    entry = LedgerEntry(network.name, f"steps {network.n_steps} -> {n_steps}", 1, 1)
    return replace(network, n_steps=n_steps), (entry,)


def _nodes(trees: Tree) -> dict[str, Any]:
    """Return each node as nir makes it, once its parameters fit each other."""
    nodes = {}
    for name, tree in trees.items():
        check_kind(name, str(tree["type"]))
        shapes = {
            value.shape for value in tree.values() if isinstance(value, np.ndarray) and value.ndim}
        if "v_threshold" in tree and len({shape for shape in shapes if shape != (1,)}) > 1:
            raise CheckpointError(f"node '{name}': its parameters have shapes {sorted(shapes)}")
        for key, value in tree.items():
            is_float = getattr(value, "dtype", np.dtype(int)).kind == "f"
            if np.size(value) == 0 or (is_float and not np.isfinite(value).all()):
                raise CheckpointError(f"node '{name}', key '{key}': empty or not finite")
        nodes[name] = _guarded(partial(nir.dict2NIRNode, dict(tree)), f"node '{name}'")
    return nodes


def _restored(saved: Tree) -> Network:
    if str(saved["schema"]) != str(SCHEMA):
        raise CheckpointError(
            f"metadata of schema {saved['schema']}; this version reads schema {SCHEMA}")
    if str(saved["sha256"]) != digest(saved["network"]):
        raise CheckpointError("the network in the metadata was altered, against its sha256")
    network: Network = _decoded(Network, saved["network"], "network")
    shapes: list[Shape] = [network.input_shape, *(layer.shape for layer in network.layers)]
    shapes += [join.shape for join in network.joins]
    if any(min(shape) < 1 or math.prod(shape) > MAX_NEURONS for shape in shapes):
        raise CheckpointError(f"a shape in the metadata exceeds {MAX_NEURONS} neurons")
    if network.n_steps < 1:
        raise CheckpointError(f"{network.n_steps} steps in the metadata")
    for layer in network.layers:
        for synapse in (*layer.synapses, *([layer.recurrent] if layer.recurrent else [])):
            _check_arrays(synapse)
    return network


def _check_arrays(synapse: Synapse) -> None:
    """Raise CheckpointError for what the nouns leave unchecked, being made by code only."""
    weight, allowed, geometry = synapse.weight, synapse.allowed, synapse.geometry
    if weight.dtype.kind not in "iuf" or not np.isfinite(weight).all():
        raise CheckpointError(f"synapse '{synapse.name}': weights of {weight.dtype}, or not finite")
    if allowed is not None and (allowed.dtype.kind != "b" or allowed.shape != weight.shape):
        raise CheckpointError(f"synapse '{synapse.name}': mask {allowed.shape} does not fit")
    # groups of a concatenation are written out, which takes this many weights
    if geometry is not None and weight.size * geometry.groups > 16 * MAX_NEURONS:
        raise CheckpointError(f"synapse '{synapse.name}': {geometry.groups} groups are too many")


def _decoded(hint: Any, value: Any, where: str) -> Any:
    """Return the noun or value that ``export_nir`` stored as ``value``, of the hinted type."""
    if type(None) in get_args(hint):
        (hint,) = (part for part in get_args(hint) if part is not NoneType)
    # of several nouns the one that has the fields; what is None is not stored
    for part in get_args(hint) if get_origin(hint) is Union else ():
        if dataclasses.is_dataclass(part) and isinstance(value, dict) and set(value) <= {
                field.name for field in dataclasses.fields(part)}:
            hint = part
            break
    kind = get_origin(hint)
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        hints = get_type_hints(hint)
        parts = {name: _decoded(hints[name], part, f"{where}/{name}")
                 for name, part in value.items()}
        return hint(**parts)  # type: ignore[operator]
    if kind is tuple and isinstance(value, (dict, np.ndarray)):
        keys: Any = [str(i) for i in range(len(value))] if isinstance(value, dict) \
            else range(len(value))
        item = get_args(hint)[0]
        return tuple(_decoded(item, value[key], f"{where}/{key}") for key in keys)
    if kind is np.ndarray and isinstance(value, np.ndarray):
        return value
    if kind is Literal and isinstance(value, str) and value in get_args(hint):
        return value
    if isinstance(value, _SCALARS.get(hint, ())):
        return value.item() if isinstance(value, np.generic) else value
    raise CheckpointError(f"metadata '{where}' is damaged")


def _guarded(read: Callable[[], _T], where: str) -> _T:
    """Return what ``read`` returns; whatever a damaged file makes it raise names the place."""
    try:
        return read()
    except PipelineError as error:
        kind = type(error) if isinstance(error, CheckpointError) else CheckpointError
        raise kind(f"{where}: {printable(str(error))}") from None
    except FAULTS_OF_A_DAMAGED_FILE as error:
        what = f"{type(error).__name__}: {reason(error)}"
        raise CheckpointError(f"{where}: damaged ({what})") from None
