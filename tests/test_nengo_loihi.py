"""What cores use, against nengo-loihi, a back-end by others, on the same mapped network.

nengo-loihi is optional; without it (``--nengo-loihi PYTHON``) these tests are skipped. It rounds
every 64 synapses up to a word and counts no index, so that its memory is that of our dense lists
where a core has at most 64 neurons and entries are not modeled, and a lower bound of all others.
"""

from __future__ import annotations

from typing import Any

import pytest
from accounting import random_network, small_cores
from test_sanafe import prompt, shipped

from hardware_targets import Quantity, Target, load_target
from pipeline.account.oracles.nengo_loihi_bridge import BlockUse, run_nengo_loihi
from pipeline.errors import MissingExtraError, UnsupportedLayerError
from pipeline.mapping.place import place
from pipeline.mapping.placement import Core, Placement

LISTS = ("dense", "run-length", "sparse")
PER_BLOCK = 64


def assert_same_but_memory(cores: tuple[Core, ...], used: tuple[BlockUse, ...]) -> None:
    capacities = load_target("loihi1").capacities
    assert len(cores) == len(used)
    for core, use in zip(cores, used, strict=True):
        assert use.in_axons == (core.n_input_axons, capacities.input_axons_per_core.value)
        assert use.out_axons == (core.n_output_axons, capacities.output_axons_per_core.value)
        assert use.compartments == (core.n_neurons, 1024)
        assert use.synapse_bits[1] == capacities.synapse_memory_bits_per_core.value


def without_entries(target: Target) -> Target:
    """Return the target with lists of one entry that has a prefix alone."""
    def unknown(quantity: Quantity) -> Quantity:
        return quantity.model_copy(update={"value": None})

    synapses = target.synapses
    return target.model_copy(update={"synapses": synapses.model_copy(update={
        "max_synapses_per_entry": unknown(synapses.max_synapses_per_entry),
        "index_bits": unknown(synapses.index_bits), "skip_bits": unknown(synapses.skip_bits)})})


@pytest.mark.parametrize("seed", range(8))
def test_cores_of_dense_lists_use_what_nengo_loihi_says(seed: int, nengo_python: str) -> None:
    # nengo-loihi keeps no bits for delays
    network = prompt(random_network(seed))
    target = without_entries(small_cores(n_neurons=PER_BLOCK))
    placement = place(network, target, formats=("dense",), max_chips=8)
    used = run_nengo_loihi(network, placement, python=nengo_python)
    assert_same_but_memory(placement.cores, used)
    assert [use.synapse_bits[0] for use in used] == [c.synapse_bits for c in placement.cores]


@pytest.mark.parametrize("n_neurons", [9, 1024])
@pytest.mark.parametrize("seed", range(8))
def test_cores_of_any_list_use_at_least_the_bound_of_nengo_loihi(
    seed: int, n_neurons: int, nengo_python: str
) -> None:
    network, target = random_network(seed), small_cores(n_neurons=n_neurons)
    placement = place(network, target, formats=LISTS, max_chips=8)
    used = run_nengo_loihi(network, placement, python=nengo_python)
    assert_same_but_memory(placement.cores, used)
    for core, use in zip(placement.cores, used, strict=True):
        assert core.synapse_bits >= use.synapse_bits[0]


@pytest.mark.slow
@pytest.mark.parametrize("pruned_frac", [0.0, 0.9], ids=["dense", "pruned"])
@pytest.mark.parametrize("name", ["nmnist_mlp", "nmnist_cnn"])
def test_shipped_networks_use_at_least_the_bound_of_nengo_loihi(
    name: str, pruned_frac: float, nengo_python: str
) -> None:
    network, _ = shipped(name, pruned_frac)
    placement = place(network, load_target("loihi1"), formats=LISTS)
    used = run_nengo_loihi(network, placement, python=nengo_python)
    assert_same_but_memory(placement.cores, used)
    for core, use in zip(placement.cores, used, strict=True):
        assert core.synapse_bits >= use.synapse_bits[0], core.index


def a_placement(formats: tuple[Any, ...] | None) -> Placement:
    return place(random_network(0), small_cores(n_neurons=16), formats=formats, max_chips=8)


def test_shared_kernels_are_refused(nengo_python: str) -> None:
    with pytest.raises(UnsupportedLayerError, match="without the format conv"):
        run_nengo_loihi(random_network(0), a_placement(None), python=nengo_python)


def test_a_python_without_nengo_loihi_is_told_how_to_get_it(tmp_path: Any) -> None:
    bare = tmp_path / "python"
    bare.write_text("#!/bin/sh\nexit 1\n")
    bare.chmod(0o755)
    with pytest.raises(MissingExtraError, match="pip install nengo-loihi"):
        run_nengo_loihi(random_network(0), a_placement(("dense",)), python=str(bare))
