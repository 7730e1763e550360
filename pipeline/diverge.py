"""Where two networks that should be one part, layer by layer, and the likely cause.

In: two networks, what each did with the same spikes. Out: per layer the differing spikes,
accumulated (with all that differed before) and isolated (given the first network's spikes as
input), the first of them, the rates, and the known causes that apply (facts: netx 3.2). Layers are
matched in order; names may differ, as between a module and its file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.emulate import Trace, run_neurons
from pipeline.errors import EquivalenceError
from pipeline.graded import depths
from pipeline.network import INPUT, Layer, Network
from pipeline.neuron import CubaNeuron, ResonatorNeuron, SigmaDeltaNeuron
from pipeline.neuron_state import NeuronState, each_neuron
from pipeline.synaptic_input import Accumulator

_STATE_LIMIT, _N_WATCHED = 1 << 23, 8


@dataclass(frozen=True)
class LayerDivergence:
    """How a layer of one network compares with its twin.

    Attributes
    ----------
    n_spikes, twin_n_spikes : spikes of either
    n_differing : positions (sample, neuron, step) that differ, with all that differed before
    n_differing_isolated : the same, when the twin receives what the first network's layer received
    first : (sample, step, neuron) of the earliest difference, or None
    rate_error : the twin's rate over the first's, less 1; None where the first is silent
    causes : what is known to make such layers part, the likeliest first
    """

    layer: str
    twin: str
    n_spikes: int
    twin_n_spikes: int
    n_differing: int
    n_differing_isolated: int
    first: tuple[int, int, int] | None
    rate_error: float | None
    causes: tuple[str, ...]


def diverge(
    network: Network, trace: Trace, twin: Network, twin_trace: Trace
) -> tuple[LayerDivergence, ...]:
    """Return how two networks compare, layer by layer.

    Parameters
    ----------
    network, twin : integer networks with as many layers of the same sizes
    trace, twin_trace : what each did with the same input, by any backend

    Raises
    ------
    EquivalenceError
        If the networks do not have layers of the same sizes in the same order.
    """
    _require_twins(network, twin)
    rows: list[LayerDivergence] = []
    outputs = {INPUT: trace.spikes[INPUT].reshape(-1, *twin.input_shape, network.n_steps)}
    for layer, other in zip(network.layers, twin.layers, strict=True):
        ours = trace.spikes[layer.name].reshape(len(outputs[INPUT]), layer.n_neurons, -1)
        theirs = twin_trace.spikes[other.name].reshape(ours.shape)
        isolated = _isolated(twin, other, outputs).reshape(ours.shape)
        where = ours != theirs
        n, n_twin = int(np.count_nonzero(ours)), int(np.count_nonzero(theirs))
        # what parts after the first difference may only follow from it
        is_first = bool(where.any()) and not any(row.n_differing for row in rows)
        is_parted = is_first or bool((ours != isolated).any())
        rows.append(LayerDivergence(
            layer.name, other.name, n, n_twin, int(where.sum()), int((ours != isolated).sum()),
            _first(where), n_twin / n - 1 if n else None,
            tuple(_causes(twin, layer, other, outputs)) if is_parted else ()))
        outputs[other.name] = ours.reshape(len(ours), *other.shape, -1)
    return tuple(rows)


def _require_twins(network: Network, twin: Network) -> None:
    sizes, twin_sizes = (
        [int(np.prod(n.input_shape)), *(layer.n_neurons for layer in n.layers)]
        for n in (network, twin)
    )
    if sizes != twin_sizes:
        raise EquivalenceError(
            f"'{network.name}' has layers of {', '.join(map(str, sizes))} neurons (input first), "
            f"'{twin.name}' of {', '.join(map(str, twin_sizes))}: they are not one network"
        )


def _isolated(
    twin: Network, layer: Layer, outputs: dict[str, NDArray[np.uint8]]
) -> NDArray[np.uint8]:
    """Return the spikes of a layer of the twin, given the first network's spikes."""
    first_step = depths(twin)[layer.name] - 1
    return run_neurons(layer, Accumulator(twin, layer).run(outputs), first_step)[0]


def _first(where: NDArray[np.bool_]) -> tuple[int, int, int] | None:
    if not where.any():
        return None
    step, sample, neuron = np.argwhere(where.transpose(2, 0, 1))[0]
    return int(sample), int(step), int(neuron)


