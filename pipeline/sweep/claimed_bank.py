"""The layer bank of a study: each mask and each level made once, whoever shares the folder.

In: what a bank takes, and the study's store. Out: compressed groups. A process that needs a level
which another is making waits for it and then loads it. Masks are kept as well, so that more bits do
not prune again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.artifact import content_hash, load_artifact, load_meta, save_artifact
from pipeline.bank import LayerBank
from pipeline.calibrate import Calibration
from pipeline.compress import damped
from pipeline.compress_synapse import CompressedSynapse, Level, Method, PrunedGroups
from pipeline.errors import CalibrationError, CompressionError
from pipeline.network import Network
from pipeline.sweep.claims import claim
from pipeline.sweep.results import Store, remove_partials


class ClaimedBank(LayerBank):
    """A folder-backed bank that computes nothing which another process computes."""

    def __init__(
        self, network: Network, calibration: Calibration, method: Method, store: Store
    ) -> None:
        super().__init__(network, calibration, method, store.bank)
        self._store = store
        self._held: set[str] = set()

    def is_stored(self, name: str, level: Level) -> bool:
        """Whether a level need not be made."""
        return (name, level) in self._levels or load_meta(self._file(name, level)) is not None

    def make(self, name: str, levels: Iterable[Level]) -> int:
        """Make the missing ones of some levels; return how many those were.

        Raises
        ------
        CompressionError, CalibrationError
            Of the first that cannot be made, after the others.
        """
        by_mask: dict[int, list[Level]] = {}
        for level in levels:
            if not self.is_stored(name, level):
                by_mask.setdefault(level.n_keep, []).append(level)
        n_made, errors = 0, []
        for n_keep, wanted in by_mask.items():
            with self._mask_claimed(name, n_keep):
                for level in wanted:
                    try:
                        n_made += self._make(name, level)
                    except (CompressionError, CalibrationError) as error:
                        errors.append(error)
        if errors:
            raise errors[0]
        return n_made

    def _make(self, name: str, level: Level) -> int:
        """Make a level unless another process has, or it was refused before; hold its claim."""
        path = self._file(name, level)
        if self.is_stored(name, level):
            return 0
        refusal = self._store.load("refused", path.stem)
        if refusal is not None:
            raise CompressionError(refusal["failure"])
        remove_partials(path)
        try:
            super().get(name, level)
        except CompressionError as error:
            self._store.save("refused", path.stem, {"failure": str(error)})
            raise
        return 1

    def get(self, name: str, level: Level) -> CompressedSynapse:
        """Return a group at a level, made by this process or another."""
        self.make(name, [level])
        return super().get(name, level)

    def pruned(self, name: str, n_keep: int) -> PrunedGroups:
        """Return a group pruned but not quantized, made by this process or another."""
        if (name, n_keep) in self._pruned:
            return self._pruned[name, n_keep]
        path = self._store.folder / "masks" / f"{self._mask_key(name, n_keep)[:24]}.npz"
        with self._mask_claimed(name, n_keep):
            if load_meta(path) is not None:
                hessian = damped(
                    self._calibration.curvatures[name].hessian, self._method.damping_frac)
                self._pruned[name, n_keep] = PrunedGroups(load_artifact(path), hessian)
            else:
                remove_partials(path)
                groups = super().pruned(name, n_keep)
                save_artifact(path, groups.parts, {"synapse": name})
        return self._pruned[name, n_keep]

    def _file(self, name: str, level: Level) -> Path:
        path = self.path(name, level)
        assert path is not None
        return path

    def _mask_key(self, name: str, n_keep: int) -> str:
        return content_hash("mask", self.key(name), n_keep)

    @contextmanager
    def _mask_claimed(self, name: str, n_keep: int) -> Iterator[None]:
        """Hold the claim on a mask and all its levels; the process may hold it already."""
        key = self._mask_key(name, n_keep)
        if key in self._held:
            yield
            return
        with claim(self._store.lock(key)):
            self._held.add(key)
            try:
                yield
            finally:
                self._held.discard(key)
