"""The neurons of an input entry of a NetX file, each of which takes one value of the data.

In: an :class:`~pipeline.ingest.netx_hdf5.Entry` with neurons. Out: the
:class:`~pipeline.network.Layer` that they are, and in the ledger what its input is.
"""

from __future__ import annotations

from dataclasses import replace

from pipeline.errors import UnsupportedLayerError
from pipeline.ingest.netx_graded import one_to_one
from pipeline.ingest.netx_hdf5 import Entry
from pipeline.ingest.netx_layers import MAX_NEURONS
from pipeline.ingest.netx_neurons import to_neuron
from pipeline.ledger import LedgerEntry
from pipeline.network import Layer, Shape
from pipeline.neuron import CubaNeuron, ResonatorNeuron

_MAX_IN_A_ROW = int(MAX_NEURONS ** 0.5)  # whose one-to-one weights are a square matrix


def driven_input(entry: Entry, name: str, shape: Shape, ledger: list[LedgerEntry]) -> Layer:
    """Return the neurons of an input entry, each fed by one input with a weight of 1.

    NetX wants integers ``weight x + bias`` of data x; it stores this transform and never applies
    it (facts: netx 2). Sigma-delta neurons encode these integers, in 2^-6, in the step they arrive.
    CUBA neurons are to take them through their bias, set by hand: 64 times the bias is added to the
    voltage in every step. An input with a weight of 1 and a current that decays at once adds the
    same.

    Raises
    ------
    UnsupportedLayerError
        If they are resonators, or many in a row.
    """
    neuron = to_neuron(entry.group("neuron"), name, shape[0], ledger, is_input=True)
    if isinstance(neuron, ResonatorNeuron):
        raise UnsupportedLayerError(
            f"{entry.where}: input of resonators is not supported, stock NetX fails at it; nearest:"
            " an input without neurons before dense resonators"
        )
    if len(shape) == 1 and shape[0] > _MAX_IN_A_ROW:
        raise UnsupportedLayerError(
            f"{entry.at('shape')}: {shape[0]} input neurons in a row; supported are up to "
            f"{_MAX_IN_A_ROW}, or more as (c, y, x)"
        )
    is_cuba = isinstance(neuron, CubaNeuron)
    weight, bias = (
        float(entry.finite(key).flat[0]) if key in entry else default
        for key, default in (("weight", 64.0), ("bias", 0.0))
    )
    # data of sigma-delta neurons are in 2^-6 everywhere here, or integers already
    if is_cuba or (weight, bias) not in ((64, 0), (1, 0)):
        what = "take the bias that NetX wants set" if is_cuba else "encode what NetX wants set"
        ledger.append(LedgerEntry(
            name, f"input neurons {what}, {weight:g} x + {bias:g} of data x, as input of weight 1; "
            "the transform itself is not applied", 1, 1))
    if isinstance(neuron, CubaNeuron):
        if (neuron.current_decay, neuron.channel_current_decay) != (4096, None):
            ledger.append(LedgerEntry(
                name, f"iDecay {neuron.current_decay} not used: a bias does not pass the current",
                1, 1))
        neuron = replace(neuron, current_decay=4096, channel_current_decay=None)
    return Layer(name, (one_to_one(name, shape),), neuron, shape)
