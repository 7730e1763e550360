"""A layer of neurons, and the synapse groups that feed it.

Others import these names from :mod:`pipeline.network`, which is made of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UnsupportedLayerError
from pipeline.neuron import FAMILY, CubaNeuron, Neuron, RelayNeuron

INPUT = "input"
Shape = tuple[int, ...]


@dataclass(frozen=True)
class ConvGeometry:
    """How a kernel moves over its input; pairs are (y, x)."""

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1


@dataclass(frozen=True)
class Synapse:
    """One group of synapses from a source to the layer that holds it.

    Attributes
    ----------
    name : unique in the network; the layer's name where a layer has one group
    source : name of the layer whose spikes arrive, or ``INPUT``
    weight : dense (out, in), conv (c_out, c_in / groups, ky, kx); float64, or int32 when quantized
    geometry : of a convolution; None for dense
    weight_bits : declared precision of an integer weight, 1..8, sign included; None while float
    allowed : bool, shape of the weight: False where the user's own mask forbids a synapse; None
        where there is no mask
    is_fixed : whether the weights stand for something that has none, as pooling, and are to stay
    part : of complex weights, the part these are; they reach that state of a resonator
    n_absent : positions of the array that are no weights, as around kernels that were joined with
        larger ones; ``allowed`` is False there
    """

    name: str
    source: str
    weight: NDArray[Any]
    geometry: ConvGeometry | None = None
    weight_bits: int | None = None
    allowed: NDArray[np.bool_] | None = None
    is_fixed: bool = False
    part: Literal["real", "imag"] = "real"
    n_absent: int = 0

    @property
    def n_weights(self) -> int:
        """Number of weights, zero or not."""
        return self.weight.size - self.n_absent

    @property
    def kind(self) -> Literal["dense", "conv"]:
        """The layer kind as NetX names it."""
        return "dense" if self.geometry is None else "conv"

    @property
    def is_integer(self) -> bool:
        """Whether the weights are integers of the chip."""
        return bool(np.issubdtype(self.weight.dtype, np.integer))

    @property
    def sparsity(self) -> float:
        """Share of weights that are zero, 0 to 1."""
        return 1.0 - int(np.count_nonzero(self.weight)) / self.n_weights


@dataclass(frozen=True)
class Layer:
    """Neurons of one kind and shape, and the synapse groups whose currents they add.

    Attributes
    ----------
    shape : (c, y, x) after convolutions, (features,) after dense synapses
    axonal_delay : steps by which the spikes of each channel leave later, 0..62; None for no delay.
        Spikes of a layer are always those that left
    recurrent : dense synapses from the layer to itself, whose spikes arrive one step after they
        were fired, whatever the axonal delay; None without
    """

    name: str
    synapses: tuple[Synapse, ...]
    neuron: Neuron
    shape: Shape
    axonal_delay: tuple[int, ...] | None = None
    recurrent: Synapse | None = None

    @property
    def cuba(self) -> CubaNeuron:
        """The neuron, for what knows CUBA neurons only.

        Raises
        ------
        UnsupportedLayerError
            If it is of another family.
        """
        if isinstance(self.neuron, CubaNeuron):
            return self.neuron
        raise UnsupportedLayerError(
            f"layer '{self.name}': {FAMILY[type(self.neuron)]} neurons are not supported here; "
            "nearest: cuba blocks"
        )

    @property
    def n_neurons(self) -> int:
        """Number of neurons."""
        return int(np.prod(self.shape))

    @property
    def groups(self) -> tuple[Synapse, ...]:
        """All synapse groups of the layer, the recurrent one last."""
        return self.synapses if self.recurrent is None else (*self.synapses, self.recurrent)

    @property
    def is_driven(self) -> bool:
        """Whether each neuron takes a value of the network's input by itself, not by a synapse.

        CUBA neurons take it through their bias, delta neurons as what they encode; no core stores
        the weights of 1 that stand for this.
        """
        synapse, neuron = self.synapses[0], self.neuron
        if len(self.synapses) > 1 or synapse.source != INPUT or not synapse.is_fixed:
            return False
        if isinstance(neuron, RelayNeuron) or isinstance(neuron, CubaNeuron) and (
                neuron.current_decay != 4096 or neuron.channel_current_decay is not None):
            return False
        weight = synapse.weight
        if synapse.geometry is None:
            return weight.shape[0] == weight.shape[1] and bool(
                (weight == np.eye(len(weight), dtype=weight.dtype)).all())
        return weight.shape[1:] == (1, 1, 1) and synapse.geometry == ConvGeometry(
            groups=len(weight)) and bool((weight == 1).all())

    @property
    def stored_groups(self) -> tuple[Synapse, ...]:
        """The groups whose weights a core stores: all, but those that drive neurons directly."""
        return () if self.is_driven else self.groups

    @property
    def takes_scale(self) -> bool:
        """Whether one scale of all weights can be taken up by the threshold."""
        return isinstance(self.neuron, CubaNeuron) and len(self.synapses) == 1

    @property
    def n_channels(self) -> int:
        """Number of channels; after dense synapses every neuron is one."""
        return self.shape[0]
