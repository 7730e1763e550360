"""A network written back into its SLAYER module is the same network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from slayer_modules import MakeModel, require_same_spikes

from pipeline.errors import CheckpointError, UnsupportedLayerError
from pipeline.ingest.checkpoint import load_module
from pipeline.ingest.slayer_write_back import forget, write_back
from pipeline.network import Network
from pipeline.quantize import as_trained

# SLAYER takes five to ten seconds to import, and is to be quiet before a user's file asks for it
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("slayer")]

Fresh = Callable[..., torch.nn.Module]


def changed(network: Network) -> Network:
    """Return the network pruned, its weights, thresholds and biases altered."""
    layers = []
    for index, layer in enumerate(network.layers):
        (synapse,) = layer.synapses
        if synapse.is_fixed:
            layers.append(layer)
            continue
        weight = synapse.weight.copy()
        weight[np.abs(weight) < np.median(np.abs(weight))] = 0
        weight[weight > 0] = np.minimum(2 * weight[weight > 0], 254)
        weight[1] = 0  # a neuron without any synapse
        neuron, recurrent = layer.neuron, layer.recurrent
        if neuron.fires:
            neuron = replace(neuron, vth_mant=neuron.vth_mant - 1 - index)
        if neuron.bias is not None:
            neuron = replace(neuron, bias=tuple(2 * (i % 5 - 2) for i in range(len(neuron.bias))))
        if recurrent is not None:
            recurrent = replace(recurrent, weight=-recurrent.weight)
        layers.append(replace(
            layer, synapses=(replace(synapse, weight=weight),), neuron=neuron,
            recurrent=recurrent))
    return network.with_layers(tuple(layers))


@pytest.mark.parametrize(("class_name", "arguments"), [
    ("Dense", {}), ("Dense", {"weight_norm": True}), ("Dense", {"is_masked": True}),
    ("Dense", {"scale": 32, "weight_norm": True}), ("Conv", {}), ("Conv", {"weight_norm": True}),
    ("Pool", {}), ("Recurrent", {}), ("Affine", {}), ("Affine", {"dynamics": False}), ("Input", {}),
    ("Norm", {"kind": "mean"}), ("Norm", {"kind": "weight", "is_conv": True}),
    ("Norm", {"kind": "torch"}), ("Norm", {"kind": "torch", "is_conv": True}),
    ("Delay", {}), ("Delay", {"is_conv": True}), ("ConvGraph", {"groups": 2}),
], ids=str)
def test_network_written_back_spikes_the_same_and_its_checkpoint_fits_the_class(
    class_name: str, arguments: dict[str, Any], slayer: Any, make_model: MakeModel, fresh: Fresh,
    tmp_path: Path,
) -> None:
    model = make_model(class_name, **arguments)
    module = load_module(model)
    network = changed(as_trained(slayer.to_network(module, model))[0])
    write_back(module, network)
    assert all(torch.isfinite(value).all() for value in module.state_dict().values())
    require_same_spikes(slayer, module, network)

    forget(module)  # a state dict holds the last spikes of a recurrent block
    torch.save(module.state_dict(), tmp_path / "written.pt")
    other = fresh(model.network_file, class_name, arguments)
    missing = other.load_state_dict(torch.load(tmp_path / "written.pt", weights_only=True))
    assert not missing.missing_keys and not missing.unexpected_keys
    reloaded = slayer.to_network(other, model)
    for written, read in zip(network.synapses, reloaded.synapses, strict=True):
        assert np.array_equal(written.weight, read.weight)
        assert np.isfinite(read.weight).all()


def test_thresholds_per_channel_are_refused_before_the_module_is_touched(
    slayer: Any, make_model: MakeModel
) -> None:
    model = make_model("Dense")
    module = load_module(model)
    network = changed(as_trained(slayer.to_network(module, model))[0])
    last = network.layers[-1]
    neuron = replace(last.neuron, channel_vth_mant=(40,) * last.n_channels)
    mixed = network.with_layers((*network.layers[:-1], replace(last, neuron=neuron)))
    before = {key: value.clone() for key, value in module.state_dict().items()}
    with pytest.raises(UnsupportedLayerError) as error:
        write_back(module, mixed)
    for part in (f"layer '{last.name}'", "one threshold per channel", "match_rates: layer"):
        assert part in str(error.value)
    after = module.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_writing_back_what_was_read_changes_no_spike(slayer: Any, make_model: MakeModel) -> None:
    model = make_model("Conv", weight_norm=True)
    module = load_module(model)
    network, _ = as_trained(slayer.to_network(module, model))
    write_back(module, network)
    require_same_spikes(slayer, module, network)
    again, ledger = as_trained(slayer.to_network(module, model))
    assert ledger == ()
    for before, after in zip(network.synapses, again.synapses, strict=True):
        assert np.array_equal(before.weight, after.weight)


@pytest.mark.parametrize("extreme", [-256, 254, 2])
def test_extreme_weights_survive_weight_normalization(
    extreme: int, slayer: Any, make_model: MakeModel
) -> None:
    model = make_model("Dense", weight_norm=True)
    module = load_module(model)
    network, _ = as_trained(slayer.to_network(module, model))
    weight = np.full((16, 12), extreme, dtype=np.int32)
    weight[::2, ::5] = -2
    layer = network.layers[0]
    network = network.with_layers((
        replace(layer, synapses=(replace(layer.synapses[0], weight=weight),)), network.layers[1],
    ))
    write_back(module, network)
    again = slayer.to_network(module, model)
    assert np.array_equal(again.synapses[0].weight, weight)


def test_row_that_weight_normalization_makes_nan_is_refused_by_layer(
    slayer: Any, make_model: MakeModel
) -> None:
    model = make_model("Dense", weight_norm=True)
    module = load_module(model)
    with torch.no_grad():
        module.blocks[1].synapse.weight_v[3] = 0.0  # SLAYER divides by the norm of the row
    with pytest.raises(CheckpointError, match="layer 'blocks.1': 16 of 160 weights are not finite"):
        slayer.to_network(module, model)
