"""From compressed groups to the integer network that is deployed.

In: the dense network, its groups at their levels, its calibration. Out: :class:`Integers`. Grids
become integers, small enough that no current overflows; thresholds match the dense firing rates,
and neurons that make no difference leave.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.calibrate import Calibration
from pipeline.compress_synapse import CompressedSynapse
from pipeline.deployment import Integers
from pipeline.ledger import Ledger, LedgerEntry
from pipeline.lower import without_joins
from pipeline.mapping.layer_facts import facts_of, message_bounds
from pipeline.match_rates import match_rates
from pipeline.network import Network
from pipeline.quantize import bias_timing, to_integers
from pipeline.shrink import removals, shrink

# beyond it a current of 24 bits wraps around, in Lava and on the chip (facts: netx 3.2)
_LARGEST_CURRENT = 1 << 23


def assemble(
    dense: Network, compressed: dict[str, CompressedSynapse], calibration: Calibration,
    spikes: NDArray[np.uint8], per: Literal["none", "layer", "channel"],
) -> Integers:
    """Return the compressed integer network and the ledger of what changed.

    Parameters
    ----------
    spikes : (n, *input_shape, t) uint8, the samples ``calibration`` was made from
    per : what gets a threshold of its own; none leaves thresholds as compression has them
    """
    compressed, halved = without_overflow(dense, compressed)
    network, ledger = to_integers(dense, compressed)
    ledger += halved
    if per != "none":
        network, changes = match_rates(network, spikes, calibration.rates, per)
        ledger += changes
    ledger += bias_timing(network)
    shrunk = shrink(without_joins(network))
    return Integers(shrunk.network, network, shrunk.kept, ledger + removals(network, shrunk))


def without_overflow(
    dense: Network, compressed: dict[str, CompressedSynapse]
) -> tuple[dict[str, CompressedSynapse], Ledger]:
    """Return groups whose currents stay within 24 bits whatever spikes arrive, as far as that goes.

    Steps and threshold of a layer are halved together, which changes no spike but by rounding the
    threshold. Wide layers need it, and those that sums reach through a copy from each source. Codes
    of read-outs, which have no threshold to keep up with, are rounded to fewer bits if that is not
    enough: sums over a map reach them as one message.
    """
    found, ledger = dict(compressed), list[LedgerEntry]()
    network, _ = to_integers(dense, compressed)
    lowered = without_joins(network)
    bounds = message_bounds(lowered)
    for layer in lowered.layers:
        group = dense.layer(layer.name).synapses[0]
        worst = facts_of(layer, bounds).worst_case_current
        if group.name not in compressed or not dense.layer(layer.name).takes_scale \
                or layer.recurrent is not None:
            continue
        part, n = compressed[group.name], 0
        neuron = dense.layer(layer.name).neuron
        while worst > _LARGEST_CURRENT << n and part.step_exp - n > 1 and part.vth_mant >> n > 1:
            n += 1
        if n:
            found[group.name] = replace(
                part, step_exp=part.step_exp - n, vth_mant=max(1, round(part.vth_mant / 2**n)))
            ledger.append(LedgerEntry(
                layer.name, f"weights and threshold divided by {2**n}, so that no current leaves "
                "24 bits", group.n_weights, group.n_weights))
        if not neuron.fires and worst > _LARGEST_CURRENT << n:
            coarser, factor = _coarser(found[group.name], (_LARGEST_CURRENT << n) / worst)
            if not coarser.codes.any():
                continue  # the chip's rule will say so
            found[group.name] = coarser
            ledger.append(LedgerEntry(
                layer.name, f"codes divided by {factor} and rounded, so that no current leaves 24 "
                "bits", group.n_weights, group.n_weights))
    return found, tuple(ledger)


def _coarser(part: CompressedSynapse, share: float) -> tuple[CompressedSynapse, int]:
    """Return a group of at most this share of its largest current of either sign, and by what."""
    rows = part.codes.reshape(len(part.codes), -1).astype(np.int64)

    def largest(codes: NDArray[np.int64]) -> int:
        return max(int(np.maximum(sign * codes, 0).sum(axis=1).max()) for sign in (1, -1))

    factor = 2
    while largest(np.rint(rows / factor).astype(np.int64)) > share * largest(rows):
        factor *= 2
    codes = np.rint(part.codes / factor).astype(np.int16)
    return replace(
        part, codes=codes, weight=codes * (factor * _step_of(part)),
        n_rounded_to_zero=part.n_kept - int(np.count_nonzero(codes))), factor


def _step_of(part: CompressedSynapse) -> float:
    """Return the weight that a code of 1 stands for."""
    at = int(np.abs(part.codes).argmax())
    return float(part.weight.flat[at] / part.codes.flat[at])
