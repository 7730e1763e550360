"""A SLAYER module and its Network are the same network, both ways; everything else is refused."""

from __future__ import annotations

import importlib.util
import json
import os
import warnings
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
from pipeline.errors import CheckpointError, OutputError, UnsupportedLayerError
from pipeline.ingest.checkpoint import load_module, save_checkpoint
from pipeline.model_folder import ModelFolder, find_model
from pipeline.network import Network
from pipeline.quantize import as_trained

pytestmark = pytest.mark.slow  # SLAYER takes five to ten seconds to import

NETWORKS = '''
import torch
from lava.lib.dl import slayer

cuba = slayer.block.cuba


def neuron(**changes):
    return {"threshold": 0.6, "current_decay": 0.25, "voltage_decay": 0.03, **changes}


class Chain(torch.nn.Module):
    """Blocks one after another."""

    def __init__(self, *blocks):
        super().__init__()
        self.blocks = torch.nn.ModuleList(blocks)

    def forward(self, spikes):
        for block in self.blocks:
            spikes = block(spikes)
        return spikes


class Dense(Chain):
    def __init__(self, weight_norm=False, is_masked=False, n_hidden=16, **changes):
        mask = (torch.arange(n_hidden * 12).reshape(n_hidden, 12) % 3 > 0).float()
        super().__init__(
            cuba.Dense(neuron(**changes), 12, n_hidden, weight_scale=4, weight_norm=weight_norm,
                       mask=mask if is_masked else None),
            cuba.Dense(neuron(**changes), n_hidden, 10, weight_scale=4, weight_norm=weight_norm),
        )


class Conv(Chain):
    def __init__(self, weight_norm=False):
        options = {"weight_scale": 4, "weight_norm": weight_norm}
        super().__init__(
            cuba.Conv(neuron(), 2, 4, 3, stride=2, padding=1, **options),
            cuba.Conv(neuron(), 4, 6, (2, 3), padding=(0, 1), dilation=(2, 1), groups=2, **options),
            cuba.Flatten(),
            cuba.Dense(neuron(), 6 * 2 * 4, 5, **options),
        )


class ReshapesItself(Chain):
    def __init__(self):
        super().__init__(cuba.Dense(neuron(), 2 * 8 * 7, 10, weight_scale=8))

    def forward(self, spikes):
        return super().forward(spikes.flatten(1, 3))


class Dropout(Chain):
    def __init__(self):
        dropout = slayer.neuron.Dropout(p=0.5)
        super().__init__(cuba.Dense(neuron(dropout=dropout), 12, 10, weight_scale=4))


class NoHook(Chain):
    def __init__(self):
        super().__init__(cuba.Dense(neuron(), 12, 10, pre_hook_fx=None, weight_scale=4))
        self.blocks[0].synapse.pre_hook_fx = None


# ------------------------------------------------------------ not supported


class Pool(Chain):
    def __init__(self):
        super().__init__(
            cuba.Conv(neuron(), 2, 4, 3, weight_scale=4), cuba.Pool(neuron(threshold=0.5), 2),
        )


class Recurrent(Chain):
    def __init__(self):
        super().__init__(cuba.Recurrent(neuron(), 12, 10, weight_scale=4))


class Affine(Chain):
    def __init__(self):
        super().__init__(cuba.Dense(neuron(), 12, 16), cuba.Affine(neuron(), 16, 10))


class Alif(Chain):
    def __init__(self):
        super().__init__(slayer.block.alif.Dense(
            {**neuron(), "threshold_step": 0.1, "threshold_decay": 0.1, "refractory_decay": 0.1},
            12, 10,
        ))


class Option(Chain):
    def __init__(self, neuron_options=None, **options):
        super().__init__(
            cuba.Dense(neuron(), 12, 16, weight_scale=4),
            cuba.Dense(neuron(**(neuron_options or {})), 16, 10, weight_scale=4, **options),
        )


class Norm(Chain):
    def __init__(self):
        norm = slayer.neuron.norm.MeanOnlyBatchNorm
        super().__init__(cuba.Dense(neuron(norm=norm), 12, 10, weight_scale=4))


class PlainTorch(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(20, 20)

    def forward(self, spikes):
        return self.linear(spikes)


class Between(torch.nn.Module):
    """Two square blocks, and something else in forward."""

    def __init__(self, what):
        super().__init__()
        self.a = cuba.Dense(neuron(), 12, 12, weight_scale=4)
        self.b = cuba.Dense(neuron(), 12, 12, weight_scale=4)
        self.what = what

    def forward(self, spikes):
        hidden = self.a(spikes)
        if self.what == "skip":
            return self.b(hidden + spikes)
        if self.what == "in-place skip":
            hidden += spikes
            return self.b(hidden)
        if self.what == "in-place mask":
            hidden[:, :6] = 0
            return self.b(hidden)
        if self.what == "sum":
            return self.b(hidden) + hidden
        if self.what == "branches":
            return torch.cat([hidden, self.b(spikes)], dim=1)
        if self.what == "swap":
            return self.b(hidden.flip(1))
        if self.what == "delay":
            return self.b(hidden.roll(1, dims=-1))
        if self.what == "dead end":
            self.b(hidden)
            return hidden
        if self.what == "tuple":
            return self.b(hidden), hidden
        if self.what == "twice":
            return self.b(self.a(hidden))
        return self.b(hidden)
'''

