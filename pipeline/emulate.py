"""Bit-exact integer simulation of a quantized network, batched over samples: the engine.

In: an integer :class:`~pipeline.network.Network` and spikes. Out: a :class:`Trace` of every layer,
equal to Lava's fixed-point CPU backend and to SLAYER's own forward, step for step; or the scores of
the outputs alone. A layer is run over many steps before the next, which is valid because only a
layer itself closes a loop; long recordings are cut in time, so that memory is bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.graded import depths, is_graded, state_of
from pipeline.lower import without_joins
from pipeline.network import INPUT, Layer, Network
from pipeline.synaptic_input import Accumulator

_BATCH = 64
ACC_BYTES = 256 << 20  # of the largest layer's accumulated input

BiasFrom = Literal["first_input", "power_on"]
_LaidOut = tuple[Layer, Accumulator, int]


@dataclass(frozen=True)
class Trace:
    """What every layer did for some samples.

    Attributes
    ----------
    spikes : per layer and for ``INPUT``, (n, *shape, t) uint8; a layer's are 0 or 1 and counted
        when they leave, one step and their axonal delay after they were fired. Of sigma-delta
        neurons int32: messages in 2^-12, the output's decoded values in 2^-18; what encodes the
        input sends in the step it comes
    n_active : per layer, (n, n_neurons) int32: steps at which a neuron had input, bias or nonzero
        state; empty where the backend cannot tell
    u, v : per layer, (n, *shape, t) int32, states after each step; empty unless asked for. Of
        sigma-delta neurons sigma and the activation, of resonators the real and imaginary state
    late : per layer with axonal delays, (n, n_neurons, 1 + largest delay) uint8: what was fired and
        leaves so many steps after the last one; empty where the backend cannot tell
    fingerprint : of the network, see :attr:`pipeline.network.Network.fingerprint`; "" where it is
        not known
    """

    spikes: dict[str, NDArray[Any]]
    n_active: dict[str, NDArray[np.int32]]
    u: dict[str, NDArray[np.int32]] = field(default_factory=dict)
    v: dict[str, NDArray[np.int32]] = field(default_factory=dict)
    late: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    fingerprint: str = ""


def emulate(
    network: Network, spikes: NDArray[np.uint8], *, with_states: bool = False,
    bias_from: BiasFrom = "first_input",
) -> Trace:
    """Return the spikes, and if asked the states, of all layers.

    Parameters
    ----------
    spikes : (n, *network.input_shape, t) integers; 0 and 1, or graded; data of sigma-delta
        networks in 2^-6
    with_states : whether currents and voltages are recorded
    bias_from : the step from which biases act: with the first input, as SLAYER has it, or one step
        earlier, as stock Lava has it (facts: netx 3.2). Sigma-delta layers take no step in SLAYER:
        there, the first input is what reaches the layer

    Raises
    ------
    DataError
        If the spikes do not have the network's input shape.
    """
    check_input(network, spikes)
    spikes = _counts(spikes)
    layers = laid_out(network)
    traced = [layer.name for layer, _, _ in layers] if with_states else []
    batches = [
        _joined_in_time(list(_run(layers, batch, traced, bias_from)))
        for batch in _batches(spikes)
    ]
    parts = {
        part: {name: np.concatenate([getattr(b, part)[name] for b in batches])
               for name in getattr(batches[0], part)}
        for part in ("spikes", "n_active", "u", "v", "late")
    }
    return Trace(**parts, fingerprint=network.fingerprint)


def emulate_pieces(
    network: Network, spikes: NDArray[np.uint8], n_at_once: int, *, with_states: bool = False,
) -> Iterator[Trace]:
    """Yield the trace of some steps at a time; its ``n_active`` sums up, and changes as they go on.

    Parameters
    ----------
    spikes : (n, *network.input_shape, t) integers; all samples at once
    n_at_once : steps of a piece, the last one's may be fewer

    Raises
    ------
    DataError
        If the spikes do not have the network's input shape.
    """
    check_input(network, spikes)
    layers = laid_out(network)
    traced = [layer.name for layer, _, _ in layers] if with_states else []
    yield from _run(layers, _counts(spikes), traced, "first_input", n_at_once)


def output_scores(network: Network, spikes: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the score of each output, (n, n_outputs): its spikes, or voltages summed over steps.

    No trace is kept: memory does not grow with the number of samples or steps.
    """
    check_input(network, spikes)
    spikes = _counts(spikes)
    output, is_voltage = network.layers[-1], network.readout.quantity == "voltage"
    layers, traced = laid_out(network), [output.name] if is_voltage else []
    scores = []
    for batch in _batches(spikes):
        total = np.zeros((len(batch), output.n_neurons))
        for trace in _run(layers, batch, traced, "first_input"):
            recorded: NDArray[Any] = (trace.v if is_voltage else trace.spikes)[output.name]
            total += recorded.reshape(*total.shape, -1).sum(axis=-1, dtype=np.int64)
        scores.append(total / 64 if is_voltage else total)
    return _averaged(np.concatenate(scores), network.readout.n_outputs)


