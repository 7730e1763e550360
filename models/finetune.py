"""SBC and fine-tuning: a compressed network trained on with its mask held, to be deployed again.

    make finetune MODEL=sew_digits RECIPE=r.yaml EPOCHS=2

In: a model whose data have a training split, and a recipe. The line compresses it; its weights, in
the unit of the trained thresholds, go back into the module, and SLAYER trains those that are left.
Out, in a folder: ``model/`` with the tuned checkpoint, and ``recipe.yaml``, which gives every layer
the sparsity it has: pruning by it takes the zeros, and rounds what was tuned.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml

from hardware_targets import TargetFileError, load_target
from models.training import TrainingPlan, evaluate, save_state, train
from pipeline.compress_synapse import CompressedSynapse
from pipeline.console import Console
from pipeline.errors import PipelineError, RecipeError, TargetError
from pipeline.ingest.checkpoint import load_module
from pipeline.ingest.slayer import to_network
from pipeline.ingest.slayer_write_back import write_back
from pipeline.line import Line
from pipeline.model_folder import find_model
from pipeline.network import Network
from pipeline.recipe import load_recipe

Masks = list[tuple[torch.nn.Parameter, torch.Tensor]]
LEARNING_RATE = 1e-3
EXPORTS = Path("netx_exports")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="nmnist_mlp")
    parser.add_argument("--target", default="loihi1")
    parser.add_argument("--recipe", type=Path)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--learning-rate", type=float, default=LEARNING_RATE)
    parser.add_argument("--loss", choices=["rate", "cross_entropy"])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    try:
        finetune(options)
    except PipelineError as error:
        print(f"finetune: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("finetune: interrupted; the last whole epoch is in its model folder", file=sys.stderr)
        sys.exit(130)


def finetune(options: argparse.Namespace) -> None:
    """Compress, tune, and write what deploys the result.

    Raises
    ------
    PipelineError
        If the model has no module or no training split, or cannot be compressed.
    """
    line = open_line(options)
    if not line.model.is_module:
        raise RecipeError(
            f"model '{line.model.name}': is a file; only a SLAYER module can be tuned")
    out = options.out or EXPORTS / f"{line.model.name}-tuned"
    console = Console()
    line.on_start, line.on_progress, line.on_finish = (
        console.start, console.progress, console.finish)
    line.run("emulate")
    console.close()
    module, network = load_module(line.model), line.value("ingest").network
    to_network(module, line.model)  # runs it once: shapes are set
    parts = line.value("compress")
    write_back(module, compressed(network, parts))
    masks = held_masks(module, parts)
    source, n_steps = line.model.data, line.model.description.n_steps
    before = evaluate(module, "validation", n_steps, source)
    of_readout = "rate" if network.readout.quantity == "spikes" else "cross_entropy"
    loss: Any = options.loss or of_readout
    plan = TrainingPlan(n_epochs=options.epochs, learning_rate=options.learning_rate,
                        n_steps=n_steps, loss=loss)
    folder = out / "model"
    folder.mkdir(parents=True, exist_ok=True)
    after = train(module, folder, plan, source, after_step=lambda: hold(masks),
                  keeps_statistics=True)
    save_state(module.state_dict(), folder / "checkpoint.pt")
    describe(line, parts, out)
    one_shot = line.value("emulate").test[1]
    print(f"one shot: {one_shot:.4f} of the test split as deployed, {before:.4f} of validation "
          "with the thresholds as trained")
    print(f"tuned: {after:.4f} of the test split, weights not rounded; as deployed:")
    print(f"make deploy MODEL={folder} RECIPE={out / 'recipe.yaml'} TARGET={options.target}")


def open_line(options: argparse.Namespace) -> Line:
    """Return the line that ``make deploy`` runs, with its artifacts."""
    try:
        target = load_target(options.target)
    except TargetFileError as error:
        raise TargetError(str(error)) from None
    model = find_model(options.model)
    return Line(model, load_recipe(options.recipe), target,
                EXPORTS / f"{model.name}-{target.name}", EXPORTS / ".artifacts")


def compressed(network: Network, parts: dict[str, CompressedSynapse]) -> Network:
    """Return the network as trained with compressed weights in the unit of its thresholds."""
    return network.with_layers(tuple(
        replace(layer, synapses=tuple(
            replace(s, weight=parts[s.name].weight) if s.name in parts else s
            for s in layer.synapses))
        for layer in network.layers))


def held_masks(module: torch.nn.Module, parts: dict[str, CompressedSynapse]) -> Masks:
    """Return the weights that stay zero, as parameters with where they are not."""
    masks: Masks = []
    blocks = dict(module.named_modules())
    for name, part in parts.items():
        block: Any = blocks[name]
        synapse = getattr(block, "input_synapse", None) or block.synapse
        weight = synapse.weight_v if synapse.weight_norm_enabled else synapse.weight
        masks.append((weight, torch.from_numpy(part.codes != 0).reshape(weight.shape)))
    hold(masks)
    return masks


def hold(masks: Masks) -> None:
    """Set to zero what the masks exclude."""
    with torch.no_grad():
        for weight, mask in masks:
            weight.mul_(mask)


def describe(line: Line, parts: dict[str, CompressedSynapse], out: Path) -> None:
    """Write the model's description and the recipe beside the tuned checkpoint."""
    model = line.model
    description = model.description.model_dump(mode="json", exclude_defaults=True)
    description["network"] = f"{model.network_file}:{model.class_name}"
    description["checkpoint"] = "checkpoint.pt"
    if model.data.file or model.data.root:
        description["data"] |= {key: str(path) for key, path in (
            ("file", model.data.file), ("root", model.data.root)) if path is not None}
    (out / "model" / "model.yaml").write_text(yaml.safe_dump(description, sort_keys=False))
    network = line.value("ingest").network
    recipe = line.recipe.model_dump(mode="json", exclude_defaults=True)
    layers = recipe.setdefault("compress", {}).setdefault("layers", {})
    recipe["compress"]["sequential"] = False  # it would aim at weights that were zero
    for name, part in parts.items():
        n_weights = network.synapse(name).n_weights
        share = 1 - int((part.codes != 0).sum()) / n_weights
        layers[network.layer_of(name).name] = {**layers.get(name, {}), "sparsity": share}
    (out / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))


if __name__ == "__main__":
    main()
