"""The Hessian of the surrogate membrane potential, H_SMP, from a synapse group's input spikes.

Symbols (Shi, Li, Ward-Cherrier, "Spiking Brain Compression", arXiv:2506.03996)::

    X      input spikes of one sample, (t, d_in) in {0, 1}
    M      causal convolution with the kernel of the target neuron
    MX     filtered input: what one unit of weight adds to the reset-free membrane potential
    H      E[2 (MX)^T (MX)], (d_in, d_in): the Hessian of the squared error of that potential,
           the same for every row of the weight matrix

A CUBA neuron has two filters, current then voltage; M is their composition. The scale of the
kernel cancels. Filtering commutes with unfolding, so a convolution's input is filtered first.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.network import ConvGeometry

DECAY_UNITY = 4096


def filter_spikes(spikes: Tensor, current_decay: int, voltage_decay: int) -> Tensor:
    r"""Return M X for a CUBA neuron.

    .. math:: u_t = (1 - d_u/4096) u_{t-1} + x_t, \qquad p_t = (1 - d_v/4096) p_{t-1} + u_t

    Parameters
    ----------
    spikes : (..., t) of any numeric dtype
    current_decay, voltage_decay : 0..4096, see :class:`pipeline.network.CubaNeuron`

    Returns
    -------
    potential : (..., t) float64
    """
    keep_u = 1.0 - current_decay / DECAY_UNITY
    keep_p = 1.0 - voltage_decay / DECAY_UNITY
    by_step = spikes.movedim(-1, 0).to(torch.float64)
    potential = torch.empty(by_step.shape, dtype=torch.float64)
    u = torch.zeros(by_step.shape[1:], dtype=torch.float64)
    p = torch.zeros_like(u)
    for t in range(len(by_step)):
        u = keep_u * u + by_step[t]
        p = keep_p * p + u
        potential[t] = p
    return potential.movedim(0, -1)


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
    if geometry is None:
        rows = filtered.movedim(1, -1).reshape(1, -1, filtered.shape[1])
    else:
        rows = _unfold(filtered, kernel, geometry)
    update = 2.0 * rows.transpose(1, 2) @ rows
    return update if hessian is None else hessian + update


def _unfold(filtered: Tensor, kernel: tuple[int, int], geometry: ConvGeometry) -> Tensor:
    """Return the patches under the kernel, (groups, n * t * positions, d_in)."""
    images = filtered.movedim(-1, 1).flatten(0, 1)
    patches = torch.nn.functional.unfold(
        images, kernel, geometry.dilation, geometry.padding, geometry.stride
    )
    n_images, d_all, n_positions = patches.shape
    grouped = patches.reshape(n_images, geometry.groups, d_all // geometry.groups, n_positions)
    return grouped.permute(1, 0, 3, 2).reshape(geometry.groups, n_images * n_positions, -1)


def damped(hessian: NDArray[np.float64], damping_frac: float) -> NDArray[np.float64]:
    """Return H + lambda I, lambda = ``damping_frac`` times the mean diagonal of the live inputs.

    A dead input (never active in calibration) has a zero row and column: damping keeps its weight,
    which calibration says nothing about, instead of letting it be set to anything.

    Parameters
    ----------
    hessian : (..., d_in, d_in) float64
    """
    diagonal = np.diagonal(hessian, axis1=-2, axis2=-1)
    n_live = np.maximum(np.sum(diagonal > 0, axis=-1), 1)
    strength = damping_frac * np.sum(diagonal, axis=-1) / n_live
    # a group whose every input is dead still needs a positive definite matrix
    strength = np.where(strength > 0, strength, 1.0)
    result: NDArray[np.float64] = hessian + strength[..., None, None] * np.eye(hessian.shape[-1])
    return result
