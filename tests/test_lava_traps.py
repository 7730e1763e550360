"""Traps of Lava and NetX that nothing there warns of, and that a run through spikefit avoids."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from pipeline.compare import compare_traces, require_equal
from pipeline.emulate import emulate
from pipeline.errors import CheckpointError
from pipeline.export_netx import compare_netx, write_netx
from pipeline.ingest.netx import read_netx
from pipeline.lava_backend import LavaJob, run_lava_many

LIMIT_S = 120.0


def open_files() -> set[str]:
    return {os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")
            if os.path.exists(f"/proc/self/fd/{name}")}


def test_no_file_stays_open(dense_chain: Any, tmp_path: Path) -> None:
    """NetX keeps files open as long as the network lives; a later writer then fails."""
    path, network = tmp_path / "a.net", dense_chain()
    write_netx(network, path, "test")
    compare_netx(network, path)
    read_netx(path, 10)
    assert str(path) not in open_files()
    with h5py.File(path, "r+") as file:
        file["layer/1/weight"][...] += 0.5
    with pytest.raises(CheckpointError, match="not whole"):
        read_netx(path, 10)
    assert str(path) not in open_files()


@pytest.mark.slow
def test_graded_input_is_not_taken_for_spikes_and_models_are_those_of_integers(
    dense_chain: Any, tmp_path: Path
) -> None:
    """Without input_message_bits NetX casts input to 0 and 1; without a tag models are of floats.

    Floats neither truncate decays nor wrap around: other spikes.
    """
    network = dense_chain(sizes=(30, 20, 5), n_steps=40)
    write_netx(network, tmp_path / "a.net", "test")
    rng = np.random.default_rng(0)
    shape = (3, *network.input_shape, 40)
    binary = (rng.random(shape) < 0.2).astype(np.uint8)
    graded = (binary * rng.integers(-3, 9, shape)).astype(np.int32)
    expected = [emulate(network, spikes, with_states=True) for spikes in (binary, graded)]
    runs = run_lava_many(
        [LavaJob(network, spikes, tmp_path / "a.net", with_states=True)
         for spikes in (binary, graded)], LIMIT_S)
    for trace, run in zip(expected, runs, strict=True):
        require_equal(compare_traces(network, trace, "emulator", run.trace, "Lava"))
        for layer in network.layers:
            assert np.array_equal(trace.u[layer.name], run.trace.u[layer.name])
    first = network.layers[0].name
    assert not np.array_equal(expected[0].spikes[first], expected[1].spikes[first])


@pytest.mark.slow
def test_every_process_the_stock_loader_makes_has_a_model_of_ours(
    dense_chain: Any, tmp_path: Path
) -> None:
    """A process without one would be run by whatever Lava finds, floats included."""
    code = """
import sys
from lava.lib.dl.netx import hdf5
from pipeline.lava_models import MODELS
network = hdf5.Network(net_config=sys.argv[1])
found = {type(part) for layer in network.layers for part in (layer.neuron, layer.synapse)}
missing = [process.__name__ for process in found - set(MODELS)]
print(len(found), missing)
"""
    write_netx(dense_chain(sizes=(30, 20, 5)), tmp_path / "a.net", "test")
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "a.net")],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent)
    assert result.stdout.split("\n")[-2] == "2 []"
