"""Graded relays, for chips whose spikes carry integers: sums of trains, and streams of currents.

They have no neurons of SLAYER: a relay receives what its synapses bring and sends it on, a step or
more later. Ingest knows them (:mod:`pipeline.ingest.slayer_relay`).
"""

from __future__ import annotations

import torch
from lava.lib.dl import slayer
from torch import Tensor

MAX_AXONAL_DELAY = 62  # the most that Lava and NetX delay
SLAYER_SCALE = 64  # of SLAYER's weights: a weight of 1 is 64 units of the chip


class GradedRelay(torch.nn.Module):
    """Sums of trains, 0, 1, 2, ..., later by ``n_steps``, as graded messages of one neuron each.

    Where binary trains need a :class:`Relay` each, their sum needs one of these: (n, c, y, x, t).
    """

    def __init__(self, n_steps: int) -> None:
        super().__init__()
        if not 0 < n_steps <= MAX_AXONAL_DELAY + 1:
            raise ValueError(
                f"a relay delays by 1 to {MAX_AXONAL_DELAY + 1} steps, not by {n_steps}")
        self.n_steps = n_steps

    def forward(self, sums: Tensor) -> Tensor:
        """Return sums of the same shape, ``n_steps`` later."""
        return later(sums, self.n_steps)


class GradedSum(torch.nn.Module):
    """Sums over the map, as graded messages: (n, c, y, x, t) to (n, c, 1, 1, t), a step later.

    What reads it needs one weight a channel, where it would need one for every place of the map.
    """

    def forward(self, spikes: Tensor) -> Tensor:
        """Return sums."""
        return later(spikes.sum((2, 3), keepdim=True))


class CurrentRelay(torch.nn.Module):
    """A stream of currents, and what spikes add to it, as graded messages one step later.

    Relays of a stream have no threshold that could take up a scale of their weights: all weights of
    one stream have the same, and what reads it (:class:`StreamReader`) has it too.

    Parameters
    ----------
    kernel : of the convolution, padded by half of it

    Attributes
    ----------
    w_scale : units of the chip that a current of 1 is
    """

    def __init__(self, c_in: int, c_out: int, kernel: int) -> None:
        super().__init__()
        self.synapse = slayer.synapse.Conv(
            c_in, c_out, kernel, 1, kernel // 2, pre_hook_fx=None)
        torch.nn.init.kaiming_normal_(self.synapse.weight, mode="fan_in", nonlinearity="relu")
        self.w_scale = SLAYER_SCALE

    def forward(self, spikes: Tensor, currents: Tensor | None = None) -> Tensor:
        """Return currents (n, c_out, y, x, t) for spikes (n, c_in, y, x, t)."""
        added: Tensor = self.synapse(spikes)
        return later(added if currents is None else currents + added)


class CurrentsLater(GradedRelay):
    """Currents of a stream, some steps later, to meet what a longer branch adds to them.

    Attributes
    ----------
    w_scale : that of the stream, see :class:`CurrentRelay`
    """

    def __init__(self, n_steps: int) -> None:
        super().__init__(n_steps)
        self.w_scale = SLAYER_SCALE


def later(values: Tensor, n_steps: int = 1) -> Tensor:
    """Return values (..., t) some steps later."""
    return torch.nn.functional.pad(values, (n_steps, 0))[..., : values.shape[-1]]
