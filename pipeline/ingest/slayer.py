"""SLAYER module and checkpoint to Network, and what the module itself does with spikes.

In: a module with its checkpoint loaded (:mod:`pipeline.ingest.checkpoint`). Out: the
Network it computes, weight normalization folded and SLAYER's quantization hook applied (what the
module *simulates*, not the shadow weights it stores). The other direction is
:mod:`pipeline.ingest.slayer_write_back`.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.emulate import Trace, check_input
from pipeline.errors import CheckpointError, UnsupportedLayerError
from pipeline.ingest.observe import Node, observe
from pipeline.ingest.slayer_blocks import (
    AVERAGES,
    SUPPORTED,
    WITHOUT_NEURONS,
    check_block,
    cuba,
    is_block,
    to_layer,
)
from pipeline.ingest.slayer_graded import (
    GRADED,
    check_graded,
    check_graph,
    data_of,
    to_graded_layer,
    trace_of,
)
from pipeline.ingest.slayer_relay import is_relay, message_scale, to_relay
from pipeline.ingest.slayer_write_back import forget
from pipeline.model_folder import ModelFolder
from pipeline.network import INPUT, Join, Layer, Network, Readout, Shape

_PROBE_STEPS = 32
_BATCH = 50


def to_network(module: torch.nn.Module, model: ModelFolder) -> Network:
    """Return the Network a module computes; integer where SLAYER's 8-bit hook is in place.

    The data flow is observed in a probe run, not read from the module: any ``forward`` will do that
    passes spikes through blocks, sums and concatenates them.

    Raises
    ------
    UnsupportedLayerError
        For a block, an option or an operation that is not supported; names the layer.
    CheckpointError
        If the module does not take spikes of the model's input shape.
    """
    blocks = {name: block for name, block in module.named_modules()
              if is_block(block) or is_relay(block)}
    for name, block in blocks.items():
        if is_relay(block):
            continue
        (check_graded if isinstance(block, GRADED) else check_block)(name, block)
    nodes = _probe(module, model, blocks)
    layers, joins, readout = _graph(nodes, blocks)
    if not layers:
        raise UnsupportedLayerError(
            f"model '{model.name}': no SLAYER block with synapses; supported are {SUPPORTED}"
        )
    unused = [name for name, block in blocks.items()
              if not isinstance(block, WITHOUT_NEURONS) and name not in {x.name for x in layers}
              and not _is_passed(block)]
    if unused:
        raise UnsupportedLayerError(
            f"after '{layers[-1].name}': layer '{unused[0]}' does not reach the module's output; "
            "remove it, or return what it computes"
        )
    description = model.description
    network = Network(model.name, description.input_shape, description.n_steps, tuple(layers),
                      tuple(joins), readout)
    check_graph(network)
    return network


def run_module(module: torch.nn.Module, network: Network, spikes: NDArray[np.uint8]) -> Trace:
    """Return the spikes of every layer as SLAYER's own forward computes them.

    Of a read-out that gives voltages these are in ``v``, in the unit of the states. Messages of
    sigma-delta blocks are in the integers and at the steps of Lava's.
    """
    check_input(network, spikes)
    traces: dict[str, list[NDArray[Any]]] = {layer.name: [] for layer in network.layers}
    blocks = dict(module.named_modules())

    last, is_voltage = network.layers[-1].name, network.readout.quantity == "voltage"

    def record(name: str) -> Any:
        # copied at once: the module may change it in place
        if is_voltage and name == last:
            return lambda _block, _args, output: traces[name].append(
                output.numpy().astype(np.float64))
        layer, scale = network.layer(name), message_scale(blocks[name])
        return lambda _block, _args, output: traces[name].append(
            trace_of(network, layer, output.numpy() * scale))

    hooks = [blocks[name].register_forward_hook(record(name)) for name in traces]
    try:
        with torch.no_grad():
            for i in range(0, len(spikes), _BATCH):
                forget(module)
                module(torch.from_numpy(data_of(network, spikes[i : i + _BATCH])))
    finally:
        for hook in hooks:
            hook.remove()
    outputs = {
        layer.name: np.concatenate(traces[layer.name]).reshape(
            len(spikes), *layer.shape, spikes.shape[-1])
        for layer in network.layers
    }
    voltages = {}
    if is_voltage:
        scale = blocks[last].neuron.s_scale
        voltages[last] = np.rint(outputs[last] * scale).astype(np.int32)
        outputs[last] = np.zeros(outputs[last].shape, dtype=np.uint8)
    return Trace({INPUT: spikes, **outputs}, {}, {}, voltages)


def _probe(
    module: torch.nn.Module, model: ModelFolder, blocks: dict[str, torch.nn.Module]
) -> list[Node]:
    """Run random spikes through the module and return what it did with them."""
    rng = torch.Generator().manual_seed(0)
    shape = (1, *model.description.input_shape, _PROBE_STEPS)
    given = (torch.rand(shape, generator=rng) < 0.3).float()
    forget(module)
    try:
        return observe(module, blocks, given)
    except (RuntimeError, AssertionError, IndexError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"model '{model.name}': forward fails on spikes of input_shape "
            f"{model.description.input_shape} from model.yaml: {str(error).splitlines()[0]}"
        ) from None


def _graph(
    nodes: list[Node], blocks: dict[str, torch.nn.Module]
) -> tuple[list[Layer], list[Join], Readout]:
    """Return layers and joins in order; what only passes spikes on takes its source's name."""
    layers: list[Layer] = []
    joins: list[Join] = []
    readout = Readout()
    sources: list[str] = []  # of each node
    for node in nodes:
        block = blocks.get(node.name) if node.kind == "call" else None
        if readout.n_outputs is not None and node.kind != "pass":
            raise UnsupportedLayerError(
                f"layer '{node.name}': comes after an Average, which no core computes; only "
                "the output can be averaged"
            )
        if node.kind == "input":
            sources.append(INPUT)
        elif node.kind in ("add", "concat"):
            name = f"{node.kind}.{len(joins)}"
            joined = tuple(sources[position] for position in node.sources)
            joins.append(Join(name, cast(Any, node.kind), joined, node.shape))
            sources.append(name)
        elif block is None or _is_passed(block):
            sources.append(sources[node.sources[0]])
            if isinstance(block, AVERAGES):
                readout = Readout(n_outputs=block.num_outputs)
        else:
            given = tuple(sources[position] for position in node.sources)
            layers.append(_layer(node, block, given, nodes[node.sources[0]].shape))
            sources.append(node.name)
            if isinstance(block, cuba.Affine):
                readout = Readout("voltage")
    if layers and sources[-1] != layers[-1].name:
        raise UnsupportedLayerError(
            f"after '{layers[-1].name}': the module returns '{sources[-1]}', not the spikes of its "
            "last layer; a sum or concatenation at the output is not supported: compute it from "
            "the layers' spikes"
        )
    return layers, joins, readout


def _layer(node: Node, block: Any, sources: tuple[str, ...], in_shape: Shape) -> Layer:
    if is_relay(block):
        return to_relay(node.name, block, sources, in_shape, node.shape)
    to = to_graded_layer if isinstance(block, GRADED) else to_layer
    return to(node.name, block, sources[0], in_shape, node.shape)


def _is_passed(block: torch.nn.Module) -> bool:
    """Return whether a block has no neurons of its own."""
    return not is_relay(block) and (
        isinstance(block, WITHOUT_NEURONS) or getattr(block, "neuron", None) is None)
