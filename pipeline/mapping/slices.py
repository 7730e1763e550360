"""A layer of features cut into slices: the fewest that keep to every limit of a core.

In: a :class:`~pipeline.mapping.core_demand.Demand` of a layer (features,). Out: its pieces and what
decided their number, or the limit that a single neuron breaks. The number is found by filling core
after core: a piece never needs less than a part of it (but for a word where entries begin
elsewhere), so no cut into slices has fewer.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipeline.mapping.core_demand import Demand, DenseBlock, Excess, Piece
from pipeline.mapping.placement import Cut


def cut_in_slices(demand: Demand) -> tuple[list[Piece], Cut] | Excess:
    """Return the pieces of a layer of features and what decided their number.

    Of the cuts into that many pieces the one is taken whose busiest core executes least: equal
    slices, slices of equal load, or each core as full as it gets.

    Returns
    -------
    The limit that a single neuron breaks, if there is one, or that as many pieces as there must be
    break.
    """
    n_pieces = 1
    while True:
        filled = _filled(demand, n_pieces)
        if isinstance(filled, Excess):
            return filled
        # own cores count as destinations: as many as there are in the end
        if len(filled) <= n_pieces or not demand.feeds_itself.any():
            break
        n_pieces = len(filled)
    n_pieces = max(len(filled), min(demand.least, demand.layer.n_neurons))
    decided = _one_fewer(demand, n_pieces)
    while decided is None and n_pieces > max(1, demand.least):
        n_pieces -= 1  # entries that begin elsewhere can take a word less
        decided = _one_fewer(demand, n_pieces)
    tried = [
        [demand.piece((pair,), n_pieces) for pair in zip(bounds[:-1], bounds[1:], strict=True)]
        for bounds in _balanced(demand, n_pieces)
    ]
    if len(filled) <= n_pieces:
        tried.append(_split(demand, filled, n_pieces))
    excesses = [[e for e in map(demand.excess, pieces) if e] for pieces in tried]
    cuts = [pieces for pieces, broken in zip(tried, excesses, strict=True) if not broken]
    if not cuts:  # more pieces than it needs: each neuron that feeds its layer reaches them all
        return max(sum(excesses, start=[]), key=lambda excess: excess.ratio)
    decided = decided or demand.reason
    cut = Cut(1, "", 0, 0) if decided is None else Cut(
        n_pieces, decided.limit, decided.value, decided.bound)
    return min(cuts, key=demand.busiest), cut


def _filled(demand: Demand, n_pieces: int) -> list[Piece] | Excess:
    """Return slices, each as wide as the limits allow."""
    pieces: list[Piece] = []
    begin, width = 0, demand.max_neurons
    while begin < demand.layer.n_neurons:
        def measured(width: int, begin: int = begin) -> Piece:
            return demand.piece(((begin, begin + width),), n_pieces)

        most = min(demand.max_neurons, demand.layer.n_neurons - begin)
        width = _widest(lambda w: demand.excess(measured(w)) is None, min(width, most), most)
        if width == 0:
            excess = demand.excess(measured(1))
            assert excess is not None
            return excess
        pieces.append(measured(width))
        begin += width
    return pieces


def _widest(fits: Callable[[int], bool], guess: int, most: int) -> int:
    """Return the largest width up to ``most`` that fits, 0 if none does, looking near a guess."""
    low, high, step = 0, most + 1, 1
    if fits(guess):
        low = guess
        while low + step < high:
            if not fits(low + step):
                high = low + step
                break
            low, step = low + step, 2 * step
    else:
        high = guess
        while high - step > low:
            if fits(high - step):
                low = high - step
                break
            high, step = high - step, 2 * step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _balanced(demand: Demand, n_pieces: int) -> list[list[int]]:
    """Return bounds of slices of equal size, of equal load and of equal memory, where distinct."""
    n_neurons = demand.layer.n_neurons
    cuts = [[k * n_neurons // n_pieces for k in range(n_pieces + 1)]]
    counts = np.ones(n_neurons) * 1e-9
    load = counts.copy()
    for group, rate in zip(demand.groups, demand.rates, strict=True):
        assert isinstance(group, DenseBlock)
        counts += group.mask.sum(axis=0)
        for begin in range(0, len(rate), 1024):  # a float copy of the mask, but of few rows
            rows = slice(begin, begin + 1024)
            load += rate[rows] @ group.mask[rows].astype(np.float64)
    for weight in (load, counts):
        total = np.concatenate([[0.0], np.cumsum(weight)])
        inner = np.searchsorted(total, np.arange(1, n_pieces) / n_pieces * total[-1])
        bounds = [0, *(int(i) for i in inner), n_neurons]
        if all(a < b for a, b in zip(bounds[:-1], bounds[1:], strict=True)) and bounds not in cuts:
            cuts.append(bounds)
    return cuts


def _split(demand: Demand, pieces: list[Piece], n_pieces: int) -> list[Piece]:
    """Return the pieces, the widest halved until there are ``n_pieces``."""
    slices = [piece.region[0] for piece in pieces]
    while len(slices) < n_pieces:
        begin, end = max(slices, key=lambda pair: pair[1] - pair[0])
        middle = (begin + end) // 2
        slices.remove((begin, end))
        slices += [(begin, middle), (middle, end)]
    return [demand.piece((pair,), n_pieces) for pair in sorted(slices)]


def _one_fewer(demand: Demand, n_pieces: int) -> Excess | None:
    """Return the limit that one piece fewer breaks most, by equal slices; None if it breaks none.

    Where the neurons are too many for the cores, that is the answer: their lists are not measured.
    """
    n_fewer, n_neurons = n_pieces - 1, demand.layer.n_neurons
    if n_fewer == 0:
        return None
    if n_neurons > n_fewer * demand.max_neurons:
        return Excess("neurons", -(-n_neurons // n_fewer), demand.max_neurons)
    bounds = [k * n_neurons // n_fewer for k in range(n_pieces)]
    found = (
        demand.excess(demand.piece((pair,), n_fewer))
        for pair in zip(bounds[:-1], bounds[1:], strict=True)
    )
    return max((e for e in found if e), key=lambda e: e.ratio, default=None)
