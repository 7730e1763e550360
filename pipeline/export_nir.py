r"""NIR files: the network in continuous time for other frameworks, its exact integers beside it.

In: a network, integer or float. Out: an HDF5 file that stock nir 1.0.8 reads. The nodes alone say
what the network does; the graph's metadata hold the network itself, so that
:func:`pipeline.ingest.nir_graph.read_nir` returns it unchanged.

NIR is declarative and fixes no discretization [1]_. Its Lava examples [2]_ [3]_, snnTorch's and
SpikingJelly's converters take forward Euler steps of dt = 0.1 ms, with the current of the same
step in the voltage. Of ``nir.CubaLIF`` (:math:`\tau_s \dot I = -I + w S`,
:math:`\tau_m \dot v = v_l - v + R I`, a spike where :math:`v > \vartheta`) that is

.. math::
    I_t &= (1 - a_s) I_{t-1} + a_s w S_t, \qquad a_s = dt / \tau_s \\
    v_t &= (1 - a_m) v_{t-1} + a_m R I_t + a_m v_l, \qquad a_m = dt / \tau_m

and equals :class:`~pipeline.neuron.CubaNeuron` in weight units, up to its truncations, for

.. math::
    a_s = d_u / 4096,\; a_m = d_v / 4096,\; w = 1 / a_s,\; R = 1 / a_m,\; v_l = b / a_m

with weights and :math:`\vartheta` as they are. A decay of 0 is written as a = 2^-32, which float32
cannot tell from 0, because an infinite time constant makes R I undefined.

A layer's one-step delay is left out where it only shifts all its spikes; where sources at different
depths meet, every layer gets a ``nir.Delay`` of it. Sums of sources are several edges into one
node, concatenations split weights (:mod:`pipeline.lower`). Readouts are in the metadata only.
Grouped or oblong kernels need ``nir.read(path, type_check=False)``: nir 1.0.8 infers their shapes
wrongly.

References
----------
.. [1] neuromorphs/NIR, docs/source/primitives.md; Pedersen et al., Nat. Commun. 15, 8122 (2024).
.. [2] neuromorphs/NIR, docs/source/examples/lava/lava_to_nir.py, read_cuba_lif.
.. [3] neuromorphs/NIR, docs/source/examples/lava/nir_to_lava.py, ImportConfig.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ExportError, OutputError
from pipeline.ingest.hdf5_tree import digest
from pipeline.lower import without_joins
from pipeline.network import INPUT, Layer, Network, Shape, Synapse
from pipeline.neuron import FAMILY, CubaNeuron
from pipeline.nir_difference import comparable, difference

DT = 1e-4  # seconds per step
METADATA_KEY = "spikefit"
SCHEMA = 1
_NO_DECAY = 2.0**-32



def write_nir(network: Network, path: Path, origin: str) -> None:
    """Write ``network`` to ``path`` whole or not at all, and verify it by reading it back.

    Parameters
    ----------
    origin : one line stored in the graph's metadata: what made the file

    Raises
    ------
    ExportError
        If a layer cannot be expressed, or the file does not read back as written.
    OutputError
        If the file cannot be written.
    """
    obstacle = nir_obstacle(network)
    if obstacle is not None:
        raise ExportError(obstacle)
    graph, partial = to_graph(network, origin), path.with_suffix(".tmp")
    try:
        nir.write(partial, graph)
        expected, found = graph.to_dict(), nir.read(partial, type_check=False).to_dict()
        where = difference(comparable(expected), comparable(found)) \
            or difference(expected["metadata"], found["metadata"], where="metadata")
        if where is not None:
            raise ExportError(f"{path}: {where} does not read back as written")
        os.replace(partial, path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error})") from None
    finally:
        if partial.is_file():
            partial.unlink()


def nir_obstacle(network: Network) -> str | None:
    """Return why NIR has no words for a network; None if it has."""
    for layer in network.layers:
        if not isinstance(layer.neuron, CubaNeuron):
            return (f"layer '{layer.name}': NIR has no node for {FAMILY[type(layer.neuron)]} "
                    "neurons")
        if layer.neuron.bias is not None and layer.neuron.bias_step:
            return (f"layer '{layer.name}': its biases act from step {layer.neuron.bias_step} on, "
                    "and those of NIR always")
    return None


def to_graph(network: Network, origin: str = "") -> Any:
    """Return a ``nir.NIRGraph``; ExportError if dense synapses lead into feature maps."""
    builder, lowered = _Builder(), without_joins(network)
    n_steps_late = _steps_late(lowered)
    exits = {INPUT: builder.add(INPUT, nir.Input({"input": np.array(network.input_shape)}))}
    for layer in lowered.layers:
        entries = [
            builder.add(f"{group[0].name}.synapse", _synapse(group[0], layer, lowered),
                        *(builder.source(exits, part, lowered) for part in group))
            for group in _with_equal_weights(layer.synapses)
        ]
        name = exits[layer.name] = builder.add(layer.name, _neuron(layer), *entries)
        if layer.recurrent is not None:
            loop = _synapse(layer.recurrent, layer, lowered)
            builder.edges.append((builder.add(f"{layer.name}.recurrent", loop, name), name))
        if n_steps_late[layer.name].any():
            delay = nir.Delay(DT * _spread(layer, n_steps_late[layer.name]))
            exits[layer.name] = builder.add(f"{layer.name}.delay", delay, name)
    output = network.layers[-1]
    builder.add("output", nir.Output({"output": np.array(output.shape)}), exits[output.name])
    saved = _encoded(network)
    ours = {"schema": SCHEMA, "network": saved, "sha256": digest(saved)}
    metadata = {"origin": origin, "dt": DT, METADATA_KEY: ours}
    return nir.NIRGraph(builder.nodes, builder.edges, metadata=metadata, type_check=False)


class _Builder:
    """Nodes and edges under unique names that HDF5 takes."""

    def __init__(self) -> None:
        self.nodes: dict[str, Any] = {}
        self.edges: list[tuple[str, str]] = []

    def add(self, wanted: str, node: Any, *sources: str) -> str:
        """Add a node fed by ``sources``; return its name, the wanted one if it is free."""
        name = wanted.replace("/", "|") if wanted.strip(".") else f"{wanted}_"
        while name in self.nodes:
            name += "'"
        self.nodes[name] = node
        self.edges += [(source, name) for source in sources]
        return name

    def source(self, exits: dict[str, str], part: Synapse, network: Network) -> str:
        """Return the node that a group reads; flattened, where dense synapses meet maps."""
        shape, name = network.shape_of(part.source), exits[part.source]
        if part.geometry is not None or len(shape) == 1:
            return name
        flat = next((to for at, to in self.edges
                     if at == name and isinstance(self.nodes[to], nir.Flatten)), None)
        return flat or self.add(
            f"{part.source}.flatten", nir.Flatten({"input": np.array(shape)}, start_dim=0), name)


def _with_equal_weights(parts: tuple[Synapse, ...]) -> list[list[Synapse]]:
    """Return the groups of a layer, those together that one node with several edges stands for."""
    groups: list[list[Synapse]] = []
    for part in parts:
        for group in groups:
            if part.geometry == group[0].geometry and \
                    part.source not in [other.source for other in group] and \
                    np.array_equal(part.weight, group[0].weight):
                group.append(part)
                break
        else:
            groups.append([part])
    return groups


def _synapse(synapse: Synapse, layer: Layer, network: Network) -> Any:
    # float32 holds every integer weight exactly and is what other frameworks compute in
    weight = synapse.weight.astype(np.float32 if synapse.is_integer else np.float64)
    geometry = synapse.geometry
    if geometry is None:
        if len(layer.shape) != 1:
            raise ExportError(
                f"layer '{layer.name}': dense synapses '{synapse.name}' into feature maps "
                f"{layer.shape}; NIR has no node that unflattens: give the layer the shape "
                f"({layer.n_neurons},)"
            )
        return nir.Linear(weight)
    in_shape = network.shape_of(synapse.source)
    return nir.Conv2d(
        in_shape[1:], weight, geometry.stride, geometry.padding, geometry.dilation,
        geometry.groups, bias=np.zeros(len(weight), dtype=weight.dtype))


def _neuron(layer: Layer) -> Any:
    neuron = layer.cuba
    a_syn, a_mem = (
        np.maximum(_spread(layer, each if each is not None else shared) / 4096, _NO_DECAY)
        for each, shared in (
            (neuron.channel_current_decay, neuron.current_decay),
            (neuron.channel_voltage_decay, neuron.voltage_decay))
    )
    threshold = neuron.vth_mant if neuron.channel_vth_mant is None else neuron.channel_vth_mant
    bias = 0 if neuron.bias is None else neuron.bias
    return nir.CubaLIF(
        tau_syn=DT / a_syn, tau_mem=DT / a_mem, r=1 / a_mem, w_in=1 / a_syn,
        v_leak=_spread(layer, bias) / a_mem, v_threshold=_spread(layer, threshold),
        v_reset=np.zeros(layer.shape))


def _spread(layer: Layer, values: Any) -> NDArray[np.float64]:
    """Return one value of each channel, or a shared one, for every neuron, (*shape)."""
    each = np.broadcast_to(np.asarray(values, dtype=np.float64), layer.n_channels)
    shape: Shape = layer.shape
    return np.repeat(each, layer.n_neurons // layer.n_channels).reshape(shape)


def _steps_late(network: Network) -> dict[str, NDArray[np.int64]]:
    """Return by how many steps each layer's channels are late in NIR, which adds none itself."""
    depth, is_even = {INPUT: 0}, True
    for layer in network.layers:
        depths = {depth[synapse.source] for synapse in layer.synapses}
        is_even = is_even and len(depths) <= 1
        depth[layer.name] = 1 + max(depths, default=0)
    return {
        layer.name: np.array(layer.axonal_delay or (0,) * layer.n_channels) + int(not is_even)
        for layer in network.layers
    }


def _encoded(value: Any) -> Any:
    """Return nouns as dicts of what ``nir.write`` takes; what is None is left out."""
    if dataclasses.is_dataclass(value):
        parts = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {name: _encoded(part) for name, part in parts.items() if part is not None}
    if isinstance(value, tuple):
        if value and all(isinstance(item, (int, float)) for item in value):
            return np.array(value)
        return {str(index): _encoded(item) for index, item in enumerate(value)}
    return value
