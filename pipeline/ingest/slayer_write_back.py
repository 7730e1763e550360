"""An integer network written into the SLAYER module it came from, and taken out again.

In: a module that :mod:`pipeline.ingest.slayer` has read, and its network with other weights. Out:
the module with them, for a run or a checkpoint in the user's own class.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.errors import UnsupportedLayerError
from pipeline.ingest.slayer_norm import unfold
from pipeline.ingest.slayer_relay import set_relay
from pipeline.network import Network
from pipeline.neuron import CubaNeuron, RelayNeuron, ResonatorNeuron


def write_back(module: torch.nn.Module, network: Network) -> None:
    """Put the integer weights and thresholds of ``network`` into the module it came from.

    Weights go in as ``weight / scale``, which the 8-bit hook maps to themselves; the threshold,
    which no state dict holds, is set on the neuron.

    Raises
    ------
    UnsupportedLayerError
        If a layer has one threshold per channel; the module is left as it was.
    """
    for layer in network.layers:
        if isinstance(layer.neuron, CubaNeuron) and layer.neuron.channel_vth_mant is not None:
            raise UnsupportedLayerError(
                f"layer '{layer.name}': has one threshold per channel ({layer.n_channels} of them) "
                "and a SLAYER neuron holds one for its whole layer: set "
                "'compress.match_rates: layer' in the recipe"
            )
    forget(module)
    blocks = dict(module.named_modules())
    for layer in network.layers:
        block = blocks[layer.name]
        if isinstance(layer.neuron, RelayNeuron):
            set_relay(block, layer)
            continue
        scale = block.neuron.w_scale
        for synapse in layer.synapses:
            if not synapse.is_fixed:
                own = block.input_synapse if layer.recurrent is not None else block.synapse
                if isinstance(layer.neuron, ResonatorNeuron):
                    own = getattr(own, synapse.part)
                _set_weight(own, synapse.weight, scale)
        if layer.recurrent is not None:
            _set_weight(block.recurrent_synapse, layer.recurrent.weight, scale)
        if not isinstance(layer.neuron, CubaNeuron):
            continue  # nothing but weights has changed
        if layer.neuron.fires:
            block.neuron._threshold = layer.neuron.vth_mant / scale
        if layer.neuron.bias is not None:
            unfold(block.neuron.norm, np.array(layer.neuron.bias) / scale)


def _set_weight(synapse: Any, integers: NDArray[Any], scale: int) -> None:
    weight = torch.from_numpy(integers.astype(np.float32) / scale).reshape(synapse.weight.shape)
    with torch.no_grad():
        if not synapse.weight_norm_enabled:
            synapse.weight.copy_(weight)
            return
        norm = weight.flatten(1).norm(dim=1).reshape(-1, *[1] * (weight.dim() - 1))
        # a row without weights has no direction: any will do, at length zero
        synapse.weight_v.copy_(torch.where(norm > 0, weight, torch.ones_like(weight)))
        synapse.weight_g.copy_(norm)


def forget(module: torch.nn.Module) -> None:
    """Put all neurons to rest: recurrent blocks keep their state from one forward to the next."""
    for part in module.modules():
        for state in ("current_state", "voltage_state", "spike_state"):
            if isinstance(getattr(part, state, None), torch.Tensor):
                setattr(part, state, torch.zeros(1))
        if hasattr(part, "delay_buffer"):
            setattr(part, "delay_buffer", None)  # noqa: B010 - torch types it as a module
