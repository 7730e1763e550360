"""N-MNIST multi-layer perceptron, 2312-512-10, CUBA or LIF, as in lava-dl's N-MNIST tutorial."""

from __future__ import annotations

import torch
from lava.lib.dl import slayer
from torch import Tensor

# threshold, voltage decay and surrogate gradient of lava-dl's N-MNIST tutorial
NEURON = {
    "threshold": 1.25,
    "voltage_decay": 0.03,
    "tau_grad": 0.03,
    "scale_grad": 3,
    "requires_grad": False,
}


class Network(torch.nn.Module):
    """Two dense CUBA blocks; ``(n, 2, 34, 34, t)`` spikes in, ``(n, 10, t)`` spikes out.

    With ``current_decay`` 1 the current lasts one step: pure LIF, which is ``nmnist_lif``.
    """

    def __init__(
        self, n_hidden: int = 512, dropout: float = 0.1, current_decay: float = 0.25
    ) -> None:
        super().__init__()
        neuron = {**NEURON, "current_decay": current_decay}
        hidden = {**neuron, "dropout": slayer.neuron.Dropout(p=dropout)}
        self.blocks = torch.nn.ModuleList([
            slayer.block.cuba.Dense(hidden, 2 * 34 * 34, n_hidden, weight_norm=True),
            slayer.block.cuba.Dense(neuron, n_hidden, 10, weight_norm=True),
        ])

    def forward(self, spikes: Tensor) -> Tensor:
        """Return output spikes (n, 10, t) for input spikes (n, 2, 34, 34, t)."""
        spikes = spikes.flatten(1, 3)
        for block in self.blocks:
            spikes = block(spikes)
        return spikes
