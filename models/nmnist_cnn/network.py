"""N-MNIST convolutional network, 8c5s2-16c3s2-32c3s2-64-10, CUBA neurons."""

from __future__ import annotations

import torch
from lava.lib.dl import slayer
from torch import Tensor

NEURON = {
    "threshold": 1.25,
    "current_decay": 0.25,
    "voltage_decay": 0.03,
    "tau_grad": 0.03,
    "scale_grad": 3,
    "requires_grad": False,
}


class Network(torch.nn.Module):
    """Three strided convolutions, two dense blocks; ``(n, 2, 34, 34, t)`` in, ``(n, 10, t)`` out.

    Shapes after the blocks: (8, 16, 16), (16, 8, 8), (32, 4, 4), 512, 64, 10.
    """

    def __init__(self) -> None:
        super().__init__()
        cuba = slayer.block.cuba
        self.blocks = torch.nn.ModuleList([
            cuba.Conv(NEURON, 2, 8, 5, stride=2, padding=1, weight_norm=True),
            cuba.Conv(NEURON, 8, 16, 3, stride=2, padding=1, weight_norm=True),
            cuba.Conv(NEURON, 16, 32, 3, stride=2, padding=1, weight_norm=True),
            cuba.Flatten(),
            cuba.Dense(NEURON, 512, 64, weight_norm=True),
            cuba.Dense(NEURON, 64, 10, weight_norm=True),
        ])

    def forward(self, spikes: Tensor) -> Tensor:
        """Return output spikes (n, 10, t) for input spikes (n, 2, 34, 34, t)."""
        for block in self.blocks:
            spikes = block(spikes)
        return spikes
