"""How many units of the chip a weight of 1 is, for each block of a network, saved with its weights.

SLAYER's default, 64, tells weights of 8 bits apart by 1/32: too coarse for wide layers, whose
weights are small. Another scale, a power of two, changes nothing of what a block computes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from models.deep.blocks import FrameNorm

_MAX_THRESHOLD = 4095  # units; above it SLAYER compares no longer exactly
_LARGEST_WEIGHT = 254  # units of 8 bits with a sign, even


class ScaledNet(torch.nn.Module):
    """A network that knows the scales of its blocks.

    Attributes
    ----------
    scales : (n_blocks,) int64, of each block with weights of its own, in order
    """

    scales: Tensor

    def hold_scales(self) -> None:
        """Add ``scales`` to the state; to be called when all blocks are there."""
        self.register_buffer(
            "scales", torch.tensor([block.neuron.w_scale for block in self._weighted()]))

    def fit_scales(self) -> None:
        """Choose the largest scales at which no weight is clipped; after training or loading."""
        self.scales = torch.tensor([fitting_scale(block) for block in self._weighted()])
        self._apply_scales()

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Load weights and scales."""
        problems = super().load_state_dict(state_dict, strict, assign)
        self._apply_scales()
        return problems

    def _weighted(self) -> list[Any]:
        return [module for module in self.modules()
                if hasattr(module, "synapse") and not hasattr(module, "has_fixed_weights")]

    def _apply_scales(self) -> None:
        for block, scale in zip(self._weighted(), self.scales.tolist(), strict=True):
            neuron = block.neuron
            neuron.w_scale, neuron.s_scale = scale, scale * 64
            neuron.threshold_eps = 0.01 / neuron.s_scale


def fitting_scale(block: Any) -> int:
    """Return the largest power of two at which no weight, its norm folded in, leaves 8 bits."""
    norm, weight = block.neuron.norm, block.synapse.weight.detach().flatten(1)
    if isinstance(norm, FrameNorm) and norm.running_var is not None:
        factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        weight = weight * factor.detach()[:, None]
    largest, threshold = float(weight.abs().max()), max(block.neuron.threshold, 1.0)
    scale = 2048
    while scale > 1 and (
            largest * scale > _LARGEST_WEIGHT or threshold * scale > _MAX_THRESHOLD):
        scale //= 2
    return scale
