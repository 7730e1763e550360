"""The spike-driven transformer as published, under its authors' names, to train and to load.

The names are those of BICLab/Spike-Driven-Transformer (``patch_embed.proj_conv3.weight``,
``block.0.attn.q_conv.weight``, ``block.0.mlp.fc1_bn.bias``, ``head.weight``), so that a state dict
of theirs loads as it is. The stream of membrane currents is computed once and added to. Every
neuron takes a step, as in :class:`~models.deep.spike_transformer.SpikeTransformer`, whose weights
:mod:`models.deep.spike_transformer_weights` makes of these; or none, as its authors have it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lava.lib.dl import slayer
from torch import Tensor

from models.deep.blocks import leaky
from models.deep.leaky_integrator import LeakyIntegrator
from models.deep.published import unwrapped
from models.deep.relays import later
from pipeline.errors import CheckpointError

MASK_THRESHOLD = 0.5  # of the neurons that sum K and V over tokens
_N_NAMED = 3  # names in a message
_UNUSED = ("attn.talking_heads.weight",)  # theirs holds it and does not use it


class PatchEmbed(torch.nn.Module):
    """Patch splitting and position: (n, c, y, x, t) to currents (n, n_channels, rows, cols, t)."""

    n_steps = 1  # that pooling takes

    def __init__(self, c_in: int, n_channels: int, pooling: Sequence[bool], tau: float) -> None:
        super().__init__()
        widths = [c_in, n_channels // 8, n_channels // 4, n_channels // 2, n_channels]
        for index, suffix in enumerate(("", "1", "2", "3")):
            conv = torch.nn.Conv2d(widths[index], widths[index + 1], 3, padding=1, bias=False)
            setattr(self, f"proj_conv{suffix}", conv)
            setattr(self, f"proj_bn{suffix}", torch.nn.BatchNorm2d(widths[index + 1]))
            setattr(self, f"proj_lif{suffix}", Spikes(tau))
        self.rpe_conv = torch.nn.Conv2d(n_channels, n_channels, 3, padding=1, bias=False)
        self.rpe_bn = torch.nn.BatchNorm2d(n_channels)
        self._pooling = tuple(pooling)

    def forward(self, spikes: Tensor) -> Tensor:
        """Return currents."""
        for index, suffix in enumerate(("", "1", "2")):
            spikes = getattr(self, f"proj_lif{suffix}")(
                normed(getattr(self, f"proj_conv{suffix}"), getattr(self, f"proj_bn{suffix}"),
                       spikes))
            spikes = pooled(spikes, self.n_steps) if self._pooling[index] else spikes
        spikes = pooled(spikes, self.n_steps) if self._pooling[3] else spikes
        currents = normed(self.proj_conv3, self.proj_bn3, spikes)
        position: Tensor = normed(self.rpe_conv, self.rpe_bn, self.proj_lif3(currents))
        return currents + position


class Attention(torch.nn.Module):
    """Spike-driven self-attention: what it adds to currents (n, n_channels, rows, cols, t)."""

    n_steps = 1  # that a gate takes

    def __init__(self, n_channels: int, tau: float) -> None:
        super().__init__()
        for name in ("q", "k", "v", "proj"):
            conv = torch.nn.Conv2d(n_channels, n_channels, 1, bias=name == "proj")
            setattr(self, f"{name}_conv", conv)
            setattr(self, f"{name}_bn", torch.nn.BatchNorm2d(n_channels))
        self.shortcut_lif, self.q_lif, self.k_lif, self.v_lif = (Spikes(tau) for _ in range(4))
        self.talking_heads_lif = Spikes(tau, MASK_THRESHOLD)

    def forward(self, currents: Tensor) -> Tensor:
        """Return currents to add."""
        spikes = self.shortcut_lif(currents)
        query, key, value = (
            getattr(self, f"{name}_lif")(
                normed(getattr(self, f"{name}_conv"), getattr(self, f"{name}_bn"), spikes))
            for name in ("q", "k", "v"))
        both = later(key * value, self.n_steps).sum((2, 3), keepdim=True)
        attended = later(query * self.talking_heads_lif(both), self.n_steps)
        return normed(self.proj_conv, self.proj_bn, attended)


class Perceptron(torch.nn.Module):
    """Two layers: what they add to currents (n, n_channels, rows, cols, t)."""

    def __init__(self, n_channels: int, hidden: int, tau: float) -> None:
        super().__init__()
        self.fc1_conv = torch.nn.Conv2d(n_channels, hidden, 1)
        self.fc2_conv = torch.nn.Conv2d(hidden, n_channels, 1)
        self.fc1_bn, self.fc2_bn = torch.nn.BatchNorm2d(hidden), torch.nn.BatchNorm2d(n_channels)
        self.fc1_lif, self.fc2_lif = Spikes(tau), Spikes(tau)

    def forward(self, currents: Tensor) -> Tensor:
        """Return currents to add."""
        hidden = self.fc2_lif(normed(self.fc1_conv, self.fc1_bn, self.fc1_lif(currents)))
        return normed(self.fc2_conv, self.fc2_bn, hidden)


class EncoderBlock(torch.nn.Module):
    """Attention, then perceptron, each added to the currents."""

    def __init__(self, n_channels: int, hidden: int, tau: float) -> None:
        super().__init__()
        self.attn = Attention(n_channels, tau)
        self.mlp = Perceptron(n_channels, hidden, tau)

    def forward(self, currents: Tensor) -> Tensor:
        """Return currents of the same shape."""
        currents = currents + self.attn(currents)
        added: Tensor = self.mlp(currents)
        return currents + added


class PublishedSpikeTransformer(torch.nn.Module):
    """``(n, c, y, x, t)`` in, voltages ``(n, n_classes, t)`` out.

    Takes the arguments of :class:`~models.deep.spike_transformer.SpikeTransformer`.

    Parameters
    ----------
    takes_steps : whether neurons, gates and pooling take a step each, as cores do
    """

    def __init__(
        self, n_channels: int = 512, n_blocks: int = 8, *, mlp_ratio: float = 4.0,
        input_shape: Sequence[int] = (3, 224, 224), n_classes: int = 1000,
        pooling: Sequence[bool] = (True, True, True, True), tau: float = 2.0,
        takes_steps: bool = True,
    ) -> None:
        super().__init__()
        hidden = round(mlp_ratio * n_channels)
        self.patch_embed = PatchEmbed(input_shape[0], n_channels, pooling, tau)
        self.block = torch.nn.ModuleList(
            EncoderBlock(n_channels, hidden, tau) for _ in range(n_blocks))
        self.head_lif = Spikes(tau)
        self.head = torch.nn.Linear(n_channels, n_classes)
        for part in self.modules():
            if isinstance(part, (PatchEmbed, Attention, Spikes)):
                part.n_steps = int(takes_steps)

    def forward(self, spikes: Tensor) -> Tensor:
        """Return voltages of every step."""
        currents = self.patch_embed(spikes)
        for block in self.block:
            currents = block(currents)
        rates = self.head_lif(currents).mean((2, 3))
        voltages: Tensor = self.head(rates.transpose(1, 2)).transpose(1, 2)
        return voltages

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Load a state dict under the authors' names.

        Raises
        ------
        CheckpointError
            If it is of another architecture.
        """
        state = {name: tensor for name, tensor in unwrapped(dict(state_dict)).items()
                 if not name.endswith(_UNUSED)}
        own = self.state_dict()
        problems = [
            f"{what}: {', '.join(names[:_N_NAMED])}" + (
                f" and {len(names) - _N_NAMED} more" if len(names) > _N_NAMED else "")
            for what, names in (
                ("names it should not have", [n for n in state if n not in own]),
                ("names it lacks", [n for n in own if n not in state]),
                ("shapes that do not fit", [
                    f"'{n}' is {tuple(state[n].shape)}, {tuple(own[n].shape)} is needed"
                    for n in own if n in state and state[n].shape != own[n].shape])) if names]
        if problems:
            raise CheckpointError(
                f"the published state dict is of another architecture; {'; '.join(problems)}; mend "
                "'arguments' in model.yaml (n_channels, n_blocks, mlp_ratio, n_classes)")
        return super().load_state_dict(state, strict, assign)


