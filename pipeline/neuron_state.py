"""The state of one layer's neurons for a batch of samples, carried over pieces of time.

In: accumulated input of some steps. Out: the spikes that leave in those steps. What was fired and
has not left yet, by the step every layer takes and by its axonal delay, waits in a tail.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline import kernels
from pipeline.network import Layer

Recorded = tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.int32]]


class NeuronState:
    """Neurons at rest, until they are run.

    Attributes
    ----------
    n_active : (n, n_neurons) int32, steps so far at which a neuron had input, bias or state
    """

    def __init__(self, layer: Layer, n_samples: int) -> None:
        neuron, self._layer = layer.cuba, layer
        self._current_decay = each_neuron(layer, neuron.channel_current_decay, neuron.current_decay)
        self._voltage_decay = each_neuron(layer, neuron.channel_voltage_decay, neuron.voltage_decay)
        self._threshold = each_neuron(layer, neuron.channel_vth_mant, neuron.vth_mant) << 6
        self._bias = each_neuron(layer, neuron.bias, 0) << 6
        self._n_without_bias = neuron.bias_step
        self._delay = each_neuron(layer, layer.axonal_delay, 0).astype(np.int64)
        self._recurrent = np.zeros((0, 0), dtype=np.int32)
        if layer.recurrent is not None:
            self._recurrent = np.ascontiguousarray(layer.recurrent.weight.T, dtype=np.int32)
        shape = (n_samples, layer.n_neurons)
        self._u, self._v = (np.zeros(shape, dtype=np.int32) for _ in range(2))
        self._fired = np.zeros(shape, dtype=np.uint8)
        self._tail = np.zeros((*shape, 1 + int(self._delay.max())), dtype=np.uint8)
        self.n_active = np.zeros(shape, dtype=np.int32)

    def run(self, acc: NDArray[np.int32], with_states: bool = False) -> Recorded:
        """Return the spikes (n, *shape, t) of these steps, and u and v or two empty arrays.

        Parameters
        ----------
        acc : (n, t, n_neurons) int32
        """
        n_silent = min(self._n_without_bias, acc.shape[1])
        self._n_without_bias -= n_silent
        if n_silent == 0:
            return self._run(acc, self._bias, with_states)
        first = self._run(acc[:, :n_silent], np.zeros_like(self._bias), with_states)
        if n_silent == acc.shape[1]:
            return first
        rest = self._run(acc[:, n_silent:], self._bias, with_states)
        return (np.concatenate([first[0], rest[0]], axis=-1),
                np.concatenate([first[1], rest[1]], axis=-1),
                np.concatenate([first[2], rest[2]], axis=-1))

    def _run(
        self, acc: NDArray[np.int32], bias: NDArray[np.int32], with_states: bool
    ) -> Recorded:
        n_samples, n_steps, n_neurons = acc.shape
        # what leaves later than the longest wait is all written by the kernel
        spikes = np.empty((n_samples, n_neurons, n_steps), dtype=np.uint8)
        n_waiting = self._tail.shape[-1]
        spikes[..., :n_waiting] = self._tail[..., :n_steps]
        tail = np.zeros_like(self._tail)
        tail[..., : max(0, n_waiting - n_steps)] = self._tail[..., n_steps:]
        self._tail = tail
        states = (n_samples, n_neurons, n_steps) if with_states else (0, 0, 0)
        u, v = np.zeros(states, dtype=np.int32), np.zeros(states, dtype=np.int32)
        kernels.run_cuba(
            acc, self._current_decay, self._voltage_decay, self._threshold, bias,
            self._delay, self._recurrent, self._u, self._v, self._fired, spikes, tail,
            self.n_active, u, v)
        shape = (n_samples, *self._layer.shape, n_steps)
        if with_states:
            u, v = u.reshape(shape), v.reshape(shape)
        return spikes.reshape(shape), u, v

    @property
    def late(self) -> NDArray[np.uint8]:
        """What was fired and has not left, (n, n_neurons, 1 + largest delay) by steps to come."""
        return self._tail

    def lead(self) -> None:
        """Take the step before the first one: nothing arrives, the bias acts."""
        self.run(np.zeros((len(self._u), 1, self._layer.n_neurons), dtype=np.int32))


def each_neuron(
    layer: Layer, per_channel: tuple[float, ...] | None, shared: int
) -> NDArray[np.int32]:
    """Return the value of every neuron, (n_neurons,), from one per channel or a shared one."""
    values = np.array(per_channel or (shared,) * layer.n_channels, dtype=np.int32)
    return np.repeat(values, layer.n_neurons // layer.n_channels)
