"""Which shapes a mask may have, and the best mask of that shape for given scores.

``unstructured``: any weights. ``N:M``: at most N of every M consecutive inputs of a row, counted
along the flattened input (c, ky, kx of a convolution). Ties go to the earlier position, always.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor

from pipeline.errors import CompressionError

UNSTRUCTURED = "unstructured"


def keep_best(
    score: Tensor, candidates: Tensor, n_keep: int, pattern: str = UNSTRUCTURED
) -> Tensor:
    """Return the mask of the highest scores among the candidates.

    Parameters
    ----------
    score : (rows, d_in)
    candidates : (rows, d_in) bool
    n_keep : of the whole matrix; an N:M pattern may keep fewer
    """
    ranked = torch.where(candidates, score, -torch.inf)
    if pattern != UNSTRUCTURED:
        candidates = candidates & _best_of_groups(ranked, *parse(pattern))
        ranked = torch.where(candidates, score, -torch.inf)
    n_keep = min(n_keep, int(candidates.sum()))
    if n_keep < 1:
        return torch.zeros_like(candidates)
    # the n-th best score by selection: an eighth of the time of sorting them all
    flat = ranked.flatten()
    worst_kept = flat.kthvalue(flat.numel() - n_keep + 1).values
    mask = flat > worst_kept
    ties = torch.nonzero((flat == worst_kept) & candidates.flatten())[:, 0]
    mask[ties[: n_keep - int(mask.sum())]] = True
    return mask.view(score.shape)


def parse(pattern: str) -> tuple[int, int]:
    """Return (N, M) of an ``N:M`` pattern.

    Raises
    ------
    CompressionError
        If it is none.
    """
    match = re.fullmatch(r"(\d+):(\d+)", pattern)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise CompressionError(
            f"compress.pattern: '{pattern}' is neither 'unstructured' nor N:M with 1 <= N <= M, "
            "as in '2:4'"
        )
    return int(match[1]), int(match[2])


def most_kept(shape: tuple[int, int], pattern: str) -> int:
    """Return how many weights of a (rows, d_in) matrix the pattern lets stay at most."""
    if pattern == UNSTRUCTURED:
        return shape[0] * shape[1]
    n, m = parse(pattern)
    whole, rest = divmod(shape[1], m)
    return shape[0] * (whole * n + min(rest, n))


def _best_of_groups(ranked: Tensor, n: int, m: int) -> Tensor:
    """Return the n highest of every m consecutive columns, (rows, d_in) bool."""
    rows, d_in = ranked.shape
    padded = torch.nn.functional.pad(ranked, (0, -d_in % m), value=-torch.inf)
    groups = padded.view(rows, -1, m)
    best = torch.argsort(groups, dim=-1, descending=True, stable=True)[..., :n]
    mask = torch.zeros_like(groups, dtype=torch.bool).scatter_(-1, best, True)
    return mask.view(rows, -1)[:, :d_in]
