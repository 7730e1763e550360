"""Sigma-delta and resonate-and-fire modules are the same network in SLAYER, emulator and Lava."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.compare import compare_traces, require_equal
from pipeline.emulate import Trace, emulate
from pipeline.errors import UnsupportedLayerError
from pipeline.ingest.checkpoint import load_module
from pipeline.ingest.netx import read_netx
from pipeline.ingest.netx_graded import as_stock_netx_runs
from pipeline.lava_backend import LavaJob, run_lava_many
from pipeline.model_folder import ModelFolder
from pipeline.network import Network
from pipeline.quantize import as_trained

pytestmark = pytest.mark.slow  # SLAYER takes five to ten seconds to import

MakeModel = Callable[..., ModelFolder]
LIMIT_S = 300.0
BIASES_FROM: tuple[Any, ...] = ("power_on", "first_input")
SIGMA_DELTA = [
    ("SigmaDelta", {"drawn": drawn, "is_conv": drawn % 2 == 1, "has_output": drawn % 4 != 0,
                    "norm": "mean" if drawn % 3 else None}) for drawn in range(14)
] + [("SigmaDeltaGraph", {}), ("SetBias", {})]
RESONATORS = [
    ("Resonators", {"drawn": drawn, "kind": "rf" if drawn % 2 else "rf_iz",
                    "is_conv": drawn % 4 > 1, "delay": drawn % 3 == 0}) for drawn in range(14)
] + [("Mixed", {"what": "cuba and resonators"})]


@pytest.fixture(scope="module", autouse=True)
def slayer() -> Any:
    """SLAYER, imported once by the module that quiets it, before any user's file asks for it."""
    from pipeline.ingest import slayer as ingest

    return ingest


@pytest.fixture
def made(
    make_model: MakeModel, slayer: Any, tmp_path: Path
) -> Callable[..., tuple[Any, Network, Any]]:
    """Builder of a module, its network, and integers to run it on."""
    def build(
        class_name: str, arguments: dict[str, Any]
    ) -> tuple[Any, Network, NDArray[Any]]:
        shape = (2, 8, 7) if class_name == "SetBias" else None
        drawn = arguments.get("drawn", 0)
        model = make_model(class_name, input_shape=shape, seed=drawn, **arguments)
        module = load_module(model)
        folder = tmp_path / class_name.lower()
        folder.rename(tmp_path / f"model {len(list(tmp_path.iterdir()))}")
        network, ledger = as_trained(slayer.to_network(module, model))
        assert ledger == ()
        return module, network, data_for(network, drawn)

    return build


def data_for(network: Network, seed: int) -> NDArray[Any]:
    """Return binary spikes, or for sigma-delta networks a random walk in 2^-6."""
    rng = np.random.default_rng(seed)
    shape: Any = (3, *network.input_shape, network.n_steps)
    if hasattr(network.layers[0].neuron, "role"):
        walk = 2 * np.cumsum(rng.integers(-6, 7, shape), axis=-1)
        return np.clip(walk, -256, 254).astype(np.int32)
    return (rng.random(shape) < 0.3).astype(np.uint8)


def require_same(network: Network, first: Trace, second: Trace, with_states: bool = False) -> None:
    require_equal(compare_traces(network, first, "one", second, "another"))
    for part in ("u", "v") if with_states else ():
        for layer in network.layers:
            assert np.array_equal(
                getattr(first, part)[layer.name], getattr(second, part)[layer.name]), layer.name


@pytest.mark.parametrize(("class_name", "arguments"), SIGMA_DELTA + RESONATORS, ids=str)
def test_the_emulator_sends_what_the_module_does(
    class_name: str, arguments: dict[str, Any], slayer: Any, made: Any
) -> None:
    module, network, data = made(class_name, arguments)
    own = slayer.run_module(module, network, data)
    emulated = emulate(network, data)
    require_same(network, own, emulated)
    assert all(np.count_nonzero(emulated.spikes[layer.name]) for layer in network.layers[:2])


