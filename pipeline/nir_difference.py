"""What two NIR graphs differ in, as trees of what :mod:`nir` reads.

In: graphs. Out: the first place at which they differ, to show that a file reads back as written.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Tree = dict[str, Any]


def comparable(graph: Tree) -> Tree:
    """Return the nodes of a graph as nested dicts without metadata, and its sorted edges."""
    nodes = {
        name: {key: value for key, value in node.items() if key != "metadata"}
        for name, node in graph["nodes"].items()
    }
    return {**nodes, "edges": sorted(tuple(edge) for edge in graph["edges"])}


def difference(expected: Any, found: Any, rtol: float = 0.0, where: str = "") -> str | None:
    """Return where two trees of arrays first differ, as ``node 'a', key 'b'``; None if nowhere."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in sorted(expected.keys() | found.keys()):
            here = f"{where}, key '{key}'" if where else f"node '{key}'"
            if (key in expected) != (key in found):
                return here
            deeper = difference(expected[key], found[key], rtol, here)
            if deeper is not None:
                return deeper
        return None
    one, other = np.asarray(expected), np.asarray(found)
    if one.dtype.kind in "iuf" and other.dtype.kind in "iuf" and one.shape == other.shape:
        return None if np.allclose(other, one, rtol=rtol, atol=0.0) else where
    return None if np.array_equal(one, other) else where
