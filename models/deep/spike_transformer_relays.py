"""Spike-driven transformer (Yao et al. 2023, arXiv 2307.01694) on cores with graded messages.

The stream of membrane currents is what is published: one relay at every addition sends it on as a
graded message (Loihi 2 has them, Loihi 1 does not), and no synapse is there twice, as it is in
:mod:`models.deep.spike_transformer`. The last sum over tokens is one of graded relays too.

Trained here, every neuron takes a step and the branches wait for nothing: all spikes are those of
:class:`~models.deep.spike_transformer_published.PublishedSpikeTransformer`, as many steps later as
there are relays before them. A network that was trained elsewhere took no steps: with
``is_balanced`` the stream waits for its branches, the queries wait for their mask, and biases begin
with the input.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from models.deep.blocks import And, StreamReader, leaky, readout, spiking_conv
from models.deep.relays import CurrentRelay, CurrentsLater, GradedSum
from models.deep.scales import ScaledNet
from models.deep.spike_transformer import TokenSum, patch_splitting, token_map
from models.deep.spike_transformer_published import MASK_THRESHOLD
from models.deep.spike_transformer_weights import LoadsPublished, relayed

N_BLOCK_RELAYS, N_BLOCK_STEPS = 2, 9  # of one block, one after the other


class RelayedSpikeTransformer(LoadsPublished, ScaledNet):
    """``(n, c, y, x, t)`` in, voltages ``(n, n_classes, t)`` out; their sum over t decides.

    Takes the arguments of :class:`~models.deep.spike_transformer.SpikeTransformer`.

    Parameters
    ----------
    is_balanced : compute what a published network computes that takes no step per layer: in T
        + ``depth`` steps all spikes and voltages of its T steps, each layer's in T steps of its own

    Attributes
    ----------
    depth : steps after which the input reaches the output by the longest way
    """

    def __init__(
        self, n_channels: int = 512, n_blocks: int = 8, *, mlp_ratio: float = 4.0,
        input_shape: Sequence[int] = (3, 224, 224), n_classes: int = 1000,
        pooling: Sequence[bool] = (True, True, True, True), tau: float = 2.0,
        frame_scale: int = 1, is_balanced: bool = False,
    ) -> None:
        super().__init__()
        self.published_arguments = {
            "n_channels": n_channels, "n_blocks": n_blocks, "mlp_ratio": mlp_ratio,
            "input_shape": input_shape, "n_classes": n_classes, "pooling": pooling, "tau": tau}
        self.frame_scale = frame_scale
        neuron, hidden = leaky(tau), round(mlp_ratio * n_channels)
        n_tokens = token_map(input_shape, pooling)
        self.splitting = patch_splitting(
            input_shape[0], n_channels, pooling, neuron, is_balanced=is_balanced)
        self.tokens = CurrentRelay(n_channels // 2, n_channels, 3)
        # relays before a reader, or all steps before it
        step = len(self.splitting) + 1 if is_balanced else 1
        self.position = StreamReader(n_channels, neuron, step)
        self.waiting = CurrentsLater(1) if is_balanced else torch.nn.Identity()
        self.positioned = CurrentRelay(n_channels, n_channels, 3)
        step += 2 if is_balanced else 1
        blocks = []
        for _ in range(n_blocks):
            blocks.append(RelayedBlock(n_channels, hidden, n_tokens, tau, step, is_balanced))
            step += N_BLOCK_STEPS if is_balanced else N_BLOCK_RELAYS
        self.blocks = torch.nn.ModuleList(blocks)
        self.last = StreamReader(n_channels, neuron, step)
        self.sum = GradedSum()
        step += 2 if is_balanced else 1
        self.head = readout(n_channels, n_classes, step)
        self.depth = len(self.splitting) + 5 + N_BLOCK_STEPS * n_blocks
        self.hold_scales()

    def forward(self, spikes: Tensor) -> Tensor:
        """Return voltages (n, n_classes, t) for spikes or frames (n, c, y, x, t)."""
        for part in self.splitting:
            spikes = part(spikes)
        currents = self.tokens(spikes)
        currents = self.positioned(self.position(currents), self.waiting(currents))
        for block in self.blocks:
            currents = block(currents)
        voltages: Tensor = self.head(self.sum(self.last(currents)).flatten(1, -2))
        return voltages

    def take(self, published: Any) -> None:
        """Take the weights of a published network."""
        relayed(published, self)


class RelayedBlock(torch.nn.Module):
    """Self-attention and perceptron, each added to currents (n, n_channels, rows, columns, t).

    Parameters
    ----------
    n_tokens : (rows, columns)
    first_step : in which biases of the block begin
    is_balanced : whether currents wait for what is added to them
    """

    def __init__(
        self, n_channels: int, hidden: int, n_tokens: tuple[int, int], tau: float, first_step: int,
        is_balanced: bool,
    ) -> None:
        super().__init__()
        neuron = leaky(tau)
        # steps from the currents to queries, to the perceptron, and to its second layer
        to_query, to_fc1, to_fc2 = (1, 6, 7) if is_balanced else (0, 1, 1)
        self.shortcut = StreamReader(n_channels, neuron, first_step)
        self.query, self.key, self.value = (
            spiking_conv(n_channels, n_channels, 1, neuron=neuron, first_step=first_step + to_query,
                         waits=waits if is_balanced else 0)
            for waits in (2, 0, 0))  # queries wait until K AND V are summed over tokens
        self.key_and_value, self.masked = And(n_channels), And(n_channels)
        self.mask = TokenSum(n_channels, n_tokens, leaky(tau, MASK_THRESHOLD))
        self.attended = CurrentRelay(n_channels, n_channels, 1)
        self.fc1 = StreamReader(n_channels, neuron, first_step + to_fc1)
        self.fc2 = spiking_conv(
            n_channels, hidden, 1, neuron=neuron, first_step=first_step + to_fc2)
        self.perceived = CurrentRelay(hidden, n_channels, 1)
        self.until_attended, self.until_perceived = (
            CurrentsLater(n) if is_balanced else torch.nn.Identity() for n in (5, 2))

    def forward(self, currents: Tensor) -> Tensor:
        """Return currents of the same shape."""
        spikes = self.shortcut(currents)
        mask = self.mask(self.key_and_value(self.key(spikes) + self.value(spikes)))
        currents = self.attended(
            self.masked(self.query(spikes) + mask), self.until_attended(currents))
        perceived: Tensor = self.perceived(
            self.fc2(self.fc1(currents)), self.until_perceived(currents))
        return perceived
