"""The layer bank: every synapse group at every level once.

In: the dense network, its calibration, a method. Out: compressed groups. What a group becomes
depends on the dense network alone, so that :func:`pipeline.quantize.to_integers` puts together
any configuration without compressing again.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.artifact import (
    content_hash,
    load_artifact,
    load_meta,
    save_artifact,
    source_hash,
)
from pipeline.calibrate import Calibration
from pipeline.compress import Quantizer, damped
from pipeline.compress_synapse import (
    CompressedSynapse,
    Level,
    Method,
    PrunedGroups,
    channel_size,
    naming,
    prune_synapse,
    quantize_synapse,
    quantizer_of,
)
from pipeline.importance import output_importance
from pipeline.network import Network


class LayerBank:
    """Compresses each group to each level at most once.

    Parameters
    ----------
    folder : where levels are kept between runs; None keeps them in memory only
    """

    def __init__(
        self, network: Network, calibration: Calibration, method: Method,
        folder: Path | None = None,
    ) -> None:
        self._network, self._calibration, self._method = network, calibration, method
        self._folder = folder
        self._importance: dict[str, NDArray[np.float64]] | None = None
        if method.importance == "output":
            self._importance = output_importance(network, calibration.rates)
        self._levels: dict[tuple[str, Level], CompressedSynapse] = {}
        self._pruned: dict[tuple[str, int], PrunedGroups] = {}
        self._quantizer: tuple[tuple[str, int], Quantizer] | None = None
        self._keys: dict[str, str] = {}

    def get(self, name: str, level: Level) -> CompressedSynapse:
        """Return the group ``name`` at ``level``.

        Raises
        ------
        CompressionError, CalibrationError
            With the name of the group.
        """
        if (name, level) not in self._levels:
            path = self.path(name, level)
            if path is not None and load_meta(path) is not None:
                self._levels[name, level] = load_artifact(path)
            else:
                self._levels[name, level] = self._compress(name, level)
                if path is not None:
                    save_artifact(path, self._levels[name, level], {"synapse": name})
        return self._levels[name, level]

    def pruned(self, name: str, n_keep: int) -> PrunedGroups:
        """Return the group pruned but not quantized."""
        if (name, n_keep) not in self._pruned:
            synapse = self._network.synapse(name)
            hessian = damped(
                self._calibration.curvatures[name].hessian, self._method.damping_frac)
            with naming(name):
                self._pruned[name, n_keep] = prune_synapse(
                    self._network, synapse, synapse.weight, hessian, n_keep, self._method.pruning,
                    self.importance(name))
        return self._pruned[name, n_keep]

    def importance(self, name: str) -> NDArray[np.float64] | None:
        """Return what an error of each row of a group is worth; None where all are worth 1."""
        if self._importance is None:
            return None
        return self._importance[self._network.layer_of(name).name]

    def _compress(self, name: str, level: Level) -> CompressedSynapse:
        pruned = self.pruned(name, level.n_keep)
        # one quantizer is kept: its factors are large, and levels of one mask come in a row
        if self._quantizer is None or self._quantizer[0] != (name, level.n_keep):
            self._quantizer = ((name, level.n_keep), quantizer_of(pruned, self._method))
        layer = self._network.layer_of(name)
        with naming(name):
            return quantize_synapse(
                layer, self._network.synapse(name), pruned, level, self._quantizer[1],
                self._method)

    def path(self, name: str, level: Level) -> Path | None:
        """Return where a level is kept; None if in memory only."""
        if self._folder is None:
            return None
        return self._folder / f"{content_hash(self.key(name), repr(level))[:24]}.npz"

    def key(self, name: str) -> str:
        """Return a hash of all that the levels of a group depend on."""
        if name not in self._keys:
            synapse, importance = self._network.synapse(name), self.importance(name)
            self._keys[name] = content_hash(
                _code_version(), name, synapse.weight.tobytes(),
                self._network.layer_of(name).neuron.nominal_vth,
                self._network.layer_of(name).takes_scale,
                b"" if synapse.allowed is None else synapse.allowed.tobytes(),
                self._calibration.curvatures[name].hessian.tobytes(), repr(self._method),
                # these two depend on layers around the group
                b"" if importance is None else importance.tobytes(),
                channel_size(self._network, synapse))
        return self._keys[name]

    def forget(self) -> None:
        """Drop what is in memory; what is in the folder is loaded when it is asked for again."""
        self._levels.clear()
        self._pruned.clear()
        self._quantizer = None


@cache
def _code_version() -> str:
    """Return a hash over the code a level depends on."""
    here = Path(__file__).parent
    return source_hash([*sorted((here / "compress").glob("*.py")), here / "compress_synapse.py"])
