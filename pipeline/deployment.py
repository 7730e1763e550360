"""Small artifacts that only collect what one stage hands to the report."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.compare import Comparison
from pipeline.ledger import Ledger
from pipeline.network import Network


@dataclass(frozen=True)
class Ingested:
    """The dense network as trained, in SLAYER's 8-bit integers, and what rounding it took."""

    network: Network
    ledger: Ledger

    @property
    def summary(self) -> str:
        """One line for the user."""
        n_weights = sum(synapse.n_weights for synapse in self.network.stored_synapses)
        return (
            f"{len(self.network.layers)} layers, {n_weights:,} weights, "
            f"{self.network.sparsity:.1%} of them zero as trained"
        )


@dataclass(frozen=True)
class Integers:
    """The compressed integer network and the ledger of every change.

    Attributes
    ----------
    network : what is deployed: shrunk, so that neurons which make no difference take no core, and
        without joins
    full : the same network in the shape of the user's module
    kept : for every layer, the channels of ``full`` that ``network`` has
    """

    network: Network
    full: Network
    kept: dict[str, NDArray[np.int64]]
    ledger: Ledger

    @property
    def sparsity(self) -> float:
        """Share of the weights of ``full`` that are zero or gone, 0 to 1."""
        n_weights = sum(synapse.n_weights for synapse in self.full.stored_synapses)
        return 1.0 - sum(self.n_nonzero(layer.name) for layer in self.full.layers) / n_weights

    def n_nonzero(self, layer: str) -> int:
        """Return how many weights of a layer are left; copies in place of a sum count once."""
        full = self.full.layer(layer)
        left = {s.name: int(np.count_nonzero(s.weight)) for s in self.network.layer(layer).synapses}
        joins = {join.name: join for join in self.full.joins}

        def n_left(name: str, source: str) -> int:
            if name in left:
                return left[name]
            parts = [n_left(f"{name}[{i}]", s) for i, s in enumerate(joins[source].sources)]
            return max(parts) if joins[source].kind == "add" else sum(parts)

        groups = () if full.is_driven else full.synapses
        return sum(n_left(synapse.name, synapse.source) for synapse in groups)

    @property
    def summary(self) -> str:
        """One line for the user."""
        bits = "/".join(str(synapse.weight_bits) for synapse in self.network.stored_synapses)
        n, n_full = (
            sum(layer.n_neurons for layer in network.layers)
            for network in (self.network, self.full)
        )
        left = f", {n:,} of {n_full:,} neurons left" if n < n_full else ""
        return f"{self.sparsity:.1%} zeros, {bits} bits{left}"


@dataclass(frozen=True)
class Exported:
    """What was exported.

    Attributes
    ----------
    n_bytes : size of the NetX file; 0 without one
    weight_bits : of each synapse group
    obstacle, nir_obstacle : why there is no NetX file, or no NIR file; None if there is one
    """

    n_bytes: int
    weight_bits: dict[str, int]
    obstacle: str | None = None
    nir_obstacle: str | None = None


@dataclass(frozen=True)
class Evaluation:
    """How the compressed network behaves beside the dense one.

    Attributes
    ----------
    validation, test : accuracy, (dense, compressed)
    executed_losses : per layer, see :func:`pipeline.distance.executed_losses`
    """

    validation: tuple[float, float]
    test: tuple[float, float]
    n_validation: int
    n_test: int
    origin: str
    executed_losses: dict[str, float]

    @property
    def summary(self) -> str:
        """One line for the user."""
        dense, compressed = self.test
        return f"test accuracy {dense:.1%} dense, {compressed:.1%} compressed ({self.n_test})"


@dataclass(frozen=True)
class Verification:
    """Emulator against Lava and against SLAYER; all equal, or the line would have stopped."""

    comparisons: tuple[Comparison, ...]

    @property
    def summary(self) -> str:
        """One line for the user."""
        n_spikes = sum(layer.n_spikes for layer in self.comparisons[0].layers)
        n_differing = sum(comparison.n_differing for comparison in self.comparisons)
        return (
            f"{n_differing} differences in {n_spikes:,} spikes, all layers, "
            f"{self.comparisons[0].n_samples} samples"
        )


@dataclass(frozen=True)
class Reported:
    """The files the report wrote, relative to the deployment folder."""

    files: tuple[str, ...]
