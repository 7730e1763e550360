"""What the tests of ingested modules share: spikes for them, and when two agree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.compare import compare_traces, require_equal
from pipeline.emulate import emulate
from pipeline.model_folder import ModelFolder
from pipeline.network import Network

MakeModel = Callable[..., ModelFolder]


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
