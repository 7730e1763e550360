"""What the tests of the report share: the artifacts of a small deployment, and a page's text."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hardware_targets import Target, load_target
from pipeline.network import Network
from pipeline.neuron import CubaNeuron

if TYPE_CHECKING:
    from pipeline.model_folder import ModelFolder
    from pipeline.recipe import Recipe

ORIGIN = "spikes drawn for this test, test split"


@dataclass
class Bench:
    """A context whose artifacts are made by the stages' own functions."""

    model: ModelFolder
    recipe: Recipe
    target: Target
    out: Path
    values: dict[str, Any] = field(default_factory=dict)

    def value(self, stage: str) -> Any:
        return self.values[stage]

    def progress(self, message: str) -> None:
        raise AssertionError("the report has nothing to show")

    def key(self, stage: str) -> str:
        return f"key-of-{stage}"


@pytest.fixture(scope="session")
def report_recipe() -> Recipe:
    """Return the recipe of the deployment that is reported."""
    from pipeline.recipe import Recipe

    return Recipe.model_validate({
        "calibration": {"n_samples": 6},
        "compress": {"sparsity": 0.5, "layers": {"fc": {"bits": 5}}},
        "energy": {"n_samples": 5}, "verify": {"n_samples": 4},
    })


@pytest.fixture(scope="session")
def compressed(
    conv_chain: Callable[..., Network], random_spikes: Callable[..., NDArray[np.uint8]],
    silenced: Callable[..., Network], report_recipe: Recipe,
) -> dict[str, Any]:
    """Artifacts of the stages that do not know the target."""
    from pipeline.calibrate import calibrate
    from pipeline.compare import compare_traces
    from pipeline.compressor import compress_network
    from pipeline.deployment import Evaluation, Exported, Ingested, Integers, Verification
    from pipeline.distance import executed_losses
    from pipeline.emulate import accuracy, emulate
    from pipeline.lava_backend import LavaRun
    from pipeline.match_rates import match_rates
    from pipeline.quantize import as_trained, to_integers
    from pipeline.shrink import removals, shrink

    network = silenced(conv_chain(neuron=CubaNeuron(1024, 128, 40), n_steps=12), "fc", [2])
    spikes = random_spikes(network, n_samples=6, rate=0.3)
    labels = np.arange(6) % 5
    dense, rounded = as_trained(network)
    calibration = calibrate(dense, spikes, ORIGIN)
    parts = compress_network(dense, calibration, report_recipe, spikes)
    integers, ledger = to_integers(dense, parts)
    full, matched = match_rates(integers, spikes, calibration.rates)
    shrunk = shrink(full)
    integers = shrunk.network
    assert [len(channels) for channels in shrunk.kept.values()] == [3, 5]
    trace = emulate(integers, spikes[:4])
    accuracies = (accuracy(dense, spikes, labels), accuracy(integers, spikes, labels))
    bits = {s.name: s.weight_bits for s in integers.synapses}
    return {
        "ingest": Ingested(dense, rounded), "calibrate": calibration, "compress": parts,
        "quantize": Integers(
            integers, full, shrunk.kept, ledger + matched + removals(full, shrunk)),
        "export": Exported(1, {}),
        "emulate": Evaluation(
            accuracies, accuracies, 6, 6, ORIGIN, executed_losses(full, dense, spikes)),
        "lava": LavaRun(trace, bits | {"conv": None}, 1.0),
        "compare": Verification((
            compare_traces(integers, trace, "emulator", trace, "Lava"),
            compare_traces(integers, trace, "emulator", trace, "SLAYER"),
        )),
        "spikes": spikes[:5],
    }


@pytest.fixture
def bench(
    compressed: dict[str, Any], report_recipe: Recipe, tmp_path: Path
) -> Callable[..., Bench]:
    """Builder of a context on a target, optionally on small cores."""
    from pipeline.account.energy import account
    from pipeline.emulate import emulate
    from pipeline.mapping.place import place
    from pipeline.model_folder import ModelDescription, ModelFolder

    def build(target_name: str = "loihi1", neurons_per_core: int | None = None) -> Bench:
        target = load_target(target_name)
        if neurons_per_core is not None:
            capacities = target.capacities
            limit = capacities.neurons_per_core.model_copy(update={"value": neurons_per_core})
            target = target.model_copy(update={
                "capacities": capacities.model_copy(update={"neurons_per_core": limit})})
        network = compressed["quantize"].network
        placement = place(network, target)
        energy = account(network, placement, emulate(network, compressed["spikes"]), target)
        description = ModelDescription(
            description="a small network", input_shape=network.input_shape, n_steps=network.n_steps)
        out = tmp_path / "out"
        out.mkdir(exist_ok=True)
        (out / "network.net").write_bytes(b"net")
        (out / "network.nir").write_bytes(b"nir")
        (out / "checkpoint.pt").write_bytes(b"checkpoint")
        return Bench(
            ModelFolder("small", tmp_path / "small", description), report_recipe, target, out,
            {**compressed, "place": placement, "energy": energy},
        )

    return build


@pytest.fixture(scope="session")
def page_text() -> Callable[[str], str]:
    """Return what a reader sees: no tags, no style, no script."""

    def text(html: str) -> str:
        body = re.sub(r"<(style|script)>.*?</\1>", "", html, flags=re.S)
        body = re.sub(r"<[^>]*>", " ", body).replace("\N{NO-BREAK SPACE}", " ")
        return re.sub(r"\s+", " ", body)

    return text
