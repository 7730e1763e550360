"""Convolutions with pooling, then dense layers: the deep networks without shortcuts.

4Conv2FC for CIFAR10-DVS and 5Conv2FC for DVS128-Gesture, as in Fang et al. 2021 (arXiv 2007.05785),
and VGG16 (Simonyan and Zisserman 2015) with spiking neurons for CIFAR-100. Every layer's
normalization and bias begin with the step in which the input arrives: T steps of input, and as many
more as the network is deep, give what the published network, without steps between layers, gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from models.deep.blocks import Offset, OrPool, cuba, leaky, readout, spiking_conv
from models.deep.scales import ScaledNet

POOL = 0  # in a plan, in place of a number of channels
VGG16 = (64, 64, POOL, 128, 128, POOL, 256, 256, 256, POOL, 512, 512, 512, POOL,
         512, 512, 512, POOL)


class ConvNet(ScaledNet):
    """``(n, c, y, x, t)`` in; spikes or voltages ``(n, n_classes, t)`` out.

    Parameters
    ----------
    plan : channels of each 3x3 convolution; 0 for 2x2 OR pooling
    hidden : neurons of each dense layer before the output
    n_votes : output neurons of a class, whose spikes are averaged; None for a read-out by voltage
    input_shape : (c, y, x); halved, rounding down, by every pooling
    tau : of leaky neurons, steps; they lose 1 / tau of their voltage in a step

    Attributes
    ----------
    depth : steps by which the output is later than the input
    """

    def __init__(
        self, plan: Sequence[int], hidden: Sequence[int], n_classes: int, *,
        input_shape: Sequence[int], n_votes: int | None = None, tau: float = 2.0,
    ) -> None:
        super().__init__()
        neuron, blocks = leaky(tau), list[Any]()
        n_channels, height, width = input_shape
        for channels in plan:
            if channels == POOL:
                blocks.append(OrPool(n_channels, 2))
                height, width = height // 2, width // 2
                continue
            blocks.append(spiking_conv(
                n_channels, channels, 3, neuron=neuron, first_step=len(blocks)))
            n_channels = channels
        self.convs = torch.nn.ModuleList(blocks)
        sizes = [n_channels * height * width, *hidden]
        if n_votes is not None:
            sizes.append(n_classes * n_votes)
        denses = [
            cuba.Dense({**neuron, "norm": partial(Offset, n_out, len(blocks) + k)}, n_in, n_out,
                       pre_hook_fx=None)
            for k, (n_in, n_out) in enumerate(zip(sizes, sizes[1:], strict=False))
        ]
        self.depth = len(blocks) + len(denses)
        if n_votes is None:
            denses.append(readout(sizes[-1], n_classes, self.depth))
        else:
            denses.append(cuba.Average(n_classes))
        self.denses = torch.nn.ModuleList(denses)
        self.hold_scales()

    def forward(self, spikes: Tensor) -> Tensor:
        """Return the output of every step for spikes or frames (n, c, y, x, t)."""
        for block in self.convs:
            spikes = block(spikes)
        spikes = spikes.flatten(1, -2)
        for block in self.denses:
            spikes = block(spikes)
        return spikes


class DvsGesture(ConvNet):
    """5Conv2FC: ``(n, 2, 128, 128, t)`` events in, spikes of 11 gestures out.

    Shapes after the convolutions and their pooling: (128, 64, 64), (128, 32, 32), (128, 16, 16),
    (128, 8, 8), (128, 4, 4); then 512 and 110 neurons, ten to a gesture.
    """

    def __init__(self, n_channels: int = 128, n_hidden: int = 512, **options: Any) -> None:
        options = {"input_shape": (2, 128, 128), "n_votes": 10, **options}
        super().__init__((n_channels, POOL) * 5, (n_hidden,), 11, **options)


class CifarDvs(ConvNet):
    """4Conv2FC: ``(n, 2, 128, 128, t)`` events in, spikes of 10 classes out.

    Shapes after the convolutions and their pooling: (128, 64, 64), (128, 32, 32), (128, 16, 16),
    (128, 8, 8); then 512 and 100 neurons, ten to a class.
    """

    def __init__(self, n_channels: int = 128, n_hidden: int = 512, **options: Any) -> None:
        options = {"input_shape": (2, 128, 128), "n_votes": 10, **options}
        super().__init__((n_channels, POOL) * 4, (n_hidden,), 10, **options)


class Vgg16(ConvNet):
    """13 convolutions and a dense output: ``(n, 3, 32, 32, t)`` frames in, 100 voltages out.

    Shapes after each pooling: (64, 16, 16), (128, 8, 8), (256, 4, 4), (512, 2, 2), (512, 1, 1).
    ``hidden`` (4096, 4096) gives the dense layers of the first VGG16, for 224 x 224 images.
    """

    def __init__(
        self, n_classes: int = 100, hidden: Sequence[int] = (), width_frac: float = 1.0,
        **options: Any,
    ) -> None:
        plan = [round(channels * width_frac) for channels in VGG16]
        super().__init__(plan, hidden, n_classes, **{"input_shape": (3, 32, 32), **options})
