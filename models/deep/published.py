"""State dicts that others published for these networks, by our names.

In: a SEW-ResNet's state dict under the names of its authors' repository
(fangwei123456/Spike-Element-Wise-ResNet) or of SpikingJelly's ``activation_based`` models. Out: one
that our module loads. Names of the same tensor:

    ours                                   authors' (either)                        SpikingJelly
    conv1.synapse.weight                   conv1.weight                             conv1.weight
    conv1.neuron.norm.*                    bn1.*                                    bn1.*
    stages.0.blocks.1.convs.0.synapse      layer1.1.conv1.module.0, .conv1.0        layer1.1.conv1
    stages.0.blocks.1.convs.0.neuron.norm  layer1.1.conv1.module.1, .conv1.1        layer1.1.bn1
    stages.1.blocks.0.downsample.synapse   layer2.0.downsample.0.module.0, .0.0     .downsample.0
    stages.1.blocks.0.downsample.neuron    layer2.0.downsample.0.module.1, .0.1     .downsample.1
    fc.synapse.weight, fc.neuron.norm.bias fc.weight, fc.bias                       the same

``fc`` follows a mean over the map there; here it reads the map, or its sum, with its weights
divided by the map's size. A prefix ``module.`` of torch's DistributedDataParallel is taken off.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from pipeline.errors import CheckpointError

_N_NAMED = 3  # names in a message
_BLOCK = r"layer(?P<stage>\d+)\.(?P<block>\d+)\."
_PATTERNS = [
    (r"conv1\.weight", "conv1.synapse.weight"),
    (r"bn1\.(?P<rest>\w+)", "conv1.neuron.norm.{rest}"),
    (_BLOCK + r"conv(?P<conv>\d+)(\.module)?(\.0)?\.weight", "{at}convs.{conv}.synapse.weight"),
    (_BLOCK + r"conv(?P<conv>\d+)(\.module)?\.1\.(?P<rest>\w+)",
     "{at}convs.{conv}.neuron.norm.{rest}"),
    (_BLOCK + r"bn(?P<conv>\d+)\.(?P<rest>\w+)", "{at}convs.{conv}.neuron.norm.{rest}"),
    (_BLOCK + r"downsample(\.0)?(\.module)?\.0\.weight", "{at}downsample.synapse.weight"),
    (_BLOCK + r"downsample(\.0)?(\.module)?\.1\.(?P<rest>\w+)",
     "{at}downsample.neuron.norm.{rest}"),
    (r"fc\.weight", "fc.synapse.weight"),
    (r"fc\.bias", "fc.neuron.norm.bias"),
]


def unwrapped(state: dict[str, Any]) -> dict[str, Any]:
    """Return the state dict that a training checkpoint holds beside other things, or itself."""
    for key in ("model", "state_dict", "net"):
        if isinstance(state.get(key), dict):
            return dict(state[key])
    return state


def is_published(state: dict[str, Any]) -> bool:
    """Return whether a state dict has published names, and not ours."""
    return any(str(key).removeprefix("module.") == "fc.weight" for key in state)


def by_our_names(
    state: dict[str, Any], own: dict[str, Tensor], n_pixels: int, frame_scale: int = 1
) -> dict[str, Tensor]:
    """Return a published state dict as one that the module loads.

    Parameters
    ----------
    own : the module's state dict; gives shapes, and what no published one has: decays and scales
    n_pixels : places of the map that ``fc`` follows
    frame_scale : value that stands for 1 in the frames the module will see

    Raises
    ------
    CheckpointError
        If names or shapes are not those of the module's architecture.
    """
    found: dict[str, Tensor] = {}
    unknown = []
    for key, tensor in state.items():
        name = _our_name(key.removeprefix("module."))
        if name is None or name not in own:
            unknown.append(key)
        else:
            found[name] = _laid_out(name, tensor, own[name], n_pixels, frame_scale)
    # counted in training only, and missing from older files
    given = ("current_decay", "voltage_decay", "scales", "num_batches_tracked")
    missing = [name for name in own if name not in found and not name.endswith(given)]
    other = [f"'{name}' is {tuple(found[name].shape)}, {tuple(own[name].shape)} is needed"
             for name in found if found[name].shape != own[name].shape]
    problems = [
        f"{what}: {', '.join(names[:_N_NAMED])}" + (
            f" and {len(names) - _N_NAMED} more" if len(names) > _N_NAMED else "")
        for what, names in (("names it should not have", unknown), ("names it lacks", missing),
                            ("shapes that do not fit", other)) if names
    ]
    if problems:
        raise CheckpointError(
            f"the published state dict is of another architecture; {'; '.join(problems)}; mend "
            "'arguments' in model.yaml (n_layers, n_classes, input_shape), or save the state dict "
            "alone: torch.save(model.state_dict(), path)"
        )
    return {**own, **found}


def _our_name(key: str) -> str | None:
    for pattern, ours in _PATTERNS:
        match = re.fullmatch(pattern, key)
        if match is None:
            continue
        parts = match.groupdict()
        if "stage" in parts:
            parts["at"] = f"stages.{int(parts['stage']) - 1}.blocks.{parts['block']}."
        if "conv" in parts:
            parts["conv"] = str(int(parts["conv"]) - 1)
        return ours.format(**parts)
    return None


def _laid_out(
    name: str, tensor: Tensor, own: Tensor, n_pixels: int, frame_scale: int
) -> Tensor:
    """Return a tensor in SLAYER's layout, which has a time axis after those of the kernel."""
    if name == "fc.synapse.weight" and tensor.dim() == 2:
        if own.shape[1] == tensor.shape[1] * n_pixels:
            tensor = tensor.repeat_interleave(n_pixels, dim=1)
        return tensor[..., None, None, None] / n_pixels
    if name == "conv1.synapse.weight":
        tensor = tensor / frame_scale
    if name.endswith("synapse.weight"):
        return tensor[..., None]
    return tensor if isinstance(tensor, torch.Tensor) else torch.as_tensor(tensor)
