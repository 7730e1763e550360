"""Graded relays of a module, which SLAYER has none of: those of :mod:`models.deep.blocks`.

In: a relay and the shape of its input. Out: its layer, and weights given back to it.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import Any

import numpy as np
import torch

from pipeline.errors import UnsupportedLayerError
from pipeline.network import ConvGeometry, Layer, Shape, Synapse
from pipeline.neuron import RelayNeuron

# slayer prints advice about packages this project does not use, and warns of torch's plans
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), \
        warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from models.deep.relays import CurrentRelay, GradedRelay, GradedSum


def is_relay(module: Any) -> bool:
    """Return whether a module is a layer of graded relays."""
    return isinstance(module, (CurrentRelay, GradedRelay, GradedSum))


def message_scale(module: Any) -> int:
    """Return what a message of 1 on the chip is multiplied by to be one of the module."""
    return getattr(module, "w_scale", 1)


def to_relay(
    name: str, block: Any, sources: tuple[str, ...], in_shape: Shape, shape: Shape
) -> Layer:
    """Return the layer of graded relays that a block is.

    Parameters
    ----------
    sources : of the block's arguments, in order
    in_shape, shape : of the first argument and of the output, without batch and time

    Raises
    ------
    UnsupportedLayerError
        If its input is no feature map.
    """
    if len(in_shape) != 3:
        raise UnsupportedLayerError(
            f"layer '{name}': graded relays of shape {in_shape}; supported are feature maps "
            "(c, y, x)"
        )
    if isinstance(block, CurrentRelay):
        groups = [_convolution(name, block, sources[0])]
        if len(sources) > 1:
            groups.append(_ones(f"{name}.stream", sources[1], shape[0], (1, 1)))
        return Layer(name, tuple(groups), RelayNeuron(), shape)
    kernel = in_shape[1:] if isinstance(block, GradedSum) else (1, 1)
    n_steps = 1 if isinstance(block, GradedSum) else block.n_steps
    delay = (n_steps - 1,) * shape[0] if n_steps > 1 else None
    group = _ones(name, sources[0], shape[0], (kernel[0], kernel[1]))
    return Layer(name, (group,), RelayNeuron(), shape, axonal_delay=delay)


def set_relay(block: Any, layer: Layer) -> None:
    """Put the weights of a layer into the block it came from; most relays have none."""
    if isinstance(block, CurrentRelay):
        weight = torch.from_numpy(layer.synapses[0].weight.astype(np.float32) / block.w_scale)
        with torch.no_grad():
            block.synapse.weight.copy_(weight[..., None])


def _convolution(name: str, block: Any, source: str) -> Synapse:
    weight = block.synapse.weight.detach()[..., 0].double().numpy() * block.w_scale
    if np.array_equal(weight, np.rint(weight)):
        weight = weight.astype(np.int32)
    padding = block.synapse.padding
    return Synapse(name, source, weight, ConvGeometry(padding=(int(padding[0]), int(padding[1]))))


def _ones(name: str, source: str, n_channels: int, kernel: tuple[int, int]) -> Synapse:
    weight = np.ones((n_channels, 1, *kernel), dtype=np.int32)
    return Synapse(name, source, weight, ConvGeometry(groups=n_channels), 8, is_fixed=True)
