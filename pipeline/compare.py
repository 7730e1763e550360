"""Where and when two traces of one network part.

In: two traces of the same spikes, from any two of SLAYER, emulator and Lava. Out: per layer the
number of differing spikes and the first of them. Equality is required, not closeness.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.emulate import Trace
from pipeline.errors import EquivalenceError
from pipeline.network import Network


@dataclass(frozen=True)
class LayerDifference:
    """How two traces compare in one layer.

    Attributes
    ----------
    n_spikes : spikes in the first trace; of a read-out of voltages, those that are not 0
    n_differing : positions (sample, neuron, step) at which the traces differ
    first : (sample, step, neuron) of the earliest differing step, or None
    """

    layer: str
    n_spikes: int
    n_differing: int
    first: tuple[int, int, int] | None


@dataclass(frozen=True)
class Comparison:
    """Two backends compared over some samples."""

    first_backend: str
    second_backend: str
    n_samples: int
    layers: tuple[LayerDifference, ...]

    @property
    def n_differing(self) -> int:
        """Differing positions over all layers."""
        return sum(layer.n_differing for layer in self.layers)


def compare_traces(
    network: Network, first: Trace, first_backend: str, second: Trace, second_backend: str
) -> Comparison:
    """Return where two traces differ, layer by layer in network order.

    Spikes are compared; of a network read out by voltages, these in its last layer.

    Raises
    ------
    EquivalenceError
        If a layer's traces do not even have the same shape.
    """
    differences = []
    for layer in network.layers:
        is_voltage = network.readout.quantity == "voltage" and layer is network.layers[-1]
        a, b = ((t.v if is_voltage else t.spikes)[layer.name] for t in (first, second))
        if a.shape != b.shape:
            raise EquivalenceError(
                f"layer '{layer.name}': {first_backend} gives spikes of shape {a.shape}, "
                f"{second_backend} {b.shape}"
            )
        where = (a != b).reshape(len(a), layer.n_neurons, -1)
        position = None
        if where.any():
            # the earliest step over all samples, because later ones may follow from it
            step, sample, neuron = np.argwhere(where.transpose(2, 0, 1))[0]
            position = (int(sample), int(step), int(neuron))
        differences.append(LayerDifference(
            layer.name, int(np.count_nonzero(a)), int(where.sum()), position))
    n_samples = len(next(iter(first.spikes.values())))
    return Comparison(first_backend, second_backend, n_samples, tuple(differences))


def require_equal(comparison: Comparison) -> None:
    """Raise EquivalenceError if the traces differ anywhere, naming layer, neuron, step."""
    for layer in comparison.layers:
        if layer.first is not None:
            sample, step, neuron = layer.first
            raise EquivalenceError(
                f"{comparison.first_backend} and {comparison.second_backend} part in layer "
                f"'{layer.layer}': {layer.n_differing} of {layer.n_spikes} spikes differ over "
                f"{comparison.n_samples} samples, first in sample {sample} at step {step}, neuron "
                f"{neuron}; {comparison.n_differing} differences in all layers. The file must not "
                "be deployed"
            )
