"""The spike-driven transformer has the published sizes and names, and its copies its spikes."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from published_sew import draw_exact

from models.deep import spike_transformer, spike_transformer_relays
from models.deep.blocks import And, StreamReader, leaky
from models.deep.leaky_integrator import LeakyIntegrator
from models.deep.relays import CurrentRelay
from models.deep.spike_transformer import SpikeTransformer, TokenSum
from models.deep.spike_transformer_published import PublishedSpikeTransformer
from models.deep.spike_transformer_relays import RelayedSpikeTransformer
from models.deep.spike_transformer_weights import copied
from pipeline.emulate import emulate
from pipeline.errors import CheckpointError
from pipeline.ingest.slayer import run_module, to_network
from pipeline.ingest.slayer_write_back import write_back
from pipeline.lower import without_joins
from pipeline.model_folder import ModelDescription, ModelFolder
from pipeline.quantize import as_trained

SMALL: dict[str, Any] = {
    "n_channels": 32, "n_blocks": 2, "mlp_ratio": 2, "input_shape": (2, 12, 8), "n_classes": 5,
    "pooling": (True, False, True, False)}
N_STEPS = 40
# layers and embedding dimension: millions of parameters in Table 3 of arXiv 2307.01694
PUBLISHED_SIZES = {(8, 384): 16.81, (8, 512): 29.68, (10, 512): 36.01, (8, 768): 66.34}


def spikes(n: int = 4, n_steps: int = N_STEPS) -> torch.Tensor:
    rng = torch.Generator().manual_seed(7)
    return (torch.rand((n, 2, 12, 8, n_steps), generator=rng) < 0.3).float()


@pytest.fixture(scope="module")
def networks() -> tuple[PublishedSpikeTransformer, SpikeTransformer]:
    """A small network of random weights that is active in every layer, and its copies."""
    published = PublishedSpikeTransformer(**SMALL)
    draw_exact(published, seed=1)
    with torch.no_grad():
        for part in published.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.bias += 0.5  # so that every layer is active
    net = SpikeTransformer(**SMALL).eval()
    copied(published.eval(), net)
    return published, net


@pytest.mark.parametrize(("size", "millions"), PUBLISHED_SIZES.items())
def test_the_published_sizes_have_the_published_number_of_parameters(
    size: tuple[int, int], millions: float
) -> None:
    n_blocks, n_channels = size
    with torch.device("meta"):
        net = PublishedSpikeTransformer(n_channels, n_blocks)
    n = sum(p.numel() for p in net.parameters())
    assert n / 1e6 == pytest.approx(millions, abs=0.0101)  # the paper cuts off or rounds


def test_copies_spike_as_the_published_network_in_every_layer(networks: Any) -> None:
    published, net = networks
    net.load_state_dict({**net.state_dict(), "scales": torch.full_like(net.scales, 64)})
    theirs, ours = {}, {}
    for name, part in published.named_modules():
        if name.endswith("lif") or "proj_lif" in name:
            part.register_forward_hook(lambda _m, _a, out, name=name: theirs.update({name: out}))
    for name, part in net.named_modules():
        if hasattr(part, "synapse"):
            part.register_forward_hook(lambda _m, _a, out, name=name: ours.update({name: out}))
    with torch.no_grad():
        expected, found = published(spikes()), net(spikes())
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)
    names = {"patch_embed.proj_lif": "splitting.0", "patch_embed.proj_lif3": "position",
             "head_lif": "last"}
    for i in range(SMALL["n_blocks"]):
        for part, own in (("attn.shortcut", "shortcut"), ("attn.q", "query"), ("attn.k", "key"),
                          ("attn.v", "value"), ("mlp.fc1", "fc1"), ("mlp.fc2", "fc2")):
            names[f"block.{i}.{part}_lif"] = f"blocks.{i}.{own}"
    for name, own in names.items():
        assert theirs[name].sum() > 50, name
        assert torch.equal(theirs[name], ours[own]), name


def test_relays_spike_as_the_published_network_later_by_the_relays_before(networks: Any) -> None:
    published, _ = networks
    net = RelayedSpikeTransformer(**SMALL).eval()
    net.load_state_dict(published.state_dict())
    theirs, ours = {}, {}
    for name, part in published.named_modules():
        part.register_forward_hook(lambda _m, _a, out, name=name: theirs.update({name: out}))
    for name, part in net.named_modules():
        part.register_forward_hook(lambda _m, _a, out, name=name: ours.update({name: out}))
    net.load_state_dict({**net.state_dict(), "scales": torch.full_like(net.scales, 64)})
    given = spikes(4, 40)
    with torch.no_grad():
        published(given)
        net(given)
    n_relays = 2 + 2 * SMALL["n_blocks"]
    later = {"position": ("patch_embed.proj_lif3", 1), "last": ("head_lif", n_relays),
             "head": ("head", n_relays + 1)}
    for i in range(SMALL["n_blocks"]):
        n = 2 + 2 * i
        for part, own, steps in (
                ("attn.shortcut", "shortcut", n), ("attn.q", "query", n), ("attn.k", "key", n),
                ("attn.v", "value", n), ("mlp.fc1", "fc1", n + 1), ("mlp.fc2", "fc2", n + 1)):
            later[f"blocks.{i}.{own}"] = (f"block.{i}.{part}_lif", steps)
    for own, (name, steps) in later.items():
        expected = theirs[name] if name != "head" else theirs[name].transpose(1, 2)
        assert expected.abs().sum() > 50, name
        torch.testing.assert_close(
            ours[own][..., steps:], expected[..., :-steps], rtol=0,
            atol=1e-3 if own == "head" else 0)
    # the published parameters and no copies, but for normalization folded into them
    n_weights = sum(p.numel() for m in published.modules() for n, p in m.named_parameters(
        recurse=False) if n == "weight" and p.dim() > 1)
    assert sum(p.numel() for n, p in net.named_parameters() if "synapse" in n) == n_weights


def test_balanced_relays_spike_in_the_published_steps_of_no_step_per_layer(
    networks: Any,
) -> None:
    """An image shown for T steps, as the network was published for: T steps of every layer."""
    published = PublishedSpikeTransformer(**SMALL, takes_steps=False).eval()
    published.load_state_dict(networks[0].state_dict())
    with torch.no_grad():
        for block in published.block:  # in a few steps its last neurons would all fire
            for norm in (block.attn.proj_bn, block.mlp.fc2_bn):
                norm.bias -= 1.2
    net = RelayedSpikeTransformer(**SMALL, is_balanced=True).eval()
    net.load_state_dict(published.state_dict())
    net.load_state_dict({**net.state_dict(), "scales": torch.full_like(net.scales, 64)})
    theirs, ours = {}, {}
    for found, module in ((theirs, published), (ours, net)):
        for name, part in module.named_modules():
            part.register_forward_hook(
                lambda _m, _a, out, name=name, found=found: found.update({name: out}))
    n_shown = 4
    frames = spikes(6, 1)
    shown = torch.zeros(*frames.shape[:-1], n_shown + net.depth)
    shown[..., :n_shown] = frames
    with torch.no_grad():
        published(frames.expand(*frames.shape[:-1], n_shown))
        net(shown)
    first = len(net.splitting) + 1  # step in which the stream begins
    arrivals = {"position": ("patch_embed.proj_lif3", first + 1)}
    for i in range(SMALL["n_blocks"]):
        begin = first + 2 + 9 * i
        for part, own, n in (
                ("attn.shortcut", "shortcut", 1), ("attn.q", "query", 4), ("attn.k", "key", 2),
                ("attn.v", "value", 2), ("attn.talking_heads", "mask", 4), ("mlp.fc1", "fc1", 7),
                ("mlp.fc2", "fc2", 8)):
            arrivals[f"blocks.{i}.{own}"] = (f"block.{i}.{part}_lif", begin + n)
    arrivals["last"] = ("head_lif", net.depth - 1)
    for own, (name, begin) in arrivals.items():
        assert 0.01 < theirs[name].mean() < 0.99, name
        expected = theirs[name].expand_as(ours[own][..., :n_shown])
        torch.testing.assert_close(
            ours[own][..., begin : begin + n_shown], expected, rtol=0, atol=0, msg=own)
        assert not ours[own][..., :begin].any(), own
    torch.testing.assert_close(
        ours["head"][..., -n_shown:], theirs["head"].transpose(1, 2), rtol=0, atol=1e-3)
    assert not ours["head"][..., : -n_shown].any()


def test_a_stream_has_one_scale_at_which_no_message_is_too_large(networks: Any) -> None:
    published, _ = networks
    net = RelayedSpikeTransformer(**SMALL).eval()
    net.load_state_dict(published.state_dict())
    with torch.no_grad():
        for relay in (net.tokens, net.blocks[0].perceived):
            relay.synapse.weight *= 300
    net.fit_scales()
    relays = [part for part in net.modules() if isinstance(part, CurrentRelay)]
    readers = [part for part in net.modules() if isinstance(part, StreamReader)]
    assert {relay.w_scale for relay in relays} == {reader.neuron.w_scale for reader in readers} \
        == {net.tokens.w_scale}
    total = torch.stack([relay.synapse.weight.detach().clamp(min=0).flatten(1).sum(1)
                         for relay in relays]).sum(0).max()
    assert float(total) * net.tokens.w_scale < 1 << 17
    assert all(float(relay.synapse.weight.detach().abs().max()) * relay.w_scale <= 254
               for relay in relays)


def test_voltages_and_gradients_are_slayers_bit_for_bit() -> None:
    from lava.lib.dl.slayer.neuron.dynamics import leaky_integrator

    currents = torch.randn(3, 4, 5, 30) * 2
    ours, theirs = currents.clone().requires_grad_(), currents.clone().requires_grad_()
    decay, threshold = torch.tensor([1500.0]), 2.0 + 0.01 / 4096
    found = LeakyIntegrator.apply(ours, 1500, threshold, 4096)
    expected = leaky_integrator.dynamics(
        theirs, decay, torch.zeros(currents.shape[:-1]), 4096, threshold)
    assert torch.equal(found, expected) and (found >= threshold).any()
    weight = torch.randn_like(found)
    for voltages in (found, expected):
        (voltages * weight).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-5)


def test_a_mask_sums_over_all_tokens_and_is_the_same_for_each() -> None:
    both = (torch.rand(2, 3, 4, 5, 30) < 0.05).float()
    mask = TokenSum(3, (4, 5), leaky(2.0, 0.5)).eval()(both)
    assert 0 < mask.mean() < 1
    assert torch.equal(mask, mask[:, :, :1, :1].expand_as(mask))


def test_gates_are_and() -> None:
    a, b = (torch.rand(2, 2, 3, 4, 5, 20) < 0.5).float()
    found = And(3).eval()(a + b)
    assert torch.equal(found[..., 1:], (a * b)[..., :-1]) and not found[..., 0].any()


@pytest.mark.parametrize("kind", [
    SpikeTransformer, RelayedSpikeTransformer, partial(RelayedSpikeTransformer, is_balanced=True)])
def test_the_integer_network_is_the_module_and_stays_it_without_joins(
    kind: Any, networks: Any, tmp_path: Path
) -> None:
    net = kind(**SMALL).eval()
    net.load_state_dict(networks[0].state_dict())
    description = ModelDescription.model_validate({
        "network": "network.py:Network", "input_shape": SMALL["input_shape"], "n_steps": N_STEPS,
        "data": {"kind": "npz", "file": "data.npz"}})
    model = ModelFolder("transformer", tmp_path, description)
    network = as_trained(to_network(net, model))[0]
    write_back(net, network)
    given = spikes(2).numpy().astype(np.uint8)
    found, expected = emulate(network, given), run_module(net, network, given)
    lowered = emulate(without_joins(network), given)
    for layer in network.layers:
        np.testing.assert_array_equal(found.spikes[layer.name], expected.spikes[layer.name])
        np.testing.assert_array_equal(lowered.spikes[layer.name], found.spikes[layer.name])
        assert layer.name == "head" or found.spikes[layer.name].any(), layer.name
    if kind is SpikeTransformer:
        kernels = {group.weight.shape[2:] for group in
                   without_joins(network).layer("blocks.1.fc1").synapses}
        assert kernels == {(3, 3), (1, 1)}  # of branches, as published
    else:
        assert found.spikes["blocks.1.perceived"].min() < 0  # currents have a sign


class TestPublishedWeights:
    def test_a_training_checkpoint_of_the_authors_loads(self) -> None:
        published, state = PublishedSpikeTransformer(**SMALL), dict[str, Any]()
        for name, tensor in PublishedSpikeTransformer(**SMALL).state_dict().items():
            state[name] = tensor + 1 if tensor.is_floating_point() else tensor
        for i in range(SMALL["n_blocks"]):
            state[f"block.{i}.attn.talking_heads.weight"] = torch.zeros(8, 8, 1)
        published.load_state_dict({"state_dict": state})
        assert torch.equal(published.block[1].mlp.fc2_conv.bias, state["block.1.mlp.fc2_conv.bias"])

    @pytest.mark.parametrize(("change", "shown"), [
        ({"n_blocks": 3}, "names it should not have: block.2"),
        ({"n_blocks": 1}, "names it lacks: block.1"),
        ({"n_channels": 40}, "'patch_embed.proj_conv.weight' is"),
    ])
    def test_another_architecture_is_refused(self, change: dict[str, Any], shown: str) -> None:
        state = PublishedSpikeTransformer(**{**SMALL, **change}).state_dict()
        with pytest.raises(CheckpointError, match="another architecture") as error:
            PublishedSpikeTransformer(**SMALL).load_state_dict(state)
        assert shown in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "own"), [
    ("SpikeTransformer", {}), ("RelayedSpikeTransformer", {}),
    ("RelayedSpikeTransformer", {"is_balanced": True})])
def test_a_small_transformer_deploys_without_a_differing_spike(
    kind: str, own: dict[str, Any], networks: Any, tmp_path: Path, deploy: Any
) -> None:
    arrays, rng = {}, np.random.default_rng(0)
    for split in ("calibration", "validation", "test"):
        arrays[f"{split}_spikes"] = spikes(8).numpy().astype(np.uint8)
        arrays[f"{split}_labels"] = rng.integers(0, 5, 8)
    folder = tmp_path / "model"
    folder.mkdir()
    torch.save(networks[0].state_dict(), folder / "checkpoint.pt")
    np.savez(folder / "data.npz", **arrays)
    (folder / "recipe.yaml").write_text(yaml.safe_dump({
        "calibration": {"n_samples": 8}, "compress": {"sparsity": 0.5, "bits": 4},
        "evaluate": {"n_validation": 8, "n_test": 8}, "verify": {"n_samples": 2},
        "energy": {"n_samples": 2}}))
    arguments = {**SMALL, **own, "input_shape": [2, 12, 8], "pooling": [True, False, True, False]}
    module = spike_transformer if kind == "SpikeTransformer" else spike_transformer_relays
    (folder / "model.yaml").write_text(yaml.safe_dump({
        "network": f"{module.__file__}:{kind}", "arguments": arguments,
        "input_shape": [2, 12, 8], "n_steps": N_STEPS,
        "data": {"kind": "npz", "file": "data.npz"}}))
    assert deploy(folder, tmp_path / "out", "--target", "loihi2") == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    rows = report["equivalence"]
    assert {row["second_backend"] for row in rows} == {"Lava", "SLAYER with the compressed weights"}
    assert all(row["n_differing"] == 0 for row in rows)
    assert sum(row["n_spikes"] for row in rows) > 1000
    # half of all weights are kept, of those that are some; the ones of a stream are not pruned
    groups = [layer for layer in report["layers"] if layer["mask_by"] != "left alone"]
    n_kept, n_weights = (
        sum(g[key] for g in groups) for key in ("n_weights_kept", "n_weights_dense"))
    assert 0.48 * n_weights < n_kept <= 0.5 * n_weights
