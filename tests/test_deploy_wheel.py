"""The real networks of the lava-dl wheel go through the whole line, and what comes out still loads.

Each file is pruned, quantized, placed, exported, run by Lava through the stock loader, and compared
with the emulator. The data are what the wheel recorded, shifted from sample to sample; digits for
``mnist.net``, whose accuracy is therefore one.
"""

from __future__ import annotations

import json
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from models.data.digits import DIGIT_RANGES, load_digits
from pipeline.export_netx import write_netx
from pipeline.ingest.netx import read_netx
from pipeline.network import INPUT, Layer, Network, Synapse
from pipeline.neuron import CubaNeuron, ResonatorNeuron

pytestmark = pytest.mark.slow
WHEEL = Path(str(distribution("lava-dl").locate_file("tests/lava/lib/dl/netx")))
SPLITS = ("calibration", "validation", "test")
Run = Any


@pytest.fixture
def deployed(tmp_path: Path, deploy: Any) -> Run:
    """Return a function that deploys a file on data by split, and returns report and network."""
    def run(
        file: Path, data: dict[str, NDArray[Any]], labels: dict[str, NDArray[Any]] | None = None,
        **compress: Any,
    ) -> tuple[dict[str, Any], Network]:
        n = len(data["test"])
        arrays = {f"{split}_spikes": data[split] for split in SPLITS}
        for split in SPLITS:
            arrays[f"{split}_labels"] = labels[split] if labels else np.zeros(n, dtype=int)
        np.savez(tmp_path / "spikes.npz", **arrays)
        *shape, n_steps = data["test"].shape[1:]
        (tmp_path / "model.yaml").write_text(yaml.safe_dump({
            "network": str(file), "input_shape": shape, "n_steps": n_steps,
            "data": {"kind": "npz", "file": "spikes.npz"}}))
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({
            "calibration": {"n_samples": n},
            "compress": {"sparsity": 0.75, "bits": 4, "pruning": "admm"} | compress,
            "evaluate": {"n_validation": n, "n_test": n}, "verify": {"n_samples": min(n, 2)},
            "energy": {"n_samples": min(n, 2)}}))
        out = tmp_path / "out"
        assert deploy(tmp_path, out, "--target", "loihi2") == 0
        report = json.loads((out / "report.json").read_text())
        assert report["equivalence"] and all(
            row["n_differing"] == 0 for row in report["equivalence"])
        assert report["verdict"]["connection_sparsity_frac"] >= 0.7
        network, _ = read_netx(out / "network.net", n_steps)
        return report, network
    return run


def n_spikes(report: dict[str, Any]) -> int:
    return sum(row["n_spikes"] for row in report["equivalence"])


def test_mnist_net_is_pruned_to_a_quarter_at_4_bits_and_still_knows_our_digits(
    deployed: Run
) -> None:
    data, labels = {}, {}
    for split in SPLITS:
        images, labels[split] = load_digits(DIGIT_RANGES[split][:100])
        driven = np.floor(76 * (images.reshape(100, 784) / 127.5 - 1) + 64)
        data[split] = np.repeat(driven[..., None], 16, axis=-1)
    report, network = deployed(WHEEL / "mnist.net", data, labels)
    assert report["accuracy"]["test"]["compressed_frac"] >= 0.97
    assert report["verdict"]["weight_bits"] == [4]
    assert network.layers[0].is_driven and network.readout.quantity == "voltage"
    assert n_spikes(report) > 5000


@pytest.mark.parametrize("kind", ["rf", "rf_iz"])
def test_recorded_complex_weights_are_pruned_and_still_load(
    kind: Any, deployed: Run, tmp_path: Path
) -> None:
    folder = WHEEL / "gts/complex_dense"
    real, imag = (
        (2 * np.rint(np.load(folder / f"weight_{part}.npy") / 2)).astype(np.int32)
        for part in ("r", "img"))
    neuron = ResonatorNeuron(kind, 1200, 3600, 60)
    layer = Layer("d", (Synapse("d", INPUT, real, None, 8),
                        Synapse("d.imag", INPUT, imag, None, 8, part="imag")), neuron,
                  (len(real),))
    network = Network("complex", (real.shape[1],), 50, (layer,))
    network = as_declared(network)
    write_netx(network, tmp_path / "complex.net", "test")
    report, found = deployed(
        tmp_path / "complex.net", shifted(np.load(folder / "in.npy"), 50), bits=8)
    assert found.layers[0].neuron == neuron
    assert n_spikes(report) > 50


def as_declared(network: Network) -> Network:
    """Return the network with the bits that NetX infers."""
    from dataclasses import replace

    from pipeline.fixedpoint import inferred_weight_bits

    return network.with_layers(tuple(
        replace(layer, synapses=tuple(
            replace(s, weight_bits=inferred_weight_bits(s.weight)) for s in layer.synapses))
        for layer in network.layers))


def shifted(recorded: NDArray[Any], n_steps: int) -> dict[str, NDArray[Any]]:
    """Return windows of a recording (n_inputs, steps), no step in two splits."""
    n = recorded.shape[-1] // n_steps // 3
    assert n >= 1
    windows = np.stack([recorded[..., i * n_steps : (i + 1) * n_steps] for i in range(3 * n)])
    return {split: windows[i * n : (i + 1) * n] for i, split in enumerate(SPLITS)}


def test_the_recorded_dense_layer(deployed: Run, tmp_path: Path) -> None:
    weight = (2 * np.rint(np.load(WHEEL / "gts/dense/weight.npy") / 2)).astype(np.int32)
    layer = Layer("d", (Synapse("d", INPUT, weight, None, 8),), CubaNeuron(1024, 256, 60), (256,))
    write_netx(Network("dense", (200,), 50, (layer,)), tmp_path / "dense.net", "test")
    report, _ = deployed(
        tmp_path / "dense.net", shifted(np.load(WHEEL / "gts/dense/in.npy"), 50))
    assert n_spikes(report) > 100


def images(recorded: NDArray[Any], n_steps: int, moves: bool) -> dict[str, NDArray[Any]]:
    """Return two samples a split of a recorded image (x, y, c), shifted, and moving if asked."""
    image = recorded.transpose(2, 1, 0)
    shifts = iter(range(0, 1000, 7))
    return {
        split: np.stack([
            np.stack([np.roll(image, shift + 3 * step * moves, axis=2) for step in range(n_steps)],
                     axis=-1)
            for _, shift in zip(range(2), shifts, strict=False)])
        for split in SPLITS
    }


@pytest.mark.parametrize(("file", "recorded", "moves", "n_layers"), [
    ("tiny.net", "tinynet/input_bias.npy", False, 3),
    ("gts/pilotnet_lif/network.net", "pilotnet_lif/image.npy", False, 10),
    ("gts/pilotnet_sdnn/network.net", "pilotnet_sdnn/input.npy", True, 9),
])
def test_recorded_images(
    file: str, recorded: str, moves: bool, n_layers: int, deployed: Run
) -> None:
    image = np.load(WHEEL / "gts" / recorded)
    image = image[..., 0] if image.ndim == 4 else image
    report, network = deployed(WHEEL / file, images(image, 12, moves))
    assert len(network.layers) == n_layers and network.layers[0].is_driven
    assert n_spikes(report) > 5000
