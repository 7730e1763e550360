"""The chip as SANA-FE describes chips: tiles, cores, and units with a price set's energies.

In: a placement, its target and a price set. Out: what ``arch.yaml`` holds, and where each core is
in it. Times are left at 0: SANA-FE's own model of time is not compared.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hardware_targets import PriceSet, Target
from pipeline.mapping.placement import Placement

INPUTS_PER_CORE = 1000  # SANA-FE's dendrite holds 1,024
PJ = 1e-12


class SanafeMesh:
    """Tiles and cores as SANA-FE numbers them: tiles down each column, column by column.

    Attributes
    ----------
    address : (n_cores, 2) int64, SANA-FE's tile and core within it
    number : (n_cores,) int64, SANA-FE's core over all tiles
    """

    def __init__(self, placement: Placement, target: Target) -> None:
        self.width = target.capacities.tile_columns.value
        self.height = target.capacities.tile_rows.value
        self.per_tile = target.capacities.cores_per_tile.value
        self._n_neurons = {core.index: core.n_neurons for core in placement.cores}
        self.address = np.zeros((len(placement.cores), 2), dtype=np.int64)
        taken: dict[int, int] = {}
        for core in placement.cores:
            tile = core.tile_x * self.height + core.tile_y
            self.address[core.index] = tile, taken.get(tile, 0)
            taken[tile] = taken.get(tile, 0) + 1
        self.number = self.address[:, 0] * self.per_tile + self.address[:, 1]
        self.first_outside = self.width * self.height * self.per_tile

    def architecture(self, prices: PriceSet, n_inputs: int) -> dict[str, Any]:
        """Return the chip and, one column east of it, the cores of the input, at no price."""
        n_units = max(self._n_neurons.values())
        n_outside = -(-n_inputs // INPUTS_PER_CORE)
        tiles = [
            self._tile(f"tile[0..{self.width * self.height - 1}]", prices, self.per_tile, n_units),
            self._tile("outside", None, n_outside, INPUTS_PER_CORE),
            # SANA-FE wants no empty tile: the rest of the column is cores of one neuron
            *(self._tile("unused", None, 1, 1) for _ in range(self.height - 1)),
        ]
        return {"architecture": {"name": "placed", "attributes": {
            "topology": "mesh", "width": self.width + 1, "height": self.height,
            "link_buffer_size": 16, "sync_model": "fixed", "latency_sync": 0.0}, "tile": tiles}}

    @staticmethod
    def _tile(
        name: str, prices: PriceSet | None, n_cores: int, n_units: int
    ) -> dict[str, Any]:
        def joule(event: str) -> float:
            return 0.0 if prices is None else (getattr(prices, event).value or 0.0) * PJ

        hops = {f"{kind}_{way}_hop": joule(f"hop_{axis}") if kind == "energy" else 0.0
                for kind in ("energy", "latency")
                for way, axis in (("north", "north_south"), ("south", "north_south"),
                                  ("east", "east_west"), ("west", "east_west"))}
        idle = joule("neuron_update_idle")
        soma = {"energy_access_neuron": idle, "latency_access_neuron": 0.0,
                "energy_update_neuron": joule("neuron_update_active") - idle,
                "latency_update_neuron": 0.0, "energy_spike_out": joule("spike"),
                "latency_spike_out": 0.0}
        core = {
            "name": f"core[0..{n_cores - 1}]" if n_cores > 1 else "core",
            "attributes": {"buffer_position": "soma", "buffer_inside_unit": False,
                           "max_neurons_supported": max(n_units, 1), "log_energy": True},
            "axon_in": [{"name": "in", "attributes": {
                "energy_message_in": 0.0, "latency_message_in": 0.0}}],
            "synapse": [
                {"name": f"synapse_{kind}", "attributes": {
                    "model": "current_based", "latency_process_spike": 0.0,
                    "energy_process_spike": joule(f"synop_{kind}")}}
                for kind in ("dense", "run_length", "sparse", "conv")],
            "dendrite": [{"name": "dendrite", "attributes": {
                "model": "accumulator", "energy_update": 0.0, "latency_update": 0.0}}],
            "soma": [
                {"name": "lif", "attributes": {"model": "leaky_integrate_fire", **soma}},
                {"name": f"given[0..{max(n_units - 1, 1)}]", "attributes": {
                    "model": "input", **soma}}],
            "axon_out": [{"name": "out", "attributes": {
                "energy_message_out": joule("message"), "latency_message_out": 0.0}}],
        }
        return {"name": name, "attributes": hops, "core": [core]}
