"""Networks with everything that a network may have; NIR graphs as other frameworks write them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np

from pipeline.export_nir import DT
from pipeline.fixedpoint import inferred_weight_bits
from pipeline.ingest.nir_graph import read_nir
from pipeline.ledger import Ledger
from pipeline.network import INPUT, ConvGeometry, Join, Layer, Network, Readout, Synapse
from pipeline.network_checks import conv_output_shape
from pipeline.neuron import CubaNeuron

N_STEPS = 60  # of a foreign graph
Nodes = dict[str, Any]

GEOMETRIES = (
    ConvGeometry(), ConvGeometry(stride=(2, 1), padding=(1, 0)),
    ConvGeometry(padding=(1, 2), dilation=(1, 2), groups=2),
)


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal field by field, types and dtypes included."""
    if type(one) is not type(other):
        return False
    if dataclasses.is_dataclass(one):
        return all(same(getattr(one, field.name), getattr(other, field.name))
                   for field in dataclasses.fields(one))
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    return bool(one == other)


def without_metadata(path: Path) -> Path:
    """Return a copy of a file as a framework would write it that keeps no metadata."""
    copy = path.with_name(f"foreign_{path.name}")
    with h5py.File(path) as file, h5py.File(copy, "w") as target:
        for name in file:
            file.copy(name, target)
        del target["node/metadata"]
    return copy


def random_network(seed: int) -> Network:
    """Return a network with a random choice of everything that a network may have."""
    rng = np.random.default_rng(seed)
    is_float, geometry = rng.random() < 0.25, GEOMETRIES[rng.integers(len(GEOMETRIES))]
    n_steps, in_shape = int(rng.integers(1, 40)), (2, 6, 5)

    def synapse(name: str, source: str, *shape: int, at: ConvGeometry | None = None) -> Synapse:
        if is_float:
            weight = rng.normal(0, 40, shape)
            weight.flat[0] = 100.0  # of the range of the chip
            return Synapse(name, source, weight, at)
        codes = 2 * rng.integers(-40, 41, shape, dtype=np.int32)
        codes.flat[0] = 2
        allowed = rng.random(shape) < 0.7 if rng.random() < 0.5 else None
        return Synapse(name, source, codes, at, inferred_weight_bits(codes), allowed)

    def neuron(n_channels: int) -> CubaNeuron:
        def each(low: int, high: int) -> tuple[int, ...] | None:
            values = rng.integers(low, high, n_channels).tolist()
            return tuple(values) if rng.random() < 0.4 else None
        bias: tuple[float, ...] | None = each(-9, 9)
        if is_float and bias is not None:
            bias = tuple(value + 0.25 for value in bias)
        return CubaNeuron(
            int(rng.choice([0, 1024, 4096])), int(rng.choice([0, 128, 4096])),
            int(rng.integers(40, 300)), each(30, 300), each(0, 4097), each(0, 4097), bias)

    def delay(n_channels: int) -> tuple[int, ...] | None:
        delays: list[int] = rng.integers(0, rng.choice([1, 5, 63]), n_channels).tolist()
        return tuple(delays) if rng.random() < 0.5 else None

    kernel = (4, 2 // geometry.groups, 3, 2)
    shape = conv_output_shape(kernel, geometry, in_shape)
    n_maps = int(np.prod(shape))
    loop = synapse("rec", "fc", 5, 5) if rng.random() < 0.5 else None
    layers = [
        Layer("conv", (synapse("conv", INPUT, *kernel, at=geometry),), neuron(4), shape, delay(4)),
        Layer("fc", (synapse("fc", "conv", 5, n_maps),), neuron(5), (5,), delay(5), loop),
        Layer("a/b", (synapse("a/b", "conv", 5, n_maps), synapse("2nd", "both", 5, n_maps + 5)),
              neuron(5), (5,), delay(5)),
        Layer("output", (synapse("output", "sum", 4, 5),), neuron(4), (4,), delay(4)),
    ]
    joins = (Join("both", "concat", ("fc", "conv"), (n_maps + 5,)),
             Join("sum", "add", ("fc", "a/b"), (5,)))
    if rng.random() < 0.5:  # a chain
        layers, joins = layers[:2], ()
    readout = Readout(("spikes", "voltage")[rng.integers(2)], [None, 1][rng.integers(2)])
    return Network("näme", in_shape, n_steps, tuple(layers), joins, readout)


def random_input(network: Network, seed: int = 0) -> Any:
    shape = (2, *network.input_shape, 25)
    return (np.random.default_rng(seed).random(shape) < 0.3).astype(np.uint8)


# ---------------------------------------------------------------- foreign graphs


def cuba(
    shape: tuple[int, ...], tau_syn: Any, tau_mem: Any, threshold: Any, *, leak: Any = 0.0,
    r: Any = None, w_in: Any = None,
) -> nir.CubaLIF:
    """Return neurons; with r and w_in left out a spike of weight 1 adds 1 to the current."""
    of = {
        "tau_syn": tau_syn, "tau_mem": tau_mem, "v_threshold": threshold, "v_leak": leak,
        "r": np.asarray(tau_mem) / DT if r is None else r,
        "w_in": np.asarray(tau_syn) / DT if w_in is None else w_in,
    }
    return nir.CubaLIF(**{key: np.broadcast_to(value, shape).astype(float)
                          for key, value in of.items()})


def impulse(shape: tuple[int, ...], threshold: float) -> nir.IF:
    return nir.IF(r=np.ones(shape), v_threshold=np.full(shape, threshold))


def read(
    path: Path, nodes: Nodes, edges: list[tuple[str, str]] | None = None, **arguments: Any
) -> tuple[Network, Ledger]:
    """Write a graph, by default a chain between an input and an output, and read it."""
    names = list(nodes)
    graph = nir.NIRGraph(
        nodes, edges or list(zip(names, names[1:], strict=False)), type_check=False)
    nir.write(path / "foreign.nir", graph)
    return read_nir(path / "foreign.nir", N_STEPS, **arguments)


def ends(n_in: Any, n_out: Any, **between: Any) -> Nodes:
    return {"input": nir.Input({"input": np.atleast_1d(n_in)}), **between,
            "output": nir.Output({"output": np.atleast_1d(n_out)})}
