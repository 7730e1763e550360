"""Graded relays of a module, which SLAYER has none of: those of :mod:`models.deep.blocks`.

In: a :class:`~models.deep.blocks.GradedRelay` and the shape of its input. Out: its layer.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import Any

import numpy as np

from pipeline.errors import UnsupportedLayerError
from pipeline.network import ConvGeometry, Layer, Shape, Synapse
from pipeline.neuron import RelayNeuron

# slayer prints advice about packages this project does not use, and warns of torch's plans
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), \
        warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from models.deep.blocks import GradedRelay


def is_relay(module: Any) -> bool:
    """Return whether a module is a graded relay."""
    return isinstance(module, GradedRelay)


def to_relay(name: str, block: Any, source: str, shape: Shape) -> Layer:
    """Return the layer of graded relays that a block is.

    Raises
    ------
    UnsupportedLayerError
        If its input is no feature map.
    """
    if len(shape) != 3:
        raise UnsupportedLayerError(
            f"layer '{name}': graded relays of shape {shape}; supported are feature maps (c, y, x)"
        )
    weight = np.ones((shape[0], 1, 1, 1), dtype=np.int32)
    group = Synapse(name, source, weight, ConvGeometry(groups=shape[0]), 8, is_fixed=True)
    delay = (block.n_steps - 1,) * shape[0] if block.n_steps > 1 else None
    return Layer(name, (group,), RelayNeuron(), shape, axonal_delay=delay)
