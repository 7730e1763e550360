"""The neurons: parameters of the chip, in integers.

In: nothing. Out: the families of neurons and their check. The arithmetic is in
:mod:`pipeline.kernels` and :mod:`pipeline.kernels_graded`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Union

from pipeline.errors import UnsupportedLayerError
from pipeline.fixedpoint import MAX_EXACT_VTH_MANT

# 64 times this is above every voltage of 24 bits: such a neuron never fires
NEVER_VTH_MANT = (1 << 18) - 1
# Loihi's largest mantissa, which NetX files use for neurons that shall never fire
SILENT_VTH_MANT = (1 << 17) - 1
_NOMINAL_VTH_MANT = 1024
BIAS_RANGE = (-4096, 4095)  # 13 bits: lava.proc.lif, bias_mant
_OF_CUBA = {
    "channel_vth_mant": ("threshold mantissa", "thresholds", 1, MAX_EXACT_VTH_MANT),
    "channel_current_decay": ("current decay", "current decays", 0, 4096),
    "channel_voltage_decay": ("voltage decay", "voltage decays", 0, 4096),
    "bias": ("bias", "biases", *BIAS_RANGE),
}
PER_CHANNEL = {
    **_OF_CUBA,
    "channel_sin_decay": ("sine decay", "sine decays", 0, 4096),
    "channel_cos_decay": ("cosine decay", "cosine decays", 0, 4096),
}


@dataclass(frozen=True)
class CubaNeuron:
    r"""Current-based leaky integrate-and-fire neurons.

    .. math::
        u_t &= u_{t-1} (4096 - d_u) / 4096 + 64 \sum W s_t \\
        v_t &= v_{t-1} (4096 - d_v) / 4096 + u_t + 64\,b, \qquad
        s_t = [v_t > 64\,\vartheta], \quad v_t \leftarrow 0 \text{ on a spike}

    A channel is a feature map after a convolution and a neuron after dense synapses. Parameters per
    channel take the place of the shared one, which stays the layer's nominal value.

    Attributes
    ----------
    current_decay, voltage_decay : d_u and d_v, 0..4096; d_u = 4096 is a LIF, d_v = 0 an IF neuron
    vth_mant : threshold mantissa, in weight units; ``NEVER_VTH_MANT`` for a neuron that never fires
    channel_vth_mant : threshold mantissa of each channel; only the emulator runs it: NetX and
        SLAYER hold one threshold per layer
    channel_current_decay, channel_voltage_decay : decays of each channel
    bias : b of each channel, in weight units; None for none; not whole numbers only as long as the
        layer's weights are not
    bias_step : first step in which the biases act; later than 0 where they are to begin with the
        input that has passed the layers before
    """

    current_decay: int
    voltage_decay: int
    vth_mant: int
    channel_vth_mant: tuple[int, ...] | None = None
    channel_current_decay: tuple[int, ...] | None = None
    channel_voltage_decay: tuple[int, ...] | None = None
    bias: tuple[float, ...] | None = None
    bias_step: int = 0

    @property
    def fires(self) -> bool:
        """Whether the neurons are meant to fire; those that are not are read by their voltage."""
        return self.vth_mant not in (SILENT_VTH_MANT, NEVER_VTH_MANT)

    @property
    def nominal_vth(self) -> int:
        """The threshold, or, of neurons that never fire, a middling one to express scales by."""
        return self.vth_mant if self.fires else _NOMINAL_VTH_MANT

    @property
    def leak(self) -> float:
        """What the membrane loses in a step, of 4096."""
        return self.voltage_decay


@dataclass(frozen=True)
class SigmaDeltaNeuron:
    r"""Neurons that send how much their activation changed, as graded messages.

    .. math::
        \sigma_t &= \sigma_{t-1} + \sum W m_t, \qquad
        a_t = \mathrm{act}(\sigma_t + 2^{12} b) \\
        \delta_t &= a_t - a_{t-1} + r_{t-1}, \qquad
        e_t = \delta_t + (e_{t-1} \text{ if cumulative}) \\
        q_t &= \delta_t\,[|e_t| \ge 2^{12} \vartheta], \qquad r_t = \delta_t - q_t \\
        m_t &= \lfloor q_t / 2^6 \rfloor, \qquad e_t \leftarrow 0 \text{ where } q_t \ne 0

    States are in 2^-18, messages in 2^-12, weights, thresholds, biases and input data in 2^-6. What
    :math:`\lfloor\cdot\rfloor` cuts off is lost, as in SLAYER and on the chip. States have 32 bits
    and wrap around.

    Attributes
    ----------
    vth_mant : threshold of what is sent, in weight units
    role : delta stands at the input and encodes the data x, a = 2^12 x, in the step they arrive;
        sigma_delta stands between; sigma decodes, and sends its state at the output
    activation : relu, or none for the identity
    is_cumulative : whether changes that were not sent add up to the threshold
    bias : b of each channel, in weight units; None for none

    References
    ----------
    lava.proc.sdn.models of lava-nc 0.10.0; lava.lib.dl.slayer.axon.delta of lava-dl 0.6.0
    """

    vth_mant: int
    role: Literal["delta", "sigma_delta", "sigma"] = "sigma_delta"
    activation: Literal["relu", "none"] = "relu"
    is_cumulative: bool = False
    bias: tuple[int, ...] | None = None

    @property
    def fires(self) -> bool:
        """Whether the neurons send messages by a threshold; decoders send their state."""
        return self.role != "sigma"

    @property
    def nominal_vth(self) -> int:
        """A threshold to express scales by; nothing here is scaled."""
        return max(self.vth_mant, 1)

    @property
    def leak(self) -> float:
        """What the state loses in a step, of 4096: messages are summed up for good."""
        return 0.0


@dataclass(frozen=True)
class ResonatorNeuron:
    r"""Resonate-and-fire neurons: a damped rotation in the complex plane.

    .. math::
        x_t &= \lfloor c\,x_{t-1} \rceil_0 - \lfloor s\,y_{t-1} \rceil_0 + 64 \sum W_x s_t \\
        y_t &= \lfloor s\,x_{t-1} \rceil_0 + \lfloor c\,y_{t-1} \rceil_0 + 64 \sum W_y s_t

    with s and c the decays over 4096, each product truncated toward zero, and states clipped to
    :math:`\pm(2^{23} - 1)`. ``rf`` fires where :math:`x_t \ge 64\vartheta` and y is no longer
    negative, and is not reset; ``rf_iz`` where :math:`y_t \ge 64\vartheta`, which sets x to 0 and y
    to :math:`64\vartheta - 1`. Real weights reach x, imaginary ones y.

    Attributes
    ----------
    sin_decay, cos_decay : s and c, 0..4096
    vth_mant : threshold mantissa, in weight units
    channel_sin_decay, channel_cos_decay : decays of each channel, in place of the shared ones

    References
    ----------
    lava.proc.rf.models and lava.proc.rf_iz.models of lava-nc 0.10.0
    """

    kind: Literal["rf", "rf_iz"]
    sin_decay: int
    cos_decay: int
    vth_mant: int
    channel_sin_decay: tuple[int, ...] | None = None
    channel_cos_decay: tuple[int, ...] | None = None
    bias: None = None  # Lava gives resonators none

    @property
    def fires(self) -> bool:
        """Whether the neurons can fire."""
        return self.vth_mant != NEVER_VTH_MANT

    @property
    def nominal_vth(self) -> int:
        """A threshold to express scales by."""
        return self.vth_mant

    @property
    def leak(self) -> float:
        """What the amplitude loses in a step, of 4096."""
        return max(0.0, 4096 - math.hypot(self.sin_decay, self.cos_decay))


@dataclass(frozen=True)
class RelayNeuron:
    r"""Graded relays: neurons without memory or threshold that send on what they received.

    .. math:: m_t = \sum W m_{t-1}

    in 24 bits with the sign, which wrap around. A message of 1 is a spike; nothing is sent for 0.
    Sums of spike trains pass through one relay, where binary neurons would need one for each.

    References
    ----------
    lava.proc.graded.models of lava-nc 0.10.0, ``GradedVec`` with a threshold of 0
    """

    vth_mant: int = 0
    fires: bool = True
    bias: None = None

    @property
    def nominal_vth(self) -> int:
        """A threshold to express scales by; nothing here is scaled."""
        return 1

    @property
    def leak(self) -> float:
        """What the state loses in a step, of 4096: all."""
        return 4096.0


# a union by name: what reads artifacts and NIR metadata looks for its members
Neuron = Union[CubaNeuron, SigmaDeltaNeuron, ResonatorNeuron, RelayNeuron]  # noqa: UP007
FAMILY = {
    CubaNeuron: "CUBA", SigmaDeltaNeuron: "sigma-delta", ResonatorNeuron: "resonate-and-fire",
    RelayNeuron: "graded relay",
}


def check_neuron(layer: str, neuron: Neuron, n_channels: int) -> None:
    """Raise UnsupportedLayerError unless parameters fit the channels and the chip."""
    if not isinstance(neuron, CubaNeuron) and not 0 <= neuron.vth_mant <= NEVER_VTH_MANT:
        raise UnsupportedLayerError(
            f"layer '{layer}': threshold mantissa {neuron.vth_mant} is outside 0..{NEVER_VTH_MANT}"
        )
    if isinstance(neuron, CubaNeuron) and neuron.bias_step < 0:
        raise UnsupportedLayerError(
            f"layer '{layer}': biases that act from step {neuron.bias_step}; the first step is 0"
        )
    for field, (what, plural, low, high) in PER_CHANNEL.items():
        values = getattr(neuron, field, None)
        if values is None:
            continue
        if len(values) != n_channels:
            raise UnsupportedLayerError(
                f"layer '{layer}': {len(values)} {plural} for {n_channels} channels; give one per "
                "channel, or one per layer"
            )
        outside = [value for value in values if not low <= value <= high]
        if outside:
            raise UnsupportedLayerError(
                f"layer '{layer}': {what} {outside[0]} of a channel is outside {low}..{high}; "
                "scale the layer's weights, thresholds and biases together"
            )
