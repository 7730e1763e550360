"""A SLAYER module and its Network are the same network, both ways; everything else is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pipeline.compare import compare_traces, require_equal
from pipeline.emulate import emulate
from pipeline.errors import CheckpointError, UnsupportedLayerError
from pipeline.ingest.checkpoint import load_module
from pipeline.model_folder import ModelFolder
from pipeline.network import Network
from pipeline.quantize import as_trained

pytestmark = pytest.mark.slow  # SLAYER takes five to ten seconds to import

MakeModel = Callable[..., ModelFolder]
Fresh = Callable[..., torch.nn.Module]


@pytest.fixture(scope="module", autouse=True)
def slayer() -> Any:
    """SLAYER, imported once by the module that quiets it, before any user's file asks for it."""
    from pipeline.ingest import slayer as ingest

    return ingest


def spikes_for(network: Network, n_samples: int = 4, rate: float = 0.25) -> NDArray[np.uint8]:
    shape: Any = (n_samples, *network.input_shape, network.n_steps)
    return (np.random.default_rng(7).random(shape) < rate).astype(np.uint8)


def require_same_spikes(slayer: Any, module: torch.nn.Module, network: Network) -> None:
    """Require that SLAYER and the emulator agree and that every layer spikes."""
    spikes = spikes_for(network)
    own = slayer.run_module(module, network, spikes)
    emulated = emulate(network, spikes, with_states=True)
    comparison = compare_traces(network, own, "SLAYER", emulated, "emulator")
    require_equal(comparison)
    assert comparison.n_differing == 0
    assert all(layer.n_spikes > 10 for layer in comparison.layers)


# ---------------------------------------------------------------- module to network


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


# ---------------------------------------------------------------- network to module


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
    slayer.write_back(module, network)
    assert all(torch.isfinite(value).all() for value in module.state_dict().values())
    require_same_spikes(slayer, module, network)

    slayer.forget(module)  # a state dict holds the last spikes of a recurrent block
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
        slayer.write_back(module, mixed)
    for part in (f"layer '{last.name}'", "one threshold per channel", "match_rates: layer"):
        assert part in str(error.value)
    after = module.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_writing_back_what_was_read_changes_no_spike(slayer: Any, make_model: MakeModel) -> None:
    model = make_model("Conv", weight_norm=True)
    module = load_module(model)
    network, _ = as_trained(slayer.to_network(module, model))
    slayer.write_back(module, network)
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
    slayer.write_back(module, network)
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


# ---------------------------------------------------------------- not supported


@pytest.mark.parametrize(("class_name", "arguments", "layer", "problem"), [
    ("Alif", {}, "blocks.0", "alif.Dense"),
    ("RecurrentNorm", {}, "blocks.0", "norm"),
    ("Option", {"delay": True}, "blocks.1", "delay that was never set"),
    ("Option", {"delay_shift": False}, "blocks.1", "delay_shift=False"),
    ("Option", {"count_log": True}, "blocks.1", "count_log=True"),
    ("Option", {"neuron_options": {"shared_param": False}}, "blocks.1", "never drawn"),
    ("Option", {"neuron_options": {"graded_spike": True}}, "blocks.1", "graded_spike=True"),
    ("Option", {"neuron_options": {"persistent_state": True}}, "blocks.1", "persistent_state"),
    ("Option", {"neuron_options": {"scale": 100}}, "blocks.1", "scale 100"),
    ("Option", {"neuron_options": {"threshold": 64.0}}, "blocks.1", "threshold mantissa 4096"),
], ids=str)
def test_unsupported_layer_is_refused_by_name(
    class_name: str, arguments: dict[str, Any], layer: str, problem: str, slayer: Any,
    make_model: MakeModel,
) -> None:
    model = make_model(class_name, **arguments)
    module = load_module(model)
    with pytest.raises(UnsupportedLayerError) as error:
        slayer.to_network(module, model)
    assert f"layer '{layer}'" in str(error.value) and problem in str(error.value)
    assert "supported" in str(error.value)


@pytest.mark.parametrize(("what", "place"), [
    ("in-place mask", "after 'a'"),
    ("sum", "after 'b'"),
    ("branches", "after 'b'"),
    ("swap", "after 'a': the module's forward applies 'flip'"),
    ("delay", "after 'a': the module's forward applies 'roll'"),
    ("dead end", "layer 'b' does not reach"),
    ("list", "after 'b'"),
    ("twice", "'a'"),
])
def test_forward_that_cores_cannot_follow_is_refused_with_the_place(
    what: str, place: str, slayer: Any, make_model: MakeModel
) -> None:
    model = make_model("Between", what=what)
    module = load_module(model)
    with pytest.raises(UnsupportedLayerError) as error:
        slayer.to_network(module, model)
    assert place in str(error.value)


def test_module_without_slayer_blocks_is_refused(slayer: Any, make_model: MakeModel) -> None:
    model = make_model("PlainTorch", input_shape=(12,))
    with pytest.raises((UnsupportedLayerError, CheckpointError), match="plaintorch|forward"):
        slayer.to_network(load_module(model), model)


def test_input_shape_the_module_does_not_take_is_refused(
    slayer: Any, make_model: MakeModel
) -> None:
    model = make_model("Dense", input_shape=(13,))
    with pytest.raises(CheckpointError, match=r"forward fails on spikes of input_shape \(13,\)"):
        slayer.to_network(load_module(model), model)
