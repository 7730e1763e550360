"""The rows of the report's two main tables: one per core, and one per layer that sums its cores.

In: the artifacts of a context. Out: plain dicts. A count per sample of a layer is the sum over its
cores, so that both tables, and every total made from them, agree.
"""

from __future__ import annotations

from math import fsum
from typing import Any

import numpy as np

from pipeline.account.counts import EVENTS
from pipeline.compress_synapse import CompressedSynapse
from pipeline.context import Context
from pipeline.mapping.placement import Core
from pipeline.network import Layer
from pipeline.report.document_time import core_times
from pipeline.windows import last_steps

Row = dict[str, Any]


def core_row(context: Context, core: Core) -> Row:
    """Return what one core holds, what of its limits that uses, and its events per sample."""
    energy, capacities = context.value("energy"), context.target.capacities
    memory_limit = capacities.synapse_memory_bits_per_core.value
    return {
        "index": core.index,
        "layer": core.layer,
        "region": [list(span) for span in core.region],
        "neurons_limit": capacities.neurons_per_core.value,
        "n_neurons": core.n_neurons,
        "chip": core.chip,
        "tile_x": core.tile_x,
        "tile_y": core.tile_y,
        # with several groups the format of the largest stands for all, as in the energy account
        "format": max(core.synapses, key=lambda group: group.memory_bits).format
        if core.synapses else "none",
        "synapse_memory_bits": core.synapse_bits,
        "synapse_memory_limit_bits": memory_limit,
        "synapse_memory_used_frac": core.synapse_bits / memory_limit,
        "input_axons": core.n_input_axons,
        "input_axons_limit": capacities.input_axons_per_core.value,
        "output_axons": core.n_output_axons,
        "output_axons_limit": capacities.output_axons_per_core.value,
        **{
            f"{event}_per_sample": int(energy.counts[event][:, core.index].sum()) / energy.n_samples
            for event in EVENTS
        },
        # a set that prices nothing gives no figure, not zero
        "energy_pj_per_sample": {
            prices.name: float(prices.by_core_pj[core.index]) if prices.by_event_pj else None
            for prices in energy.price_sets
        },
        "work_ns_per_step": {
            prices.name: core_times(prices, core.index)[0] for prices in energy.price_sets},
        "slowest_of_steps_frac": {
            prices.name: core_times(prices, core.index)[1] for prices in energy.price_sets},
    }


def layer_row(context: Context, layer: Layer, cores: list[Row]) -> Row:
    """Return what compression did to one layer, and the sums over its cores.

    Parameters
    ----------
    cores : rows of `core_row`, of all layers
    """
    dense = context.value("ingest").network.layer(layer.name)
    # before joins are resolved a layer has one group, or two of complex weights
    synapse = dense.synapses[0]
    groups = () if dense.is_driven else dense.synapses
    n_dense = sum(group.n_weights for group in groups)
    n_dense_nonzero = sum(int(np.count_nonzero(group.weight)) for group in groups)
    compressed = context.value("compress")
    parts = [compressed[group.name] for group in dense.synapses if group.name in compressed]
    own = [core for core in cores if core["layer"] == layer.name]
    sums = {f"{event}_per_sample": fsum(c[f"{event}_per_sample"] for c in own) for event in EVENTS}
    n_activations = layer.n_neurons * context.value("energy").n_steps
    executed = sums["executed_synops_per_sample"]
    stored = () if layer.is_driven else layer.synapses
    n_nonzero = sum(int(np.count_nonzero(group.weight)) for group in stored)
    # a sum is stored as copies of the same weights; shares are of weights, not of copies
    n_left = context.value("quantize").n_nonzero(layer.name)
    return {
        "name": layer.name,
        "synapse": synapse.name,
        "source": ", ".join(group.source for group in layer.synapses),
        "kind": synapse.kind,
        "weight_shape_dense": list(synapse.weight.shape),
        "weight_shapes": [list(group.weight.shape) for group in layer.synapses],
        "n_neurons_dense": dense.n_neurons,
        "n_neurons": layer.n_neurons,
        "n_weights_dense": n_dense,
        "n_weights": sum(group.n_weights for group in stored),
        "n_weights_nonzero": n_nonzero,
        "connection_sparsity_dense_frac": 1 - n_dense_nonzero / n_dense if n_dense else None,
        # of the weights as trained, or a layer that shrank would seem less sparse than it is
        "connection_sparsity_frac": 1 - n_left / n_dense if n_dense else None,
        "weight_bits_dense": None if dense.is_driven else synapse.weight_bits,
        "weight_bits": max((group.weight_bits or 0 for group in layer.stored_groups), default=None),
        "weight_bits_inferred_by_netx": context.value("lava").weight_bits.get(layer.name),
        "vth_mant_dense": dense.neuron.vth_mant,
        "vth_mant": layer.neuron.vth_mant,
        **_compression(dense, parts),
        "loss_executed_per_sample": context.value("emulate").executed_losses[layer.name],
        "firing_rate_dense_per_step": _dense_rate(context, dense),
        "firing_rate_per_step": sums["spikes_per_sample"] / n_activations,
        "n_cores": len(own),
        "n_cores_decided_by": context.value("place").cuts[layer.name].limit or "one core holds it",
        "formats": sorted({core["format"] for core in own}),
        "synapse_memory_bits": sum(core["synapse_memory_bits"] for core in own),
        **sums,
        "energy_pj_per_sample": {
            prices.name: fsum(core["energy_pj_per_sample"][prices.name] for core in own)
            if prices.by_event_pj else None
            for prices in context.value("energy").price_sets
        },
        "effective_share_of_executed_frac":
            sums["effective_synops_per_sample"] / executed if executed else None,
    }


def _dense_rate(context: Context, layer: Layer) -> float | None:
    """Return spikes per neuron and step of the whole sample; None if calibration left some out."""
    network, n_steps = context.value("ingest").network, context.value("energy").n_steps
    _, sent_until = last_steps(network, n_steps)[layer.name]
    rates = context.value("calibrate").rates[layer.name]
    return float(np.mean(rates)) if sent_until == n_steps else None


def _compression(dense: Layer, parts: list[CompressedSynapse]) -> Row:
    """Return what became of the weights of a layer; of one that was left alone, next to nothing."""
    if not parts:
        bits = dense.synapses[0].weight_bits
        return {
            "n_weights_kept": dense.synapses[0].n_weights, "mask_by": "left alone",
            "loss_over_greedy_obs": None, "weight_bits_asked": bits, "weight_step_exp": 1,
            "weight_scale": 1.0, "pruning_loss_predicted_per_sample": 0.0,
            "quantization_loss_predicted_per_sample": 0.0, "n_weights_clipped": 0,
            "n_weights_rounded_to_zero": 0,
        }
    ratios = [part.relative_loss for part in parts if part.relative_loss is not None]
    return {
        "n_weights_kept": sum(part.n_kept for part in parts), "mask_by": parts[0].algorithm,
        "loss_over_greedy_obs": max(ratios) if ratios else None,
        "weight_bits_asked": max(part.level.bits for part in parts),
        "weight_step_exp": min(part.step_exp for part in parts),
        "weight_scale": parts[0].vth_mant / dense.neuron.nominal_vth,
        "pruning_loss_predicted_per_sample": float(sum(part.pruning_loss for part in parts)),
        "quantization_loss_predicted_per_sample":
            float(sum(part.quantization_loss for part in parts)),
        "n_weights_clipped": sum(part.n_out_of_grid for part in parts),
        "n_weights_rounded_to_zero": sum(part.n_rounded_to_zero for part in parts),
    }
