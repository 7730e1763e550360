"""SEW-ResNet (Fang et al. 2021, arXiv 2102.04159) as a SLAYER module, with shortcuts that add.

In every block the spikes of a residual branch are added to those of the shortcut, so that the next
layer receives 0, 1, 2, ... A residual branch of two or three layers takes two or three steps here,
a shortcut none: ``is_balanced`` asks for the network that was published, in which both arrive
together. Then a network of depth D (:attr:`SewResNet.depth`) that sees a frame for T steps has
computed after T + D steps what the published one computes in T.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from models.deep.blocks import OrPool, Relay, integrate_and_fire, readout, spiking_conv
from models.deep.published import by_our_names, is_published, unwrapped
from models.deep.relays import GradedRelay, GradedSum
from models.deep.scales import ScaledNet

BLOCKS = {
    18: ("basic", (2, 2, 2, 2)), 34: ("basic", (3, 4, 6, 3)), 50: ("bottleneck", (3, 4, 6, 3)),
    101: ("bottleneck", (3, 4, 23, 3)), 152: ("bottleneck", (3, 8, 36, 3)),
}
_EXPANSION = {"basic": 1, "bottleneck": 4}


class SewResNet(ScaledNet):
    """``(n, c, y, x, t)`` in, voltages ``(n, n_classes, t)`` out; their sum over t decides.

    Parameters
    ----------
    n_layers : 18, 34, 50, 101 or 152, which sets ``block`` and ``n_blocks``
    n_blocks, widths : blocks of each stage and their channels, before the expansion by 4 of
        bottlenecks; each stage but the first halves the map
    block : basic (3x3, 3x3) or bottleneck (1x1, 3x3, 1x1)
    input_shape : (c, y, x)
    stem : kernel and stride of the first convolution; OR pooling 3x3/2 follows
    is_balanced : whether shortcuts wait for the residual branches, and normalization for the input
    frame_scale : value that stands for 1 in frames, which come as integers; published weights of
        the first convolution are divided by it
    leak : see :func:`models.deep.blocks.integrate_and_fire`
    has_graded_relays : whether the sum of trains that waits does so in graded relays, one a block,
        and the last map is summed by relays, a step more; in binary ones each train has its own,
        and ``fc`` has weights for every place of the map

    Attributes
    ----------
    depth : steps by which the output is later than the input, if balanced
    """

    def __init__(
        self, n_layers: int | None = None, *, n_blocks: Sequence[int] = (2, 2, 2, 2),
        widths: Sequence[int] = (64, 128, 256, 512), block: str = "basic",
        input_shape: Sequence[int] = (3, 224, 224), n_classes: int = 1000,
        stem: Sequence[int] = (7, 2), is_balanced: bool = False, frame_scale: int = 1,
        leak: float = 0.0, has_graded_relays: bool = False,
    ) -> None:
        super().__init__()
        if n_layers is not None:
            block, n_blocks = BLOCKS[n_layers]
        neuron, self._frame_scale = integrate_and_fire(leak), frame_scale
        self.conv1 = spiking_conv(input_shape[0], widths[0], *stem, neuron=neuron)
        self.maxpool = OrPool(widths[0], 3, 2, padding=1)
        n_channels, self.depth, stages = widths[0], 2, []
        for index, (n, width) in enumerate(zip(n_blocks, widths, strict=True)):
            stage = Stage(block, n, n_channels, width, 1 if index == 0 else 2, neuron,
                          self.depth if is_balanced else None, has_graded_relays)
            stages.append(stage)
            n_channels, self.depth = width * _EXPANSION[block], self.depth + stage.depth
        self.stages = torch.nn.ModuleList(stages)
        # the pooling and every stage but the first halve the map, rounding up
        size = [-(-pixels // (stem[1] * 2 ** len(stages))) for pixels in input_shape[1:]]
        self._n_pixels = size[0] * size[1]
        self.sum = GradedSum() if has_graded_relays else None
        self.depth += has_graded_relays
        self.fc = readout(n_channels * (1 if has_graded_relays else self._n_pixels), n_classes,
                          self.depth if is_balanced else 0)
        self.hold_scales()

    def forward(self, spikes: Tensor) -> Tensor:
        """Return voltages (n, n_classes, t) for spikes or frames (n, c, y, x, t)."""
        spikes = self.maxpool(self.conv1(spikes))
        for stage in self.stages:
            spikes = stage(spikes)
        if self.sum is not None:
            spikes = self.sum(spikes)
        voltages: Tensor = self.fc(spikes.flatten(1, -2))
        return voltages

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Load our own state dict, or a published one, for whose weights the scales are chosen.

        Raises
        ------
        CheckpointError
            If a published one is of another architecture.
        """
        state = unwrapped(dict(state_dict))
        published = is_published(state)
        if published:
            state = by_our_names(state, self.state_dict(), self._n_pixels, self._frame_scale)
        problems = super().load_state_dict(state, strict, assign)
        if published:
            self.fit_scales()
        return problems


