"""Lava, the judge, agrees with the emulator or says why, and ends in time."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.compare import compare_traces, require_equal
from pipeline.emulate import emulate
from pipeline.errors import DataError, EquivalenceError, ExportError, LavaError
from pipeline.export_netx import write_netx
from pipeline.lava_backend import run_lava
from pipeline.network import INPUT, ConvGeometry, Layer, Network, Synapse
from pipeline.neuron import CubaNeuron

# ---------------------------------------------------------------- Lava

LIMIT_S = 120.0
FAST = CubaNeuron(current_decay=1500, voltage_decay=300, vth_mant=100)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, dense_chain: Any) -> tuple[Network, Path]:
    """A dense network that uses 8 bits, and its file."""
    network: Network = dense_chain(
        (10, 8, 6), seed=3, largest=120, density=0.7, neuron=FAST, n_steps=24
    )
    path = tmp_path_factory.mktemp("small") / "small.net"
    write_netx(network, path, "")
    return network, path


@pytest.fixture(scope="module")
def small_run(small: tuple[Network, Path], random_spikes: Any) -> tuple[NDArray[np.uint8], Any]:
    network, path = small
    spikes = random_spikes(network, 6, rate=0.3)
    return spikes, run_lava(path, network, spikes, LIMIT_S)


def require_lava_equals_emulator(network: Network, spikes: Any, run: Any) -> None:
    trace = emulate(network, spikes)
    comparison = compare_traces(network, trace, "emulator", run.trace, "Lava")
    require_equal(comparison)
    assert all(layer.n_spikes > 20 for layer in comparison.layers)


@pytest.mark.slow
def test_lava_equals_the_emulator_on_a_dense_network(
    small: tuple[Network, Path], small_run: tuple[NDArray[np.uint8], Any]
) -> None:
    network, _ = small
    spikes, run = small_run
    require_lava_equals_emulator(network, spikes, run)
    assert run.weight_bits == {s.name: s.weight_bits for s in network.synapses}
    assert 0 < run.elapsed_s < LIMIT_S


@pytest.mark.slow
def test_lava_equals_the_emulator_on_a_convolutional_network(
    conv_chain: Any, random_spikes: Any, tmp_path: Path
) -> None:
    network = conv_chain(
        input_shape=(2, 7, 6), weight_shape=(4, 1, 3, 2),
        geometry=ConvGeometry(stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2),
        seed=1, largest=200, neuron=FAST, n_steps=14,
    )
    write_netx(network, tmp_path / "conv.net", "")
    spikes = random_spikes(network, 3)
    run = run_lava(tmp_path / "conv.net", network, spikes, LIMIT_S)
    require_lava_equals_emulator(network, spikes, run)
    assert run.weight_bits["conv"] is None
    assert run.weight_bits["fc"] == network.synapses[1].weight_bits


@pytest.mark.slow
def test_lava_equals_the_emulator_on_coarse_grids_and_an_image_into_a_dense_layer(
    random_spikes: Any, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    one_bit = 128 * rng.integers(0, 2, (8, 12)).astype(np.int32)
    two_bits = 128 * rng.choice([-2, -1, 0, 1, 1, 1], (6, 8)).astype(np.int32)
    neuron = replace(FAST, vth_mant=700)
    network = Network("coarse", (2, 3, 2), 20, (
        Layer("a", (Synapse("a", INPUT, one_bit, weight_bits=1),), neuron, (8,)),
        Layer("b", (Synapse("b", "a", two_bits, weight_bits=2),), neuron, (6,)),
    ))
    write_netx(network, tmp_path / "coarse.net", "")
    spikes = random_spikes(network, 3, rate=0.3)
    run = run_lava(tmp_path / "coarse.net", network, spikes, LIMIT_S)
    require_lava_equals_emulator(network, spikes, run)
    assert run.weight_bits == {"a": 1, "b": 2}


def with_weight_changed(network: Network, layer: int, out: int, source: int) -> Network:
    weight = network.layers[layer].synapses[0].weight.copy()
    weight[out, source] += 2 if weight[out, source] != -2 else -2
    synapse = replace(network.layers[layer].synapses[0], weight=weight)
    layers = list(network.layers)
    layers[layer] = replace(layers[layer], synapses=(synapse,))
    return network.with_layers(tuple(layers))


@pytest.mark.slow
def test_a_weight_of_the_network_that_is_not_in_the_file_is_found(
    small: tuple[Network, Path], small_run: tuple[NDArray[np.uint8], Any]
) -> None:
    network, _ = small
    spikes, run = small_run
    n_found = 0
    for out, source in np.argwhere(network.synapses[0].weight)[::3]:
        other = with_weight_changed(network, 0, int(out), int(source))
        comparison = compare_traces(other, emulate(other, spikes), "emulator", run.trace, "Lava")
        if comparison.n_differing:
            n_found += 1
            with pytest.raises(EquivalenceError, match="emulator and Lava part in layer"):
                require_equal(comparison)
    # a change of one step in a weight often changes no spike, but some are seen
    assert n_found >= 3


@pytest.mark.slow
def test_loader_that_finds_other_numbers_than_declared_is_an_export_error(
    small: tuple[Network, Path], random_spikes: Any
) -> None:
    network, path = small
    layer = network.layers[1]
    other = network.with_layers((
        network.layers[0], replace(layer, neuron=replace(layer.neuron, vth_mant=101)),
    ))
    with pytest.raises(ExportError, match="'fc1'.*threshold mantissa 100, declared 101"):
        run_lava(path, other, random_spikes(network, 1), LIMIT_S)


def processes() -> dict[int, tuple[int, int]]:
    """Return parent and session of every process."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it may end meanwhile
                _, parent, _, session = (entry / "stat").read_text().rsplit(")", 1)[1].split()[:4]
                found[int(entry.name)] = (int(parent), int(session))
    return found


