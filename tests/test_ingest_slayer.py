"""A SLAYER module becomes the Network that spikes as it does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from slayer_modules import MakeModel, require_same_spikes, spikes_for

from pipeline.emulate import emulate
from pipeline.ingest.checkpoint import load_module
from pipeline.quantize import as_trained

# SLAYER takes five to ten seconds to import, and is to be quiet before a user's file asks for it
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("slayer")]


@pytest.mark.parametrize(("class_name", "arguments"), [
    ("Dense", {}),
    ("Dense", {"weight_norm": True}),
    ("Dense", {"is_masked": True}),
    ("Dense", {"is_masked": True, "weight_norm": True}),
    ("Dense", {"scale": 32}),
    ("Dense", {"scale": 256, "weight_norm": True}),
    ("Dense", {"current_decay": 1.0}),
    ("Dense", {"voltage_decay": 0.0, "current_decay": 1.0}),
    ("Dense", {"current_decay": 0.0, "voltage_decay": 1.0}),
    ("Dense", {"threshold": 0.017}),
    ("Conv", {}),
    ("Conv", {"weight_norm": True}),
    ("ReshapesItself", {}),
    ("Dropout", {}),
    ("Between", {"what": "nothing"}),
    ("Pool", {}), ("Pool", {"kernel": [2, 5]}),
    ("Recurrent", {}), ("Recurrent", {"threshold": 0.2}),
    ("Affine", {}), ("Affine", {"dynamics": False}), ("Affine", {"weight_norm": True}),
    ("Average", {}),
    ("Input", {}), ("Input", {"weight": None}),
    ("Norm", {"kind": "mean"}), ("Norm", {"kind": "mean", "is_conv": True}),
    ("Norm", {"kind": "weight"}), ("Norm", {"kind": "weight", "is_conv": True}),
    ("Delay", {}), ("Delay", {"is_conv": True}),
    ("Graph", {"what": "skip"}), ("Graph", {"what": "in place"}),
    ("Graph", {"what": "sum of a list"}), ("Graph", {"what": "twice the same"}),
    ("Graph", {"what": "concat"}), ("Graph", {"what": "concat all"}),
    ("ConvGraph", {}), ("ConvGraph", {"groups": 2}),
], ids=str)
def test_ingested_network_spikes_as_the_module_does(
    class_name: str, arguments: dict[str, Any], slayer: Any, make_model: MakeModel
) -> None:
    model = make_model(class_name, **arguments)
    module = load_module(model)
    network, ledger = as_trained(slayer.to_network(module, model))
    assert ledger == ()  # SLAYER's own hook has rounded already
    require_same_spikes(slayer, module, network)


def test_ingested_network_has_the_modules_parameters(slayer: Any, make_model: MakeModel) -> None:
    model = make_model("Conv", weight_norm=True)
    module = load_module(model)
    network = slayer.to_network(module, model)
    assert [layer.name for layer in network.layers] == ["blocks.0", "blocks.1", "blocks.3"]
    assert [layer.shape for layer in network.layers] == [(4, 4, 4), (6, 2, 4), (5,)]
    assert (network.input_shape, network.n_steps, network.name) == ((2, 8, 7), 30, "conv")
    second = network.layers[1].synapses[0]
    assert (second.source, second.kind, second.weight.shape) == ("blocks.0", "conv", (6, 2, 2, 3))
    assert second.geometry is not None
    assert (second.geometry.stride, second.geometry.padding) == ((1, 1), (0, 1))
    assert (second.geometry.dilation, second.geometry.groups) == ((2, 1), 2)
    for layer in network.layers:
        neuron = layer.neuron
        assert (neuron.current_decay, neuron.voltage_decay) == (1024, round(0.03 * 4096))
        assert neuron.vth_mant == int(0.6 * 64)
        assert layer.synapses[0].is_integer


@pytest.mark.parametrize("is_conv", [False, True])
def test_torchs_batch_norm_is_folded_up_to_rounding(
    is_conv: bool, slayer: Any, make_model: MakeModel
) -> None:
    model = make_model("Norm", kind="torch", is_conv=is_conv)
    module = load_module(model)
    network, ledger = as_trained(slayer.to_network(module, model))
    assert {entry.what for entry in ledger} == {"rounded to even integers", "biases rounded"}
    spikes = spikes_for(network, n_samples=40)
    first = network.layers[0].name
    own, ours = (t.spikes[first] for t in (
        slayer.run_module(module, network, spikes), emulate(network, spikes)))
    assert own.mean() > 0.02 and ours.mean() == pytest.approx(own.mean(), rel=0.03)
    assert (own != ours).mean() < 0.1 * own.mean()


def test_checkpoints_of_modules_that_size_themselves_are_loaded(
    slayer: Any, make_model: MakeModel
) -> None:
    model = make_model("OwnDecays")
    module = load_module(model)
    with torch.no_grad():  # draws the decays, as training would
        module(torch.zeros(1, 12, 2))
    torch.save(module.state_dict(), model.checkpoint)
    loaded = load_module(model)
    network = slayer.to_network(loaded, model)
    decays = module.blocks[0].neuron.cx_current_decay
    assert network.layers[0].neuron.channel_current_decay == tuple(decays)
    assert len(set(decays)) > 8
    require_same_spikes(slayer, loaded, as_trained(network)[0])


def test_masked_weights_are_zero_in_the_network(slayer: Any, make_model: MakeModel) -> None:
    model = make_model("Dense", is_masked=True)
    network = slayer.to_network(load_module(model), model)
    mask = np.arange(16 * 12).reshape(16, 12) % 3 > 0
    weight = network.synapses[0].weight
    assert not weight[~mask].any() and np.count_nonzero(weight[mask]) > 100


def test_weights_without_a_hook_stay_float_and_are_rounded_in_quantize(
    slayer: Any, make_model: MakeModel
) -> None:
    model = make_model("NoHook")
    network = slayer.to_network(load_module(model), model)
    assert not network.is_integer
    integer, ledger = as_trained(network)
    assert integer.is_integer and ledger[0].count == ledger[0].total == 120


def test_ingest_leaves_the_state_dict_as_it_was(slayer: Any, make_model: MakeModel) -> None:
    model = make_model("Dense", weight_norm=True)
    module = load_module(model)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    slayer.to_network(module, model)
    after = module.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(before[key], after[key]) for key in before)
