"""Networks of convolutions and dense layers have the published sizes and compute what was meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from published_sew import draw_exact, over_time
from torch import nn

from models.deep.conv_net import POOL, CifarDvs, ConvNet, DvsGesture, Vgg16
from pipeline.emulate import emulate
from pipeline.ingest.slayer import run_module, to_network
from pipeline.ingest.slayer_write_back import write_back
from pipeline.model_folder import ModelDescription, ModelFolder
from pipeline.quantize import as_trained

N_STEPS = 6


def n_parameters(build: Any) -> int:
    with torch.device("meta"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.init, "kaiming_normal_", lambda *_, **__: None)
        net = build()
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


def test_the_gesture_network_has_as_many_parameters_as_spikingjellys() -> None:
    # convolutions without bias, batch normalization, Linear(128 * 4 * 4, 512), Linear(512, 110)
    convs = 9 * 128 * (2 + 4 * 128) + 5 * 2 * 128
    assert n_parameters(DvsGesture) == convs + (2048 + 1) * 512 + (512 + 1) * 110


def test_the_cifar_dvs_network_is_one_convolution_shorter() -> None:
    convs = 9 * 128 * (2 + 3 * 128) + 4 * 2 * 128
    assert n_parameters(CifarDvs) == convs + (8192 + 1) * 512 + (512 + 1) * 100


def test_vgg16_has_the_parameters_of_torchvisions_but_biases_before_normalization() -> None:
    from torchvision.models import vgg16_bn

    with torch.device("meta"):
        theirs = vgg16_bn(num_classes=1000, init_weights=False)
    expected = sum(p.numel() for p in theirs.parameters()) - 4224  # channels of 13 convolutions
    options = {"n_classes": 1000, "hidden": (4096, 4096), "input_shape": (3, 224, 224)}
    assert n_parameters(lambda: Vgg16(**options)) == expected
    assert n_parameters(Vgg16) == 14_710_464 + 2 * 4224 + 513 * 100


class Lif(nn.Module):
    """SpikingJelly's neurons, (t, n, ...)."""

    def __init__(self, tau: float) -> None:
        super().__init__()
        self.tau = tau

    def forward(self, currents: torch.Tensor) -> torch.Tensor:
        voltage, spikes = torch.zeros_like(currents[0]), []
        for current in currents:
            voltage = voltage + (current - voltage) / self.tau
            spikes.append((voltage >= 1).float())
            voltage = voltage * (1 - spikes[-1])
        return torch.stack(spikes)


def published(net: ConvNet, tau: float, spikes: torch.Tensor) -> torch.Tensor:
    """Return what the weights of ``net`` give in a network without steps between layers."""
    values = spikes.permute(4, 0, 1, 2, 3)
    for block in net.convs:
        if hasattr(block, "has_fixed_weights"):
            values = over_time(nn.MaxPool2d(2), values)
            continue
        weight, norm = block.synapse.weight[..., 0], block.neuron.norm
        conv = nn.Conv2d(*weight.shape[1::-1], 3, padding=1, bias=False)
        conv.weight = nn.Parameter(weight)
        batch_norm = nn.BatchNorm2d(len(weight)).eval()
        batch_norm.load_state_dict(norm.state_dict())
        values = Lif(tau)(over_time(batch_norm, over_time(conv, values)))
    values = values.flatten(2)
    for block in net.denses:
        if not hasattr(block, "synapse"):
            return values.unflatten(2, (-1, values.shape[2] // block.num_outputs)).mean(3)
        weight = block.synapse.weight.flatten(1)
        values = values @ weight.T + block.neuron.norm.bias
        if hasattr(block, "delay_shift"):
            values = Lif(tau)(values)
    return values


def exact(votes: int | None) -> ConvNet:
    net = ConvNet((4, POOL, 6, POOL), (12,), 3, input_shape=(2, 8, 11), n_votes=votes).eval()
    draw_exact(net, seed=3)
    rng = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for block in net.convs:
            if not hasattr(block, "has_fixed_weights"):
                weight = block.synapse.weight
                weight.copy_(torch.randint(-8, 20, weight.shape, generator=rng) / 32)
        for block in net.denses:
            if hasattr(block, "synapse"):
                weight = block.synapse.weight
                weight.copy_(torch.randint(-6, 16, weight.shape, generator=rng) / 32)
                block.neuron.norm.bias.fill_(5 / 64)
    return net


@pytest.mark.parametrize("votes", [None, 4])
def test_a_network_computes_what_it_does_without_steps_between_layers(votes: int | None) -> None:
    net = exact(votes)
    spikes = torch.zeros(3, 2, 8, 11, N_STEPS + net.depth)
    rng = torch.Generator().manual_seed(1)
    spikes[..., :N_STEPS] = (torch.rand(3, 2, 8, 11, N_STEPS, generator=rng) < 0.3).float()
    with torch.no_grad():
        ours = net(spikes)
        theirs = published(net, 2.0, spikes[..., :N_STEPS]).permute(1, 2, 0)
    assert float(theirs.abs().sum()) > 1
    assert not ours[..., : net.depth].any()
    assert torch.allclose(ours[..., net.depth :], theirs, atol=1e-3)


@pytest.mark.parametrize("votes", [None, 4])
def test_it_is_ingested_and_spikes_as_its_module(votes: int | None) -> None:
    net = exact(votes)
    description = ModelDescription(input_shape=(2, 8, 11), n_steps=N_STEPS + net.depth)
    network, _ = as_trained(to_network(net, ModelFolder("small", Path(), description)))
    write_back(net, network)
    rng = np.random.default_rng(0)
    spikes = (rng.random((3, 2, 8, 11, N_STEPS + net.depth)) < 0.3).astype(np.uint8)
    ours, theirs = emulate(network, spikes), run_module(net, network, spikes)
    for layer in network.layers:
        if layer.cuba.fires:
            assert ours.spikes[layer.name].any()
        assert np.array_equal(ours.spikes[layer.name], theirs.spikes[layer.name])
    assert [s.name for s in network.synapses if s.is_fixed] == ["convs.1", "convs.3"]