class LavaWatcher(threading.Thread):
    """Notes sessions that children of this process open, and the shared memory mapped there.

    Parameters
    ----------
    stops : whether it stops one of Lava's processes of each session, some time after its start
    """

    def __init__(self, stops: bool = False) -> None:
        super().__init__()
        self._stops, self._stopped = stops, set[int]()
        self.sessions: set[int] = set()
        self.shared_memory: set[Path] = set()
        self.is_done = threading.Event()

    def run(self) -> None:
        while not self.is_done.wait(0.05):
            now = processes()
            self.sessions |= {
                pid for pid, (parent, session) in now.items()
                if parent == os.getpid() and session == pid
            }
            for pid, (_, session) in now.items():
                if self._stops and session in self.sessions - self._stopped and pid != session:
                    self._freeze(pid, session)
                if session in self.sessions:
                    with contextlib.suppress(OSError):
                        maps = Path(f"/proc/{pid}/maps").read_text()
                        self.shared_memory |= {
                            Path(line.split()[5]) for line in maps.splitlines()
                            if " /dev/shm/" in line and "(deleted)" not in line
                        }

    def _freeze(self, pid: int, session: int) -> None:
        """Stop a process, unless it is the one that frees shared memory."""
        with contextlib.suppress(OSError):
            command = Path(f"/proc/{pid}/cmdline").read_text()
            if self.shared_memory and "resource_tracker" not in command:
                time.sleep(1.0)
                os.kill(pid, signal.SIGSTOP)
                self._stopped.add(session)


@pytest.mark.slow
@pytest.mark.parametrize("is_running", [False, True], ids=["at its start", "while it runs"])
@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
def test_time_limit_ends_lava_and_everything_it_started(
    is_running: bool, dense_chain: Any, small_run: tuple[NDArray[np.uint8], Any], tmp_path: Path
) -> None:
    n_steps = 200_000  # minutes
    network = dense_chain((10, 8, 6), seed=3, largest=120, neuron=FAST, n_steps=n_steps)
    write_netx(network, tmp_path / "long.net", "")
    limit_s = round(1.5 * small_run[1].elapsed_s + 2.0) if is_running else 1.0
    watcher = LavaWatcher(stops=is_running)
    watcher.start()
    try:
        with pytest.raises(LavaError, match=f"within {limit_s:.0f} s .*verify.lava_time_limit_s"):
            run_lava(tmp_path / "long.net", network, np.zeros((1, 10, n_steps), np.uint8), limit_s)
    finally:
        watcher.is_done.set()
        watcher.join()
    assert watcher.sessions and os.getsid(0) not in watcher.sessions
    assert [pid for pid, (_, s) in processes().items() if s in watcher.sessions] == []
    if is_running:
        assert watcher.shared_memory
    assert [path for path in watcher.shared_memory if path.exists()] == []


@pytest.mark.slow
def test_a_file_lava_cannot_read_is_an_error_with_lavas_own_words(
    small: tuple[Network, Path], random_spikes: Any, tmp_path: Path
) -> None:
    network, path = small
    broken = tmp_path / "broken.net"
    broken.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(LavaError) as error:
        run_lava(broken, network, random_spikes(network, 1), LIMIT_S)
    message = str(error.value)
    assert "Lava died with exit code 1" in message
    assert "OSError" in message and "truncated" in message


@pytest.mark.slow
def test_a_layer_kind_the_loader_lacks_is_an_error_with_lavas_own_words(
    small: tuple[Network, Path], random_spikes: Any, tmp_path: Path
) -> None:
    network, path = small
    other = tmp_path / "other.net"
    other.write_bytes(path.read_bytes())
    with h5py.File(other, "r+") as file:
        file["layer/2/type"][0] = b"pool"
    with pytest.raises(LavaError, match=r"(?s)exit code 1.*NotImplementedError"):
        run_lava(other, network, random_spikes(network, 1), LIMIT_S)


def test_spikes_of_the_wrong_shape_are_refused_before_lava_starts(
    dense_chain: Any, tmp_path: Path
) -> None:
    begin = time.monotonic()
    with pytest.raises(DataError, match=r"\(2, 11, 20\)"):
        run_lava(tmp_path / "none.net", dense_chain(), np.zeros((2, 11, 20), np.uint8), LIMIT_S)
    assert time.monotonic() - begin < 1.0
