"""The paper's deep networks at full size: compressed, placed, the time of every layer.

    python benchmarks/bench_deep.py sew-18 | transformer-8-512 [--pixels 224] [--steps 4]
        [--samples 8] [--binary-relays] [--sparsity 0.75] [--bits 4] [--target loihi2]
        [--out DIR] [--last place]

There is no data here: weights are those of initialization, normalization has the statistics of the
frames, and frames are random, smoothed to look like images to a convolution. What is measured is
time, memory and cores, not accuracy. Interrupted, the same command with --out continues.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from hardware_targets import load_target
from pipeline.line import Finished, Line
from pipeline.model_folder import find_model
from pipeline.neuron import RelayNeuron
from pipeline.recipe import Recipe

FRAME_SCALE, N_CLASSES = 16, 1000
STATISTICS_PIXELS = 64
NETWORKS = {
    **{f"sew-{n}": ("sew_resnet.py:SewResNet", {"n_layers": n, "is_balanced": True})
       for n in (18, 34, 50, 101, 152)},
    **{f"transformer-{blocks}-{channels}": (
        "spike_transformer_relays.py:RelayedSpikeTransformer",
        {"n_blocks": blocks, "n_channels": channels, "is_balanced": True})
       for blocks, channels in ((8, 384), (8, 512), (10, 512), (8, 768))}}
DEEP = Path(__file__).resolve().parents[1] / "models" / "deep"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", choices=list(NETWORKS))
    parser.add_argument("--pixels", type=int, default=224)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--binary-relays", action="store_true")
    parser.add_argument("--sparsity", type=float, default=0.75)
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--pruning", default="auto")
    parser.add_argument("--target", default="loihi2")
    parser.add_argument("--chips", type=int, default=100)
    parser.add_argument("--last", default="place")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        out = options.out or Path(scratch)
        run(options, out)


def run(options: argparse.Namespace, out: Path) -> None:
    """Make the model folder unless it is there, and run the line over it."""
    folder, begin = out / "model", time.perf_counter()
    if not (folder / "model.yaml").exists():
        make_model(options, folder)
        print(f"{time.perf_counter() - begin:8.1f} s  model and its frames made", flush=True)
    recipe = Recipe.model_validate({
        "calibration": {"n_samples": options.samples},
        "compress": {"sparsity": options.sparsity, "bits": options.bits,
                     "pruning": options.pruning},
        "evaluate": {"n_validation": 1, "n_test": 1}, "energy": {"n_samples": 1},
        "place": {"max_chips": options.chips}})
    clock = Clock()
    line = Line(find_model(str(folder)), recipe, load_target(options.target), out / "out",
                out / "store", on_progress=clock.at, on_finish=clock.finished)
    line.run(options.last)
    clock.at("")
    if options.last == "place":
        show_placement(line, options.target)
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{time.perf_counter() - begin:.0f} s in all, {gigabytes:.1f} GiB at most")


class Clock:
    """Prints how long what is told took, when the next is told."""

    def __init__(self) -> None:
        self._what, self._begin = "", time.perf_counter()

    def at(self, what: str) -> None:
        """Print the time of what was told before."""
        if self._what:
            print(f"{time.perf_counter() - self._begin:8.1f} s  {self._what}", flush=True)
        self._what, self._begin = what, time.perf_counter()

    def finished(self, stage: Finished) -> None:
        """Print a stage."""
        self.at("")
        print(f"{stage.elapsed_s:8.1f} s  {stage.stage.upper()}: {stage.summary}", flush=True)


def make_model(options: argparse.Namespace, folder: Path) -> None:
    """Write a model folder: module, checkpoint, frames shown for some steps."""
    import torch

    torch.manual_seed(0)
    module, own = NETWORKS[options.network]
    arguments: dict[str, Any] = {
        **own, "frame_scale": FRAME_SCALE, "input_shape": [3, options.pixels, options.pixels],
        "n_classes": N_CLASSES}
    is_sew = options.network.startswith("sew")
    if is_sew:
        arguments["has_graded_relays"] = not options.binary_relays
    frames = images(options.samples, options.pixels)
    state, depth = (sew_resnet if is_sew else transformer)(arguments, frames, options.steps)
    n_steps = options.steps + depth
    shown = np.zeros((*frames.shape, n_steps), dtype=np.int16)
    shown[..., : options.steps] = frames[..., None]
    folder.mkdir(parents=True)
    torch.save(state, folder / "checkpoint.pt")
    arrays: dict[str, Any] = {}
    for split, n in (("calibration", options.samples), ("validation", 1), ("test", 1)):
        arrays[f"{split}_spikes"] = shown[:n]
        arrays[f"{split}_labels"] = np.zeros(n, dtype=np.int64)
    np.savez_compressed(folder / "frames.npz", **arrays)
    (folder / "model.yaml").write_text(yaml.safe_dump({
        "network": f"{DEEP / module}", "arguments": arguments,
        "checkpoint": "checkpoint.pt", "input_shape": arguments["input_shape"],
        "n_steps": n_steps, "data": {"kind": "npz", "file": "frames.npz"}}))


def sew_resnet(arguments: dict[str, Any], frames: Any, n_shown: int) -> tuple[Any, int]:
    """Return a state dict, its statistics those of a frame shown for some steps, and the depth."""
    import torch

    from models.deep.sew_resnet import SewResNet

    net = SewResNet(**arguments)
    shown = np.zeros((*frames[:1].shape, n_shown + net.depth), dtype=np.float32)
    shown[..., :n_shown] = frames[:1, ..., None]
    take_statistics(net, torch.from_numpy(shown))
    net.fit_scales()
    return net.state_dict(), net.depth


def transformer(arguments: dict[str, Any], _: Any, n_shown: int) -> tuple[Any, int]:
    """Return a published state dict, its statistics those of a small frame, and the depth.

    Normalization is part of the published form only.
    """
    import torch

    from models.deep.spike_transformer_published import PublishedSpikeTransformer
    from models.deep.spike_transformer_relays import RelayedSpikeTransformer

    depth = RelayedSpikeTransformer(**arguments).depth
    small = {**arguments, "input_shape": [3, STATISTICS_PIXELS, STATISTICS_PIXELS]}
    del small["frame_scale"], small["is_balanced"]
    net = PublishedSpikeTransformer(**small, takes_steps=False)
    frame = torch.from_numpy(images(1, STATISTICS_PIXELS) / FRAME_SCALE).float()
    take_statistics(net, frame[..., None].expand(*frame.shape, n_shown))
    return net.state_dict(), depth


def take_statistics(net: Any, shown: Any) -> None:
    """Give normalization the statistics of what is shown."""
    import torch

    with torch.no_grad():
        for part in net.modules():
            if isinstance(part, (torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)):
                part.momentum = 1.0
        net.train()(shown)
    net.eval()


def images(n: int, pixels: int) -> Any:
    """Return (n, 3, pixels, pixels) integers: noise of several scales, as images have it."""
    rng, total = np.random.default_rng(0), np.zeros((n, 3, pixels, pixels))
    for size in (4, 16, 64):
        noise = rng.normal(size=(n, 3, -(-pixels // size), -(-pixels // size)))
        total += noise.repeat(size, axis=2).repeat(size, axis=3)[:, :, :pixels, :pixels]
    total += rng.normal(size=total.shape) / 4
    return np.rint(FRAME_SCALE * total / total.std()).astype(np.int16)


def show_placement(line: Line, target: str) -> None:
    """Print cores by kind of layer."""
    placement, network = line.value("place"), line.value("quantize").network
    relays = {layer.name for layer in network.layers if isinstance(layer.neuron, RelayNeuron)}
    n_relays = sum(core.layer in relays for core in placement.cores)
    n_neurons = sum(layer.n_neurons for layer in network.layers)
    print(json.dumps({
        "target": target, "layers": len(network.layers), "neurons": n_neurons,
        "synapse groups": sum(len(layer.synapses) for layer in network.layers),
        "cores": len(placement.cores), "of relays": n_relays,
        "chips": len({core.chip for core in placement.cores})}))


if __name__ == "__main__":
    main()
