"""Chips as data: capacities, widths and prices with their sources, and the rules they impose."""

from __future__ import annotations

from hardware_targets.quantity import Quantity
from hardware_targets.rules import LayerFacts, Violation, check_layers
from hardware_targets.schema import (
    NeuronFamily,
    PriceSet,
    Target,
    TargetFileError,
    list_targets,
    load_target,
)

__all__ = [
    "LayerFacts",
    "NeuronFamily",
    "PriceSet",
    "Quantity",
    "Target",
    "TargetFileError",
    "Violation",
    "check_layers",
    "list_targets",
    "load_target",
]