class Stage(torch.nn.Module):
    """Blocks of one width, ``(n, c_in, y, x, t)`` to ``(n, c_out, y / stride, x / stride, t)``.

    Parameters
    ----------
    first_step : in which the input reaches the stage; None for one that is not balanced
    """

    def __init__(
        self, block: str, n_blocks: int, c_in: int, width: int, stride: int,
        neuron: dict[str, Any], first_step: int | None, has_graded_relays: bool,
    ) -> None:
        super().__init__()
        depth = 2 if block == "basic" else 3
        c_out, blocks, n_trains = width * _EXPANSION[block], [], 1
        for index in range(n_blocks):
            blocks.append(Block(
                block, c_in if index == 0 else c_out, width, stride if index == 0 else 1, neuron,
                None if first_step is None else first_step + index * depth,
                None if has_graded_relays else n_trains))
            n_trains = blocks[-1].n_trains
        self.blocks = torch.nn.ModuleList(blocks)
        self.depth = n_blocks * depth

    def forward(self, spikes: Tensor) -> Tensor:
        """Return sums of spikes."""
        trains = [spikes]
        for block in self.blocks:
            trains = block(trains)
        return _sum(trains)


class Block(torch.nn.Module):
    """One residual block: trains whose sum is its input, to trains whose sum is its output.

    A binary relay repeats single spikes, no sum: balanced, the terms stay apart, and each waits in
    a relay of its own. A graded relay sends on the sum.

    Parameters
    ----------
    n_trains : whose sum the input is, if each is to have a relay; None for one that is graded

    Attributes
    ----------
    n_trains : how many it returns
    """

    def __init__(
        self, block: str, c_in: int, width: int, stride: int, neuron: dict[str, Any],
        first_step: int | None, n_trains: int | None,
    ) -> None:
        super().__init__()
        kernels = (3, 3) if block == "basic" else (1, 3, 1)
        c_out, depth = width * _EXPANSION[block], len(kernels)
        convs, channels = [], [c_in, *[width] * (depth - 1), c_out]
        for index, kernel in enumerate(kernels):
            is_strided = index == kernels.index(3)
            convs.append(spiking_conv(
                channels[index], channels[index + 1], kernel, stride if is_strided else 1,
                neuron=neuron, first_step=(first_step or 0) + (index if first_step else 0)))
        self.convs = torch.nn.ModuleList(convs)
        self.downsample, self.relays = None, None
        if stride > 1 or c_in != c_out:
            self.downsample = spiking_conv(
                c_in, c_out, 1, stride, neuron=neuron, first_step=first_step or 0,
                waits=0 if first_step is None else depth - 1)
        elif first_step is not None:
            self.relays = torch.nn.ModuleList(
                [GradedRelay(depth)] if n_trains is None else
                [Relay(c_in, depth) for _ in range(n_trains)])
        self.n_trains = 1 + (1 if self.relays is None else len(self.relays))

    def forward(self, trains: list[Tensor]) -> list[Tensor]:
        """Return spike trains, each (n, c_out, y / stride, x / stride, t)."""
        spikes = residual = _sum(trains)
        for conv in self.convs:
            residual = conv(residual)
        if self.downsample is not None:
            return [self.downsample(spikes), residual]
        if self.relays is not None:
            trains = [spikes] if len(self.relays) == 1 else trains
            return [*(relay(t) for relay, t in zip(self.relays, trains, strict=True)), residual]
        return [spikes, residual]


def _sum(trains: list[Tensor]) -> Tensor:
    total = trains[0]
    for train in trains[1:]:
        total = total + train
    return total
