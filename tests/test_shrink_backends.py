"""Lava and SLAYER spike in the shrunk network as the emulator does, and it deploys smaller."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from pipeline.export_netx import write_netx
from pipeline.lava_backend import run_lava
from pipeline.shrink import kept_only, shrink

DEPLOYED_PY = '''
import torch
from lava.lib.dl import slayer

NEURON = dict(threshold=0.6, current_decay=0.3, voltage_decay=0.05)


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        cuba = slayer.block.cuba
        self.blocks = torch.nn.ModuleList([
            cuba.Conv(NEURON, 2, 6, 3, padding=1, weight_scale=3, weight_norm=True),
            cuba.Flatten(),
            cuba.Dense(NEURON, 6 * 5 * 4, 20, weight_scale=3, weight_norm=True),
            cuba.Dense(NEURON, 20, 5, weight_scale=3),
        ])

    def forward(self, spikes):
        for block in self.blocks:
            spikes = block(spikes)
        return spikes
'''


@pytest.mark.slow
@pytest.mark.parametrize("plan", [(7, 5, 3), ("conv", "wide", 6, 4)], ids=["dense", "conv"])
def test_lava_equals_the_emulator_where_one_channel_is_left(
    plan: tuple[int | str, ...], tmp_path: Path, sparse_chain: Any, silenced: Any, sizes: Any,
    require_same_spikes: Any
) -> None:
    network = sparse_chain(plan, 3, 0.0)
    for listener in ("l1", "l2"):
        n_sources = network.shape_of(network.layer_of(listener).synapses[0].source)[0]
        network = silenced(network, listener, list(range(1, n_sources)))
    shrunk = shrink(network)
    assert sizes(shrunk.network)[:2] == [1, 1]
    write_netx(shrunk.network, tmp_path / "small.net", "")
    spikes = (np.random.default_rng(0).random((4, *network.input_shape, 16)) < 0.3).astype(np.uint8)
    run = run_lava(tmp_path / "small.net", shrunk.network, spikes, 120.0)
    before = require_same_spikes(network, shrunk, spikes)
    expected = kept_only(before, shrunk.kept)
    for layer in network.layers:
        assert expected.spikes[layer.name].sum() > 10
        np.testing.assert_array_equal(run.trace.spikes[layer.name], expected.spikes[layer.name])


@pytest.mark.slow
def test_lava_equals_the_emulator_where_shrinking_leaves_one_sign(
    tmp_path: Path, full_chain: Any, silenced: Any, with_weight: Any, require_same_spikes: Any
) -> None:
    network = silenced(full_chain(6, 5, 3), "l1", [2])
    weight = 64 * (network.synapses[0].weight > 10).astype(np.int32)
    weight[2] = -126
    network = with_weight(network, 0, weight)
    shrunk = shrink(network)
    assert shrunk.network.synapses[0].weight_bits == 1 and (weight < 0).any()
    write_netx(shrunk.network, tmp_path / "small.net", "")
    spikes = (np.random.default_rng(0).random((4, 4, 16)) < 0.3).astype(np.uint8)
    run = run_lava(tmp_path / "small.net", shrunk.network, spikes, 120.0)
    expected = kept_only(require_same_spikes(network, shrunk, spikes), shrunk.kept)
    for layer in network.layers:
        assert expected.spikes[layer.name].sum() > 10
        np.testing.assert_array_equal(run.trace.spikes[layer.name], expected.spikes[layer.name])


@pytest.mark.slow
@pytest.mark.parametrize("compress", [
    # zeros stay zeros, so that neurons unheard as trained stay unheard
    {"pruning": "magnitude", "refit": False, "sequential": False}, {"pattern": "neurons"},
], ids=["unheard as trained", "pruned by neurons"])
def test_a_network_with_unheard_neurons_deploys_smaller_and_equal(
    tmp_path: Path, fresh: Any, monkeypatch: pytest.MonkeyPatch, compress: dict[str, Any]
) -> None:
    import torch

    from pipeline.cli import main

    folder, out = tmp_path / "mine", tmp_path / "out"
    folder.mkdir()
    (folder / "network.py").write_text(DEPLOYED_PY)
    (folder / "model.yaml").write_text(yaml.safe_dump({
        "input_shape": [2, 5, 4], "n_steps": 24, "data": {"kind": "npz", "file": "spikes.npz"}}))
    (folder / "recipe.yaml").write_text(yaml.safe_dump({
        "calibration": {"n_samples": 20}, "compress": {"sparsity": 0.5, "bits": 6, **compress},
        "evaluate": {"n_validation": 20, "n_test": 20}, "verify": {"n_samples": 5},
        "energy": {"n_samples": 5}}))
    rng, arrays = np.random.default_rng(0), {}
    for split in ("calibration", "validation", "test"):
        arrays[f"{split}_spikes"] = (rng.random((20, 2, 5, 4, 24)) < 0.3).astype(np.uint8)
        arrays[f"{split}_labels"] = rng.integers(0, 5, 20)
    np.savez(folder / "spikes.npz", **arrays)
    torch.manual_seed(3)
    module = fresh(folder / "network.py", "Network", {})
    with torch.no_grad():
        # nobody hears channels 1 and 4 of the first layer, nor neurons 0..11 of the second
        for by_neuron in module.blocks[2].synapse.weight_v.reshape(20, 6, -1).unbind(0):
            by_neuron[[1, 4]] = 0
        module.blocks[3].synapse.weight[:, :12] = 0
    torch.save(module.state_dict(), folder / "checkpoint.pt")

    monkeypatch.setattr("sys.argv", [
        "spikefit", "deploy", "--model", str(folder), "--recipe", str(folder / "recipe.yaml"),
        "--out", str(out)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
    report = json.loads((out / "report.json").read_text())
    conv, hidden, output = report["layers"]
    assert conv["n_neurons_dense"] == 120 and conv["n_neurons"] <= 4 * 20
    assert hidden["n_neurons_dense"] == 20
    # half of the weights go: about 0.7 of the hidden neurons stay
    assert hidden["n_neurons"] <= (8 if "pruning" in compress else 15)
    assert output["n_neurons_dense"] == output["n_neurons"] == 5
    assert hidden["weight_shapes"] == [[hidden["n_neurons"], conv["n_neurons"]]]
    backends = {row["second_backend"] for row in report["equivalence"]}
    assert backends == {"Lava", "SLAYER with the compressed weights"}
    for row in report["equivalence"]:
        assert row["n_spikes"] > 0 and row["n_differing"] == 0
    removed = {row["layer"]: (row["count"], row["total"]) for row in report["ledger"]
               if row["what"].startswith("neurons removed")}
    assert removed == {row["name"]: (row["n_neurons_dense"] - row["n_neurons"],
                                     row["n_neurons_dense"]) for row in (conv, hidden)}
    # shares are of all the weights that were trained
    n_weights = 6 * 2 * 9 + 120 * 20 + 20 * 5
    n_nonzero = sum(row["n_weights_nonzero"] for row in report["layers"])
    assert report["verdict"]["connection_sparsity_frac"] == pytest.approx(1 - n_nonzero / n_weights)
    # the user's class takes the checkpoint as before
    module.load_state_dict(torch.load(out / "checkpoint.pt", weights_only=True))