def _causes(
    network: Network, layer: Layer, twin: Layer, outputs: dict[str, NDArray[np.uint8]]
) -> Iterator[str]:
    """Yield what makes two layers part: their parameters first, then how backends treat them."""
    yield from _parameters(layer, twin)
    if isinstance(layer.neuron, ResonatorNeuron):
        yield ("the stock loader makes period and decay of a resonator's decays, and truncates "
               "what it computes back: some come out one lower")
    if isinstance(layer.neuron, SigmaDeltaNeuron):
        yield ("sigma-delta states beyond 64 are rounded in SLAYER's float32, beyond 8192 Lava's "
               "32 bits wrap around")
    if isinstance(layer.neuron, SigmaDeltaNeuron) and layer.neuron.bias is not None:
        yield "biases act at power on in stock Lava, with the first input in SLAYER"
    if not isinstance(layer.neuron, CubaNeuron) or not isinstance(twin.neuron, CubaNeuron):
        return
    neuron = layer.cuba
    if neuron.bias is not None and any(neuron.bias):
        yield ("biases act from the first input in SLAYER, one step earlier in Lava and on a chip: "
               "write them after the first step")
    if layer.axonal_delay is not None and layer.synapses[0].kind == "conv":
        yield "NetX drops the delays of convolutions"
    if layer.axonal_delay is not None and neuron.bias is not None:
        yield "NetX delays the input in place of the spikes, which differs with a bias"
    if neuron.fires and neuron.vth_mant > 4095:
        yield (f"threshold mantissa {neuron.vth_mant} is above 4095, where SLAYER's float32 fires "
               "at a tie and Lava does not")
    if outputs[INPUT].max() > 1 or outputs[INPUT].min() < 0:
        yield "input is graded: NetX casts it to 0 and 1 unless input_message_bits is set"
    yield from _overflow(network, twin, outputs)


def _parameters(layer: Layer, twin: Layer) -> Iterator[str]:
    for group, other in zip(layer.groups, twin.groups, strict=False):
        if group.weight.size != other.weight.size:
            yield f"weights of shape {group.weight.shape} against {other.weight.shape}"
            continue
        difference = np.abs(group.weight.ravel() - other.weight.ravel())
        if difference.any():
            what = "recurrent weights" if group is layer.recurrent else "weights"
            yield (f"{int((difference > 0).sum())} of {difference.size} {what} differ, by up to "
                   f"{difference.max():g}")
    if len(layer.groups) != len(twin.groups):
        yield f"{len(layer.groups)} synapse groups against {len(twin.groups)}"
    for field, what in (("vth_mant", "threshold mantissa"), ("current_decay", "current decay"),
                        ("voltage_decay", "voltage decay"), ("bias", "biases"),
                        ("bias_step", "first step of the biases"),
                        ("sin_decay", "sine decay"), ("cos_decay", "cosine decay"),
                        ("role", "role"), ("activation", "activation"),
                        ("channel_vth_mant", "thresholds per channel"),
                        ("channel_current_decay", "current decays per channel"),
                        ("channel_voltage_decay", "voltage decays per channel")):
        ours, theirs = (getattr(part.neuron, field, None) for part in (layer, twin))
        if ours != theirs:
            yield f"{what} {_short(ours)} against {_short(theirs)}"
    if layer.axonal_delay != twin.axonal_delay:
        yield f"axonal delays {_short(layer.axonal_delay)} against {_short(twin.axonal_delay)}"


def _short(value: object) -> str:
    if isinstance(value, tuple):
        return f"({len(value)} values, {min(value)} to {max(value)})"
    return "none" if value is None else str(value)


def _overflow(
    network: Network, layer: Layer, outputs: dict[str, NDArray[np.uint8]]
) -> Iterator[str]:
    """Yield a sentence if a state leaves 24 bits, where Lava wraps or clips and SLAYER does not."""
    few = {name: spikes[:_N_WATCHED] for name, spikes in outputs.items()}
    acc = Accumulator(network, layer).run(few)
    _, u, v = NeuronState(layer, len(acc)).run(acc, with_states=True)
    received = acc.astype(np.int64).transpose(0, 2, 1) << 6
    u, v = u.reshape(received.shape), v.reshape(received.shape)
    keep = 4096 - each_neuron(layer, layer.cuba.channel_current_decay, layer.cuba.current_decay)
    carried = u[..., :-1] * keep.astype(np.int64)[:, None] // 4096
    largest = int(np.abs(received[..., 1:] + carried).max(initial=0))
    if largest > _STATE_LIMIT and layer.recurrent is None:
        yield f"u reaches {largest}: beyond 24 bits it wraps around in Lava, not in SLAYER"
    if int(np.abs(v).max()) >= _STATE_LIMIT - 1:
        yield f"v reaches {_STATE_LIMIT - 1}: there it is clipped in Lava, not in SLAYER"