def accuracy(network: Network, spikes: NDArray[np.uint8], labels: NDArray[np.int64]) -> float:
    """Return the share of samples whose best output is the label (lowest index on ties)."""
    return float(np.mean(output_scores(network, spikes).argmax(axis=1) == labels))


def check_input(network: Network, spikes: NDArray[np.uint8]) -> None:
    """Raise DataError unless the spikes are a non-empty batch in the network's input shape."""
    if spikes.ndim != len(network.input_shape) + 2 or spikes.shape[1:-1] != network.input_shape:
        raise DataError(
            f"input spikes have shape {spikes.shape}; network '{network.name}' takes "
            f"(n, {', '.join(map(str, network.input_shape))}, n_steps): mend 'input_shape' in "
            "model.yaml or the data"
        )
    if 0 in spikes.shape:
        raise DataError(f"input spikes of shape {spikes.shape} hold no sample or no time step")


def run_neurons(
    layer: Layer, acc: NDArray[np.int32], first_step: int = 0
) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """Return spikes (n, *shape, t) and active steps (n, n_neurons) for accumulated input.

    Parameters
    ----------
    first_step : in which input reaches the layer, see :func:`pipeline.graded.state_of`
    """
    state = state_of(layer, acc.shape[-3], first_step)
    spikes, _, _ = state.run(acc)
    return spikes, state.n_active


def _counts(spikes: NDArray[Any]) -> NDArray[np.uint8]:
    """Return input in the smallest type the kernels take: graded input may be negative or large."""
    is_byte = spikes.dtype == np.uint8 or (spikes.min() >= 0 and spikes.max() <= 255)
    kind: Any = np.uint8 if is_byte else np.int32
    return spikes.astype(kind, copy=False)


def _batches(spikes: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    for begin in range(0, len(spikes), _BATCH):
        yield spikes[begin : begin + _BATCH]


def laid_out(network: Network) -> list[_LaidOut]:
    """Return each layer, its synapses for the kernels, and the step in which input reaches it."""
    if any(is_graded(layer) for layer in network.layers):
        network = without_joins(network)  # messages of many wrap in each group, as in Lava
    reached = depths(network)
    return [
        (layer, Accumulator(network, layer), reached[layer.name] - 1) for layer in network.layers
    ]


def _run(
    laid_out: list[_LaidOut], spikes: NDArray[np.uint8], traced: list[str], bias_from: BiasFrom,
    n_at_once: int | None = None,
) -> Iterator[Trace]:
    """Yield the trace of some steps at a time, as memory allows; ``n_active`` sums up."""
    layers = [
        (layer, accumulator, state_of(layer, len(spikes), first_step))
        for layer, accumulator, first_step in laid_out
    ]
    if bias_from == "power_on":
        for _, _, state in layers:
            state.lead()
    largest = max(layer.n_neurons for layer, _, _ in layers)
    n_at_once = n_at_once or max(1, ACC_BYTES // (4 * len(spikes) * largest))
    for begin in range(0, spikes.shape[-1], n_at_once):
        outputs = {INPUT: np.ascontiguousarray(spikes[..., begin : begin + n_at_once])}
        u, v = {}, {}
        for layer, accumulator, state in layers:
            is_traced = layer.name in traced
            outputs[layer.name], u_layer, v_layer = state.run(accumulator.run(outputs), is_traced)
            if is_traced:
                u[layer.name], v[layer.name] = u_layer, v_layer
        yield Trace(
            outputs, {layer.name: state.n_active for layer, _, state in layers}, u, v,
            {layer.name: state.late for layer, _, state in layers if layer.axonal_delay})


def _joined_in_time(pieces: list[Trace]) -> Trace:
    if len(pieces) == 1:
        return pieces[0]
    spikes, u, v = (
        {name: np.concatenate([getattr(piece, part)[name] for piece in pieces], axis=-1)
         for name in getattr(pieces[0], part)}
        for part in ("spikes", "u", "v")
    )
    return Trace(spikes, pieces[-1].n_active, u, v, pieces[-1].late)


def _averaged(scores: NDArray[np.float64], n_outputs: int | None) -> NDArray[np.float64]:
    if n_outputs is None:
        return scores
    means: NDArray[np.float64] = scores.reshape(len(scores), n_outputs, -1).mean(axis=2)
    return means

