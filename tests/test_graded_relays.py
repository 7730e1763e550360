"""Graded relays send on sums: in the emulator, in Lava, in SLAYER, on chips that can."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from published_sew import PublishedSew, draw_exact

from models.deep import sew_resnet
from models.deep.relays import GradedRelay
from models.deep.sew_resnet import SewResNet
from pipeline.emulate import emulate, emulate_pieces
from pipeline.lava_backend import run_lava
from pipeline.lower import without_joins
from pipeline.mapping.layer_facts import facts_of, message_bounds
from pipeline.network import INPUT, ConvGeometry, Join, Layer, Network, Synapse
from pipeline.neuron import CubaNeuron, RelayNeuron

NEURON = CubaNeuron(current_decay=1024, voltage_decay=300, vth_mant=130)
SHAPE = (2, 4, 3)
SEW = {"n_blocks": (3, 2), "widths": (4, 6), "n_classes": 5, "input_shape": (3, 28, 14),
       "is_balanced": True}


def random_weight(seed: int, *shape: int) -> Any:
    return (2 * np.random.default_rng(seed).integers(-50, 60, shape)).astype(np.int32)


def group(name: str, source: str, weight: Any, groups: int = 1) -> Synapse:
    padding = (weight.shape[2] // 2, weight.shape[3] // 2)
    return Synapse(name, source, weight, ConvGeometry(padding=padding, groups=groups), 8)


def relayed(delay: tuple[int, ...] | None = None) -> Network:
    """Two trains summed, with weights of either sign, relayed twice, and heard by neurons."""
    signed = np.array([[1, -3], [2, 0]], dtype=np.int32).reshape(2, 2, 1, 1)
    ones = np.ones((2, 1, 1, 1), dtype=np.int32)
    return Network("relayed", SHAPE, 30, (
        Layer("a", (group("a", INPUT, random_weight(1, 2, 2, 3, 3)),), NEURON, SHAPE),
        Layer("b", (group("b", "a", random_weight(2, 2, 2, 3, 3)),), NEURON, SHAPE),
        Layer("first", (group("first", "sum", signed),), RelayNeuron(), SHAPE, delay),
        Layer("second", (group("second", "more", ones, 2),), RelayNeuron(), SHAPE),
        Layer("c", (group("c", "second", random_weight(3, 3, 2, 3, 3)),), NEURON, (3, 4, 3)),
    ), (Join("sum", "add", ("a", "b"), SHAPE), Join("more", "add", ("first", "a"), SHAPE)))


def given(n: int = 3, n_steps: int = 30) -> Any:
    return (np.random.default_rng(4).random((n, *SHAPE, n_steps)) < 0.3).astype(np.uint8)


def later(values: Any, n_steps: int) -> Any:
    result = np.zeros_like(values)
    result[..., n_steps:] = values[..., : values.shape[-1] - n_steps]
    return result


@pytest.mark.parametrize("delay", [None, (3, 0)])
def test_what_arrives_is_sent_on_a_step_and_the_delay_later(delay: Any) -> None:
    found = emulate(relayed(delay), given()).spikes
    total = found["a"].astype(int) + found["b"]
    weighted = np.stack([total[:, 0] - 3 * total[:, 1], 2 * total[:, 0]], axis=1)
    delays = delay or (0, 0)
    expected = np.stack([later(weighted[:, k], 1 + delays[k]) for k in range(2)], axis=1)
    assert expected.min() < 0 and expected.max() > 1
    np.testing.assert_array_equal(found["first"], expected)
    np.testing.assert_array_equal(found["second"], later(expected + found["a"], 1))
    assert found["c"].any()


def test_relays_go_on_where_a_piece_of_time_ends() -> None:
    network = relayed((3, 0))
    whole = emulate(network, given())
    pieces = list(emulate_pieces(network, given(), 4))
    for name, expected in whole.spikes.items():
        np.testing.assert_array_equal(
            np.concatenate([piece.spikes[name] for piece in pieces], axis=-1), expected)
    np.testing.assert_array_equal(pieces[-1].n_active["first"], whole.n_active["first"])


def test_sums_beyond_24_bits_wrap() -> None:
    weight = np.full((2, 2, 1, 1), 1 << 22, dtype=np.int32)
    network = Network("wide", SHAPE, 3, (
        Layer("a", (group("a", INPUT, weight),), RelayNeuron(), SHAPE),))
    found = emulate(network, np.ones((1, *SHAPE, 3), dtype=np.uint8)).spikes["a"]
    assert set(np.unique(found[..., 1:])) == {-(1 << 23)}


def test_the_least_and_the_largest_message_bound_the_input_of_what_hears_it() -> None:
    network = relayed()
    bounds = message_bounds(network)
    assert bounds == {
        INPUT: (0, 1), "a": (0, 1), "b": (0, 1), "first": (-6, 4), "second": (-6, 5), "c": (0, 1)}
    weight = network.layer("c").synapses[0].weight.reshape(3, -1)
    excitation = np.maximum(5 * weight, -6 * weight).sum(axis=1).max()
    inhibition = np.maximum(-5 * weight, 6 * weight).sum(axis=1).max()
    facts = facts_of(network.layer("c"), bounds)
    assert facts.worst_case_current == 64 * max(excitation, inhibition)
    assert facts.worst_case_inhibition == 64 * inhibition


@pytest.mark.slow
@pytest.mark.parametrize("delay", [None, (3, 0)])
def test_lava_sends_what_the_emulator_does(delay: Any) -> None:
    network, spikes = relayed(delay), given(2)
    found = run_lava(None, without_joins(network), spikes, 120.0)
    expected = emulate(network, spikes)
    for layer in network.layers:
        np.testing.assert_array_equal(found.trace.spikes[layer.name], expected.spikes[layer.name])


class TestSewResNet:
    @pytest.mark.parametrize("kind", ["basic", "bottleneck"])
    def test_graded_relays_change_no_spike(self, kind: str) -> None:
        published = PublishedSew(kind, SEW["n_blocks"], SEW["widths"], 5).eval()
        draw_exact(published, seed=1)
        voltages, n_relays = [], []
        for is_graded in (False, True):
            net = SewResNet(block=kind, has_graded_relays=is_graded, **SEW).eval()
            net.load_state_dict(published.state_dict())
            frames = torch.randint(
                -20, 21, (2, 3, 28, 14, 1), generator=torch.Generator().manual_seed(7)) / 16
            spikes = torch.zeros(2, 3, 28, 14, 4 + net.depth)
            spikes[..., :4] = frames
            with torch.no_grad():
                voltages.append(net(spikes))
            n_relays.append(sum(len(b.relays) for s in net.stages for b in s.blocks if b.relays))
        # the sum over the map takes a step, and is no other: binary ones have no relay for it
        assert torch.allclose(voltages[1][..., 1:], voltages[0], rtol=0, atol=1e-5)
        assert voltages[0].any()
        assert n_relays == ([1 + 2 + 3 + 2, 4] if kind == "basic" else [2 + 3 + 2, 3])

    def test_a_relay_waits_no_longer_than_an_axon_can(self) -> None:
        GradedRelay(63)
        with pytest.raises(ValueError, match="1 to 63 steps, not by 64"):
            GradedRelay(64)

    @pytest.mark.slow
    def test_a_small_network_deploys_without_a_differing_message(
        self, tmp_path: Path, deploy: Any, capsys: Any
    ) -> None:
        torch.manual_seed(0)
        arguments = {**SEW, "input_shape": [2, 12, 12], "has_graded_relays": True}
        arguments |= {"n_blocks": [2, 2], "widths": [4, 6]}
        net = SewResNet(**arguments)
        rng, arrays, n_steps = np.random.default_rng(0), {}, 12 + net.depth
        for split in ("calibration", "validation", "test"):
            arrays[f"{split}_spikes"] = (rng.random((8, 2, 12, 12, n_steps)) < 0.3).astype(np.uint8)
            arrays[f"{split}_labels"] = rng.integers(0, 5, 8)
        with torch.no_grad():
            for part in net.modules():
                if isinstance(part, torch.nn.BatchNorm3d):
                    part.momentum, part.bias[:] = 1.0, 0.5
            net(torch.from_numpy(arrays["calibration_spikes"]).float())
        net.eval().fit_scales()
        folder = tmp_path / "model"
        folder.mkdir()
        torch.save(net.state_dict(), folder / "checkpoint.pt")
        np.savez(folder / "data.npz", **arrays)
        (folder / "recipe.yaml").write_text(yaml.safe_dump({
            "calibration": {"n_samples": 8}, "compress": {"sparsity": 0.3, "bits": 4},
            "evaluate": {"n_validation": 8, "n_test": 8}, "verify": {"n_samples": 2},
            "energy": {"n_samples": 2}}))
        (folder / "model.yaml").write_text(yaml.safe_dump({
            "network": f"{sew_resnet.__file__}:SewResNet", "arguments": {
                k: list(v) if isinstance(v, tuple) else v for k, v in arguments.items()},
            "input_shape": [2, 12, 12], "n_steps": n_steps,
            "data": {"kind": "npz", "file": "data.npz"}}))
        assert deploy(folder, tmp_path / "out", "--target", "loihi2") == 0
        report = json.loads((tmp_path / "out" / "report.json").read_text())
        rows = report["equivalence"]
        assert {row["second_backend"] for row in rows} == {
            "Lava", "SLAYER with the compressed weights"}
        assert all(row["n_differing"] == 0 for row in rows)
        relays = [row for row in rows if "relays" in row["layer"]]
        assert relays and all(row["n_spikes"] > 0 for row in relays)
        assert deploy(folder, tmp_path / "out1", "--target", "loihi1") == 2
        assert "graded-relay neurons" in capsys.readouterr().err
