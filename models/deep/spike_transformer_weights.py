"""The weights of a published spike-driven transformer, given to the networks that cores compute.

In: a state dict under the authors' names, or the network as published. Out: the network with a
copy of synapses for every reader of its stream, or that of graded relays; both compute the same but
for rounding, and for the steps that relays take.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from models.deep.published import unwrapped
from models.deep.spike_transformer_published import PublishedSpikeTransformer

if TYPE_CHECKING:
    from models.deep.spike_transformer import SpikeTransformer
    from models.deep.spike_transformer_relays import RelayedSpikeTransformer


class LoadsPublished(torch.nn.Module):
    """A network that takes a published state dict for its own."""

    published_arguments: dict[str, Any]

    def take(self, published: Any) -> None:
        """Take the weights of a published network."""
        raise NotImplementedError

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
        if not any(str(name).removeprefix("module.") == "head.weight" for name in state):
            return super().load_state_dict(state, strict, assign)
        published = PublishedSpikeTransformer(**self.published_arguments)
        problems = published.load_state_dict(state)
        self.take(published.eval())
        return problems


@torch.no_grad()
def copied(published: PublishedSpikeTransformer, net: SpikeTransformer) -> None:
    """Give a network of copies the weights of the published one, and scales that fit them."""
    embed = published.patch_embed
    convs = [part for part in net.splitting if not hasattr(part, "has_fixed_weights")]
    for part, suffix in zip(convs, ("", "1", "2"), strict=True):
        _copy(getattr(embed, f"proj_conv{suffix}"), getattr(embed, f"proj_bn{suffix}"), part)
    convs[0].synapse.weight /= net.frame_scale
    _copy(embed.proj_conv3, embed.proj_bn3, net.position)
    branches = [_folded(embed.proj_conv3, embed.proj_bn3), _folded(embed.rpe_conv, embed.rpe_bn)]
    for block, theirs in zip(net.blocks, published.block, strict=True):
        attn, mlp = theirs.attn, theirs.mlp
        _copy_stream(branches, block.shortcut)
        for part, name in ((block.query, "q"), (block.key, "k"), (block.value, "v")):
            _copy(getattr(attn, f"{name}_conv"), getattr(attn, f"{name}_bn"), part)
        branches.append(_folded(attn.proj_conv, attn.proj_bn))
        _copy_stream(branches, block.fc1)
        _copy(mlp.fc1_conv, mlp.fc1_bn, block.fc2)
        branches.append(_folded(mlp.fc2_conv, mlp.fc2_bn))
    _copy_stream(branches, net.last)
    weight = net.head.synapse.weight
    n_tokens = weight.shape[1] // published.head.in_features
    mean = published.head.weight.repeat_interleave(n_tokens, dim=1) / n_tokens
    weight.copy_(mean.reshape(weight.shape))
    net.head.neuron.norm.bias.copy_(published.head.bias)
    net.fit_scales()


@torch.no_grad()
def relayed(published: PublishedSpikeTransformer, net: RelayedSpikeTransformer) -> None:
    """Give a network of relays the weights of the published one, and scales that fit them."""
    embed = published.patch_embed
    convs = [part for part in net.splitting if not hasattr(part, "has_fixed_weights")]
    for part, suffix in zip(convs, ("", "1", "2"), strict=True):
        _copy(getattr(embed, f"proj_conv{suffix}"), getattr(embed, f"proj_bn{suffix}"), part)
    convs[0].synapse.weight /= net.frame_scale
    bias = _add(embed.proj_conv3, embed.proj_bn3, net.tokens, torch.zeros(()))
    _bias(net.position, bias)
    bias = _add(embed.rpe_conv, embed.rpe_bn, net.positioned, bias)
    for block, theirs in zip(net.blocks, published.block, strict=True):
        attn, mlp = theirs.attn, theirs.mlp
        _bias(block.shortcut, bias)
        for part, name in ((block.query, "q"), (block.key, "k"), (block.value, "v")):
            _copy(getattr(attn, f"{name}_conv"), getattr(attn, f"{name}_bn"), part)
        bias = _add(attn.proj_conv, attn.proj_bn, block.attended, bias)
        _bias(block.fc1, bias)
        _copy(mlp.fc1_conv, mlp.fc1_bn, block.fc2)
        bias = _add(mlp.fc2_conv, mlp.fc2_bn, block.perceived, bias)
    _bias(net.last, bias)
    n_tokens = net.blocks[0].mask.synapse.weight.shape[2:4]
    n = ((n_tokens[0] + 1) // 2) * ((n_tokens[1] + 1) // 2)
    net.head.synapse.weight.copy_(
        (published.head.weight / n).reshape(net.head.synapse.weight.shape))
    net.head.neuron.norm.bias.copy_(published.head.bias)
    net.fit_scales()


def _copy(conv: torch.nn.Conv2d, norm: torch.nn.BatchNorm2d, part: Any) -> None:
    part.synapse.weight.copy_(conv.weight[..., None])
    own = part.neuron.norm
    for name, tensor in norm.state_dict().items():
        getattr(own, name).copy_(tensor)
    if conv.bias is not None:
        own.running_mean -= conv.bias


def _folded(conv: torch.nn.Conv2d, norm: torch.nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return a branch's kernels and bias."""
    assert norm.running_mean is not None and norm.running_var is not None
    factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    mean = norm.running_mean if conv.bias is None else norm.running_mean - conv.bias
    return conv.weight * factor[:, None, None, None], norm.bias - mean * factor


def _copy_stream(branches: list[tuple[Tensor, Tensor]], part: Any) -> None:
    bias = torch.stack([bias for _, bias in branches]).sum(0)
    part.copy([weight for weight, _ in branches], bias)


def _add(conv: torch.nn.Conv2d, norm: torch.nn.BatchNorm2d, relay: Any, bias: Tensor) -> Tensor:
    """Give a relay what a branch adds; return the stream's bias after it."""
    weight, own_bias = _folded(conv, norm)
    relay.synapse.weight.copy_(weight[..., None])
    return bias + own_bias


def _bias(reader: Any, bias: Tensor) -> None:
    reader.neuron.norm.bias.copy_(bias)
