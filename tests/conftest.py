"""What all tests share: thread settings, the hypothesis profile, small random networks."""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import signal
import sys

# a shell starts what it puts in the background deaf to Ctrl-C, and so would be all that tests start
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# torch's and numba's thread pools otherwise spin against each other on busy machines: measured
# 16 s against 0.4 s for one SLAYER forward. It only counts if set before torch is imported.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray

from pipeline.fixedpoint import inferred_weight_bits
from pipeline.network import INPUT, ConvGeometry, Layer, Network, Synapse
from pipeline.network_checks import conv_output_shape
from pipeline.neuron import CubaNeuron

if TYPE_CHECKING:
    from pipeline.model_folder import ModelFolder

# by their own names, because lava-nc installs a package "tests"
sys.path.insert(0, str(Path(__file__).parent))
pytest_plugins = [
    "deployments", "generated", "oracle_options", "report_artifacts", "report_pages", "shrinking",
    "sweeps"]

settings.register_profile("spikefit", deadline=None, derandomize=True, max_examples=100)
settings.load_profile("spikefit")

LEAKY = CubaNeuron(current_decay=1024, voltage_decay=128, vth_mant=120)
UNEVEN = ConvGeometry(stride=(2, 1), padding=(1, 0))


def random_weight(
    rng: np.random.Generator, shape: tuple[int, ...], largest: int, density: float
) -> NDArray[np.int32]:
    """Return even integers of both signs up to ``largest``; a share of them is zero."""
    weight = 2 * rng.integers(-(largest // 2), largest // 2 + 1, shape)
    weight[rng.random(shape) >= density] = 0
    weight.flat[0] = largest - largest % 2  # never all zero
    return weight.astype(np.int32)


def with_declared_bits(network: Network) -> Network:
    """Return an integer network whose groups declare the bits that NetX infers."""
    return network.with_layers(tuple(
        replace(layer, synapses=tuple(
            replace(s, weight_bits=inferred_weight_bits(s.weight)) for s in layer.synapses
        ))
        for layer in network.layers
    ))


@pytest.fixture(scope="session")
def dense_chain() -> Callable[..., Network]:
    """Builder of an integer network of dense layers ``fc0, fc1, ...``."""

    def build(
        sizes: tuple[int, ...] = (12, 16, 10),
        seed: int = 0,
        largest: int = 60,
        density: float = 1.0,
        neuron: CubaNeuron = LEAKY,
        n_steps: int = 20,
    ) -> Network:
        rng, layers, source = np.random.default_rng(seed), [], INPUT
        for index, (n_in, n_out) in enumerate(zip(sizes, sizes[1:], strict=False)):
            weight = random_weight(rng, (n_out, n_in), largest, density)
            synapse = Synapse(f"fc{index}", source, weight)
            layers.append(Layer(f"fc{index}", (synapse,), neuron, (n_out,)))
            source = f"fc{index}"
        return with_declared_bits(Network("dense", (sizes[0],), n_steps, tuple(layers)))

    return build


@pytest.fixture(scope="session")
def conv_chain() -> Callable[..., Network]:
    """Builder of an integer network ``conv`` - ``fc`` with any geometry."""

    def build(
        input_shape: tuple[int, int, int] = (2, 7, 6),
        weight_shape: tuple[int, int, int, int] = (4, 2, 3, 2),
        geometry: ConvGeometry = UNEVEN,
        n_outputs: int = 5,
        seed: int = 0,
        largest: int = 60,
        neuron: CubaNeuron = LEAKY,
        n_steps: int = 20,
    ) -> Network:
        rng = np.random.default_rng(seed)
        shape = conv_output_shape(weight_shape, geometry, input_shape)
        conv = Synapse("conv", INPUT, random_weight(rng, weight_shape, largest, 1.0), geometry)
        fc = Synapse(
            "fc", "conv", random_weight(rng, (n_outputs, int(np.prod(shape))), largest, 1.0)
        )
        layers = (
            Layer("conv", (conv,), neuron, shape), Layer("fc", (fc,), neuron, (n_outputs,)),
        )
        return with_declared_bits(Network("conv", input_shape, n_steps, layers))

    return build


@pytest.fixture(scope="session")
def random_spikes() -> Callable[..., NDArray[np.uint8]]:
    """Builder of binary spikes (n, *input_shape, n_steps) for a network."""

    def build(
        network: Network, n_samples: int = 3, rate: float = 0.2, seed: int = 0
    ) -> NDArray[np.uint8]:
        shape: Any = (n_samples, *network.input_shape, network.n_steps)
        return (np.random.default_rng(seed).random(shape) < rate).astype(np.uint8)

    return build


# ---------------------------------------------------------------- one synapse group as arrays


@dataclass(frozen=True)
class Group:
    """Weights (rows, d_in) and filtered inputs (m, d_in) of a synapse group.

    What is asked of it is answered from the inputs, not from the Hessian.
    """

    W: NDArray[np.float64]
    A: NDArray[np.float64]

    @property
    def H(self) -> NDArray[np.float64]:
        """The Hessian, (d_in, d_in)."""
        return 2.0 * self.A.T @ self.A

    def refitted(self, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the least-squares weights on the mask."""
        fitted = np.zeros_like(self.W)
        for row, kept in enumerate(mask):
            if kept.any():
                target = self.A @ self.W[row]
                fitted[row, kept] = np.linalg.lstsq(self.A[:, kept], target, rcond=None)[0]
        return fitted

    def error(self, other: NDArray[np.float64]) -> float:
        """Return the squared error of the potential that other weights make."""
        return float(np.square(self.A @ (self.W - other).T).sum())

    def error_on(self, mask: NDArray[np.bool_]) -> float:
        """Return the least error that weights on the mask can make."""
        return self.error(self.refitted(mask))


@pytest.fixture(scope="session")
def make_group() -> Callable[..., Group]:
    """Builder of a synapse group whose neighboring inputs are alike and unequally active."""

    def build(rows: int, d_in: int, seed: int = 0, correlation: float = 0.8) -> Group:
        rng = np.random.default_rng(seed)
        A = rng.normal(size=(4 * d_in, d_in))
        for i in range(1, d_in):
            A[:, i] = correlation * A[:, i - 1] + np.sqrt(1 - correlation**2) * A[:, i]
        return Group(rng.normal(size=(rows, d_in)), A * rng.uniform(0.3, 2.0, d_in))

    return build


@pytest.fixture(scope="session")
def make_recipe() -> Callable[..., Any]:
    """Builder of a recipe from keys of its section ``compress``."""

    from pipeline.recipe import Recipe

    def build(**compress: Any) -> Recipe:
        return Recipe.model_validate({"compress": compress})

    return build


# ---------------------------------------------------------------- small SLAYER networks

NETWORKS = [Path(__file__).parent / "slayer_networks" / name
            for name in ("network.py", "other_families.py")]
SHAPES = dict.fromkeys(("Conv", "ReshapesItself", "Pool", "ConvGraph"), (2, 8, 7))


@pytest.fixture(scope="session")
def slayer() -> Any:
    """SLAYER, imported once by the module that quiets it, before any user's file asks for it."""
    from pipeline.ingest import slayer as ingest

    return ingest


@pytest.fixture
def make_model(tmp_path: Path) -> Callable[..., ModelFolder]:
    """Builder of a model folder with a random checkpoint."""

    import torch

    from pipeline.model_folder import find_model

    def build(
        class_name: str, input_shape: tuple[int, ...] | None = None, seed: int = 0,
        **arguments: Any,
    ) -> ModelFolder:
        folder = tmp_path / class_name.lower()
        folder.mkdir()
        for file in NETWORKS:
            (folder / file.name).write_text(file.read_text())
        module_file = next(
            file.name for file in NETWORKS if f"class {class_name}(" in file.read_text())
        (folder / "model.yaml").write_text(json.dumps({
            "network": f"{module_file}:{class_name}", "arguments": arguments, "n_steps": 30,
            "input_shape": input_shape or SHAPES.get(
                class_name, (2, 8, 7) if arguments.get("is_conv") else (12,)),
        }))
        torch.manual_seed(seed)
        module = build_fresh(folder / module_file, class_name, arguments)
        torch.save(module.state_dict(), folder / "checkpoint.pt")
        return find_model(str(folder))

    return build


@pytest.fixture
def fresh() -> Callable[..., Any]:
    """Builder of an instance of a class in a module file: (file, class name, arguments)."""
    return build_fresh


def build_fresh(file: Path, class_name: str, arguments: dict[str, Any]) -> Any:
    spec = importlib.util.spec_from_file_location("fresh_network", file)
    assert spec is not None and spec.loader is not None
    imported = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")
        patch.syspath_prepend(file.parent)  # as ingest has it while it loads
        spec.loader.exec_module(imported)
        module = getattr(imported, class_name)(**arguments)
    return module.eval()


def pytest_collection_finish() -> None:
    """Leave what imports and collection made out of every later garbage collection."""
    gc.collect()
    gc.freeze()
