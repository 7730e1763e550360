"""Spike-driven transformer (Yao et al. 2023, arXiv 2307.01694) as a SLAYER module for cores.

Its shortcuts pass membrane currents on, and cores pass spikes only: here every neuron that reads
the stream of currents receives all spike trains that make it up, through its own copy of their
synapses. The copies begin alike; pruned and quantized, each is its layer's own. Self-attention is
made of gates: K and V meet in an AND, whose sum over all tokens drives one neuron a token, and the
AND with Q is what the mask lets through. :mod:`models.deep.spike_transformer_published` is the
network as published, which trains in a fraction of the time and whose state dict loads here, and
:mod:`models.deep.spike_transformer_relays` the one without copies, for chips with graded messages.

Where this departs from the paper: the last pooling of the patch splitting takes the maximum of
currents there, and of the spikes before them here; the last neurons fire before the mean over
tokens, not after it; every layer takes a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from models.deep.blocks import (
    And,
    FrameNorm,
    OrPool,
    cuba,
    hold_ones,
    leaky,
    readout,
    spiking_conv,
)
from models.deep.scales import ScaledNet
from models.deep.spike_transformer_published import MASK_THRESHOLD
from models.deep.spike_transformer_weights import LoadsPublished, copied

Branch = tuple[int, int]  # channels and kernel of what convolves a train into the stream


class SpikeTransformer(LoadsPublished, ScaledNet):
    """``(n, c, y, x, t)`` in, voltages ``(n, n_classes, t)`` out; their sum over t decides.

    Parameters
    ----------
    n_channels : embedding dimension, a multiple of 8
    n_blocks : blocks of self-attention and perceptron
    mlp_ratio : hidden channels of a perceptron, in embedding dimensions
    input_shape : (c, y, x)
    pooling : which of the four stages of the patch splitting halve the map
    tau : of leaky neurons, steps
    frame_scale : value that stands for 1 in frames, which come as integers; published weights of
        the first convolution are divided by it
    """

    def __init__(
        self, n_channels: int = 512, n_blocks: int = 8, *, mlp_ratio: float = 4.0,
        input_shape: Sequence[int] = (3, 224, 224), n_classes: int = 1000,
        pooling: Sequence[bool] = (True, True, True, True), tau: float = 2.0,
        frame_scale: int = 1,
    ) -> None:
        super().__init__()
        self.published_arguments = {
            "n_channels": n_channels, "n_blocks": n_blocks, "mlp_ratio": mlp_ratio,
            "input_shape": input_shape, "n_classes": n_classes, "pooling": pooling, "tau": tau}
        self.frame_scale = frame_scale
        neuron, hidden = leaky(tau), round(mlp_ratio * n_channels)
        n_tokens = token_map(input_shape, pooling)
        self.splitting = patch_splitting(input_shape[0], n_channels, pooling, neuron)
        self.position = spiking_conv(n_channels // 2, n_channels, 3, neuron=neuron)
        branches: list[Branch] = [(n_channels // 2, 3), (n_channels, 3)]
        blocks = []
        for _ in range(n_blocks):
            blocks.append(Block(branches, n_channels, hidden, n_tokens, tau))
            branches = [*branches, (n_channels, 1), (hidden, 1)]
        self.blocks = torch.nn.ModuleList(blocks)
        self.last = StreamNeurons(branches, n_channels, neuron)
        self.head = readout(n_channels * n_tokens[0] * n_tokens[1], n_classes)
        self.hold_scales()

    def forward(self, spikes: Tensor) -> Tensor:
        """Return voltages (n, n_classes, t) for spikes or frames (n, c, y, x, t)."""
        for part in self.splitting:
            spikes = part(spikes)
        trains = [spikes, self.position(spikes)]
        for block in self.blocks:
            trains = block(trains)
        voltages: Tensor = self.head(self.last(torch.cat(trains, 1)).flatten(1, -2))
        return voltages

    def take(self, published: Any) -> None:
        """Take the weights of a published network."""
        copied(published, self)


class Block(torch.nn.Module):
    """Self-attention and perceptron: trains that make up the stream, to two trains more.

    Parameters
    ----------
    branches : of the stream that reaches the block
    n_tokens : (rows, columns)
    """

    def __init__(
        self, branches: Sequence[Branch], n_channels: int, hidden: int,
        n_tokens: tuple[int, int], tau: float,
    ) -> None:
        super().__init__()
        neuron = leaky(tau)
        self.shortcut = StreamNeurons(branches, n_channels, neuron)
        self.query, self.key, self.value = (
            spiking_conv(n_channels, n_channels, 1, neuron=neuron) for _ in range(3))
        self.key_and_value, self.masked = And(n_channels), And(n_channels)
        self.mask = TokenSum(n_channels, n_tokens, leaky(tau, MASK_THRESHOLD))
        self.fc1 = StreamNeurons([*branches, (n_channels, 1)], n_channels, neuron)
        self.fc2 = spiking_conv(n_channels, hidden, 1, neuron=neuron)

    def forward(self, trains: list[Tensor]) -> list[Tensor]:
        """Return the trains, and those of the masked queries and of the hidden neurons."""
        spikes = self.shortcut(torch.cat(trains, 1))
        mask = self.mask(self.key_and_value(self.key(spikes) + self.value(spikes)))
        trains = [*trains, self.masked(self.query(spikes) + mask)]
        return [*trains, self.fc2(self.fc1(torch.cat(trains, 1)))]


class StreamNeurons(cuba.Conv):  # type: ignore[misc]
    """Neurons that read the stream: ``(n, channels of all trains, y, x, t)`` in, spikes out.

    One convolution of the joined trains. Its kernel is the largest there is; of branches with a
    smaller one only the middle counts, as ``mask`` says.
    """

    mask_is_shape = True  # for ingest: what it excludes is no weight

    def __init__(
        self, branches: Sequence[Branch], n_channels: int, neuron: dict[str, Any]
    ) -> None:
        kernel = max(k for _, k in branches)
        super().__init__(
            {**neuron, "norm": lambda: FrameNorm(n_channels)}, sum(c for c, _ in branches),
            n_channels, kernel, 1, kernel // 2, pre_hook_fx=None)
        self.register_buffer("mask", torch.cat([
            _middle(torch.ones(n_channels, c, k, k), kernel) for c, k in branches
        ], 1)[..., None], persistent=False)
        torch.nn.init.kaiming_normal_(self.synapse.weight, mode="fan_in", nonlinearity="relu")
        self.hold_mask()

    def hold_mask(self) -> None:
        """Set to zero what is no weight."""
        with torch.no_grad():
            self.synapse.weight *= self.mask

    def copy(self, weights: Sequence[Tensor], bias: Tensor) -> None:
        """Take the convolutions (n_channels, c, k, k) of the branches, and the bias of their sum.

        A bias comes as the offset of a normalization that changes nothing else.
        """
        kernel, norm = self.synapse.weight.shape[2], self.neuron.norm
        joined = torch.cat([_middle(weight, kernel) for weight in weights], 1)
        with torch.no_grad():
            self.synapse.weight.copy_(joined[..., None])
            norm.running_mean.zero_()
            norm.running_var.fill_(1 - norm.eps)
            norm.weight.fill_(1)
            norm.bias.copy_(bias)


class TokenSum(cuba.Conv):  # type: ignore[misc]
    """One neuron a token that adds up the spikes of its channel at all tokens; binary in and out.

    A kernel with a weight of 1 for every offset there is between two tokens.
    """

    has_fixed_weights = True  # for ingest

    def __init__(
        self, n_channels: int, n_tokens: tuple[int, int], neuron: dict[str, Any]
    ) -> None:
        super().__init__(
            neuron, n_channels, n_channels, tuple(2 * n - 1 for n in n_tokens), 1,
            tuple(n - 1 for n in n_tokens), groups=n_channels)
        hold_ones(self)


def patch_splitting(
    c_in: int, n_channels: int, pooling: Sequence[bool], neuron: dict[str, Any], *,
    is_balanced: bool = False,
) -> torch.nn.ModuleList:
    """Return what splits frames into patches, spikes (n, n_channels / 2, y, x, t) in the end.

    Parameters
    ----------
    is_balanced : whether normalization begins with the input
    """
    widths = [c_in, n_channels // 8, n_channels // 4, n_channels // 2]
    parts = list[Any]()
    for (before, after), is_pooled in zip(pairwise(widths), pooling, strict=False):
        first_step = len(parts) if is_balanced else 0
        parts.append(spiking_conv(before, after, 3, neuron=neuron, first_step=first_step))
        parts += [OrPool(after, 3, 2, padding=1)] * is_pooled
    if pooling[3]:
        parts.append(OrPool(widths[-1], 3, 2, padding=1))
    return torch.nn.ModuleList(parts)


def token_map(input_shape: Sequence[int], pooling: Sequence[bool]) -> tuple[int, int]:
    """Return rows and columns of tokens; every pooling halves the map, rounding up."""
    factor = 2 ** sum(map(bool, pooling))
    return -(-input_shape[1] // factor), -(-input_shape[2] // factor)


def _middle(weight: Tensor, kernel: int) -> Tensor:
    """Return a kernel in the middle of a larger one."""
    margin = (kernel - weight.shape[-1]) // 2
    return torch.nn.functional.pad(weight, [margin] * 4)