SHAPES = {"Conv": (2, 8, 7), "ReshapesItself": (2, 8, 7), "Pool": (2, 8, 7)}
MakeModel = Callable[..., ModelFolder]


@pytest.fixture(scope="module", autouse=True)
def slayer() -> Any:
    """SLAYER, imported once by the module that quiets it, before any user's file asks for it."""
    from pipeline.ingest import slayer as ingest

    return ingest


@pytest.fixture
def make_model(tmp_path: Path) -> MakeModel:
    """Builder of a model folder with a random checkpoint."""

    def build(
        class_name: str, input_shape: tuple[int, ...] | None = None, seed: int = 0,
        **arguments: Any,
    ) -> ModelFolder:
        folder = tmp_path / class_name.lower()
        folder.mkdir()
        (folder / "network.py").write_text(NETWORKS)
        (folder / "model.yaml").write_text(json.dumps({
            "network": f"network.py:{class_name}", "arguments": arguments, "n_steps": 30,
            "input_shape": input_shape or SHAPES.get(class_name, (12,)),
        }))
        torch.manual_seed(seed)
        save(fresh(folder / "network.py", class_name, arguments), folder / "checkpoint.pt")
        return find_model(str(folder))

    return build


def fresh(file: Path, class_name: str, arguments: dict[str, Any]) -> torch.nn.Module:
    spec = importlib.util.spec_from_file_location("fresh_network", file)
    assert spec is not None and spec.loader is not None
    imported = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spec.loader.exec_module(imported)
        module: torch.nn.Module = getattr(imported, class_name)(**arguments)
    return module.eval()


def save(module: torch.nn.Module, path: Path) -> None:
    torch.save(module.state_dict(), path)


def spikes_for(network: Network, n_samples: int = 4, rate: float = 0.25) -> NDArray[np.uint8]:
    shape: Any = (n_samples, *network.input_shape, network.n_steps)
    return (np.random.default_rng(7).random(shape) < rate).astype(np.uint8)


def require_same_spikes(slayer: Any, module: torch.nn.Module, network: Network) -> None:
    """Require that SLAYER and the emulator agree and that every layer spikes."""
    spikes = spikes_for(network)
    own, emulated = slayer.run_module(module, network, spikes), emulate(network, spikes)
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
    """Return the network pruned, its weights and thresholds altered."""
    layers = []
    for index, layer in enumerate(network.layers):
        (synapse,) = layer.synapses
        weight = synapse.weight.copy()
        weight[np.abs(weight) < np.median(np.abs(weight))] = 0
        weight[weight > 0] = np.minimum(2 * weight[weight > 0], 254)
        weight[1] = 0  # a neuron without any synapse
        layers.append(replace(
            layer, synapses=(replace(synapse, weight=weight),),
            neuron=replace(layer.neuron, vth_mant=layer.neuron.vth_mant - 1 - index),
        ))
    return network.with_layers(tuple(layers))


