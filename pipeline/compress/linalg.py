"""Linear algebra on the supports of many rows at once: factors, gathered squares, batches.

Every row of a pruned matrix keeps its own weights, its support S, and needs its own H_SS. Rows are
grouped by the size of S and padded to equal size, so that one batched call serves many.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.compress.kernels_rows import gather_squares
from pipeline.errors import CalibrationError, DeviceError


def on_device(name: str) -> torch.device:
    """Return the torch device ``cpu`` or ``cuda``.

    Raises
    ------
    DeviceError
        If CUDA is asked for and absent.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise DeviceError(
            "compress.device: 'cuda' was asked for, but torch finds no CUDA device here; use "
            "'cpu', or install a CUDA build of torch and a driver (make doctor shows what is there)"
        )
    return torch.device(name)


def cholesky(H: Tensor) -> Tensor:
    """Return the lower Cholesky factor of ``H`` (..., d, d).

    Raises
    ------
    CalibrationError
        If ``H`` is not positive definite.
    """
    factor: Tensor
    factor, info = torch.linalg.cholesky_ex(H)
    # the diagonal tells of the whole: it is what is left of it after the squares of its row
    is_finite = torch.isfinite(factor.diagonal(dim1=-2, dim2=-1)).all()
    if bool((info != 0).any()) or not bool(is_finite):
        raise not_positive_definite()
    return factor


def not_positive_definite() -> CalibrationError:
    """Return the error of a curvature that has no Cholesky factor."""
    return CalibrationError(
        "the curvature is not positive definite after damping; use more calibration samples "
        "or raise 'calibration.damping' in the recipe"
    )


def inverse(H: Tensor) -> Tensor:
    """Return the inverse of positive definite ``H`` (..., d, d)."""
    return torch.cholesky_inverse(cholesky(H))


def inverse_diagonal(H: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the diagonal of the inverse of positive definite ``H`` (..., d, d)."""
    diagonal: NDArray[np.float64] = inverse(torch.from_numpy(H)).diagonal(dim1=-2, dim2=-1).numpy()
    return diagonal


def support_batches(
    mask: Tensor, max_bytes: int, order: Tensor | None = None
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Return rows grouped by the size of their support, as padded index arrays.

    Parameters
    ----------
    mask : (rows, d_in) bool
    order : (d_in,) the order in which columns are listed; ascending by default

    Returns
    -------
    list of (rows (b,), support (b, k) column indices, valid (b, k) bool); rows with an empty
    support are left out; b k^2 float64 take at most ``max_bytes``, or b is 1
    """
    columns = torch.arange(mask.shape[1], device=mask.device) if order is None else order
    sizes = mask.sum(dim=1)
    by_size = torch.argsort(sizes, stable=True)
    by_size = by_size[sizes[by_size] > 0]
    counts = sizes[by_size].tolist()
    batches, begin = [], 0
    while begin < len(counts):
        end = begin + 1
        while end < len(counts) and (end + 1 - begin) * 8 * counts[end] ** 2 < max_bytes:
            end += 1
        rows, k = by_size[begin:end], counts[end - 1]
        # a stable descending sort of the mask lists the kept columns first, in order
        ranked = torch.argsort(
            mask[rows][:, columns].to(torch.int8), dim=1, descending=True, stable=True
        )
        valid = torch.arange(k, device=mask.device)[None, :] < sizes[rows][:, None]
        batches.append((rows, columns[ranked[:, :k]], valid))
        begin = end
    return batches


def gather_square(H: Tensor, support: Tensor, valid: Tensor) -> Tensor:
    """Return H[S, S] of each row, (b, k, k), identity where a support is padded."""
    if H.device.type == "cpu":
        squares = torch.empty((*support.shape, support.shape[1]), dtype=H.dtype)
        gather_squares(H.numpy(), support.numpy(), valid.numpy(), squares.numpy())
        return squares
    square = H[support[:, :, None], support[:, None, :]]
    square = square * (valid[:, :, None] & valid[:, None, :])
    return square + torch.diag_embed((~valid).to(H.dtype))
