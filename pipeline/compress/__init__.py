"""Spiking Brain Compression on arrays: curvature, pruning, quantization. Knows no chip."""

from __future__ import annotations

from pipeline.compress.curvature import accumulate_hessian, damped, filter_spikes
from pipeline.compress.gptq import GptqQuantizer, Grid, Quantized
from pipeline.compress.obs import Pruned, prune
from pipeline.compress.scale import ScaledGrid, search_scale

__all__ = [
    "GptqQuantizer", "Grid", "Pruned", "Quantized", "ScaledGrid",
    "accumulate_hessian", "damped", "filter_spikes", "prune", "search_scale",
]