@pytest.mark.parametrize(("class_name", "arguments"), [
    ("Dense", {}), ("Dense", {"weight_norm": True}), ("Dense", {"is_masked": True}),
    ("Dense", {"scale": 32, "weight_norm": True}), ("Conv", {}), ("Conv", {"weight_norm": True}),
], ids=str)
def test_network_written_back_spikes_the_same_and_its_checkpoint_fits_the_class(
    class_name: str, arguments: dict[str, Any], slayer: Any, make_model: MakeModel, tmp_path: Path
) -> None:
    model = make_model(class_name, **arguments)
    module = load_module(model)
    network = changed(as_trained(slayer.to_network(module, model))[0])
    slayer.write_back(module, network)
    assert all(torch.isfinite(value).all() for value in module.state_dict().values())
    require_same_spikes(slayer, module, network)

    save(module, tmp_path / "written.pt")
    other = fresh(model.network_file, class_name, arguments)
    missing = other.load_state_dict(torch.load(tmp_path / "written.pt", weights_only=True))
    assert not missing.missing_keys and not missing.unexpected_keys
    reloaded = slayer.to_network(other, model)
    for written, read in zip(network.synapses, reloaded.synapses, strict=True):
        assert np.array_equal(written.weight, read.weight)
        assert np.isfinite(read.weight).all()


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
    ("Pool", {}, "blocks.1", "cuba.Pool"),
    ("Recurrent", {}, "blocks.0", "cuba.Recurrent"),
    ("Affine", {}, "blocks.1", "cuba.Affine"),
    ("Alif", {}, "blocks.0", "alif.Dense"),
    ("Norm", {}, "blocks.0", "norm"),
    ("Option", {"delay": True}, "blocks.1", "delay=True"),
    ("Option", {"delay_shift": False}, "blocks.1", "delay_shift=False"),
    ("Option", {"count_log": True}, "blocks.1", "count_log=True"),
    ("Option", {"neuron_options": {"shared_param": False}}, "blocks.1", "shared_param=False"),
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
    ("skip", "between 'a' and 'b'"),
    ("in-place skip", "'a'"),
    ("in-place mask", "'a'"),
    ("sum", "after 'b'"),
    ("branches", "between 'a' and 'b'"),
    ("swap", "between 'a' and 'b'"),
    ("delay", "between 'a' and 'b'"),
    ("dead end", "after 'b'"),
    ("tuple", "after 'b'"),
    ("twice", "'a'"),
])
def test_forward_that_is_not_a_chain_is_refused_with_the_place(
    what: str, place: str, slayer: Any, make_model: MakeModel
) -> None:
    model = make_model("Between", what=what)
    module = load_module(model)
    with pytest.raises(UnsupportedLayerError) as error:
        slayer.to_network(module, model)
    assert place in str(error.value)


def test_skip_around_a_silent_block_is_refused(slayer: Any, make_model: MakeModel) -> None:
    model = make_model("Between", what="sum")
    module = load_module(model)
    with torch.no_grad():
        for block in (module.a, module.b):
            block.synapse.weight.zero_()  # nothing spikes in the probe: sums cannot be told
    with pytest.raises(UnsupportedLayerError, match="after 'b'"):
        slayer.to_network(module, model)


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


# ---------------------------------------------------------------- checkpoints


def checkpoint_error(model: ModelFolder) -> str:
    with pytest.raises(CheckpointError) as error:
        load_module(model)
    return str(error.value)


def rewrite_in_format(model: ModelFolder, is_zip: bool) -> bytes:
    """Save the checkpoint anew in torch's present or in its older file format."""
    state = torch.load(model.checkpoint, weights_only=True)
    torch.save(state, model.checkpoint, _use_new_zipfile_serialization=is_zip)
    load_module(model)
    return model.checkpoint.read_bytes()


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("kept_frac", [0.0, 0.02, 0.3, 0.6, 0.9, 0.99])
def test_truncated_checkpoint_is_refused_by_file(
    kept_frac: float, is_zip: bool, make_model: MakeModel
) -> None:
    model = make_model("Dense")
    content = rewrite_in_format(model, is_zip)
    model.checkpoint.write_bytes(content[: int(kept_frac * len(content))])
    assert str(model.checkpoint) in checkpoint_error(model)


@pytest.mark.parametrize("content", [b"not a checkpoint\n", b"\x80\x04.", b"\x00" * 100, b"PK\x03"])
def test_file_that_is_no_checkpoint_is_refused_by_file(
    content: bytes, make_model: MakeModel
) -> None:
    model = make_model("Dense")
    model.checkpoint.write_bytes(content)
    assert str(model.checkpoint) in checkpoint_error(model)


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_damage_to_a_checkpoint_never_escapes_as_another_error(
    is_zip: bool, make_model: MakeModel
) -> None:
    model = make_model("Dense")
    content = rewrite_in_format(model, is_zip)
    rng = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(content)
        for position in rng.integers(0, 700, 3):  # where names and types are
            damaged[position] = rng.integers(0, 256)
        model.checkpoint.write_bytes(bytes(damaged))
        try:
            load_module(model)  # damage in a weight alone may well go unnoticed
        except CheckpointError as error:
            assert str(model.checkpoint) in str(error)


@pytest.mark.parametrize("value", [torch.ones(3), [1, 2], 7, "text"], ids=["tensor", "list", "int",
                                                                         "str"])
def test_checkpoint_that_is_not_a_dict_is_refused(value: Any, make_model: MakeModel) -> None:
    model = make_model("Dense")
    torch.save(value, model.checkpoint)
    message = checkpoint_error(model)
    assert str(model.checkpoint) in message and type(value).__name__ in message


