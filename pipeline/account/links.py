"""Ways on the mesh: which links the messages of each neuron take.

In: the routes of a :class:`~pipeline.account.fan_out.FanOut`. Out: a sparse matrix from its neurons
to the links. A link is directed and leaves a tile for the next one; a way goes along x first, then
y. What stays in a tile takes the tile's own port. Messages to another chip take no link known here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from pipeline.mapping.placement import Placement

DIRECTIONS = ("east", "west", "north", "south", "within")
_EAST, _WEST, _NORTH, _SOUTH, _WITHIN = range(5)


class Mesh:
    """The links of the tiles that a placement spans, numbered.

    Attributes
    ----------
    links : (n_links, 4) int64: chip, x, y of the tile it leaves, index into ``DIRECTIONS``
    """

    def __init__(self, placement: Placement) -> None:
        where = [(core.chip, core.tile_x, core.tile_y) for core in placement.cores]
        self._where = np.array(where, dtype=np.int64).reshape(-1, 3)
        self._shape = (*(int(n) + 1 for n in self._where.max(axis=0)), len(DIRECTIONS))
        self.links = np.stack(
            np.unravel_index(np.arange(int(np.prod(self._shape))), self._shape), axis=1)

    def loads(self, routes: NDArray[np.int64], n_source: int) -> csr_array:
        """Return (n_source, n_links) int64: messages over each link for one spike of a neuron."""
        n_cores = len(self._where)
        inside = routes[:, 1] >= 0
        neuron, sender, receiver = routes[inside].T
        pairs, pair_of = np.unique(sender * n_cores + receiver, return_inverse=True)
        ways = [self._way(*divmod(int(pair), n_cores)) for pair in pairs]
        lengths = np.array([len(way) for way in ways], dtype=np.int64)
        taken = np.array([link for way in ways for link in way], dtype=np.int64)
        shape = (len(pairs), len(self.links))
        by_pair = csr_array(
            (np.ones_like(taken), (np.repeat(np.arange(len(pairs)), lengths), taken)), shape=shape)
        by_neuron = csr_array(
            (np.ones_like(neuron), (neuron, pair_of)), shape=(n_source, len(pairs)))
        return by_neuron @ by_pair

    def _way(self, sender: int, receiver: int) -> list[int]:
        chip, x, y = (int(n) for n in self._where[sender])
        to_chip, to_x, to_y = (int(n) for n in self._where[receiver])
        if chip != to_chip:
            return []
        if (x, y) == (to_x, to_y):
            return [self._number(chip, x, y, _WITHIN)]
        step = 1 if to_x > x else -1
        way = [self._number(chip, at, y, _EAST if step > 0 else _WEST)
               for at in range(x, to_x, step)]
        step = 1 if to_y > y else -1
        return way + [self._number(chip, to_x, at, _NORTH if step > 0 else _SOUTH)
                      for at in range(y, to_y, step)]

    def _number(self, *link: int) -> int:
        return int(np.ravel_multi_index(link, self._shape))
