"""Checkpoints and module files of any kind: read, or refused with the file named."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.errors import CheckpointError, OutputError
from pipeline.ingest.checkpoint import load_module, save_checkpoint
from pipeline.model_folder import ModelFolder

pytestmark = pytest.mark.slow  # SLAYER takes five to ten seconds to import

NETWORKS = Path(__file__).parent / "slayer_networks" / "network.py"
MakeModel = Callable[..., ModelFolder]
Fresh = Callable[..., torch.nn.Module]


@pytest.fixture(scope="module", autouse=True)
def slayer() -> Any:
    """SLAYER, imported once by the module that quiets it, before any user's file asks for it."""
    from pipeline.ingest import slayer as ingest

    return ingest


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


def test_checkpoint_of_other_sizes_is_refused(make_model: MakeModel, fresh: Fresh) -> None:
    model = make_model("Dense")
    smaller = fresh(model.network_file, "Dense", {"n_hidden": 8})
    torch.save(smaller.state_dict(), model.checkpoint)
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
    (model.folder / "neighbor_of_the_network.py").write_text(NETWORKS.read_text())
    with_file(model, "from neighbor_of_the_network import Dense\n")
    load_module(model)
