"""The weights of a published spike-driven transformer, copied to all that read its stream.

In: the network as published. Out: the network of cores, which computes the same but for rounding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from models.deep.spike_transformer import SpikeTransformer
from models.deep.spike_transformer_published import PublishedSpikeTransformer


@torch.no_grad()
def copied(published: PublishedSpikeTransformer, net: SpikeTransformer) -> None:
    """Give a network of copies the weights of the published one, and scales that fit them."""
    embed = published.patch_embed
    convs = [part for part in net.splitting if not hasattr(part, "has_fixed_weights")]
    for part, suffix in zip(convs, ("", "1", "2"), strict=True):
        _copy(getattr(embed, f"proj_conv{suffix}"), getattr(embed, f"proj_bn{suffix}"), part)
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