def test_beyond_64_the_float32_of_slayer_rounds_and_lava_does_not(slayer: Any, made: Any) -> None:
    module, network, data = made("SigmaDelta", {"drawn": 0, "is_relu": True, "gain": 30})
    own, emulated = slayer.run_module(module, network, data), emulate(network, data)
    *hidden, output = compare_traces(network, own, "SLAYER", emulated, "emulator").layers
    assert not any(layer.n_differing for layer in hidden)
    exact, rounded = (trace.spikes[output.layer].astype(np.float64) for trace in (emulated, own))
    assert np.abs(exact).max() > 64 * 2**18 and output.n_differing > 0
    assert np.abs(exact - rounded).max() < 1e-6 * np.abs(exact).max()


def test_lava_sends_what_the_emulator_does(made: Any, tmp_path: Path) -> None:
    jobs = []
    for index, (class_name, arguments) in enumerate(SIGMA_DELTA + RESONATORS):
        _, network, data = made(class_name, arguments)
        jobs += [LavaJob(network, data, None, True, b) for b in BIASES_FROM[index % 3 != 1 :]]
    for job, run in zip(jobs, run_lava_many(jobs, LIMIT_S), strict=True):
        emulated = emulate(job.network, job.spikes, with_states=True, bias_from=job.bias_from)
        require_same(job.network, emulated, run.trace, with_states=True)


# ------------------------------------------------------------ the stock loader


def exported(module: Any, path: Path) -> Path:
    """Write the module's blocks by SLAYER's own export."""
    with h5py.File(path, "w") as file:
        for index, block in enumerate(module.blocks):
            block.export_hdf5(file.create_group(f"layer/{index}"))
    return path


def require_read(network: Network, path: Path) -> None:
    """Check that the file says what the module is; only decoders have no threshold of their own."""
    found, _ = read_netx(path, network.n_steps)
    for read, layer in zip(found.layers, network.layers, strict=True):
        assert replace(read.neuron, vth_mant=0) == replace(layer.neuron, vth_mant=0)
        assert read.neuron.vth_mant == layer.neuron.vth_mant or not layer.neuron.fires
        for ours, theirs in zip(layer.synapses, read.synapses, strict=True):
            assert np.array_equal(ours.weight, theirs.weight) and ours.part == theirs.part


@pytest.mark.parametrize("norm", [None, "mean"])
def test_stock_netx_differs_by_the_step_of_its_biases_only(
    norm: str | None, slayer: Any, made: Any, tmp_path: Path
) -> None:
    module, network, data = made("SigmaDelta", {"drawn": 2, "norm": norm, "is_relu": True})
    path = exported(module, tmp_path / "exported.net")
    require_read(network, path)
    jobs = [LavaJob(network, data, path, True, b) for b in BIASES_FROM]
    early, late = (run.trace for run in run_lava_many(jobs, LIMIT_S))
    require_same(network, emulate(network, data, with_states=True, bias_from="power_on"), early,
                 with_states=True)
    own = slayer.run_module(module, network, data)
    require_same(network, own, late)
    n_differing = compare_traces(network, own, "SLAYER", early, "Lava").n_differing
    assert (n_differing > 0) == (norm is not None)


@pytest.mark.parametrize("kind", ["rf", "rf_iz"])
def test_stock_netx_runs_the_decays_it_recomputes(
    kind: str, slayer: Any, made: Any, tmp_path: Path
) -> None:
    jobs, runs = [], []
    for drawn in range(5):
        arguments = {"drawn": drawn, "kind": kind, "shared_param": True}
        module, network, data = made("Resonators", arguments)
        path = exported(module, tmp_path / f"{drawn}.net")
        require_read(network, path)
        jobs.append(LavaJob(network, data, path, True))
        runs.append(slayer.run_module(module, network, data))
    for job, own, run in zip(jobs, runs, run_lava_many(jobs, LIMIT_S), strict=True):
        stock = as_stock_netx_runs(job.network)
        require_same(stock, emulate(stock, job.spikes, with_states=True), run.trace, True)
        is_same = stock == job.network
        require_same(job.network, own, emulate(job.network, job.spikes))
        if is_same:
            require_same(job.network, own, run.trace)


