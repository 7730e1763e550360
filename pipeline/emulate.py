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
_ACC_BYTES = 256 << 20  # of the largest layer's accumulated input

BiasFrom = Literal["first_input", "power_on"]


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
    """

    spikes: dict[str, NDArray[Any]]
    n_active: dict[str, NDArray[np.int32]]
    u: dict[str, NDArray[np.int32]] = field(default_factory=dict)
    v: dict[str, NDArray[np.int32]] = field(default_factory=dict)


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
    batches = [
        _joined_in_time(list(_run(network, batch, with_states, bias_from)))
        for batch in _batches(spikes)
    ]
    return Trace(*(
        {name: np.concatenate([getattr(b, part)[name] for b in batches])
         for name in getattr(batches[0], part)}
        for part in ("spikes", "n_active", "u", "v")
    ))


def output_scores(network: Network, spikes: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the score of each output, (n, n_outputs): its spikes, or voltages summed over steps.

    No trace is kept: memory does not grow with the number of samples or steps.
    """
    check_input(network, spikes)
    spikes = _counts(spikes)
    output, is_voltage = network.layers[-1], network.readout.quantity == "voltage"
    scores = []
    for batch in _batches(spikes):
        total = np.zeros((len(batch), output.n_neurons))
        for trace in _run(network, batch, is_voltage, "first_input"):
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


def _run(
    network: Network, spikes: NDArray[np.uint8], with_states: bool, bias_from: BiasFrom
) -> Iterator[Trace]:
    """Yield the trace of some steps at a time, as memory allows; ``n_active`` sums up."""
    if any(is_graded(layer) for layer in network.layers):
        network = without_joins(network)  # messages of many wrap in each group, as in Lava
    reached = depths(network)
    layers = [
        (layer, Accumulator(network, layer),
         state_of(layer, len(spikes), reached[layer.name] - 1))
        for layer in network.layers
    ]
    if bias_from == "power_on":
        for _, _, state in layers:
            state.lead()
    largest = max(layer.n_neurons for layer in network.layers)
    n_at_once = max(1, _ACC_BYTES // (4 * len(spikes) * largest))
    for begin in range(0, spikes.shape[-1], n_at_once):
        outputs = {INPUT: np.ascontiguousarray(spikes[..., begin : begin + n_at_once])}
        u, v = {}, {}
        for layer, accumulator, state in layers:
            outputs[layer.name], u_layer, v_layer = state.run(
                accumulator.run(outputs), with_states)
            if with_states:
                u[layer.name], v[layer.name] = u_layer, v_layer
        yield Trace(outputs, {layer.name: state.n_active for layer, _, state in layers}, u, v)


def _joined_in_time(pieces: list[Trace]) -> Trace:
    if len(pieces) == 1:
        return pieces[0]
    spikes, u, v = (
        {name: np.concatenate([getattr(piece, part)[name] for piece in pieces], axis=-1)
         for name in getattr(pieces[0], part)}
        for part in ("spikes", "u", "v")
    )
    return Trace(spikes, pieces[-1].n_active, u, v)


def _averaged(scores: NDArray[np.float64], n_outputs: int | None) -> NDArray[np.float64]:
    if n_outputs is None:
        return scores
    means: NDArray[np.float64] = scores.reshape(len(scores), n_outputs, -1).mean(axis=2)
    return means

