"""Parameters and weights of one entry of a NetX file, held against the sizes they must have.

In: an :class:`~pipeline.ingest.netx_hdf5.Entry`. Out: integers per channel, weights, the bits that
NetX infers; and in the ledger the weights that stock NetX, or a core, would not take as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import CheckpointError, UnsupportedLayerError
from pipeline.fixedpoint import MIXED_WEIGHT_RANGE, inferred_weight_bits
from pipeline.ingest.netx_hdf5 import Entry
from pipeline.ledger import LedgerEntry
from pipeline.network import Synapse
from pipeline.neuron import FAMILY, Neuron, ResonatorNeuron

_MAX_WEIGHT = (1 << 17) - 1  # 64 times more than this wraps a current of 24 bits at one spike


@dataclass(frozen=True)
class StoredWeight:
    """Where an entry has the weights of one synapse group: real ones, or a part of complex ones."""

    entry: Entry
    key: str
    part: Literal["real", "imag"] = "real"

    @property
    def at(self) -> str:
        """Return the path, for messages."""
        return self.entry.at(self.key)

    def read(self) -> NDArray[np.int32]:
        """Return the weights in the shape they are stored in."""
        return self.entry.whole(self.key, _MAX_WEIGHT)

    def matrix(self, n_out: int, n_in: int | None) -> NDArray[np.int32]:
        """Return weights (out, in); files have them flattened, or with sizes of 1 behind."""
        weight = self.read()
        shape = weight.shape[:2] if weight.ndim > 1 else (n_out, weight.size // n_out)
        if shape[0] * shape[1] != weight.size or shape[0] != n_out or n_in not in (None, shape[1]):
            raise CheckpointError(
                f"{self.at}: of shape {weight.shape} does not connect "
                f"{'its' if n_in is None else n_in} inputs to {n_out} neurons"
            )
        return weight.reshape(shape)

    def group(self, name: str, source: str, weight: NDArray[np.int32], **options: Any) -> Synapse:
        """Return the synapse group with these weights, named after its layer."""
        name = name if self.part == "real" else f"{name}.{self.part}"
        return Synapse(name, source, weight, weight_bits=bits(weight), part=self.part, **options)


def stored_weights(entry: Entry, neuron: Neuron) -> tuple[StoredWeight, ...]:
    """Return where the weights are: two parts, real and imaginary, for resonators.

    Raises
    ------
    UnsupportedLayerError
        For complex weights of other neurons, and real ones of resonators.
    """
    is_complex, is_resonator = entry.is_group("weight"), isinstance(neuron, ResonatorNeuron)
    if is_complex and not is_resonator:
        raise UnsupportedLayerError(
            f"{entry.at('weight')}: complex weights reach both states of resonators, and "
            f"{FAMILY[type(neuron)]} neurons, also those that NetX gives an entry without any, "
            "have one; nearest: real weights, or neurons of type RF_PHASE"
        )
    if is_resonator and not is_complex:
        raise UnsupportedLayerError(
            f"{entry.at('weight')}: real weights of resonators, to which stock NetX cannot connect "
            "them, are not supported; nearest: weight/real and weight/imag"
        )
    if not is_complex:
        return (StoredWeight(entry, "weight"),)
    parts = entry.group("weight")
    return (StoredWeight(parts, "real"), StoredWeight(parts, "imag", "imag"))


def channel_values(entry: Entry, key: str, high: int, n_channels: int) -> tuple[int, ...]:
    """Return one whole number from 0 to ``high``, or one per channel.

    Raises
    ------
    CheckpointError
        If there are fewer or more, or one is outside.
    """
    values = entry.whole(key).ravel()
    check_channels(entry, key, values, n_channels)
    if values.min() < 0 or values.max() > high:
        extreme = values.min() if values.min() < 0 else values.max()
        raise CheckpointError(f"{entry.at(key)}: {extreme} is outside 0..{high}")
    return tuple(values.tolist())


def check_channels(entry: Entry, key: str, values: NDArray[Any], n_channels: int) -> None:
    """Raise CheckpointError unless there is one value, or one per channel."""
    if values.size not in (1, n_channels):
        raise CheckpointError(
            f"{entry.at(key)}: {values.size} values do not fit {n_channels} channels; give one, or "
            "one per channel"
        )


def own(values: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the values of channels that have their own; None where they share one."""
    return values if len(values) > 1 else None


def nominal(values: tuple[int, ...]) -> int:
    """Return the value that channels share, the mean where they have their own."""
    return round(float(np.mean(values)))


def bits(weight: NDArray[Any]) -> int | None:
    """Return the bits NetX infers; None where no core holds the weights in 1 to 8."""
    found = inferred_weight_bits(weight) if weight.any() else 0
    return found if 1 <= found <= 8 else None


def note_range(
    name: str, kind: Literal["dense", "conv"], weight: NDArray[np.int32],
    ledger: list[LedgerEntry],
) -> None:
    """Note weights that stock NetX, or a core, would not take as they are."""
    smallest, largest = int(weight.min()), int(weight.max())
    low, high = MIXED_WEIGHT_RANGE if smallest < 0 else (0, 255)
    n_outside = int(((weight < low) | (weight > high)).sum())
    what, count = "", n_outside
    if kind == "conv":
        if n_outside:
            what = f"outside {low}..{high}: no core holds them, NetX does not check convolutions"
    elif smallest == largest == 0:
        what, count = "all zero: stock NetX cannot load the layer", weight.size
    elif n_outside and (smallest >= 0 or largest <= 0):
        what = f"of one sign up to {max(largest, -smallest)}: NetX shifts the whole matrix to zero"
        count = int(np.count_nonzero(weight))
    elif n_outside:
        what = f"outside {low}..{high}: NetX clips them"
    elif largest < 0 and smallest == low:
        what = f"of {low} among negative ones: Lava clips them to {low + 1}"
        count = int((weight == low).sum())
    if what:
        ledger.append(LedgerEntry(name, f"weights {what}", count, weight.size))
    if smallest < 0 <= largest and bits(weight) is None and not n_outside:
        ledger.append(LedgerEntry(
            name, "odd weights at full range: a core holds even ones of 8 bits, Lava simulates 9",
            int((weight & 1).sum()), weight.size))
