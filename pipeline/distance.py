"""How far two spike trains are apart, as a leaky membrane sees them.

In: two arrays of spikes. Out: their squared van Rossum distance, per sample. The exponential
filter is the voltage of a neuron with the given decay, without threshold and in real numbers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def van_rossum_distance(
    a: NDArray[np.uint8], b: NDArray[np.uint8], voltage_decay: int
) -> NDArray[np.float64]:
    r"""Return the squared van Rossum distance of two spike trains, (n,).

    .. math::
        D = \sum_{i, t} (v^a_{i,t} - v^b_{i,t})^2, \qquad
        v_t = (1 - d_v / 4096)\, v_{t-1} + s_t

    Parameters
    ----------
    a, b : (n, ..., t) of one shape
    voltage_decay : d_v, 0 (every difference is remembered to the end) to 4096 (differing spikes
        are counted)

    Raises
    ------
    ValueError
        If the shapes differ.

    References
    ----------
    M. C. W. van Rossum, "A novel spike distance", Neural Computation 13(4), 2001, eq. 2.1-2.3; in
    steps, without the factor 1 / tau.
    """
    if a.shape != b.shape:
        raise ValueError(f"spikes of shapes {a.shape} and {b.shape} have no distance")
    kept_frac = 1.0 - voltage_decay / 4096
    distances = np.zeros(len(a))
    for n in range(len(a)):
        # the filter is linear: that of the difference is the difference of the two
        difference = np.subtract(a[n], b[n], dtype=np.int16).reshape(-1, a.shape[-1])
        v = np.zeros(len(difference))
        for step in np.ascontiguousarray(difference.T):
            v *= kept_frac
            v += step
            distances[n] += v @ v
    return distances
