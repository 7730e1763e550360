"""States of sigma-delta, resonator and relay layers over pieces of time, and when input reaches.

In: accumulated input of some steps. Out: the messages or spikes that leave in those steps, as
:class:`~pipeline.neuron_state.NeuronState` has them for CUBA neurons.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline import kernels_graded
from pipeline.network import INPUT, Layer, Network
from pipeline.neuron import CubaNeuron, RelayNeuron, ResonatorNeuron, SigmaDeltaNeuron
from pipeline.neuron_state import NeuronState, each_neuron

Recorded = tuple[NDArray[Any], NDArray[np.int32], NDArray[np.int32]]


class State(Protocol):
    """Neurons of one layer for a batch of samples."""

    n_active: NDArray[np.int32]

    def run(self, acc: NDArray[np.int32], with_states: bool = False) -> Recorded:
        """Return what leaves in these steps, (n, *shape, t), and two states or empty arrays."""

    @property
    def late(self) -> NDArray[np.uint8]:
        """What was fired and has not left, (n, n_neurons, 1 + largest delay) by steps to come."""

    def lead(self) -> None:
        """Take the step before the first one."""


def state_of(layer: Layer, n_samples: int, first_step: int = 0) -> State:
    """Return a layer's neurons at rest.

    Parameters
    ----------
    first_step : in which the network's input first reaches the layer; from then on biases of
        sigma-delta neurons act
    """
    if isinstance(layer.neuron, CubaNeuron):
        return NeuronState(layer, n_samples)
    if isinstance(layer.neuron, ResonatorNeuron):
        return ResonatorState(layer, layer.neuron, n_samples)
    if isinstance(layer.neuron, RelayNeuron):
        return RelayState(layer, n_samples)
    return SigmaDeltaState(layer, layer.neuron, n_samples, first_step)


def depths(network: Network) -> dict[str, int]:
    """Return after how many steps the input reaches the output of each source, by name.

    A layer takes one step, axonal delays aside; the neurons that encode the input take none.
    """
    depth, waiting = {INPUT: 0}, list(network.joins)
    for layer in network.layers:
        while waiting and all(source in depth for source in waiting[0].sources):
            join = waiting.pop(0)
            depth[join.name] = min(depth[source] for source in join.sources)
        before = min((depth[synapse.source] for synapse in layer.synapses), default=0)
        depth[layer.name] = before + (0 if encodes(layer) else 1)
    return depth


def is_graded(layer: Layer) -> bool:
    """Whether what leaves the layer are integers, not spikes."""
    return isinstance(layer.neuron, (SigmaDeltaNeuron, RelayNeuron))


def encodes(layer: Layer) -> bool:
    """Whether the layer encodes the network's input, which costs no step."""
    return isinstance(layer.neuron, SigmaDeltaNeuron) and layer.neuron.role == "delta"


def file_dtype(layer: Layer, quantity: str) -> str:
    """Return the dtype in which Lava's trace of a layer is written."""
    return "u1" if quantity == "spikes" and not is_graded(layer) else "i4"


class SigmaDeltaState:
    """Sigma-delta neurons at rest, until they are run; states are sigma and the activation.

    Attributes
    ----------
    n_active : (n, n_neurons) int32, steps so far at which a neuron had input, bias or state
    """

    def __init__(
        self, layer: Layer, neuron: SigmaDeltaNeuron, n_samples: int, first_step: int
    ) -> None:
        self._layer, self._neuron, self._bias_from = layer, neuron, first_step
        self._threshold = np.int32(neuron.vth_mant << kernels_graded.STATE_BITS)
        self._bias = each_neuron(layer, neuron.bias, 0) << kernels_graded.STATE_BITS
        shape = (n_samples, layer.n_neurons)
        self._sigma, self._act, self._residue, self._error, self._last, self.n_active = (
            np.zeros(shape, dtype=np.int32) for _ in range(6))

    def run(self, acc: NDArray[np.int32], with_states: bool = False) -> Recorded:
        """Return the messages (n, *shape, t) int32 of these steps, and sigma and the activation.

        Parameters
        ----------
        acc : (n, t, n_neurons) int32
        """
        n_samples, n_steps, n_neurons = acc.shape
        messages = np.zeros((n_samples, n_neurons, n_steps), dtype=np.int32)
        sigma, act = _traces(messages.shape, with_states)
        if self._neuron.role == "sigma":
            kernels_graded.run_sigma(acc, self._sigma, messages, self.n_active, sigma)
        else:
            kernels_graded.run_delta(
                acc, self._neuron.role == "delta", self._neuron.activation == "relu",
                self._neuron.is_cumulative, self._threshold, self._bias, self._bias_from,
                self._sigma, self._act, self._residue, self._error, messages, self._last,
                self.n_active, sigma, act)
        self._bias_from = max(0, self._bias_from - n_steps)
        return _shaped(self._layer, (messages, sigma, act), with_states)

    @property
    def late(self) -> NDArray[np.uint8]:
        """Nothing: these neurons have no axonal delays."""
        return np.zeros((*self._sigma.shape, 0), dtype=np.uint8)

    def lead(self) -> None:
        """Take the step before the first one: nothing arrives, the bias acts from now on."""
        self._bias_from = 0
        if self._neuron.role != "delta":
            self.run(np.zeros((len(self._sigma), 1, self._layer.n_neurons), dtype=np.int32))


