"""Sigma-delta and resonate-and-fire entries of a NetX file, in integers of the chip.

In: an :class:`~pipeline.ingest.netx_hdf5.Entry`. Out: neurons, the layer that encodes the input,
complex synapse groups; and, since stock NetX recomputes the decays of resonators and truncates
them, the integers that it would run (lava-dl 0.6.0, netx/hdf5.py ``get_neuron_params``).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import CheckpointError, UnsupportedLayerError
from pipeline.ingest.netx_hdf5 import Entry
from pipeline.ledger import LedgerEntry
from pipeline.network import INPUT, ConvGeometry, Layer, Network, Shape, Synapse
from pipeline.neuron import (
    NEVER_VTH_MANT,
    CubaNeuron,
    Neuron,
    ResonatorNeuron,
    SigmaDeltaNeuron,
)

GRADED_TYPES = ("SDNN", "RF_PHASE", "RF_IZHIKEVICH")
_MAX_WEIGHT = (1 << 17) - 1
_MAX_IDENTITY = 1 << 12  # inputs in a row, whose one-to-one weights are a dense matrix


def to_graded_neuron(
    entry: Entry, name: str, n_channels: int, ledger: list[LedgerEntry]
) -> SigmaDeltaNeuron | ResonatorNeuron:
    """Return the neurons of the entry ``layer/<i>/neuron``; biases are not among its keys.

    Raises
    ------
    UnsupportedLayerError
        If the activation is not relu, the only one that NetX runs, or spikes are graded.
    CheckpointError
        If a parameter is missing, damaged or outside the chip's range.
    """
    kind = entry.text("type")
    if "vThMant" in entry:
        (vth_mant,) = _values(entry, "vThMant", NEVER_VTH_MANT, 1)
    else:
        vth_mant = 0 if "sigma_output" in entry else _values(entry, "vThMant", 0, 1)[0]
    if kind == "SDNN":
        activation = entry.text("activation") if "activation" in entry else "relu"
        if activation != "relu":
            raise UnsupportedLayerError(
                f"{entry.at('activation')}: activation '{activation}' is not supported; NetX does "
                "not read it and applies relu; nearest: relu"
            )
        is_output = "sigma_output" in entry and bool(entry.values("sigma_output").any())
        return SigmaDeltaNeuron(vth_mant, "sigma" if is_output else "sigma_delta")
    if "gradedSpike" in entry and entry.whole("gradedSpike").any():
        raise UnsupportedLayerError(
            f"{entry.at('gradedSpike')}: SLAYER's graded resonators send their state, Lava sends 0 "
            "or 1; nearest: train with graded_spike=False"
        )
    sines, cosines = (_values(entry, key, 4096, n_channels) for key in ("sinDecay", "cosDecay"))
    neuron = ResonatorNeuron(
        "rf" if kind == "RF_PHASE" else "rf_iz", round(float(np.mean(sines))),
        round(float(np.mean(cosines))), vth_mant, sines if len(sines) > 1 else None,
        cosines if len(cosines) > 1 else None)
    _note_decays(name, neuron, ledger)
    return neuron


def with_bias(entry: Entry, neuron: Neuron, bias: tuple[float, ...] | None) -> Neuron:
    """Return neurons with the biases of their entry.

    Raises
    ------
    UnsupportedLayerError
        If they are resonators, which Lava gives none.
    """
    if bias is None:
        return neuron
    if isinstance(neuron, ResonatorNeuron):
        raise UnsupportedLayerError(
            f"{entry.at('bias')}: biases of resonators are not supported, NetX does not load them; "
            "nearest: CUBA neurons"
        )
    if isinstance(neuron, CubaNeuron):
        return replace(neuron, bias=bias)
    return replace(neuron, bias=tuple(int(b) for b in bias))


def graded_input(
    entry: Entry, name: str, shape: Shape, ledger: list[LedgerEntry]
) -> Layer:
    """Return the neurons of an input entry, which encode the data in the step they arrive.

    NetX takes integers x in 2^-6 at this process; the transform of SLAYER's input, ``weight`` and
    ``bias``, it stores and never applies (facts: netx 2).
    """
    neuron = to_graded_neuron(entry.group("neuron"), name, shape[0], ledger)
    if not isinstance(neuron, SigmaDeltaNeuron) or neuron.role != "sigma_delta":
        raise UnsupportedLayerError(
            f"{entry.where}: input of resonators or of decoders is not supported; nearest: an "
            "input without neurons, or of sigma-delta neurons"
        )
    transform = [
        f"{key} {entry.finite(key).flat[0]:g}" for key, given in (("weight", 64), ("bias", 0))
        if key in entry and (entry.finite(key) != given).any()
    ]
    if transform:
        ledger.append(LedgerEntry(
            name, f"{', '.join(transform)} of the input not applied, as in NetX: apply them to the "
            "data", 1, 1))
    if len(shape) == 1 and shape[0] > _MAX_IDENTITY:
        raise UnsupportedLayerError(
            f"{entry.at('shape')}: {shape[0]} input neurons in a row; supported are up to "
            f"{_MAX_IDENTITY}, or more as (c, y, x)"
        )
    return Layer(name, (one_to_one(name, shape),), replace(neuron, role="delta"), shape)


def one_to_one(name: str, shape: Shape) -> Synapse:
    """Return the group that says which input each encoding neuron takes; no chip holds it."""
    if len(shape) == 3:
        kernel = np.ones((shape[0], 1, 1, 1), dtype=np.int32)
        return Synapse(name, INPUT, kernel, ConvGeometry(groups=shape[0]), 1, is_fixed=True)
    return Synapse(name, INPUT, np.eye(shape[0], dtype=np.int32), None, 1, is_fixed=True)


def complex_groups(
    entry: Entry, name: str, source: str, n_out: int, n_in: int | None
) -> tuple[Synapse, Synapse]:
    """Return the two groups of a dense layer of resonators, from ``weight/real`` and ``imag``.

    Raises
    ------
    CheckpointError
        If they do not connect the inputs to the neurons.
    """
    weights = entry.group("weight")
    return (
        Synapse(name, source, _matrix(weights, "real", n_out, n_in)),
        Synapse(f"{name}.imag", source, _matrix(weights, "imag", n_out, n_in), part="imag"),
    )


def as_stock_netx_runs(network: Network) -> Network:
    """Return the network with the decays that the stock loader of lava-dl makes of a file's.

    It turns sine and cosine into period and decay in float64, and these into integers again,
    truncating: some come out one lower. Sigma-delta neurons are as they are.
    """
    return network.with_layers(tuple(
        replace(layer, neuron=_recomputed(layer.neuron))
        if isinstance(layer.neuron, ResonatorNeuron) else layer for layer in network.layers
    ))


def _recomputed(neuron: ResonatorNeuron) -> ResonatorNeuron:
    sines = np.array(neuron.channel_sin_decay or (neuron.sin_decay,))
    cosines = np.array(neuron.channel_cos_decay or (neuron.cos_decay,))
    # operation by operation as slayer/neuron/rf.py and lava/proc/rf/process.py have it
    sine, cosine = sines / 4096, cosines / 4096
    alpha = 1 - np.sqrt(sine**2 + cosine**2)
    period = 1 / (np.arctan2(sine, cosine) / 2 / np.pi)
    new_sines, new_cosines = (
        tuple(((1 - alpha) * f(np.pi * 2 * 1 / period) * 4096).astype(np.int32).tolist())
        for f in (np.sin, np.cos)
    )
    if neuron.channel_sin_decay is None:
        return replace(neuron, sin_decay=new_sines[0], cos_decay=new_cosines[0])
    return replace(neuron, channel_sin_decay=new_sines, channel_cos_decay=new_cosines)


def _note_decays(name: str, neuron: ResonatorNeuron, ledger: list[LedgerEntry]) -> None:
    stock = _recomputed(neuron)
    if neuron.channel_sin_decay is not None:
        ledger.append(LedgerEntry(
            name, "a decay per channel, of which stock NetX runs the first only", 1, 1))
    elif stock != neuron:
        ledger.append(LedgerEntry(
            name, f"decays (sine, cosine) {neuron.sin_decay}, {neuron.cos_decay}: stock NetX "
            f"recomputes and truncates them to {stock.sin_decay}, {stock.cos_decay}", 1, 1))


def _values(entry: Entry, key: str, high: int, n_channels: int) -> tuple[int, ...]:
    values = entry.whole(key).ravel()
    if values.size not in (1, n_channels):
        raise CheckpointError(
            f"{entry.at(key)}: {values.size} values do not fit {n_channels} channels; give one, or "
            "one per channel"
        )
    if values.min() < 0 or values.max() > high:
        extreme = values.min() if values.min() < 0 else values.max()
        raise CheckpointError(f"{entry.at(key)}: {extreme} is outside 0..{high}")
    return tuple(values.tolist())


def _matrix(
    entry: Entry, key: Literal["real", "imag"], n_out: int, n_in: int | None
) -> NDArray[np.int32]:
    """Return weights (out, in); files have them flattened, or with sizes of 1 behind."""
    weight = entry.whole(key, _MAX_WEIGHT)
    shape = weight.shape[:2] if weight.ndim > 1 else (n_out, weight.size // n_out)
    if shape[0] * shape[1] != weight.size or shape[0] != n_out or n_in not in (None, shape[1]):
        raise CheckpointError(
            f"{entry.at(key)}: of shape {weight.shape} does not connect "
            f"{'its' if n_in is None else n_in} inputs to {n_out} neurons"
        )
    return weight.reshape(shape)
