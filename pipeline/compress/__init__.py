"""Spiking Brain Compression on arrays: curvature, pruning, quantization. Knows no chip."""

from __future__ import annotations

from pipeline.compress.curvature import accumulate_cross, accumulate_hessian, damped
from pipeline.compress.filters import filter_input, filter_spikes
from pipeline.compress.gptq import GptqQuantizer, Grid, NearestQuantizer, Quantized, Quantizer
from pipeline.compress.prune import INPUTS, Pruned, Pruning, prune
from pipeline.compress.scale import ScaledGrid, Scaling, search_scale, search_step

__all__ = [
    "INPUTS", "GptqQuantizer", "Grid", "NearestQuantizer", "Pruned", "Pruning", "Quantized",
    "Quantizer", "ScaledGrid", "Scaling", "accumulate_cross", "accumulate_hessian", "damped",
    "filter_input", "filter_spikes", "prune", "search_scale", "search_step",
]
