"""SEW-ResNet as it was published, in plain PyTorch: what ours is compared with.

Written from the paper (Fang et al. 2021, arXiv 2102.04159) with the names of SpikingJelly's state
dicts: no delays, IF neurons reset to zero, max pooling, a mean over the map and over time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

EXPANSION = {"basic": 1, "bottleneck": 4}


class If(nn.Module):
    """Spikes of integrate-and-fire neurons, (t, n, c, y, x)."""

    def forward(self, currents: Tensor) -> Tensor:
        voltage, spikes = torch.zeros_like(currents[0]), []
        for current in currents:
            voltage = voltage + current
            spikes.append((voltage >= 1).float())
            voltage = voltage * (1 - spikes[-1])
        return torch.stack(spikes)


def over_time(layer: nn.Module, values: Tensor) -> Tensor:
    result: Tensor = layer(values.flatten(0, 1))
    return result.unflatten(0, values.shape[:2])


class Block(nn.Module):
    def __init__(self, kind: str, c_in: int, width: int, stride: int) -> None:
        super().__init__()
        kernels = (3, 3) if kind == "basic" else (1, 3, 1)
        c_out = width * EXPANSION[kind]
        channels = [c_in, *[width] * (len(kernels) - 1), c_out]
        for i, kernel in enumerate(kernels, start=1):
            step = stride if i == kernels.index(3) + 1 else 1
            setattr(self, f"conv{i}", nn.Conv2d(
                channels[i - 1], channels[i], kernel, step, kernel // 2, bias=False))
            setattr(self, f"bn{i}", nn.BatchNorm2d(channels[i]))
            setattr(self, f"sn{i}", If())
        self.n_convs, self.downsample = len(kernels), None
        if stride > 1 or c_in != c_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))
            self.downsample_sn = If()

    def forward(self, spikes: Tensor) -> Tensor:
        out = spikes
        for i in range(1, self.n_convs + 1):
            convolved = over_time(getattr(self, f"conv{i}"), out)
            out = getattr(self, f"sn{i}")(over_time(getattr(self, f"bn{i}"), convolved))
        if self.downsample is not None:
            spikes = self.downsample_sn(over_time(self.downsample, spikes))
        return out + spikes


class PublishedSew(nn.Module):
    """Frames (n, c, y, x) to logits (n, n_classes), the mean over ``n_steps``."""

    def __init__(
        self, kind: str, n_blocks: Sequence[int], widths: Sequence[int], n_classes: int,
        c_in: int = 3, stem: tuple[int, int] = (7, 2),
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, widths[0], *stem, padding=stem[0] // 2, bias=False)
        self.bn1, self.sn1 = nn.BatchNorm2d(widths[0]), If()
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels, self.n_stages = widths[0], len(n_blocks)
        for i, (n, width) in enumerate(zip(n_blocks, widths, strict=True), start=1):
            blocks = []
            for j in range(n):
                blocks.append(Block(kind, channels, width, 2 if i > 1 and j == 0 else 1))
                channels = width * EXPANSION[kind]
            setattr(self, f"layer{i}", nn.Sequential(*blocks))
        self.fc = nn.Linear(channels, n_classes)

    def forward(self, frames: Tensor, n_steps: int = 4) -> Tensor:
        spikes = self.sn1(self.bn1(self.conv1(frames)).expand(n_steps, -1, -1, -1, -1))
        spikes = over_time(self.maxpool, spikes)
        for i in range(1, self.n_stages + 1):
            spikes = getattr(self, f"layer{i}")(spikes)
        logits: Tensor = self.fc(spikes.mean(dim=(3, 4))).mean(dim=0)
        return logits


def draw_exact(net: nn.Module, seed: int) -> None:
    """Draw parameters with which float32 is exact, and no voltage ever is 1, where ours differ.

    Published neurons fire at 1, ours above it. Offsets of 1/4096 beside a grid of 1/64 keep every
    voltage of a few steps off the grid.
    """
    rng = torch.Generator().manual_seed(seed)

    def integers(low: int, high: int, like: Tensor) -> Tensor:
        return torch.randint(low, high, like.shape, generator=rng).float()

    with torch.no_grad():
        for part in net.modules():
            if isinstance(part, nn.Conv2d):
                part.weight.copy_(integers(-6, 9, part.weight) / 32)
            elif isinstance(part, nn.BatchNorm2d):
                part.running_var.fill_(1 - part.eps)  # type: ignore[union-attr, operator]
                part.weight.copy_(2.0 ** -integers(0, 2, part.weight))
                part.bias.copy_(integers(-4, 8, part.bias) / 16 + 1 / 4096)
            elif isinstance(part, nn.Linear):
                part.weight.copy_(integers(-9, 10, part.weight) / 16)
                part.bias.copy_(integers(-9, 10, part.bias) / 16)


def spikes_of(net: nn.Module, frames: Tensor, n_steps: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Return logits, and spikes (n, c, y, x, t) of every layer of neurons, by name."""
    seen: dict[str, Tensor] = {}

    def note(name: str) -> Any:
        return lambda _module, _args, out: seen.__setitem__(name, out.permute(1, 2, 3, 4, 0))

    for name, part in net.named_modules():
        if isinstance(part, If):
            part.register_forward_hook(note(name))
    with torch.no_grad():
        return net(frames, n_steps), seen
