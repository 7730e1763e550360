"""The numbers of the shipped targets are the published ones, typed in again from their sources."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from hardware_targets import Quantity, load_target


def quantities(model: BaseModel, path: str = "") -> dict[str, Quantity]:
    """Return every quantity of a target by key path."""
    found: dict[str, Quantity] = {}
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, Quantity):
            found[path + name] = value
        elif isinstance(value, BaseModel):
            found |= quantities(value, f"{path}{name}.")
        elif isinstance(value, dict):
            for key, item in value.items():
                found |= quantities(item, f"{path}{name}.{key}.")
    return found


# Values of Loihi 1 with the place they are published; independent of the YAML on purpose.
LOIHI1 = {
    "capacities.cores_per_chip": 128,  # Davies 2018 p.86
    "capacities.cores_per_tile": 4,  # 128 / 32 tiles
    "capacities.tile_columns": 8,
    "capacities.tile_rows": 4,
    "capacities.neurons_per_core": 1024,  # Davies 2018 p.86, p.89
    "capacities.synapse_memory_bits_per_core": 128 * 1024 * 8,  # Davies 2018 p.89: 128 KB
    "capacities.memory_word_bits": 64,
    "capacities.input_axons_per_core": 4096,
    "capacities.output_axons_per_core": 4096,
    "capacities.total_memory_bits_per_core": 2 * 2**20,  # Davies 2018 p.92: 2 Mb
    "capacities.words_per_axon": 256,  # NxTF optimization.py L48-58
    "capacities.off_chip_axons_per_core": 1024,  # s2lWrapper.py L209-213
    "capacities.neuron_groups_per_core": None,
    "capacities.fan_in_per_neuron": None,
    "synapses.weight_bits": (1, 2, 3, 4, 5, 6, 8),  # nengo-loihi block.py L428
    "synapses.entry_prefix_bits": 10,  # NxTF data_structures.py L1094-1113
    "synapses.max_synapses_per_entry": 60,  # NxTF optimization.py L48-58
    "synapses.index_bits": (6, 7, 8, 9, 10),  # NxTF synapse_compression.py L94-106
    "synapses.skip_bits": (2, 3, 4, 5),  # NxTF data_structures.py L1094-1113
    "synapses.delay_bits": (3, 4, 5, 6),  # NxTF synapse_compression.py L45
    "neurons.threshold_mant_bits": 17,  # Dey 2022
    "neurons.decay_bits": 12,
    "neurons.state_bits": 24,
    "neurons.max_axonal_delay_steps": 8,  # Davies 2018 p.92
    "neurons.bias_mant_bits": 13,  # Lava proc/lif/models.py
    "neurons.bias_exp_bits": 3,
    "system.static_chip_mw": 104.4,  # Frady 2020: 3.34 W / 32
    "system.x86_chip_mw": 65.0,  # 2.09-2.14 W / 32
    "system.reset_chip_uj": 5.94,  # 0.19 mJ / 32
    "system.multi_chip_barrier": ((256, 14300.0), (768, 16200.0)),  # Frady 2020 4.3
}
DAVIES2018 = {  # Davies 2018, Table 2, p.96, at 0.75 V
    "synop_dense": 23.6,
    "synop_sparse": 23.6,
    "synop_conv": 23.6,
    "neuron_update_active": 81.0,
    "neuron_update_idle": 52.0,
    "spike": None,
    "message": None,
    "within_tile_spike": 1.7,
    "hop_east_west": 3.0,
    "hop_north_south": 4.0,
    "barrier_step": None,
    "static_core_mw": 0.816,  # Frady 2020 Table 1: 3.34 W / 32 chips / 128 cores
    "synop_run_length": 23.6,
    "supply_voltage_v": 0.75,
    "times.synop_dense": 3.5,
    "times.synop_run_length": 3.5,
    "times.synop_sparse": 3.5,
    "times.synop_conv": 3.5,
    "times.neuron_update_active": 8.4,
    "times.neuron_update_idle": 5.3,
    "times.spike": None,
    "times.message_out": None,
    "times.message_in": None,
    "times.within_tile_spike": 2.1,
    "times.hop_east_west": 4.1,
    "times.hop_north_south": 6.5,
    "times.barrier": ((1, 113.0), (32, 465.0)),
}
NAHUKU_FIT = {  # SANA-FE arch/loihi.yaml, commit 8951ab0
    "synop_dense": 35.5,
    "synop_sparse": 33.6,
    "synop_conv": 24.0,
    "neuron_update_active": 51.2 + 21.6,
    "neuron_update_idle": 51.2,
    "spike": 69.3,
    "message": 111.0,
    "within_tile_spike": 0.0,
    "hop_east_west": 3.0,
    "hop_north_south": 4.2,
    "barrier_step": None,
    "static_core_mw": 0.816,
    "synop_run_length": None,
    "supply_voltage_v": None,
    "times.synop_dense": 3.8,
    "times.synop_run_length": None,
    "times.synop_sparse": 4.7,
    "times.synop_conv": 3.1,
    "times.neuron_update_active": 6.0 + 3.7,
    "times.neuron_update_idle": 6.0,
    "times.spike": 30.0,
    "times.message_out": 5.1,
    "times.message_in": 16.0,
    "times.within_tile_spike": 0.0,
    "times.hop_east_west": 4.1,
    "times.hop_north_south": 6.5,
    "times.barrier": ((1, 600.0), (2, 1000.0), (4, 1400.0), (29, 1800.0)),
}
LOIHI2 = {
    "capacities.cores_per_chip": 128,  # Loihi 2 brief
    "capacities.cores_per_tile": 4,  # Timcheck 2026
    "capacities.tile_columns": 8,
    "capacities.tile_rows": 4,
    "capacities.neurons_per_core": 8192,  # Loihi 2 brief
    "capacities.synapse_memory_bits_per_core": 128 * 1024 * 8,
    "capacities.memory_word_bits": 32,  # derived from the log of Intel's compiler
    "capacities.input_axons_per_core": None,
    "capacities.output_axons_per_core": None,
    "capacities.total_memory_bits_per_core": 192 * 1024 * 8,  # Loihi 2 brief
    "capacities.words_per_axon": None,
    "capacities.off_chip_axons_per_core": None,
    "capacities.neuron_groups_per_core": None,
    "capacities.fan_in_per_neuron": None,
    "synapses.weight_bits": (1, 2, 3, 4, 5, 6, 7, 8),  # Timcheck 2026 Sec. III
    "synapses.entry_prefix_bits": None,
    "synapses.max_synapses_per_entry": None,
    "synapses.index_bits": None,
    "synapses.skip_bits": None,
    "synapses.delay_bits": (6,),  # Lava proc/dense/models.py
    "neurons.threshold_mant_bits": 17,  # Lava proc/lif/models.py
    "neurons.decay_bits": 12,
    "neurons.state_bits": 24,
    "neurons.max_axonal_delay_steps": 62,  # lava-dl netx/hdf5.py L425-430
    "neurons.bias_mant_bits": 13,  # Lava proc/lif/models.py
    "neurons.bias_exp_bits": 3,
    "system.static_chip_mw": None,
    "system.x86_chip_mw": None,
    "system.reset_chip_uj": None,
    "system.multi_chip_barrier": None,
}


# printed in, or derived from, the logs of Intel's compiler: MNIST and PilotNet of lava-dl
COMPILER = {
    "capacities.synapse_memory_bits_per_core": 12_000 * 32,
    "capacities.neurons_per_core": 4096,
    "capacities.input_axons_per_core": 16_000,
    "capacities.neuron_groups_per_core": 8,
}


def values(name: str) -> dict[str, Any]:
    return {path: quantity.value for path, quantity in quantities(load_target(name)).items()}


def test_loihi1_numbers_are_the_published_ones() -> None:
    expected: dict[str, Any] = dict(LOIHI1)
    for name, prices in (("davies2018", DAVIES2018), ("nahuku-fit", NAHUKU_FIT)):
        expected |= {f"price_sets.{name}.{key}": value for key, value in prices.items()}
    found = values("loihi1")
    assert found.keys() == expected.keys()
    for path, value in expected.items():
        assert found[path] == (pytest.approx(value) if isinstance(value, float) else value), path


def test_loihi2_numbers_are_the_published_ones_and_no_price_is() -> None:
    assert values("loihi2") == LOIHI2 | {
        f"price_sets.none-published.{key}": None for key in DAVIES2018}


def test_the_compiler_profile_is_loihi2_with_the_limits_of_the_logs() -> None:
    assert values("loihi2-compiler") == values("loihi2") | COMPILER


def test_the_limits_of_the_compiler_give_the_percentages_of_its_logs() -> None:
    capacities = load_target("loihi2-compiler").capacities
    assert capacities.memory_word_bits.value and capacities.input_axons_per_core.value
    assert capacities.neuron_groups_per_core.value
    words = capacities.synapse_memory_bits_per_core.value / capacities.memory_word_bits.value
    for used, limit, percent in (
        (192, words, 1.60), (2016, words, 16.80),
        (784, capacities.input_axons_per_core.value, 4.90),
        (128, capacities.input_axons_per_core.value, 0.80),
        (50, capacities.neurons_per_core.value, 1.22),
        (64, capacities.neurons_per_core.value, 1.56),
        (10, capacities.neurons_per_core.value, 0.24),
        (1, capacities.neuron_groups_per_core.value, 12.50),
    ):
        assert round(100 * used / limit, 2) == percent
