"""The Hessian of the surrogate membrane potential, H_SMP, from a synapse group's input spikes.

Symbols (Shi, Li, Ward-Cherrier, "Spiking Brain Compression", arXiv:2506.03996)::

    X      input spikes of one sample, (t, d_in) in {0, 1}
    M      causal convolution with the kernel of the target neuron
    MX     filtered input: what one unit of weight adds to the reset-free membrane potential
    H      E[2 (MX)^T (MX)], (d_in, d_in): the Hessian of the squared error of that potential,
           the same for every row of the weight matrix
    G      E[2 (MX')^T (MX)], (d_in, d_in): X' is the input of the compressed network, X of the
           dense one (:func:`asymmetric_target`)

A CUBA neuron has two filters, current then voltage; M is their composition. A LIF neuron
(d_u = 4096) has one, an IF neuron (d_v = 0) sums. The scale of the kernel cancels. Delays act on X
before the filter. Filtering commutes with unfolding, so a convolution's input is filtered first.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.compress.linalg import cholesky
from pipeline.network import ConvGeometry


def accumulate_hessian(
    hessian: Tensor | None, filtered: Tensor, kernel: tuple[int, int], geometry: ConvGeometry | None
) -> Tensor:
    """Return ``hessian`` plus 2 (MX)^T (MX), summed over samples, steps and kernel positions.

    Parameters
    ----------
    hessian : (groups, d_in, d_in) float64 so far, or None
    filtered : (n, d_in, t) for dense synapses, (n, c, y, x, t) for a convolution
    kernel : (ky, kx), ignored for dense synapses

    Returns
    -------
    hessian : (groups, d_in, d_in) float64; d_in = c_in / groups * ky * kx for a convolution
    """
    rows = _rows(filtered, kernel, geometry)
    update = 2.0 * rows.transpose(1, 2) @ rows
    return update if hessian is None else hessian + update


def accumulate_cross(
    cross: Tensor | None, compressed: Tensor, dense: Tensor, kernel: tuple[int, int],
    geometry: ConvGeometry | None,
) -> Tensor:
    """Return ``cross`` plus 2 (MX')^T (MX); arguments as in :func:`accumulate_hessian`."""
    rows = _rows(compressed, kernel, geometry)
    update = 2.0 * rows.transpose(1, 2) @ _rows(dense, kernel, geometry)
    return update if cross is None else cross + update


def asymmetric_target(
    W: NDArray[np.float64], H: NDArray[np.float64], G: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the weights that reach the dense potential from the compressed network's input.

    They are (H' + lambda I)^-1 (G + lambda I) w, the least-squares solution of
    ``|MX' w' - MX w|^2 + lambda |w' - w|^2`` (facts: sbc.md 2, asymmetric sequential calibration).

    Parameters
    ----------
    W : (rows, d_in) float64
    H : (d_in, d_in) float64, of the compressed input, damped
    G : (d_in, d_in) float64, damped by the same lambda
    """
    factor = cholesky(torch.from_numpy(H))
    wanted = torch.from_numpy(G @ W.T)
    result: NDArray[np.float64] = torch.cholesky_solve(wanted, factor).T.contiguous().numpy()
    return result


def _rows(filtered: Tensor, kernel: tuple[int, int], geometry: ConvGeometry | None) -> Tensor:
    """Return the filtered inputs as rows, (groups, n_rows, d_in)."""
    if geometry is None:
        return filtered.movedim(1, -1).reshape(1, -1, filtered.shape[1])
    return _unfold(filtered, kernel, geometry)


def _unfold(filtered: Tensor, kernel: tuple[int, int], geometry: ConvGeometry) -> Tensor:
    """Return the patches under the kernel, (groups, n * t * positions, d_in)."""
    images = filtered.movedim(-1, 1).flatten(0, 1)
    patches = torch.nn.functional.unfold(
        images, kernel, geometry.dilation, geometry.padding, geometry.stride
    )
    n_images, d_all, n_positions = patches.shape
    grouped = patches.reshape(n_images, geometry.groups, d_all // geometry.groups, n_positions)
    return grouped.permute(1, 0, 3, 2).reshape(geometry.groups, n_images * n_positions, -1)


def damping(hessian: NDArray[np.float64], damping_frac: float) -> NDArray[np.float64]:
    """Return lambda, ``damping_frac`` times the mean diagonal of the live inputs, per group.

    Parameters
    ----------
    hessian : (..., d_in, d_in) float64
    """
    diagonal = np.diagonal(hessian, axis1=-2, axis2=-1)
    n_live = np.maximum(np.sum(diagonal > 0, axis=-1), 1)
    strength = damping_frac * np.sum(diagonal, axis=-1) / n_live
    # a group whose every input is dead still needs a positive definite matrix
    result: NDArray[np.float64] = np.where(strength > 0, strength, 1.0)
    return result


def damped(
    hessian: NDArray[np.float64], damping_frac: float, like: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Return H + lambda I.

    A dead input (never active in calibration) has a zero row and column: damping keeps its weight,
    which calibration says nothing about, instead of letting it be set to anything.

    Parameters
    ----------
    hessian : (..., d_in, d_in) float64
    like : the matrix whose diagonal sets lambda; ``hessian`` itself by default
    """
    strength = damping(hessian if like is None else like, damping_frac)
    result: NDArray[np.float64] = hessian + strength[..., None, None] * np.eye(hessian.shape[-1])
    return result
