"""Normalization folded into weights and biases, and taken out of a module again.

In: a layer and its SLAYER neuron. Out: the layer with the factor in its weights and the offset in
its biases; or a normalization left with an offset only. Torch's batch norm is one more kind.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.network import Layer
from pipeline.neuron import CubaNeuron, SigmaDeltaNeuron

# slayer prints advice about packages this project does not use, and warns of torch's plans
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), \
        warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from lava.lib.dl.slayer.neuron import norm as slayer_norm

    from models.deep.blocks import Offset

FOLDED = (
    slayer_norm.MeanOnlyBatchNorm, slayer_norm.WgtScaleBatchNorm,
    torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.BatchNorm3d, Offset,
)


def folded(layer: Layer, neuron: Any) -> Layer:
    """Return the layer with its normalization in weights and biases.

    It acts on the current, or on what sigma-delta neurons decode, which are linear in the weights,
    and is not fed back: a factor goes to the weights, an offset to what follows at every step.
    """
    factor, offset = _normalization(neuron)
    # what `unfold` leaves of a factor is the rounding of its float32 statistics
    factor = np.where(np.abs(factor - 1) < 1e-6, 1.0, factor)
    bias = np.broadcast_to(offset * neuron.w_scale, layer.n_channels)
    (synapse,), neuron_of = layer.synapses, layer.neuron
    assert isinstance(neuron_of, (CubaNeuron, SigmaDeltaNeuron))
    weight = synapse.weight
    if (factor != 1).any():
        per_row = factor.reshape(-1, *[1] * (weight.ndim - 1))
        weight = weight * per_row
        if np.array_equal(weight, np.rint(weight)):
            weight = np.rint(weight).astype(np.int32)
    biased = replace(neuron_of, bias=tuple(bias.tolist()))
    if isinstance(biased, CubaNeuron):
        biased = replace(biased, bias_step=getattr(neuron.norm, "first_step", 0))
    return replace(layer, synapses=(replace(synapse, weight=weight),), neuron=biased)


def _normalization(neuron: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return factor and offset of each channel, (1,) or (channels,), in SLAYER's units."""
    norm = neuron.norm
    with torch.no_grad():
        if isinstance(norm, slayer_norm.MeanOnlyBatchNorm):
            return np.ones(1), -norm.pre_hook_fx(norm.running_mean).double().numpy()
        if isinstance(norm, slayer_norm.WgtScaleBatchNorm):
            factor = 1 / norm.std(norm.running_var).double().numpy()
            return factor, -norm.pre_hook_fx(norm.running_mean).double().numpy() * factor
        if isinstance(norm, Offset):
            return np.ones(1), norm.bias.double().numpy()
        factor = 1 / torch.sqrt(norm.running_var.double() + norm.eps)
        offset = -norm.running_mean.double() * factor
        if norm.affine:
            factor, offset = factor * norm.weight.double(), offset * norm.weight + norm.bias
        return factor.numpy(), offset.double().numpy()


def unfold(norm: Any, offset: NDArray[np.float64]) -> None:
    """Give a normalization the factor 1 and an offset, (channels,), which its weights now have."""
    value = torch.from_numpy(offset).float()
    with torch.no_grad():
        if isinstance(norm, slayer_norm.MeanOnlyBatchNorm):
            norm.running_mean.copy_(-value)
        elif isinstance(norm, slayer_norm.WgtScaleBatchNorm):
            norm.running_mean.copy_(-value)
            norm.running_var.fill_(1 - norm.eps)
        elif isinstance(norm, Offset):
            norm.bias.copy_(value)
        else:
            norm.running_mean.copy_(torch.zeros_like(value) if norm.affine else -value)
            norm.running_var.fill_(1 - norm.eps)
            if norm.affine:
                norm.weight.fill_(1)
                norm.bias.copy_(value)
