"""NetX HDF5 files as found in the wild to a Network, without Lava and without SLAYER.

In: a ``.net`` file that SLAYER, this project or somebody else wrote. Out: the integer
:class:`~pipeline.network.Network` it describes and a ledger of all that was interpreted, not read,
or would come out otherwise in the stock loader of lava-dl 0.6.0. What cannot be expressed is
refused with its place in the file. Layers are named by type and place: ``conv1`` is ``layer/1``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pipeline.errors import CheckpointError, UnsupportedLayerError
from pipeline.ingest import netx_layers
from pipeline.ingest.netx_hdf5 import Entry, listed, open_netx
from pipeline.ingest.netx_layers import MAX_NEURONS, to_shape
from pipeline.ingest.netx_neurons import SILENT_VTH_MANT, to_neuron
from pipeline.ledger import Ledger, LedgerEntry
from pipeline.network import INPUT, ConvGeometry, Layer, Network, Readout, Shape, Synapse

_SUPPORTED = "input, conv, dense, dense_rec, pool, flatten, average"
_NEAREST = {
    "convT": "a dense layer with the unrolled weights",
    "unpool": "a dense layer with the unrolled weights",
    "concat": "a network of its own for each branch; NetX files hold chains",
    "dense_comp": "dense with CUBA neurons; resonators are not supported yet",
}
_TO_LAYER = {
    "dense": netx_layers.dense, "dense_rec": netx_layers.dense, "conv": netx_layers.conv,
    "pool": netx_layers.pool,
}


def read_netx(
    path: Path, n_steps: int, input_shape: Shape | None = None
) -> tuple[Network, Ledger]:
    """Return the network a NetX file describes, and what was interpreted or not read.

    Parameters
    ----------
    n_steps : time steps of one sample, which the file does not fix
    input_shape : (c, y, x) or (features,), needed where the file starts with a convolution and
        does not tell; not used where it tells

    Raises
    ------
    UnsupportedLayerError
        For a layer type, a neuron type or an option that is not supported.
    CheckpointError
        If the file is not a NetX file, is damaged, or holds values that do not fit together.
    """
    with open_netx(path) as (root, entries):
        chain = _Chain(input_shape)
        for index, entry in enumerate(entries):
            _add(chain, index, entry)
        if not chain.layers or chain.input_shape is None:
            raise CheckpointError("layer: no entry has weights")
        readout = _readout(chain)
        chain.note_unread(path.name, [key for key in root.keys() if key != "layer"])
        network = Network(
            path.stem, chain.input_shape, n_steps, tuple(chain.layers), readout=readout)
    return network, tuple(chain.ledger)


@dataclass
class _Chain:
    """The network so far.

    Attributes
    ----------
    shape : of what leaves it, (features,) once flattened; None while the file has not told
    n_outputs : of an average at the end
    """

    input_shape: Shape | None
    layers: list[Layer] = field(default_factory=list)
    ledger: list[LedgerEntry] = field(default_factory=list)
    shape: Shape | None = None
    n_outputs: int | None = None

    def __post_init__(self) -> None:
        self.shape = self.input_shape

    def append(self, layer: Layer) -> None:
        self.layers.append(layer)
        self.shape = layer.shape

    def note(self, name: str, what: str) -> None:
        self.ledger.append(LedgerEntry(name, what, 1, 1))

    def note_unread(self, name: str, keys: list[str]) -> None:
        if keys:
            what = f"keys not read: {listed(keys)}"
            self.ledger.append(LedgerEntry(name, what, len(keys), len(keys)))


def _add(chain: _Chain, index: int, entry: Entry) -> None:
    kind = entry.text("type")
    name = f"{kind}{index}"
    if chain.n_outputs is not None:
        raise UnsupportedLayerError(
            f"{entry.where}: comes after an average, which no core computes; only the output can "
            "be averaged"
        )
    if kind == "input":
        _add_input(chain, index, name, entry)
    elif kind == "flatten":
        n_declared = int(np.prod(to_shape(entry))) if "shape" in entry else None
        n_arriving = None if chain.shape is None else int(np.prod(chain.shape))
        if n_arriving is not None:
            chain.shape = (n_arriving,)
            if n_declared not in (None, n_arriving):
                chain.note(name, f"shape of {n_declared} values not used, {n_arriving} arrive")
    elif kind == "average":
        _add_average(chain, name, entry)
    elif kind in _TO_LAYER:
        source = chain.layers[-1].name if chain.layers else INPUT
        if "dense" in kind and chain.layers and len(chain.shape or ()) == 3:
            chain.note(name, "no flatten before it: weights taken in C, H, W order")
        chain.append(_TO_LAYER[kind](entry, name, source, chain.shape, chain.ledger))
        if chain.input_shape is None:
            chain.input_shape = (chain.layers[0].synapses[0].weight.shape[1],)
    else:
        raise UnsupportedLayerError(
            f"{entry.where}: layer type '{kind}' is not supported; "
            f"nearest: {_NEAREST.get(kind, 'see the list')}; supported are {_SUPPORTED}"
        )
    chain.note_unread(name, entry.unread())


def _add_input(chain: _Chain, index: int, name: str, entry: Entry) -> None:
    if index > 0:
        raise UnsupportedLayerError(f"{entry.where}: a second input is not supported")
    if "shape" in entry:
        shape = to_shape(entry)
        if chain.input_shape not in (None, shape):
            chain.note(name, f"input_shape {chain.input_shape} not used: the file says {shape}")
        chain.input_shape = chain.shape = shape
    if chain.shape is not None and len(chain.shape) not in (1, 3):
        raise CheckpointError(
            f"{entry.where}: input of shape {chain.shape}; supported are (c, y, x) and (features,)"
        )
    if "neuron" in entry:
        if chain.shape is None:
            raise CheckpointError(f"{entry.at('shape')}: is missing; give input_shape")
        chain.append(_driven_input(entry, name, chain.shape, chain.ledger))


def _driven_input(
    entry: Entry, name: str, shape: Shape, ledger: list[LedgerEntry]
) -> Layer:
    """Return the neurons of an input entry, each fed by one input with a weight of 1.

    NetX drives them through their bias, to be set by hand to ``weight x + bias`` of data x (it
    stores this transform and never applies it): 64 times the bias is added to the voltage in every
    step. An input with a weight of 1 and a current that decays at once adds the same.
    """
    neuron = to_neuron(entry.group("neuron"), name, shape[0], ledger)
    weight, bias = (
        float(entry.finite(key).flat[0]) if key in entry else default
        for key, default in (("weight", 64.0), ("bias", 0.0))
    )
    ledger.append(LedgerEntry(
        name, f"input neurons take the bias that NetX wants set, {weight:g} x + {bias:g} of data "
        "x, as input of weight 1; the transform itself is not applied", 1, 1))
    if (neuron.current_decay, neuron.channel_current_decay) != (4096, None):
        ledger.append(LedgerEntry(
            name, f"iDecay {neuron.current_decay} not used: a bias does not pass the current", 1, 1
        ))
    neuron = replace(neuron, current_decay=4096, channel_current_decay=None)
    if len(shape) == 3:
        kernel = np.ones((shape[0], 1, 1, 1), dtype=np.int32)
        synapse = Synapse(name, INPUT, kernel, ConvGeometry(groups=shape[0]), 1, is_fixed=True)
    elif shape[0] ** 2 <= MAX_NEURONS:
        synapse = Synapse(name, INPUT, np.eye(shape[0], dtype=np.int32), None, 1, is_fixed=True)
    else:
        raise UnsupportedLayerError(
            f"{entry.at('shape')}: {shape[0]} input neurons in a row; supported are up to "
            f"{int(MAX_NEURONS ** 0.5)}, or more as (c, y, x)"
        )
    return Layer(name, (synapse,), neuron, shape)


def _add_average(chain: _Chain, name: str, entry: Entry) -> None:
    n_outputs = int(np.prod(to_shape(entry)))
    if not chain.layers or chain.layers[-1].n_neurons % n_outputs:
        raise CheckpointError(
            f"{entry.at('shape')}: {n_outputs} averages do not divide the neurons of the layer "
            "before"
        )
    chain.n_outputs = n_outputs
    chain.note(name, f"averaged to {n_outputs} outputs by the readout; stock NetX does not load it")


def _readout(chain: _Chain) -> Readout:
    """Return the voltage of an output that never fires, spikes otherwise."""
    silent = [layer for layer in chain.layers if layer.neuron.vth_mant >= SILENT_VTH_MANT]
    for layer in silent:
        what = "the voltage is read" if layer is chain.layers[-1] else "yet layers follow"
        chain.note(layer.name, f"never fires (threshold {layer.neuron.vth_mant}), {what}")
    is_voltage = chain.layers[-1] in silent
    return Readout("voltage" if is_voltage else "spikes", chain.n_outputs)