class Spikes(torch.nn.Module):
    """SLAYER's leaky neurons, and the step they take: currents to spikes, any (n, ..., t)."""

    n_steps = 1

    def __init__(self, tau: float, threshold: float = 1.0) -> None:
        super().__init__()
        parameters = leaky(tau, threshold)
        self._neuron = [slayer.neuron.cuba.Neuron(**parameters)]  # its decays are no parameters

    def forward(self, currents: Tensor) -> Tensor:
        """Return spikes of the same shape."""
        neuron = self._neuron[0]
        # as its dynamics, whose currents without memory need no loop over the steps
        voltages = LeakyIntegrator.apply(  # type: ignore[no-untyped-call]
            currents, int(neuron.voltage_decay), neuron.threshold + neuron.threshold_eps,
            neuron.s_scale)
        spikes: Tensor = neuron.spike(voltages)
        return later(spikes, self.n_steps)


def normed(conv: torch.nn.Conv2d, norm: torch.nn.BatchNorm2d, spikes: Tensor) -> Tensor:
    """Return normalized convolutions of every step, (n, c, y, x, t)."""
    n, t = len(spikes), spikes.shape[-1]
    frames: Tensor = norm(conv(spikes.permute(0, 4, 1, 2, 3).flatten(0, 1)))
    return frames.reshape(n, t, *frames.shape[1:]).permute(0, 2, 3, 4, 1)


def pooled(spikes: Tensor, n_steps: int) -> Tensor:
    """Return the maxima of 3 x 3 spikes, every second row and column, some steps later."""
    return later(torch.nn.functional.max_pool3d(spikes, (3, 3, 1), (2, 2, 1), (1, 1, 0)), n_steps)