@pytest.mark.parametrize("state", [
    {}, {"other": torch.ones(2)}, {"state_dict": {"a": torch.ones(2)}}, {0: torch.ones(2)},
    {"blocks.0.synapse.weight": 3},
], ids=str)
def test_checkpoint_of_another_class_is_refused(state: Any, make_model: MakeModel) -> None:
    model = make_model("Dense")
    torch.save(state, model.checkpoint)
    message = checkpoint_error(model)
    assert str(model.checkpoint) in message and "does not fit class Dense" in message


def test_checkpoint_of_other_sizes_is_refused(make_model: MakeModel) -> None:
    model = make_model("Dense")
    save(fresh(model.network_file, "Dense", {"n_hidden": 8}), model.checkpoint)
    message = checkpoint_error(model)
    assert str(model.checkpoint) in message and "blocks.0.synapse.weight" in message


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused_by_parameter(
    value: float, make_model: MakeModel
) -> None:
    model = make_model("Dense")
    state = torch.load(model.checkpoint, weights_only=True)
    state["blocks.1.synapse.weight"].view(-1)[[2, 5]] = value
    torch.save(state, model.checkpoint)
    message = checkpoint_error(model)
    assert str(model.checkpoint) in message
    assert "'blocks.1.synapse.weight' holds 2 non-finite of 160 values" in message


class Bomb:
    """Unpickled by plain pickle, it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_code_in_a_checkpoint_does_not_run(make_model: MakeModel, tmp_path: Path) -> None:
    model = make_model("Dense")
    torch.save({"weight": Bomb(tmp_path / "ran")}, model.checkpoint)
    assert str(model.checkpoint) in checkpoint_error(model)
    assert not (tmp_path / "ran").exists()
    torch.load(model.checkpoint, weights_only=False)
    assert (tmp_path / "ran").exists()  # it would have


def test_saved_checkpoint_is_the_modules_state_and_nothing_else_is_left(
    make_model: MakeModel, tmp_path: Path
) -> None:
    module = load_module(make_model("Dense"))
    folder = tmp_path / "saved"
    folder.mkdir()
    save_checkpoint(module, folder / "checkpoint.pt")
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    assert all(torch.equal(value, state[key]) for key, value in module.state_dict().items())
    assert [path.name for path in folder.iterdir()] == ["checkpoint.pt"]


@pytest.mark.parametrize("place", ["missing", "file"])
def test_checkpoint_that_cannot_be_written_is_an_output_error(
    place: str, make_model: MakeModel, tmp_path: Path
) -> None:
    module = load_module(make_model("Dense"))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=f"{place}/checkpoint.pt: cannot be written"):
        save_checkpoint(module, tmp_path / place / "checkpoint.pt")


# ---------------------------------------------------------------- the module's own file


def with_file(model: ModelFolder, source: str) -> ModelFolder:
    model.network_file.write_text(source)
    return model


def test_class_that_is_not_in_the_file_is_refused(make_model: MakeModel) -> None:
    model = make_model("Dense")
    for class_name in ("Missing", "neuron", "cuba"):
        other = replace(model, description=model.description.model_copy(
            update={"network": f"network.py:{class_name}"}
        ))
        message = checkpoint_error(other)
        assert str(model.network_file) in message and f"'{class_name}'" in message


@pytest.mark.parametrize(("source", "problem"), [
    ("def broken(:\n", "SyntaxError"),
    ("  x = 1\n y = 2\n", "IndentationError"),
    ("import a_package_that_is_not_there\n", "ModuleNotFoundError"),
    ("from torch import nothing_of_this_name\n", "ImportError"),
    ("undefined_name\n", "NameError"),
    ("import torch\ntorch.nothing_of_this_name\n", "AttributeError"),
    ("open('a file that is not there')\n", "FileNotFoundError"),
    ("raise ValueError('no')\n", "ValueError"),
])
def test_file_that_cannot_be_imported_is_refused_by_name(
    source: str, problem: str, make_model: MakeModel
) -> None:
    model = with_file(make_model("Dense"), source)
    message = checkpoint_error(model)
    assert str(model.network_file) in message and problem in message


@pytest.mark.parametrize("arguments", [
    {"n_hiden": 8}, {"n_hidden": "eight"}, {"n_hidden": -8}, {"scale": 0},
    {"current_decay": [0.1, 0.2]},
], ids=str)
def test_arguments_the_class_does_not_take_are_refused(
    arguments: dict[str, Any], make_model: MakeModel
) -> None:
    model = make_model("Dense")
    other = replace(
        model, description=model.description.model_copy(update={"arguments": arguments})
    )
    message = checkpoint_error(other)
    assert str(model.network_file) in message and "arguments" in message


def test_module_may_import_its_neighbors(make_model: MakeModel) -> None:
    model = make_model("Dense")
    (model.folder / "neighbor_of_the_network.py").write_text(NETWORKS)
    with_file(model, "from neighbor_of_the_network import Dense\n")
    load_module(model)
