"""What the tests of sigma-delta neurons share: networks of them, and their input."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.ingest.netx_graded import one_to_one
from pipeline.network import Layer, Network, Synapse
from pipeline.neuron import SigmaDeltaNeuron


def dense(name: str, source: str, weight: Any, **neuron: Any) -> Layer:
    array = np.array(weight, dtype=np.int32)
    parameters = SigmaDeltaNeuron(**{"vth_mant": 4, **neuron})
    return Layer(name, (Synapse(name, source, array),), parameters, (len(array),))


def encoder(shape: tuple[int, ...], vth_mant: int = 2) -> Layer:
    return Layer(
        "in", (one_to_one("in", shape),), SigmaDeltaNeuron(vth_mant, "delta"), shape)


def random_weight(rng: np.random.Generator, *shape: int) -> NDArray[np.int32]:
    return (2 * rng.integers(-30, 31, shape)).astype(np.int32)


def chain(seed: int = 0, n_steps: int = 24) -> Network:
    """Encoder, two layers, decoder on (12,)."""
    rng = np.random.default_rng(seed)
    bias = tuple(rng.integers(-40, 41, 9).tolist())
    return Network("chain", (12,), n_steps, (
        encoder((12,)), dense("a", "in", random_weight(rng, 9, 12), bias=bias, vth_mant=9),
        dense("b", "a", random_weight(rng, 7, 9), activation="none", bias=(6,) * 7),
        dense("out", "b", random_weight(rng, 5, 7), role="sigma")))
