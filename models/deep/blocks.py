"""What the deep networks are built of: SLAYER blocks that ingest knows, and a few of our own.

Every block with neurons takes one time step, as a layer of cores does. A network that was published
for frames takes no step per layer: to compute the same, branches wait for each other
(:class:`Relay`), and normalization begins in the step in which the input arrives (``first_step``).
Fixed weights are no parameters: they are neither trained nor saved nor pruned.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from lava.lib.dl import slayer
from torch import Tensor

from models.deep.relays import MAX_AXONAL_DELAY, SLAYER_SCALE, later

cuba = slayer.block.cuba


class FrameNorm(torch.nn.BatchNorm3d):
    """Batch normalization (n, c, y, x, t) of currents from ``first_step`` on; 0 before it."""

    def __init__(self, n_channels: int, first_step: int = 0) -> None:
        super().__init__(n_channels)
        self.first_step = first_step

    def forward(self, currents: Tensor) -> Tensor:
        """Return currents of the same shape."""
        if self.first_step == 0:
            return super().forward(currents)
        if currents.shape[-1] <= self.first_step:
            return torch.zeros_like(currents)
        normed = super().forward(currents[..., self.first_step :])
        return torch.nn.functional.pad(normed, (self.first_step, 0))


class Offset(torch.nn.Module):
    """A bias per channel, (n, c, ..., t) in and out, from ``first_step`` on."""

    def __init__(self, n_channels: int, first_step: int = 0) -> None:
        super().__init__()
        self.bias = torch.nn.Parameter(torch.zeros(n_channels))
        self.first_step = first_step

    def forward(self, currents: Tensor) -> Tensor:
        """Return currents with the bias."""
        acts = torch.arange(currents.shape[-1], device=currents.device) >= self.first_step
        return currents + self.bias.reshape(-1, *[1] * (currents.dim() - 2)) * acts


class Gate(cuba.Conv):  # type: ignore[misc, name-defined]
    """Neurons without memory that fire where enough spikes arrive: (n, c, y, x, t) in and out.

    Every spike of a channel in the kernel adds 1; ``n_needed`` less a half is the threshold.
    """

    has_fixed_weights = True  # for ingest

    def __init__(
        self, n_channels: int, n_needed: int, kernel: int = 1, stride: int = 1, padding: int = 0
    ) -> None:
        threshold = n_needed - 0.5
        neuron = {"threshold": threshold, "current_decay": 1, "voltage_decay": 1,
                  **_gradient(threshold)}
        super().__init__(
            neuron, n_channels, n_channels, kernel, stride, padding, groups=n_channels)
        hold_ones(self)


class OrPool(Gate):
    """Max pooling of binary trains, that is their OR: (n, c, y, x, t) to (n, c, y', x', t)."""

    def __init__(
        self, n_channels: int, kernel: int, stride: int | None = None, padding: int = 0
    ) -> None:
        super().__init__(n_channels, 1, kernel, stride or kernel, padding)


class And(Gate):
    """AND of two binary trains, given as their sum: (n, c, y, x, t) in and out."""

    def __init__(self, n_channels: int) -> None:
        super().__init__(n_channels, 2)


class Relay(Gate):
    """Binary trains, later by ``n_steps``: one for the relay's own core, the rest on its axon."""

    def __init__(self, n_channels: int, n_steps: int) -> None:
        super().__init__(n_channels, 1)
        if n_steps > 1:
            self.delay = Wait(n_channels, n_steps - 1)


def hold_ones(block: Any) -> None:
    """Give a block weights of 1 that are no parameters."""
    weight = torch.ones_like(block.synapse.weight)
    del block.synapse.weight
    block.synapse.register_buffer("weight", weight, persistent=False)


class StreamReader(cuba.Conv):  # type: ignore[misc, name-defined]
    """Neurons that take the currents of a stream and their own bias: (n, c, y, x, t) in and out."""

    has_fixed_weights = True  # for ingest
    takes_messages = True  # for ingest: a message is in units of the chip already

    def __init__(self, n_channels: int, neuron: dict[str, Any], first_step: int = 0) -> None:
        super().__init__(
            {**neuron, "norm": lambda: Offset(n_channels, first_step)}, n_channels, n_channels, 1,
            groups=n_channels, pre_hook_fx=None)
        hold_ones(self)


class Wait(torch.nn.Module):
    """An axonal delay of whole steps, alike for all channels, that is not learned."""

    init = True  # SLAYER's mark of delays that are set

    def __init__(self, n_channels: int, n_steps: int) -> None:
        super().__init__()
        if not 0 < n_steps <= MAX_AXONAL_DELAY:
            raise ValueError(f"an axon delays by 1 to {MAX_AXONAL_DELAY} steps, not by {n_steps}")
        self.register_buffer("delay", torch.full((n_channels,), float(n_steps)), persistent=False)
        self._n_steps = n_steps

    def forward(self, spikes: Tensor) -> Tensor:
        """Return spikes of the same shape, ``n_steps`` later."""
        return later(spikes, self._n_steps)


def spiking_conv(
    c_in: int, c_out: int, kernel: int, stride: int = 1, *, neuron: dict[str, Any],
    first_step: int = 0, waits: int = 0,
) -> Any:
    """Return convolution (padded by half its kernel), batch normalization and neurons, one block.

    Parameters
    ----------
    neuron : of :func:`integrate_and_fire`
    first_step : in which the input reaches the block
    waits : steps its spikes wait on the axon
    """
    norm = partial(FrameNorm, c_out, first_step)
    block = cuba.Conv(
        {**neuron, "norm": norm}, c_in, c_out, kernel, stride, kernel // 2, pre_hook_fx=None)
    torch.nn.init.kaiming_normal_(block.synapse.weight, mode="fan_out", nonlinearity="relu")
    if waits:
        block.delay = Wait(c_out, waits)
    return block


def integrate_and_fire(leak: float = 0.0) -> dict[str, Any]:
    """Return SLAYER's parameters of neurons that add up, fire above 1 and are reset to 0.

    Parameters
    ----------
    leak : share of its voltage that a neuron loses in a step; 0 for IF
    """
    return {"threshold": 1.0, "current_decay": 1, "voltage_decay": leak, "scale": SLAYER_SCALE,
            **_gradient(1.0)}


def leaky(tau: float, threshold: float = 1.0) -> dict[str, Any]:
    """Return parameters of neurons that move a share 1 / tau towards their input in a step.

    v <- v + (x - v) / tau, fired above the threshold, as SpikingJelly's LIF; here both times tau.
    """
    return {**integrate_and_fire(1 / tau), "threshold": threshold * tau,
            **_gradient(threshold * tau)}


def readout(n_inputs: int, n_classes: int, first_step: int = 0) -> Any:
    """Return a dense layer (n, n_inputs, t) to (n, n_classes, t) read by its current, with bias."""
    neuron = {"threshold": 1.0, "current_decay": 1, "voltage_decay": 1, "scale": SLAYER_SCALE,
              "norm": partial(Offset, n_classes, first_step)}
    return cuba.Affine(neuron, n_inputs, n_classes, pre_hook_fx=None)


def _gradient(threshold: float) -> dict[str, float]:
    """Return a surrogate gradient of exp(-2 |v - threshold|); SLAYER has factors 100 and 0.1."""
    return {"tau_grad": 0.005 / threshold, "scale_grad": 10.0}
