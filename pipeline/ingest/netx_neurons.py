"""What one entry of a NetX file says about its neurons, in integers of the chip.

In: an :class:`~pipeline.ingest.netx_hdf5.Entry`. Out: neurons, biases and axonal delays, and in the
ledger whatever was interpreted, or would come out otherwise in stock NetX.
"""

from __future__ import annotations

import numpy as np

from pipeline.errors import CheckpointError, UnsupportedLayerError
from pipeline.fixedpoint import MAX_EXACT_VTH_MANT
from pipeline.ingest.netx_hdf5 import Entry
from pipeline.ledger import LedgerEntry
from pipeline.neuron import NEVER_VTH_MANT, CubaNeuron

# Loihi 1's largest mantissa, which files use for neurons that shall never fire
SILENT_VTH_MANT = (1 << 17) - 1
_CUBA = ("CUBA", "LOIHI")
_NEAREST = {
    "ALIF": "adaptive thresholds (ALIF); nearest: CUBA neurons, no process of NetX adapts its "
            "threshold",
    "ADRF": "adaptive resonators (ADRF), which NetX loads as plain resonators with other spikes; "
            "nearest: CUBA neurons",
    "RF": "resonators (RF); nearest: CUBA neurons, resonators are not supported yet",
    "SDNN": "sigma-delta neurons (SDNN); nearest: CUBA neurons, sigma-delta chains are not "
            "supported yet",
}


def to_neuron(entry: Entry, name: str, n_channels: int, ledger: list[LedgerEntry]) -> CubaNeuron:
    """Return the neurons of the entry ``layer/<i>/neuron``; biases are not among its keys.

    Raises
    ------
    UnsupportedLayerError
        If they are not CUBA neurons, send graded spikes or have a refractory period.
    CheckpointError
        If a parameter is missing, damaged or outside the chip's range.
    """
    kind = entry.text("type")
    if kind not in _CUBA:
        nearest = next((text for start, text in _NEAREST.items() if kind.startswith(start)),
                       "this type is not known; supported are CUBA neurons")
        raise UnsupportedLayerError(f"{entry.where}: type '{kind}': {nearest}")
    if "gradedSpike" in entry and entry.whole("gradedSpike").any():
        raise UnsupportedLayerError(
            f"{entry.at('gradedSpike')}: SLAYER's graded CUBA spikes carry the voltage, Lava sends "
            "0 or 1; nearest: train with graded_spike=False"
        )
    if "refDelay" in entry and (entry.whole("refDelay") != 1).any():
        raise UnsupportedLayerError(
            f"{entry.at('refDelay')}: a refractory period other than 1 step is not supported, and "
            "NetX does not read it; nearest: refDelay 1 with a higher threshold"
        )
    for key in ("weight_exp", "wgtExp"):
        if key in entry and entry.finite(key).any():
            ledger.append(LedgerEntry(
                name, f"{key} {entry.finite(key).flat[0]:g} not applied, as in NetX; SLAYER scales "
                "the current by 2^-weight_exp", 1, 1))
    current_decay, each_current_decay = _parameter(entry, "iDecay", 4096, n_channels)
    voltage_decay, each_voltage_decay = _parameter(entry, "vDecay", 4096, n_channels)
    vth_mant, each_vth_mant = _parameter(entry, "vThMant", NEVER_VTH_MANT, n_channels)
    if MAX_EXACT_VTH_MANT < vth_mant < SILENT_VTH_MANT:
        ledger.append(LedgerEntry(
            name, f"threshold {vth_mant} is above {MAX_EXACT_VTH_MANT}: at a tie SLAYER fires, the "
            "chip does not", 1, 1))
    return CubaNeuron(current_decay, voltage_decay, vth_mant, each_vth_mant, each_current_decay,
                      each_voltage_decay)


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


def _parameter(
    entry: Entry, key: str, high: int, n_channels: int
) -> tuple[int, tuple[int, ...] | None]:
    """Return the nominal value, the mean where channels have their own, and those."""
    values = entry.whole(key).ravel()
    if values.size not in (1, n_channels):
        raise CheckpointError(
            f"{entry.at(key)}: {values.size} values do not fit {n_channels} channels; give one, or "
            "one per channel"
        )
    if values.min() < 0 or values.max() > high:
        extreme = values.min() if values.min() < 0 else values.max()
        raise CheckpointError(f"{entry.at(key)}: {extreme} is outside 0..{high}")
    return round(float(values.mean())), tuple(values.tolist()) if values.size > 1 else None
