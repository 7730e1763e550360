"""N-MNIST multi-layer perceptron, 2312-512-10, pure LIF: the current lasts one step."""

from __future__ import annotations

import torch
from lava.lib.dl import slayer
from torch import Tensor

# lava-dl's N-MNIST parameters but for the current, which decays completely in one step
NEURON = {
    "threshold": 1.25,
    "current_decay": 1.0,
    "voltage_decay": 0.03,
    "tau_grad": 0.03,
    "scale_grad": 3,
    "requires_grad": False,
}


class Network(torch.nn.Module):
    """Two dense LIF blocks; ``(n, 2, 34, 34, t)`` spikes in, ``(n, 10, t)`` spikes out."""

    def __init__(self, n_hidden: int = 512, dropout: float = 0.1) -> None:
        super().__init__()
        hidden = {**NEURON, "dropout": slayer.neuron.Dropout(p=dropout)}
        self.blocks = torch.nn.ModuleList([
            slayer.block.cuba.Dense(hidden, 2 * 34 * 34, n_hidden, weight_norm=True),
            slayer.block.cuba.Dense(NEURON, n_hidden, 10, weight_norm=True),
        ])

    def forward(self, spikes: Tensor) -> Tensor:
        """Return output spikes (n, 10, t) for input spikes (n, 2, 34, 34, t)."""
        spikes = spikes.flatten(1, 3)
        for block in self.blocks:
            spikes = block(spikes)
        return spikes
