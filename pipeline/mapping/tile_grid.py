"""A layer of maps cut into tiles: a grid over channels, y and x, the fewest tiles that fit.

In: a :class:`~pipeline.mapping.core_demand.Demand` of a layer (c, y, x). Out: its pieces and what
decided their number, or the limit that a single neuron breaks. Every grid of one size is ranked by
the spikes its tiles receive, then by the busiest tile; the first whose tiles keep to all limits is
taken, and only then is a size more tried. Tiles of one axis differ by one at most.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
from numpy.typing import NDArray

from pipeline.mapping.conv_tiles import ConvTiles
from pipeline.mapping.core_demand import Demand, Excess, Piece
from pipeline.mapping.placement import Cut, Region

Grid = tuple[int, int, int]
_Spans = list[tuple[int, int]]


def cut_in_tiles(demand: Demand) -> tuple[list[Piece], Cut] | Excess:
    """Return the tiles of a layer, in order of c, y, x, and what decided their number.

    Returns
    -------
    The limit that a single neuron breaks, if one does.
    """
    fan_in = [group.fan_in() for group in demand.groups]
    single = _single(demand, fan_in)
    if single is not None:
        return single
    ranking = _Ranking(demand)
    n_least, decided = _start(demand, fan_in)
    for n_pieces in range(n_least, demand.layer.n_neurons + 1):
        broken: list[Excess] = []
        for grid in ranking.grids(n_pieces, broken):
            pieces = _pieces_that_fit(demand, grid, broken)
            if pieces is not None:
                cut = Cut(1, "", 0, 0) if decided is None else Cut(
                    n_pieces, decided.limit, decided.value, decided.bound)
                return pieces, cut
        # the grid that came nearest says what is in the way
        decided = min(broken, key=lambda excess: excess.ratio, default=decided)
    assert decided is not None  # a layer has neurons
    return decided


def _single(demand: Demand, fan_in: list[NDArray[np.int64]]) -> Excess | None:
    """Return the limit that the most demanding neuron breaks alone, None if it keeps to all.

    Channels may differ, as pruned ones do; without this, grids of every size would be tried first.
    """
    shape = demand.layer.shape
    total = sum(fan_in, start=np.zeros(demand.layer.n_neurons, dtype=np.int64))
    asked = (total, *fan_in, demand.reach + demand.feeds_itself)
    regions = [tuple((int(at), int(at) + 1) for at in np.unravel_index(neuron, shape))
               for neuron in sorted({int(np.argmax(each)) for each in asked})]
    broken = [demand.excess(demand.piece(region, 1)) for region in regions]
    return max((e for e in broken if e), key=lambda excess: excess.ratio, default=None)


def _start(
    demand: Demand, fan_in: list[NDArray[np.int64]]
) -> tuple[int, Excess | None]:
    """Return tiles that there are at least, and the limit that one fewer breaks.

    The neurons and, where kernels are not shared, the nonzero weights alone have to go somewhere.
    """
    memory = demand.target.capacities.synapse_memory_bits_per_core.value
    n_least, decided = demand.least, demand.reason
    bits = 0
    for group, n_inputs in zip(demand.groups, fan_in, strict=True):
        if "conv" not in group.formats:
            bits += int(n_inputs.sum()) * group.widths.synapse_bits
    for what, value, bound in (
        ("neurons", demand.layer.n_neurons, demand.max_neurons), ("synapse memory", bits, memory)
    ):
        n = -(-value // bound)
        if n > n_least:
            n_least, decided = n, Excess(what, -(-value // (n - 1)), bound)
    return n_least, decided


def _pieces_that_fit(
    demand: Demand, grid: Grid, broken: list[Excess]
) -> list[Piece] | None:
    """Return the tiles of a grid, None if one breaks a limit, which is added to ``broken``."""
    regions = list(_regions(demand.layer.shape, grid))
    pieces: dict[int, Piece] = {}
    # a tile in the middle has most inputs: it decides soonest
    order = sorted(range(len(regions)), key=lambda k: abs(2 * k - len(regions)))
    for k in order:
        piece = demand.piece(regions[k], len(regions))
        excess = demand.excess(piece)
        if excess is not None:
            broken.append(excess)
            return None
        pieces[k] = piece
    return [pieces[k] for k in range(len(regions))]


def _regions(shape: tuple[int, ...], grid: Grid) -> Iterator[Region]:
    yield from product(*(_spans(size, n) for size, n in zip(shape, grid, strict=True)))


def _spans(size: int, n: int) -> _Spans:
    return [(k * size // n, (k + 1) * size // n) for k in range(n)]


class _Ranking:
    """Grids of one size, best first; sums over boxes of neurons come from integral images."""

    def __init__(self, demand: Demand) -> None:
        self._demand = demand
        shape = demand.layer.shape
        self._reach = _integral(demand.reach.reshape(shape))
        self._feeds_itself = _integral(demand.feeds_itself.reshape(shape))
        # the same image for every grid; one number where every source reaches every neuron
        self._rates = [
            _integral(rate.reshape(group.in_shape)) if isinstance(group, ConvTiles)
            else np.full((1, 1, 1), rate.sum())
            for group, rate in zip(demand.groups, demand.rates, strict=True)
        ]

    def grids(self, n_pieces: int, broken: list[Excess]) -> list[Grid]:
        """Return the grids of a size whose neurons and output axons fit, best first."""
        shape = self._demand.layer.shape
        ranked: list[tuple[float, float, Grid]] = []
        for n_c in _divisors(n_pieces):
            for n_y in _divisors(n_pieces // n_c):
                grid = (n_c, n_y, n_pieces // n_c // n_y)
                if any(n > size for n, size in zip(grid, shape, strict=True)):
                    continue
                spans = [_spans(size, n) for size, n in zip(shape, grid, strict=True)]
                excess = self._excess(grid, spans)
                if excess is not None:
                    broken.append(excess)
                else:
                    ranked.append((*self._received(spans), grid))
        return [grid for _, _, grid in sorted(ranked)]

    def _excess(self, grid: Grid, spans: list[_Spans]) -> Excess | None:
        shape, demand = self._demand.layer.shape, self._demand
        n_neurons = int(np.prod([-(-size // n) for size, n in zip(shape, grid, strict=True)]))
        if n_neurons > demand.max_neurons:
            return Excess("neurons", n_neurons, demand.max_neurons)
        bound = demand.target.capacities.output_axons_per_core.value
        n_axons = int((
            _boxes(self._reach, spans) + np.prod(grid) * _boxes(self._feeds_itself, spans)).max())
        return Excess("output axons", n_axons, bound) if bound and n_axons > bound else None

    def _received(self, spans: list[_Spans]) -> tuple[float, float]:
        """Return the spikes all tiles receive, and the most that one executes, roughly."""
        received: NDArray[np.float64] = np.zeros([len(axis) for axis in spans])
        executed = received.copy()
        sizes = [np.array([end - begin for begin, end in axis]) for axis in spans]
        for group, rates in zip(self._demand.groups, self._rates, strict=True):
            if isinstance(group, ConvTiles):
                whole = [axis[0] for axis in spans]
                boxes = [
                    [group.reached_from((*whole[:k], span, *whole[k + 1:]))[k] for span in axis]
                    for k, axis in enumerate(spans)
                ]
                spikes = _boxes(rates, boxes)
                executed += spikes * sizes[0][:, None, None]
            else:
                spikes = np.full_like(received, float(rates[0, 0, 0]))
                executed += spikes * sizes[0][:, None, None] * sizes[1][:, None] * sizes[2]
            received += spikes
        return float(received.sum()), float(executed.max())


def _integral(image: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return sums over [0, c) x [0, y) x [0, x) of (c, y, x), float64, exact up to 2^53."""
    total = np.zeros([size + 1 for size in image.shape])
    inner = image.astype(np.float64)
    for axis in range(inner.ndim):
        inner = inner.cumsum(axis=axis)
    total[1:, 1:, 1:] = inner
    return total


def _boxes(integral: NDArray[np.float64], spans: list[_Spans]) -> NDArray[np.float64]:
    """Return the sum of the image over each box of a grid of spans."""
    for axis, pairs in enumerate(spans):
        low, high = np.array(pairs).T
        integral = integral.take(high, axis=axis) - integral.take(low, axis=axis)
    return integral


def _divisors(n: int) -> list[int]:
    return [k for k in range(1, n + 1) if n % k == 0]
