"""The neurons: parameters of the chip, in integers.

In: nothing. Out: :class:`CubaNeuron` and its check. The arithmetic is in :mod:`pipeline.kernels`.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.errors import UnsupportedLayerError
from pipeline.fixedpoint import MAX_EXACT_VTH_MANT

# 64 times this is above every voltage of 24 bits: such a neuron never fires
NEVER_VTH_MANT = (1 << 18) - 1
_NOMINAL_VTH_MANT = 1024
BIAS_RANGE = (-4096, 4095)  # 13 bits: lava.proc.lif, bias_mant
PER_CHANNEL = {
    "channel_vth_mant": ("threshold mantissa", "thresholds", 1, MAX_EXACT_VTH_MANT),
    "channel_current_decay": ("current decay", "current decays", 0, 4096),
    "channel_voltage_decay": ("voltage decay", "voltage decays", 0, 4096),
    "bias": ("bias", "biases", *BIAS_RANGE),
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
    """

    current_decay: int
    voltage_decay: int
    vth_mant: int
    channel_vth_mant: tuple[int, ...] | None = None
    channel_current_decay: tuple[int, ...] | None = None
    channel_voltage_decay: tuple[int, ...] | None = None
    bias: tuple[float, ...] | None = None

    @property
    def fires(self) -> bool:
        """Whether the neurons can fire; those that cannot are read by their voltage."""
        return self.vth_mant != NEVER_VTH_MANT

    @property
    def nominal_vth(self) -> int:
        """The threshold, or, of neurons that never fire, a middling one to express scales by."""
        return self.vth_mant if self.fires else _NOMINAL_VTH_MANT


def check_neuron(layer: str, neuron: CubaNeuron, n_channels: int) -> None:
    """Raise UnsupportedLayerError unless parameters per channel fit the channels and the chip."""
    for field, (what, plural, low, high) in PER_CHANNEL.items():
        values = getattr(neuron, field)
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