# ------------------------------------------------------------ what is refused


@pytest.mark.parametrize(("class_name", "arguments", "message"), [
    ("SigmaDelta", {"scale": 32}, "scale 32, which is not 64"),
    ("SigmaDelta", {"threshold": 0.01}, "threshold of 0, not a multiple of 1/64"),
    ("SigmaDelta", {"persistent_state": True}, "state kept between samples"),
    ("SigmaDeltaOption", {"shared_param": False}, "a threshold per channel"),
    ("SigmaDeltaOption", {"cum_error": True}, "an error that adds up"),
    ("SigmaDeltaOption", {"shift": True}, "a step of its own"),
    ("SigmaDeltaOption", {"delay": True}, "an axonal delay"),
    ("SigmaDeltaOption", {"activation": "sigmoid"}, "the activation sigmoid"),
    ("SigmaDeltaOption", {"has_norm": True}, "the normalization InstanceNorm1d"),
    ("SigmaDeltaOption", {"where": "input", "weight": 0.5}, "weight or bias of the input"),
    ("SigmaDeltaOption", {"where": "input", "bias": 0.5}, "weight or bias of the input"),
    ("SigmaDeltaOption", {"where": "input", "neuron": None}, "Input without neurons"),
    ("SigmaDeltaOption", {"where": "output"}, "event counts"),
    ("SetBias", {"bias": 0.3}, "its biases are not multiples of 1/64"),
    ("SetBias", {"per": "neuron"}, "has one bias per neuron"),
    ("SetBias", {"has_no_hook": True}, "its weights are not multiples of 1/64"),
    ("SigmaDeltaGraph", {"what": "odd"}, "sigma-delta blocks of different depths"),
    ("Mixed", {"what": "no input"}, "takes 'input'; messages of sigma-delta"),
    ("Mixed", {"what": "spikes to messages"}, "takes 'blocks.0'; messages of sigma-delta"),
    ("Mixed", {"what": "messages to spikes"}, "takes 'blocks.0'; messages of sigma-delta"),
    ("Mixed", {"what": "encoded twice"}, "takes 'blocks.0'; messages of sigma-delta"),
    ("ResonatorOption", {"scale": 100}, "scale 100, not a power of two"),
    ("ResonatorOption", {"graded_spike": True}, "graded spikes"),
    ("ResonatorOption", {"persistent_state": True}, "state kept between samples"),
    ("ResonatorOption", {"threshold": 0.0}, "a threshold of 0"),
    ("ResonatorOption", {"has_norm": True}, "the normalization MeanOnlyBatchNorm of resonators"),
    ("ResonatorOption", {"options": {"delay_shift": False}}, "without the one-step delay"),
    ("ResonatorOption", {"options": {"delay": True}}, "a learned delay that was never set"),
    ("ResonatorOption", {"block": "Pool"}, "block rf.Pool is not supported; nearest: rf.Dense"),
    ("ResonatorOption", {"kind": "rf_iz", "block": "Pool"}, "block rf_iz.Pool is not supported"),
    ("ResonatorOption", {"kind": "adrf", "threshold_decay": 0.1, "threshold_step": 0.1,
                         "refractory_decay": 0.1}, "block adrf.Dense is not supported"),
], ids=str)
def test_what_has_no_equal_is_refused_by_name(
    class_name: str, arguments: dict[str, Any], message: str, slayer: Any, make_model: MakeModel
) -> None:
    shape = (2, 8, 7) if class_name == "SetBias" else None
    model = make_model(class_name, input_shape=shape, **arguments)
    with pytest.raises(UnsupportedLayerError, match=message):
        slayer.to_network(load_module(model), model)
