"""Whether the parts of a network fit together; called as a network is made.

In: one part and the shapes of what comes before it. Out: nothing, or an error that names the layer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import CheckpointError, UnsupportedLayerError
from pipeline.neuron import FAMILY, CubaNeuron, SigmaDeltaNeuron

if TYPE_CHECKING:
    from pipeline.network import ConvGeometry, Join, Layer, Shape, Synapse

MAX_AXONAL_DELAY = 62


def conv_output_shape(weight_shape: Shape, geometry: ConvGeometry, in_shape: Shape) -> Shape:
    """Return (c_out, y, x) of a convolution over (c_in, y, x)."""
    extent = [
        (in_shape[1 + axis] + 2 * geometry.padding[axis]
         - geometry.dilation[axis] * (weight_shape[2 + axis] - 1) - 1)
        // geometry.stride[axis] + 1
        for axis in (0, 1)
    ]
    return (weight_shape[0], extent[0], extent[1])


def check_join(join: Join, shapes: dict[str, Shape]) -> None:
    """Raise UnsupportedLayerError unless the sources of a join fit its kind and shape."""
    if join.name in shapes:
        raise UnsupportedLayerError(f"two sources are named '{join.name}'")
    inputs = [shapes[source] for source in join.sources]
    if len(join.shape) == 1:
        inputs = [(int(np.prod(shape)),) for shape in inputs]
    if join.kind == "add":
        fits = all(shape == join.shape for shape in inputs)
    else:
        fits = (
            len({shape[1:] for shape in inputs}) == 1
            and (sum(shape[0] for shape in inputs), *inputs[0][1:]) == join.shape
        )
    if not fits:
        raise UnsupportedLayerError(
            f"join '{join.name}': sources of shapes {', '.join(map(str, inputs))} do not "
            f"{join.kind} to {join.shape}"
        )


def check_family(layer: Layer) -> None:
    """Raise UnsupportedLayerError for what neurons of a family cannot have."""
    if isinstance(layer.neuron, CubaNeuron):
        return
    what = None
    if layer.recurrent is not None:
        what = "recurrent synapses"
    elif isinstance(layer.neuron, SigmaDeltaNeuron) and layer.axonal_delay is not None:
        what = "axonal delays, which Lava has for binary spikes only,"
    if what is not None:
        raise UnsupportedLayerError(
            f"layer '{layer.name}': {what} of {FAMILY[type(layer.neuron)]} neurons are not "
            "supported; nearest: cuba blocks"
        )


def check_delay(layer: Layer) -> None:
    """Raise UnsupportedLayerError unless a layer's delays fit its channels and the chip."""
    delay = layer.axonal_delay
    if delay is None:
        return
    if len(delay) != layer.n_channels:
        raise UnsupportedLayerError(
            f"layer '{layer.name}': {len(delay)} axonal delays for {layer.n_channels} channels"
        )
    outside = [steps for steps in delay if not 0 <= steps <= MAX_AXONAL_DELAY]
    if outside:
        raise UnsupportedLayerError(
            f"layer '{layer.name}': axonal delay {outside[0]} of a channel is outside "
            f"0..{MAX_AXONAL_DELAY} steps (Loihi's limit; Lava clamps): clamp and retrain, or add "
            "a relay layer"
        )


def check_synapse(synapse: Synapse, layer: Layer, shapes: dict[str, Shape]) -> None:
    """Raise unless a group fits between its source and its layer and its weights are finite."""
    if synapse.source not in shapes:
        raise UnsupportedLayerError(
            f"layer '{layer.name}': its source '{synapse.source}' is not an earlier layer or "
            "join; only a layer itself may close a loop"
        )
    in_shape = shapes[synapse.source]
    if synapse.geometry is None:
        expected: Shape = (layer.n_neurons, int(np.prod(in_shape)))
        fits = synapse.weight.shape == expected
    else:
        expected = (layer.shape[0], in_shape[0] // synapse.geometry.groups, -1, -1)
        fits = (
            len(in_shape) == 3 and synapse.weight.ndim == 4
            and synapse.weight.shape[:2] == expected[:2]
            and conv_output_shape(synapse.weight.shape, synapse.geometry, in_shape) == layer.shape
        )
    if not fits:
        raise UnsupportedLayerError(
            f"layer '{layer.name}': weight of shape {synapse.weight.shape} does not connect "
            f"'{synapse.source}' {in_shape} to {layer.shape}"
        )
    if not np.isfinite(synapse.weight).all():
        n_bad = int(np.sum(~np.isfinite(synapse.weight)))
        raise CheckpointError(
            f"layer '{layer.name}': {n_bad} of {synapse.weight.size} weights are not finite; "
            "the checkpoint is damaged or its training diverged"
        )
