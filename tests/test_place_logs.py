"""Cores per layer of Intel's Loihi 2 compiler, from the layer descriptions and printed limits."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from hardware_targets import load_target
from pipeline.mapping.place import place

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def logs() -> ModuleType:
    spec = spec_from_file_location("bench_compiler_logs", BENCHMARKS / "bench_compiler_logs.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_five_cores_of_the_mnist_network_are_predicted(logs):
    placement = place(logs.mnist(), load_target("loihi2-compiler"))
    assert {n: cut.n_cores for n, cut in placement.cuts.items()} == {
        row.layer: row.n_cores for row in logs.MNIST}


def test_layers_are_as_large_as_the_log_prints_them(logs):
    # C, Y, X; the notebook prints W, H, C
    assert [layer.shape for layer in logs.pilotnet().layers] == [
        (24, 32, 99), (36, 15, 49), (48, 7, 24), (64, 4, 22), (64, 2, 20), (100,), (50,), (10,),
        (1,)]


def test_going_the_compilers_way_gives_its_cores_but_for_two_explained_layers(logs):
    network, target = logs.pilotnet(), load_target("loihi2-compiler")
    found = {row.layer: logs.by_its_way(network.layer(row.layer), target) for row in logs.PILOTNET}
    differ = {row.layer for row in logs.PILOTNET if found[row.layer] != row.n_cores}
    assert differ == {"conv4", "conv5"}
    assert all(row.why for row in logs.PILOTNET if row.layer in differ)


def test_the_placement_takes_no_more_cores_than_the_compiler(logs):
    cuts = place(logs.pilotnet(), load_target("loihi2-compiler")).cuts
    assert all(cuts[row.layer].n_cores <= row.n_cores for row in logs.PILOTNET)
