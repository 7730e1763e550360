"""What the tests of resonators share: networks of them, and NetX files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from pipeline.network import INPUT, Layer, Network, Synapse
from pipeline.neuron import ResonatorNeuron


def resonators(name: str, source: str, n_in: int, n_out: int, **options: Any) -> Layer:
    rng = np.random.default_rng(n_in)
    real, imag = ((2 * rng.integers(-30, 31, (n_out, n_in))).astype(np.int32) for _ in range(2))
    groups = (Synapse(name, source, real), Synapse(f"{name}.imag", source, imag, part="imag"))
    neuron = options.pop("neuron", ResonatorNeuron("rf", 1200, 3600, 30))
    return Layer(name, groups, neuron, (n_out,), **options)


def chain(kind: Any = "rf") -> Network:
    neuron = ResonatorNeuron(kind, 1200, 3600, 30)
    return Network("chain", (12,), 40, (
        resonators("a", INPUT, 12, 14, neuron=neuron, axonal_delay=tuple(range(14))),
        resonators("b", "a", 14, 9, neuron=replace(
            neuron, channel_sin_decay=tuple(range(500, 1400, 100)),
            channel_cos_decay=tuple(range(3900, 3000, -100))))))


def file_of(path: Path, *layers: dict[str, Any]) -> Path:
    """Write a NetX file with these keys per entry."""
    with h5py.File(path, "w") as file:
        for index, keys in enumerate(layers):
            for key, value in keys.items():
                if value is not None:
                    file[f"layer/{index}/{key}"] = value
    return path
