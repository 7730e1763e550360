"""The user's module, imported from its file and filled with its checkpoint.

In: a :class:`~pipeline.model_folder.ModelFolder`. Out: a torch module in evaluation mode. State
dicts are loaded with ``weights_only=True``: a checkpoint cannot run code; the module's file does.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import pickle
import struct
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from pipeline.errors import CheckpointError, OutputError
from pipeline.model_folder import ModelFolder

# what a user's module may raise when imported or instantiated: the class is theirs, the fault too
_FAULTS_OF_A_USERS_MODULE = (
    ImportError, SyntaxError, NameError, AttributeError, TypeError, ValueError, LookupError,
    OSError, RuntimeError, AssertionError, ArithmeticError,
)
# what torch.load raises on damaged files, found by fuzzing: tests/test_checkpoint_hostile.py
_FAULTS_OF_A_DAMAGED_FILE = (
    OSError, RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError,
    AssertionError, MemoryError, struct.error, pickle.UnpicklingError,
)


def load_module(model: ModelFolder) -> torch.nn.Module:
    """Return the user's module with its checkpoint loaded, in evaluation mode.

    Raises
    ------
    CheckpointError
        If class and checkpoint cannot be loaded or do not belong together.
    """
    module_class = getattr(_import_file(model), model.class_name, None)
    if not (isinstance(module_class, type) and issubclass(module_class, torch.nn.Module)):
        raise CheckpointError(
            f"{model.network_file}: no torch.nn.Module named '{model.class_name}'; mend 'network' "
            "in model.yaml"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's weight_norm announces its successor
            module = module_class(**model.description.arguments)
    except _FAULTS_OF_A_USERS_MODULE as error:
        raise CheckpointError(
            f"{model.network_file}: {model.class_name}(...) does not take the arguments of "
            f"model.yaml: {type(error).__name__}: {error}"
        ) from None
    module.eval()
    _load_state(module, model)
    return module


def read_state(path: Path) -> dict[str, Any]:
    """Return the state dict in a file.

    Raises
    ------
    CheckpointError
        If the file holds none.
    """
    try:
        # of an older file a length of 4 GB would be read, and allocated: a buffer gives what it has
        with path.open("rb") as file:
            is_archive = file.read(4) == b"PK\x03\x04"
        source = path if is_archive else io.BytesIO(path.read_bytes())
        state = torch.load(source, map_location="cpu", weights_only=True)
    except _FAULTS_OF_A_DAMAGED_FILE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path}: not a readable state dict ({reason}); save one with "
            "torch.save(module.state_dict(), path)"
        ) from None
    if not isinstance(state, dict):
        raise CheckpointError(
            f"{path}: holds a {type(state).__name__}, not a state dict; save one with "
            "torch.save(module.state_dict(), path)"
        )
    return state


def save_checkpoint(module: torch.nn.Module, path: Path) -> None:
    """Write the state dict of ``module`` whole or not at all.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    partial = path.with_suffix(".tmp")
    try:
        torch.save(module.state_dict(), partial)
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:
        raise OutputError(f"{path}: cannot be written ({error})") from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _import_file(model: ModelFolder) -> ModuleType:
    """Import the user's module file by path, with the file's folder on the path while it loads."""
    name = f"spikefit_model_{model.name}"
    spec = importlib.util.spec_from_file_location(name, model.network_file)
    assert spec is not None and spec.loader is not None
    imported = importlib.util.module_from_spec(spec)
    folder = str(model.network_file.parent)
    sys.path.insert(0, folder)
    try:
        sys.modules[name] = imported
        # slayer prints advice about packages this project does not use
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            spec.loader.exec_module(imported)
    except _FAULTS_OF_A_USERS_MODULE as error:
        raise CheckpointError(
            f"{model.network_file}: cannot be imported: {type(error).__name__}: {error}"
        ) from None
    finally:
        sys.path.remove(folder)
    return imported


def _load_state(module: torch.nn.Module, model: ModelFolder) -> None:
    state = read_state(model.checkpoint)
    for key, value in state.items():
        if not (isinstance(value, torch.Tensor) and value.is_floating_point()):
            continue
        if not value.isfinite().all():
            raise CheckpointError(
                f"{model.checkpoint}: '{key}' holds {int((~value.isfinite()).sum())} non-finite of "
                f"{value.numel()} values; the checkpoint is damaged or its training diverged"
            )
    _size_as_in(module, state, model)
    try:
        module.load_state_dict(state)
    except CheckpointError as error:  # of a module that knows other names than its own
        raise CheckpointError(f"{model.checkpoint}: {error}") from None
    except (RuntimeError, AttributeError) as error:  # the latter for keys that are not strings
        lines = str(error).splitlines()
        problems = "; ".join(line.strip() for line in lines[1:4] or lines)
        raise CheckpointError(
            f"{model.checkpoint}: does not fit class {model.class_name} of {model.network_file}: "
            f"{problems}"
        ) from None


def _size_as_in(module: torch.nn.Module, state: dict[str, Any], model: ModelFolder) -> None:
    """Give tensors that a module sizes in its first forward the sizes of the checkpoint.

    SLAYER's delays, decays per channel and running means hold one value until then, and the first
    forward would draw delays and decays at random (slayer/axon/delay.py, neuron/cuba.py).
    """
    own = module.state_dict()
    waiting = [
        key for key, value in state.items()
        if isinstance(value, torch.Tensor) and key in own and own[key].numel() == 1 < value.numel()
    ]
    if not waiting:
        return
    with contextlib.suppress(*_FAULTS_OF_A_USERS_MODULE), torch.no_grad():
        module(torch.zeros(1, *model.description.input_shape, 2))
    for key in waiting:
        parent = module.get_submodule(key.rpartition(".")[0])
        tensor = getattr(parent, key.rpartition(".")[2])
        if isinstance(tensor, torch.Tensor) and tensor.shape != state[key].shape:
            tensor.data = torch.zeros_like(state[key])
        if getattr(parent, "init", None) is False:
            setattr(parent, "init", True)  # noqa: B010 - torch types it as a module
