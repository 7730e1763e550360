"""What a rule sees of a layer, and what it returns when the layer breaks it.

In: nothing. Out: the nouns of :mod:`hardware_targets.rules` and of
:mod:`hardware_targets.accumulation`. The pipeline fills in the facts; rules see no arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from hardware_targets.schema import NeuronFamily


@dataclass(frozen=True)
class LayerFacts:
    """The integers of one quantized layer that a chip can refuse.

    Attributes
    ----------
    layer : str
        Name as the user knows it.
    family : {"cuba", "sigma-delta", "resonate-and-fire", "graded-relay"}
        Of its neurons.
    kind : {"dense", "conv"}
    n_neurons : int
    has_synapses : bool
        False for neurons that take the network's input by themselves.
    fan_in : int
        Nonzero synapses of the neuron that has most, over all groups; each has a source of its own.
    weight_bits : int
        Declared width, sign included.
    weight_min, weight_max : int
        Extremes of the integer codes.
    vth_mant_min, vth_mant_max : int
        Extremes of the threshold mantissas (threshold = vth_mant * 2^6).
    fires : bool
        Whether spikes set the voltage back.
    bias_min, bias_max : int
        Extremes of the biases, in weight units (bias * 2^6 is added to the voltage); 0 for none.
    decays : mapping of str to (int, int)
        Smallest and largest numerator over 4096 of each decay, by its name; 4096 is a full decay in
        one step. Sine and cosine of resonators among them; none of sigma-delta neurons.
    leak : float
        Least share of 4096 that the state which takes the input loses in a step; 0 if it may keep
        all.
    worst_case_current : int
        Largest possible abs(u) after one step in which all synapses of one sign fire, in state
        units; 0 where messages have any size.
    worst_case_inhibition : int
        The same of negative weights only.
    axonal_delay : int
        Largest delay of the layer, in time steps.
    """

    layer: str
    family: NeuronFamily
    kind: Literal["dense", "conv"]
    n_neurons: int
    has_synapses: bool
    fan_in: int
    weight_bits: int
    weight_min: int
    weight_max: int
    vth_mant_min: int
    vth_mant_max: int
    fires: bool
    bias_min: int
    bias_max: int
    decays: Mapping[str, tuple[int, int]]
    leak: float
    worst_case_current: int
    worst_case_inhibition: int
    axonal_delay: int


@dataclass(frozen=True)
class Violation:
    """One rule that one layer breaks, told so that the user can act on it."""

    layer: str
    rule: str
    value: str
    limit: str
    remedy: str

    def __str__(self) -> str:
        """Return ``layer · rule · value · limit · remedy`` on one line."""
        parts = (self.layer, self.rule, self.value, f"limit {self.limit}", self.remedy)
        return " · ".join(parts)
