"""The 45 nm AC/MAC energies that papers on spiking networks print: a convention, of no chip.

In: counts. Out: :class:`Convention` rows, to stand beside a chip's energies, never among them.
There is no memory access, neuron update or traffic in them.

References
----------
M. Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014: add and
multiply at 45 nm and 0.9 V, fp32 0.9 and 3.7 pJ, int8 0.03 and 0.2 pJ. A MAC is one of each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.account.counts import Counts

_ADD_MULTIPLY_PJ = {"fp32": (0.9, 3.7), "int8": (0.03, 0.2)}


@dataclass(frozen=True)
class Convention:
    """Effective operations at 45 nm.

    Attributes
    ----------
    arithmetic : fp32 or int8
    ac_pj, mac_pj : of one operation
    by_sample_pj : (n_samples,) float64
    by_layer_pj : mean per sample
    """

    arithmetic: str
    ac_pj: float
    mac_pj: float
    by_sample_pj: NDArray[np.float64]
    by_layer_pj: dict[str, float]

    label = "45 nm AC/MAC convention (Horowitz 2014): not this chip's energy"

    @property
    def total_pj(self) -> float:
        """Mean per sample, picojoules."""
        return float(self.by_sample_pj.mean())


def conventions(counts: Counts) -> tuple[Convention, ...]:
    """Return a row for each arithmetic; effective operations, by NeuroBench's definition."""
    macs = counts["effective_macs"]
    acs = counts["effective_synops"] - macs
    names = np.array(counts.layer_of_core)
    rows = []
    for arithmetic, (add, multiply) in _ADD_MULTIPLY_PJ.items():
        energy = acs * add + macs * (add + multiply)
        by_layer = {name: float(energy[:, names == name].sum(axis=1).mean())
                    for name in counts.layers}
        rows.append(Convention(arithmetic, add, add + multiply, energy.sum(axis=1), by_layer))
    return tuple(rows)
