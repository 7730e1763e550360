"""How many units of the chip a weight of 1 is, for each block of a network, saved with its weights.

SLAYER's default, 64, tells weights of 8 bits apart by 1/32: too coarse for wide layers, whose
weights are small. Another scale, a power of two, changes nothing of what a block computes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from models.deep.blocks import FrameNorm, Offset, StreamReader, cuba
from models.deep.relays import CurrentRelay, CurrentsLater

_MAX_THRESHOLD = 4095  # units; above it SLAYER compares no longer exactly
_MAX_BIAS = 4095  # units
_LARGEST_MESSAGE = (1 << 17) - 1  # units; 64 times as much is what a current of 24 bits holds
_MAX_SCALE, _MAX_READOUT_SCALE = 2048, 1 << 17
_LARGEST_WEIGHT = 254  # units of 8 bits with a sign, even


class ScaledNet(torch.nn.Module):
    """A network that knows the scales of its blocks. All relays of currents are of one stream.

    Attributes
    ----------
    scales : (n_blocks,) int64, of each block with weights of its own, in order
    """

    scales: Tensor

    def hold_scales(self) -> None:
        """Add ``scales`` to the state; to be called when all blocks are there."""
        self.register_buffer("scales", torch.tensor([
            (block if isinstance(block, CurrentRelay) else block.neuron).w_scale
            for block in self._weighted()]))

    def fit_scales(self) -> None:
        """Choose the largest scales at which no weight is clipped; after training or loading."""
        of_stream = self._fitting_stream_scale()
        self.scales = torch.tensor([
            of_stream if isinstance(block, CurrentRelay) else fitting_scale(block)
            for block in self._weighted()])
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

    def _fitting_stream_scale(self) -> int:
        """Return the largest scale that fits all that a stream adds up, and all who read it."""
        parts = [module for module in self.modules()
                 if isinstance(module, (CurrentRelay, StreamReader))]
        relays = [part for part in parts if isinstance(part, CurrentRelay)]
        if not relays:
            return 1
        worst = max(
            float(torch.stack([
                (sign * relay.synapse.weight.detach()).clamp(min=0).flatten(1).sum(1)
                for relay in relays]).sum(0).max())
            for sign in (1, -1))
        return min(*(fitting_scale(part) for part in parts),
                   largest_scale([(worst, _LARGEST_MESSAGE)], _MAX_SCALE))

    def _apply_scales(self) -> None:
        of_stream = None
        for block, scale in zip(self._weighted(), self.scales.tolist(), strict=True):
            if isinstance(block, CurrentRelay):
                block.w_scale = of_stream = scale
            else:
                _rescale(block.neuron, scale)
        for module in self.modules():
            if isinstance(module, StreamReader) and of_stream is not None:
                _rescale(module.neuron, of_stream)
            elif isinstance(module, CurrentsLater) and of_stream is not None:
                module.w_scale = of_stream


def _rescale(neuron: Any, scale: int) -> None:
    neuron.w_scale, neuron.s_scale = scale, scale * 64
    neuron.threshold_eps = 0.01 / neuron.s_scale


def fitting_scale(block: Any) -> int:
    """Return the largest power of two at which nothing leaves its range.

    Weights, their norm folded in, have 8 bits; thresholds and biases have limits too.
    Weights of 1 that read messages are of no scale.
    """
    norm = None if isinstance(block, CurrentRelay) else block.neuron.norm
    weight, bias = block.synapse.weight.detach().flatten(1), torch.zeros(1)
    if isinstance(norm, Offset):
        bias = norm.bias.detach()
    elif isinstance(norm, FrameNorm) and norm.running_var is not None:
        assert norm.running_mean is not None
        factor = (norm.weight / torch.sqrt(norm.running_var + norm.eps)).detach()
        weight = weight * factor[:, None]
        bias = norm.bias.detach() - norm.running_mean * factor
    limits = [(float(bias.abs().max()), _MAX_BIAS)]
    if not isinstance(block, StreamReader):
        limits.append((float(weight.abs().max()), _LARGEST_WEIGHT))
    is_read = isinstance(block, cuba.Affine)  # it has no threshold
    if not is_read and not isinstance(block, CurrentRelay):
        limits.append((max(block.neuron.threshold, 1.0), _MAX_THRESHOLD))
    return largest_scale(limits, _MAX_READOUT_SCALE if is_read else _MAX_SCALE)


def largest_scale(limits: list[tuple[float, int]], scale: int) -> int:
    """Return the largest power of two, up to ``scale``, at which each value is within its limit."""
    while scale > 1 and any(value * scale > limit for value, limit in limits):
        scale //= 2
    return scale
