"""Sigma-delta and resonate-and-fire neurons of a NetX file, in integers of the chip.

In: the entry ``layer/<i>/neuron``. Out: neurons; and, since stock NetX recomputes the decays of
resonators and truncates them, the integers that it would run (lava-dl 0.6.0, netx/hdf5.py
``get_neuron_params``).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import CheckpointError, UnsupportedLayerError
from pipeline.ingest.netx_hdf5 import Entry
from pipeline.ingest.netx_values import channel_values, check_channels, nominal, own
from pipeline.ledger import LedgerEntry
from pipeline.network import INPUT, ConvGeometry, Network, Shape, Synapse
from pipeline.netx_entries import stock_decays
from pipeline.neuron import NEVER_VTH_MANT, ResonatorNeuron, SigmaDeltaNeuron

RESONATORS = ("RF_PHASE", "RF_IZHIKEVICH")


def to_sigma_delta(
    entry: Entry, name: str, ledger: list[LedgerEntry], is_input: bool
) -> SigmaDeltaNeuron:
    """Return sigma-delta neurons: what encodes at the input, what decodes, what stands between.

    Raises
    ------
    UnsupportedLayerError
        If the activation of what stands between is not relu, the only one that NetX runs, or what
        decodes stands at the input.
    CheckpointError
        If a parameter is missing, damaged or outside the chip's range.
    """
    decodes = "sigma_output" in entry
    if decodes and is_input:
        raise UnsupportedLayerError(
            f"{entry.at('sigma_output')}: a decoder at the input is not supported; nearest: leave "
            "the key out, sigma-delta neurons at the input encode"
        )
    if decodes and not entry.values("sigma_output").any():
        ledger.append(LedgerEntry(
            name, "sigma_output is false, and a decoder all the same, as in NetX", 1, 1))
    # stock NetX asks decoders for no threshold, and has none for them
    vth_mant = 0 if decodes and "vThMant" not in entry else channel_values(
        entry, "vThMant", NEVER_VTH_MANT, 1)[0]
    activation = entry.text("activation") if "activation" in entry else "relu"
    if activation != "relu" and not (decodes or is_input):
        raise UnsupportedLayerError(
            f"{entry.at('activation')}: activation '{activation}' is not supported; NetX does not "
            "read it and applies relu; nearest: relu"
        )
    return SigmaDeltaNeuron(
        vth_mant, "delta" if is_input else "sigma" if decodes else "sigma_delta")


def to_resonator(
    entry: Entry, name: str, n_channels: int, ledger: list[LedgerEntry]
) -> ResonatorNeuron:
    """Return resonators, with the file's decays where they are integers, as SLAYER writes them.

    Decays between two integers are those that stock NetX makes of them: this project writes such,
    for the integers that nothing else comes out as (:mod:`pipeline.netx_entries`).

    Raises
    ------
    CheckpointError
        If a parameter is missing, damaged or outside the chip's range.
    """
    given = np.broadcast_arrays(
        *(_decays(entry, key, n_channels) for key in ("sinDecay", "cosDecay")))
    stock = _stock(*given)
    is_whole = all((values == np.trunc(values)).all() for values in given)
    sine, cosine = (
        tuple(int(value) for value in values) for values in (given if is_whole else stock))
    _note_decays(name, given, stock, is_whole, ledger)
    (vth_mant,) = channel_values(entry, "vThMant", NEVER_VTH_MANT, 1)
    return ResonatorNeuron(
        "rf" if entry.text("type") == "RF_PHASE" else "rf_iz", nominal(sine), nominal(cosine),
        vth_mant, own(sine), own(cosine))


def one_to_one(name: str, shape: Shape) -> Synapse:
    """Return the group that says which input each driven neuron takes; no chip holds it."""
    if len(shape) == 3:
        kernel = np.ones((shape[0], 1, 1, 1), dtype=np.int32)
        return Synapse(name, INPUT, kernel, ConvGeometry(groups=shape[0]), 1, is_fixed=True)
    return Synapse(name, INPUT, np.eye(shape[0], dtype=np.int32), None, 1, is_fixed=True)


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
    sine, cosine = (tuple(values.tolist()) for values in _stock(
        np.array(neuron.channel_sin_decay or (neuron.sin_decay,)),
        np.array(neuron.channel_cos_decay or (neuron.cos_decay,))))
    if len(sine) == 1:
        return replace(neuron, sin_decay=sine[0], cos_decay=cosine[0])
    return replace(neuron, channel_sin_decay=sine, channel_cos_decay=cosine)


def _stock(
    sines: NDArray[Any], cosines: NDArray[Any]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the integers that stock NetX makes of decays."""
    given: Any = tuple(sines.tolist()), tuple(cosines.tolist())
    with np.errstate(divide="ignore"):  # a sine of 0 is a period without end
        return stock_decays(ResonatorNeuron("rf", 0, 0, 0, *given))


def _decays(entry: Entry, key: str, n_channels: int) -> NDArray[np.float64]:
    values = entry.finite(key).astype(np.float64).ravel()
    check_channels(entry, key, values, n_channels)
    outside = values[(values < 0) | (np.trunc(values) > 4096)]
    if outside.size:
        raise CheckpointError(f"{entry.at(key)}: {outside[0]:g} is outside 0..4096")
    return values


def _note_decays(
    name: str, given: list[NDArray[np.float64]], stock: tuple[NDArray[np.int32], ...],
    is_whole: bool, ledger: list[LedgerEntry],
) -> None:
    sine, cosine = (values[0] for values in given)
    n_other = sum(int((a != b).sum()) for a, b in zip(given, stock, strict=True))
    if len(given[0]) > 1:
        what = "a decay per channel, of which stock NetX runs the first only"
    elif not is_whole:
        what = (f"decays (sine, cosine) {sine:g}, {cosine:g} read as {stock[0][0]}, "
                f"{stock[1][0]}, which stock NetX makes of them")
    else:
        what = (f"decays (sine, cosine) {sine:g}, {cosine:g}: stock NetX recomputes and truncates "
                f"them to {stock[0][0]}, {stock[1][0]}")
    if n_other or len(given[0]) > 1:
        ledger.append(LedgerEntry(name, what, 1, 1))
