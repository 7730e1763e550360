"""SEW-ResNets have the published sizes, take published weights and compute what was published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from published_sew import PublishedSew, draw_exact, spikes_of

from models.deep import sew_resnet
from models.deep.blocks import Wait
from models.deep.published import by_our_names
from models.deep.scales import fitting_scale
from models.deep.sew_resnet import SewResNet
from pipeline.emulate import emulate, emulate_pieces
from pipeline.errors import CheckpointError
from pipeline.export_nir import nir_obstacle
from pipeline.ingest.checkpoint import load_module
from pipeline.ingest.slayer import run_module, to_network
from pipeline.ingest.slayer_write_back import write_back
from pipeline.lower import without_joins
from pipeline.model_folder import ModelDescription, ModelFolder
from pipeline.network import INPUT, Layer, Network, Synapse
from pipeline.netx_entries import netx_obstacle
from pipeline.neuron import CubaNeuron
from pipeline.quantize import as_trained

SMALL = {"n_blocks": (2, 3), "widths": (4, 6), "n_classes": 5}
FRAMES = (3, 28, 14)
N_STEPS = 4
# of 1,000 classes, with batch normalization: as in torchvision, whose layers these are
PUBLISHED_SIZES = {
    18: 11_689_512, 34: 21_797_672, 50: 25_557_032, 101: 44_549_160, 152: 60_192_808}


def small(kind: str, **changes: Any) -> tuple[SewResNet, PublishedSew]:
    published = PublishedSew(kind, SMALL["n_blocks"], SMALL["widths"], SMALL["n_classes"]).eval()
    draw_exact(published, seed=1)
    arguments: dict[str, Any] = {**SMALL, "block": kind, "input_shape": FRAMES, **changes}
    return SewResNet(**arguments).eval(), published


def images(n: int = 2) -> torch.Tensor:
    rng = torch.Generator().manual_seed(7)
    return torch.randint(-20, 21, (n, *FRAMES), generator=rng) / 16


@pytest.mark.parametrize("n_layers", PUBLISHED_SIZES)
def test_sew_resnets_have_the_published_number_of_parameters(n_layers: int) -> None:
    with torch.device("meta"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.init, "kaiming_normal_", lambda *_, **__: None)
        net = SewResNet(n_layers)
    n = sum(p.numel() for p in net.parameters() if p.requires_grad)
    # the read-out reads 49 pixels, not their mean
    n_repeated = net.fc.synapse.weight.numel() * 48 // 49
    assert n - n_repeated == PUBLISHED_SIZES[n_layers]


@pytest.mark.parametrize("kind", ["basic", "bottleneck"])
def test_a_balanced_network_spikes_as_the_published_one_later_by_its_depth(kind: str) -> None:
    ours, published = small(kind, is_balanced=True)
    ours.load_state_dict(published.state_dict())
    logits, expected = spikes_of(published, images(), N_STEPS)
    found: dict[str, torch.Tensor] = {}
    for name, part in ours.named_modules():
        if hasattr(part, "synapse"):
            part.register_forward_hook(lambda _m, _a, out, name=name: found.update({name: out}))
    n_total = N_STEPS + ours.depth
    repeated = torch.zeros(2, *FRAMES, n_total)
    repeated[..., :N_STEPS] = images()[..., None]
    with torch.no_grad():
        voltages = ours(repeated)
    n_compared = 0
    for i, n in enumerate(SMALL["n_blocks"]):
        for j in range(n):
            block = ours.stages[i].blocks[j]
            for k, conv in enumerate(block.convs):
                first = conv.neuron.norm.first_step + 1
                spikes = found[f"stages.{i}.blocks.{j}.convs.{k}"]
                theirs = expected[f"layer{i + 1}.{j}.sn{k + 1}"]
                assert not spikes[..., :first].any()
                assert torch.equal(spikes[..., first : first + N_STEPS], theirs)
                n_compared += int(theirs.sum())
    assert n_compared > 1000
    assert torch.equal(voltages.sum(dim=-1) / N_STEPS, logits)


def test_without_balance_shortcuts_are_ahead_and_scores_differ() -> None:
    ours, published = small("basic")
    ours.load_state_dict(published.state_dict())
    with torch.no_grad():
        logits = published(images(), N_STEPS)
        voltages = ours(images()[..., None].expand(-1, -1, -1, -1, N_STEPS + ours.depth))
    assert not torch.allclose(voltages.sum(dim=-1) / N_STEPS, logits)


def authors_names(state: dict[str, Any], container: str, prefix: str = "") -> dict[str, Any]:
    """Return SpikingJelly's names as those of the authors' repository."""
    renamed = {}
    for key, value in state.items():
        parts = key.split(".")
        if parts[0].startswith("layer"):
            if parts[2] == "downsample":
                parts[2:4] = ["downsample.0", *container.split(), parts[3]]
            elif parts[2].startswith("bn"):
                parts[2:3] = [f"conv{parts[2][2:]}", *container.split(), "1"]
            else:
                parts[2:3] = [parts[2], *container.split(), "0"]
        renamed[prefix + ".".join(parts)] = value
    return renamed


@pytest.mark.parametrize(("container", "prefix"), [("module", ""), ("", ""), ("", "module.")])
def test_every_published_way_of_naming_gives_the_same_network(container: str, prefix: str) -> None:
    ours, published = small("bottleneck")
    ours.load_state_dict(published.state_dict())
    expected = {key: value.clone() for key, value in ours.state_dict().items()}
    again, _ = small("bottleneck")
    renamed = authors_names(published.state_dict(), container, prefix)
    assert set(renamed) != set(published.state_dict())
    again.load_state_dict(renamed)
    assert all(torch.equal(value, expected[key]) for key, value in again.state_dict().items())


@pytest.mark.parametrize("n_layers", [18, 50])
def test_state_dicts_of_the_published_shapes_load(n_layers: int) -> None:
    kind, n_blocks = {18: ("basic", (2, 2, 2, 2)), 50: ("bottleneck", (3, 4, 6, 3))}[n_layers]
    with torch.device("meta"):
        published = PublishedSew(kind, n_blocks, (64, 128, 256, 512), 1000)
    state = {key: torch.zeros(value.shape) for key, value in published.state_dict().items()}
    with torch.device("meta"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.init, "kaiming_normal_", lambda *_, **__: None)
        own = SewResNet(n_layers, input_shape=(3, 32, 32)).state_dict()
    found = by_our_names(state, own, 1)
    assert set(found) == set(own)
    assert found["stages.3.blocks.0.downsample.synapse.weight"].shape == (
        512 if kind == "basic" else 2048, 256 if kind == "basic" else 1024, 1, 1, 1)


def test_published_weights_are_scaled_to_fill_eight_bits() -> None:
    ours, published = small("basic", frame_scale=16)
    with torch.no_grad():
        for part in published.modules():
            if isinstance(part, torch.nn.Conv2d):
                part.weight /= 2
    ours.load_state_dict(published.state_dict())
    conv = ours.stages[0].blocks[0].convs[1]
    weight = conv.synapse.weight * conv.neuron.norm.weight[:, None, None, None, None]
    assert 127 < float(weight.detach().abs().max()) * conv.neuron.w_scale <= 254
    assert conv.neuron.w_scale == fitting_scale(conv) > 64
    assert torch.equal(ours.conv1.synapse.weight[..., 0] * 16, published.conv1.weight)
    # what is saved knows the scales
    again, _ = small("basic", frame_scale=16)
    again.load_state_dict(ours.state_dict())
    assert again.stages[0].blocks[0].convs[1].neuron.w_scale == conv.neuron.w_scale


def test_a_scale_leaves_biases_in_their_range() -> None:
    ours, published = small("basic")
    with torch.no_grad():
        published.layer1[0].bn1.running_mean -= 100.0
    ours.load_state_dict(published.state_dict())
    conv = ours.stages[0].blocks[0].convs[0]
    norm = conv.neuron.norm
    factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    bias = (norm.bias - norm.running_mean * factor).detach().abs().max()
    assert 2047 < float(bias) * conv.neuron.w_scale <= 4095


def test_a_published_state_dict_of_another_architecture_says_what_differs() -> None:
    ours, _ = small("basic")
    other = PublishedSew("basic", (2, 2), SMALL["widths"], 7)
    with pytest.raises(CheckpointError) as caught:
        ours.load_state_dict(other.state_dict())
    message = str(caught.value)
    assert "names it lacks: stages.1.blocks.2.convs.0." in message
    assert "more" in message and "n_layers" in message
    assert "'fc.synapse.weight' is (7, 48, 1, 1, 1), (5, 48, 1, 1, 1) is needed" in message


def test_a_published_state_dict_with_other_names_says_which() -> None:
    ours, published = small("basic")
    state = {**published.state_dict(), "layer9.0.conv1.weight": torch.zeros(1)}
    with pytest.raises(CheckpointError, match=r"should not have: layer9\.0\.conv1\.weight"):
        ours.load_state_dict(state)


def test_a_training_checkpoint_is_looked_into() -> None:
    ours, published = small("basic")
    ours.load_state_dict({"model": published.state_dict(), "epoch": 319})
    assert torch.equal(ours.conv1.synapse.weight[..., 0], published.conv1.weight)


def test_a_published_file_of_another_architecture_is_named(tmp_path: Path) -> None:
    path = tmp_path / "theirs.pth"
    torch.save(PublishedSew("basic", (2, 2), SMALL["widths"], 5).state_dict(), path)
    description = ModelDescription(
        network=f"{sew_resnet.__file__}:SewResNet", checkpoint="theirs.pth",
        arguments={**SMALL, "input_shape": FRAMES}, input_shape=FRAMES, n_steps=4)
    with pytest.raises(CheckpointError, match=r"theirs\.pth: the published state dict is of"):
        load_module(ModelFolder("small", tmp_path, description))


@pytest.mark.parametrize("n_steps", [0, 63])
def test_a_wait_that_no_axon_can_do_is_refused(n_steps: int) -> None:
    with pytest.raises(ValueError, match="1 to 62 steps"):
        Wait(3, n_steps)


# ---------------------------------------------------------------- through ingest


def ingested(net: SewResNet, n_steps: int) -> tuple[Network, ModelFolder]:
    description = ModelDescription(input_shape=FRAMES, n_steps=n_steps)
    model = ModelFolder("small", Path(), description)
    return as_trained(to_network(net, model))[0], model


@pytest.mark.parametrize("kind", ["basic", "bottleneck"])
def test_a_balanced_network_of_integers_spikes_as_its_module(kind: str) -> None:
    net, published = small(kind, is_balanced=True, frame_scale=16)
    net.load_state_dict(published.state_dict())
    n_steps = N_STEPS + net.depth
    network, _ = ingested(net, n_steps)
    write_back(net, network)
    frames = np.zeros((2, *FRAMES, n_steps), dtype=np.int32)
    frames[..., :N_STEPS] = (images() * 16).numpy()[..., None]
    ours, theirs = emulate(network, frames, with_states=True), run_module(net, network, frames)
    for layer in network.layers[:-1]:
        assert np.array_equal(ours.spikes[layer.name], theirs.spikes[layer.name]), layer.name
    assert np.array_equal(ours.v["fc"], theirs.v["fc"])
    assert sum(int(ours.spikes[layer.name].sum()) for layer in network.layers) > 1000
    # the same without joins, and in pieces of time that part where biases begin
    lowered = without_joins(network)
    assert np.array_equal(emulate(lowered, frames, with_states=True).v["fc"], ours.v["fc"])
    pieces = list(emulate_pieces(network, frames, 3))
    for layer in network.layers[:-1]:
        whole = np.concatenate([piece.spikes[layer.name] for piece in pieces], axis=-1)
        assert np.array_equal(whole, ours.spikes[layer.name])
        assert np.array_equal(pieces[-1].n_active[layer.name], ours.n_active[layer.name])


def test_pools_and_relays_are_left_alone_and_biases_begin_with_the_input() -> None:
    net, published = small("basic", is_balanced=True)
    net.load_state_dict(published.state_dict())
    network, _ = ingested(net, 20)
    fixed = {synapse.name for synapse in network.synapses if synapse.is_fixed}
    assert "maxpool" in fixed and "stages.0.blocks.0.relays.0" in fixed
    assert all("convs" not in name and "downsample" not in name for name in fixed)
    relay, ahead = (network.layer(f"stages.1.blocks.{name}") for name in (
        "1.relays.0", "0.downsample"))
    assert relay.axonal_delay == (1,) * 6 and ahead.axonal_delay == (1,) * 6
    steps = {layer.name: layer.cuba.bias_step for layer in network.layers}
    assert steps["conv1"] == 0 and steps["stages.0.blocks.0.convs.1"] == 3
    assert steps["fc"] == net.depth == 12
    assert "act from step 2 on" in str(netx_obstacle(without_joins(network))) or "delays" in str(
        netx_obstacle(without_joins(network)))
    assert "those of NIR always" in str(nir_obstacle(network))


@pytest.mark.parametrize("n_steps", [1, 5])
def test_input_that_ends_before_it_has_passed_all_layers_leaves_the_last_ones_at_rest(
    n_steps: int
) -> None:
    net, published = small("basic", is_balanced=True)
    net.load_state_dict(published.state_dict())
    with torch.no_grad():
        assert not net(images()[..., None].expand(-1, -1, -1, -1, n_steps)).any()


def test_what_a_network_counts_as_active_knows_when_biases_begin() -> None:
    neuron = CubaNeuron(4096, 0, 100, bias=(2.0, 0.0), bias_step=3)
    layer = Layer("a", (Synapse("a", INPUT, np.zeros((2, 1), np.int32)),), neuron, (2,))
    trace = emulate(Network("late", (1,), 8, (layer,)), np.zeros((1, 1, 8), np.uint8))
    assert trace.n_active["a"].tolist() == [[5, 0]]
