"""The spikes that shorten ways on the mesh come from as many samples as a network's size allows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_place import dense_net

from hardware_targets import load_target
from pipeline.mapping import placed as module
from pipeline.mapping.place import place
from pipeline.recipe import PlaceRecipe


@pytest.mark.parametrize(("neuron_steps", "n_samples"), [
    (1 << 30, 32), (10 * 10 * 110, 10), (10 * 10 * 110 - 1, 9), (1, 1)])
def test_large_networks_are_run_on_fewer_samples(
    neuron_steps: int, n_samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = dense_net(40, 100, 10)  # 110 neurons, 10 steps
    spikes = (np.random.default_rng(0).random((40, 40, 10)) < 0.2).astype(np.uint8)
    seen: list[Any] = []
    counts = module.sent_counts
    monkeypatch.setattr(
        module, "sent_counts", lambda *given: (seen.append(given), counts(*given))[1])
    monkeypatch.setattr(module, "_NEURON_STEPS", neuron_steps)
    found = module.placed(network, load_target("loihi1"), PlaceRecipe(), spikes)
    assert len(seen[0][1]) == n_samples
    rates = counts(network, spikes[:n_samples])
    assert all(values.any() for values in rates.values())
    expected = place(network, load_target("loihi1"), rates=rates)
    tiles = [[(core.tile_x, core.tile_y) for core in p.cores] for p in (found, expected)]
    assert tiles[0] == tiles[1] and len(tiles[0]) > 1
