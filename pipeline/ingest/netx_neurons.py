"""What one entry of a NetX file says about its neurons, in integers of the chip.

In: an :class:`~pipeline.ingest.netx_hdf5.Entry`. Out: neurons, biases and axonal delays, and in the
ledger whatever was interpreted, or would come out otherwise in stock NetX. Sigma-delta neurons and
resonators are in :mod:`pipeline.ingest.netx_graded`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.errors import CheckpointError, UnsupportedLayerError
from pipeline.fixedpoint import MAX_EXACT_VTH_MANT
from pipeline.ingest.netx_graded import RESONATORS, to_resonator, to_sigma_delta
from pipeline.ingest.netx_hdf5 import Entry
from pipeline.ingest.netx_values import channel_values, nominal, own
from pipeline.ledger import LedgerEntry
from pipeline.neuron import (
    NEVER_VTH_MANT,
    SILENT_VTH_MANT,
    CubaNeuron,
    Neuron,
    ResonatorNeuron,
    SigmaDeltaNeuron,
)

_CUBA = ("CUBA", "LOIHI")
_NEAREST = {
    "ALIF": "adaptive thresholds (ALIF); nearest: CUBA neurons, no process of NetX adapts its "
            "threshold",
    "ADRF": "adaptive resonators (ADRF), which NetX loads as plain resonators with other spikes; "
            "nearest: RF_PHASE or RF_IZHIKEVICH, trained as such",
    "RF": "resonators of a kind that SLAYER does not export; supported are RF_PHASE and "
          "RF_IZHIKEVICH",
}


def to_neuron(
    entry: Entry, name: str, n_channels: int, ledger: list[LedgerEntry], is_input: bool = False
) -> Neuron:
    """Return the neurons of the entry ``layer/<i>/neuron``; biases are not among its keys.

    Parameters
    ----------
    is_input : whether they take the network's input, each one value

    Raises
    ------
    UnsupportedLayerError
        If they are of a kind that Lava has no process for, send graded spikes, or have another
        option that NetX does not run.
    CheckpointError
        If a parameter is missing, damaged or outside the chip's range.
    """
    kind = entry.text("type")
    if kind not in (*_CUBA, *RESONATORS, "SDNN"):
        nearest = next((text for start, text in _NEAREST.items() if kind.startswith(start)),
                       f"this type is not known; supported are CUBA, SDNN, {', '.join(RESONATORS)}")
        raise UnsupportedLayerError(f"{entry.where}: type '{kind}': {nearest}")
    for key in ("weight_exp", "wgtExp"):
        if key in entry and entry.finite(key).any():
            ledger.append(LedgerEntry(
                name, f"{key} {entry.finite(key).flat[0]:g} not applied, as in NetX; SLAYER scales "
                "the current by 2^-weight_exp", 1, 1))
    if kind == "SDNN":
        return to_sigma_delta(entry, name, ledger, is_input)
    if "gradedSpike" in entry and entry.whole("gradedSpike").any():
        raise UnsupportedLayerError(
            f"{entry.at('gradedSpike')}: SLAYER's graded spikes carry the neuron's state, Lava "
            "sends 0 or 1; nearest: train with graded_spike=False"
        )
    if kind in RESONATORS:
        return to_resonator(entry, name, n_channels, ledger)
    return _to_cuba(entry, name, n_channels, ledger)


def with_bias(entry: Entry, neuron: Neuron, bias: tuple[float, ...] | None) -> Neuron:
    """Return neurons with the biases of their entry.

    Raises
    ------
    UnsupportedLayerError
        If Lava gives such neurons none.
    """
    if bias is None:
        return neuron
    if isinstance(neuron, CubaNeuron):
        return replace(neuron, bias=bias)
    if isinstance(neuron, SigmaDeltaNeuron) and neuron.role != "sigma":
        return replace(neuron, bias=tuple(int(b) for b in bias))
    what = "resonators" if isinstance(neuron, ResonatorNeuron) else "decoders (sigma_output)"
    raise UnsupportedLayerError(
        f"{entry.at('bias')}: biases of {what} are not supported, stock NetX fails at them; "
        "nearest: a bias in the layer before, of CUBA or sigma-delta neurons"
    )


def _to_cuba(
    entry: Entry, name: str, n_channels: int, ledger: list[LedgerEntry]
) -> CubaNeuron:
    if "refDelay" in entry and (entry.whole("refDelay") != 1).any():
        raise UnsupportedLayerError(
            f"{entry.at('refDelay')}: a refractory period other than 1 step is not supported, and "
            "NetX does not read it; nearest: refDelay 1 with a higher threshold"
        )
    current, voltage, vth = (
        channel_values(entry, key, high, n_channels)
        for key, high in (("iDecay", 4096), ("vDecay", 4096), ("vThMant", NEVER_VTH_MANT))
    )
    if MAX_EXACT_VTH_MANT < nominal(vth) < SILENT_VTH_MANT:
        ledger.append(LedgerEntry(
            name, f"threshold {nominal(vth)} is above {MAX_EXACT_VTH_MANT}: at a tie SLAYER fires, "
            "the chip does not", 1, 1))
    return CubaNeuron(nominal(current), nominal(voltage), nominal(vth), own(vth), own(current),
                      own(voltage))


def to_bias(entry: Entry, n_channels: int, n_neurons: int) -> tuple[float, ...] | None:
    """Return the bias of each channel, which Lava adds to the voltage times 64; None if all 0."""
    if "bias" not in entry:
        return None
    bias = entry.whole("bias").ravel()
    if bias.size == n_neurons > n_channels:
        raise UnsupportedLayerError(
            f"{entry.at('bias')}: has one bias per neuron ({n_neurons}); supported is one per "
            f"channel ({n_channels})"
        )
    if bias.size not in (1, n_channels):
        raise CheckpointError(
            f"{entry.at('bias')}: {bias.size} biases do not fit {n_channels} channels"
        )
    return tuple(np.broadcast_to(bias, n_channels).tolist()) if bias.any() else None


def to_delay(
    entry: Entry, name: str, n_channels: int, n_inputs: int, ledger: list[LedgerEntry]
) -> tuple[int, ...] | None:
    """Return the axonal delay of each channel; None if all are 0.

    SLAYER delays what leaves the layer. NetX delays what reaches each of its neurons, by the same
    delays, which is the same for neurons that start at rest and have no bias.
    """
    if "delay" not in entry:
        return None
    values = entry.finite("delay")
    if values.size not in (1, n_channels) or values.ndim > 1 and values.shape[0] != values.size:
        raise UnsupportedLayerError(
            f"{entry.at('delay')}: delays of shape {values.shape}, one per "
            f"{'input' if values.size == n_inputs else 'synapse'}, are not supported; nearest: one "
            f"per channel ({n_channels}) of the layer, or of the layer before"
        )
    steps = np.floor(values.astype(np.float64).ravel())
    n_cut = int((steps != values.ravel()).sum())
    if n_cut:
        ledger.append(LedgerEntry(name, "delays cut to whole steps", n_cut, values.size))
    if not steps.any():
        return None
    return tuple(int(step) for step in np.broadcast_to(steps, n_channels))