class ResonatorState:
    """Resonate-and-fire neurons at rest, until they are run; states are real and imaginary.

    Attributes
    ----------
    n_active : (n, n_neurons) int32, steps so far at which a neuron had input or state
    """

    def __init__(self, layer: Layer, neuron: ResonatorNeuron, n_samples: int) -> None:
        self._layer, self._neuron = layer, neuron
        self._sin_decay = each_neuron(layer, neuron.channel_sin_decay, neuron.sin_decay)
        self._cos_decay = each_neuron(layer, neuron.channel_cos_decay, neuron.cos_decay)
        self._delay = each_neuron(layer, layer.axonal_delay, 0).astype(np.int64)
        shape = (n_samples, layer.n_neurons)
        self._real, self._imag, self.n_active = (
            np.zeros(shape, dtype=np.int32) for _ in range(3))
        self._tail = np.zeros((*shape, 1 + int(self._delay.max())), dtype=np.uint8)

    def run(self, acc: NDArray[np.int32], with_states: bool = False) -> Recorded:
        """Return the spikes (n, *shape, t) uint8 of these steps, and both states.

        Parameters
        ----------
        acc : (2, n, t, n_neurons) int32, from real and from imaginary weights
        """
        _, n_samples, n_steps, n_neurons = acc.shape
        spikes = np.zeros((n_samples, n_neurons, n_steps), dtype=np.uint8)
        n_waiting = self._tail.shape[-1]
        spikes[..., :n_waiting] = self._tail[..., :n_steps]
        tail = np.zeros_like(self._tail)
        tail[..., : max(0, n_waiting - n_steps)] = self._tail[..., n_steps:]
        self._tail = tail
        real, imag = _traces(spikes.shape, with_states)
        kernels_graded.run_resonator(
            acc[0], acc[1], self._neuron.kind == "rf_iz", self._sin_decay, self._cos_decay,
            np.int64(self._neuron.vth_mant << 6), self._delay, self._real, self._imag, spikes,
            tail, self.n_active, real, imag)
        return _shaped(self._layer, (spikes, real, imag), with_states)

    @property
    def late(self) -> NDArray[np.uint8]:
        """What was fired and has not left, (n, n_neurons, 1 + largest delay) by steps to come."""
        return self._tail

    def lead(self) -> None:
        """Take the step before the first one, in which nothing happens: there are no biases."""


class RelayState:
    """Graded relays; they have no states, and what was received waits to leave.

    Attributes
    ----------
    n_active : (n, n_neurons) int32, steps so far at which a neuron had input
    """

    def __init__(self, layer: Layer, n_samples: int) -> None:
        self._layer = layer
        self._delay = each_neuron(layer, layer.axonal_delay, 0)
        n_waiting = 1 + int(self._delay.max())
        self._tail = np.zeros((n_samples, layer.n_neurons, n_waiting), dtype=np.int32)
        self.n_active = np.zeros((n_samples, layer.n_neurons), dtype=np.int32)

    def run(self, acc: NDArray[np.int32], with_states: bool = False) -> Recorded:
        """Return the messages (n, *shape, t) int32 that leave in these steps, and no states.

        Parameters
        ----------
        acc : (n, t, n_neurons) int32
        """
        n_samples, n_steps, n_neurons = acc.shape
        kernels_graded.wrap_24(acc)
        n_waiting = self._tail.shape[-1]
        waiting = np.zeros((n_samples, n_neurons, n_waiting + n_steps), dtype=np.int32)
        waiting[..., :n_waiting] = self._tail
        for delay in np.unique(self._delay):
            own, begin = self._delay == delay, 1 + int(delay)
            waiting[:, own, begin : begin + n_steps] += acc[:, :, own].transpose(0, 2, 1)
        self.n_active += np.count_nonzero(acc, axis=1).astype(np.int32)
        self._tail = waiting[..., n_steps:].copy()
        first, second = _traces((n_samples, n_neurons, n_steps), with_states)
        return _shaped(self._layer, (waiting[..., :n_steps].copy(), first, second), with_states)

    @property
    def late(self) -> NDArray[np.uint8]:
        """Whether anything has not left, (n, n_neurons, 1 + largest delay) by steps to come."""
        late: NDArray[np.uint8] = (self._tail != 0).astype(np.uint8)
        return late

    def lead(self) -> None:
        """Take the step before the first one, in which nothing happens: there are no biases."""


def _traces(shape: tuple[int, ...], with_states: bool) -> tuple[NDArray[np.int32], ...]:
    return tuple(np.zeros(shape if with_states else (0, 0, 0), dtype=np.int32) for _ in range(2))


def _shaped(layer: Layer, recorded: Recorded, with_states: bool) -> Recorded:
    sent, first, second = recorded
    shape = (len(sent), *layer.shape, sent.shape[-1])
    if with_states:
        first, second = first.reshape(shape), second.reshape(shape)
    return sent.reshape(shape), first, second
