"""NetX HDF5 files as found in the wild to a Network, without Lava and without SLAYER.

In: a ``.net`` file that SLAYER, this project or somebody else wrote. Out: the integer
:class:`~pipeline.network.Network` it describes and a ledger of all that was interpreted, not read,
or would come out otherwise in the stock loader of lava-dl 0.6.0. What cannot be expressed is
refused with its place in the file. Layers are named by type and place: ``conv1`` is ``layer/1``.
Families of neurons follow each other where what they send means the same on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline.errors import CheckpointError, UnsupportedLayerError
from pipeline.graded import is_graded
from pipeline.ingest import netx_layers
from pipeline.ingest.netx_hdf5 import Entry, listed, open_netx
from pipeline.ingest.netx_input import driven_input
from pipeline.ingest.netx_layers import to_shape
from pipeline.ledger import Ledger, LedgerEntry
from pipeline.network import INPUT, Layer, Network, Readout, Shape
from pipeline.neuron import FAMILY, NEVER_VTH_MANT, SILENT_VTH_MANT, CubaNeuron, SigmaDeltaNeuron

_SUPPORTED = "input, conv, dense, dense_comp, dense_rec, pool, flatten, average"
_NEAREST = {
    "convT": "a dense layer with the unrolled weights",
    "unpool": "a dense layer with the unrolled weights",
    "concat": "a network of its own for each branch; NetX files hold chains",
}
_TO_LAYER = {
    "dense": netx_layers.dense, "dense_comp": netx_layers.dense, "dense_rec": netx_layers.dense,
    "conv": netx_layers.conv, "pool": netx_layers.pool,
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
        layer = _TO_LAYER[kind](entry, name, source, chain.shape, chain.ledger)
        _check_family(chain, entry, layer)
        chain.append(layer)
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
        chain.append(driven_input(entry, name, chain.shape, chain.ledger))


def _check_family(chain: _Chain, entry: Entry, layer: Layer) -> None:
    """Raise UnsupportedLayerError where what a layer takes is not what the one before sends.

    Sigma-delta layers send and take messages, of which 4096 are 1; a decoder sends 2^18 for 1, and
    other neurons spikes of 1. Lava adds up any integers; SLAYER, where all are real numbers, would
    have trained another network.
    """
    if not chain.layers:
        if is_graded(layer):
            chain.note(layer.name, "no input neurons: the input are messages, in 2^-12, not data")
        return
    before = chain.layers[-1]
    family, family_before = FAMILY[type(layer.neuron)], FAMILY[type(before.neuron)]
    if is_graded(before) and not before.neuron.fires:
        raise UnsupportedLayerError(
            f"{entry.where}: comes after a decoder (sigma_output) in {before.name}, whose values "
            "in 2^-18 only an output sends; nearest: leave sigma_output out there"
        )
    if is_graded(layer) != is_graded(before):
        raise UnsupportedLayerError(
            f"{entry.where}: {family} neurons after the {family_before} neurons of {before.name}; "
            "messages of sigma-delta neurons (4096 is 1) and spikes have different units, and Lava "
            "takes one for the other; nearest: a chain of sigma-delta neurons throughout, from an "
            "input of type SDNN, or of CUBA neurons and resonators"
        )


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
    """Return the voltage of an output that never fires, spikes or messages otherwise."""
    silent = [layer for layer in chain.layers if _is_silent(layer)]
    for layer in silent:
        what = "yet layers follow" if layer is not chain.layers[-1] else \
            "the voltage is read" if isinstance(layer.neuron, CubaNeuron) else \
            "the imaginary state is read"
        chain.note(layer.name, f"never fires (threshold {layer.neuron.vth_mant}), {what}")
    is_voltage = chain.layers[-1] in silent
    return Readout("voltage" if is_voltage else "spikes", chain.n_outputs)


def _is_silent(layer: Layer) -> bool:
    if isinstance(layer.neuron, SigmaDeltaNeuron):
        return False
    is_cuba = isinstance(layer.neuron, CubaNeuron)
    return layer.neuron.vth_mant >= (SILENT_VTH_MANT if is_cuba else NEVER_VTH_MANT)
