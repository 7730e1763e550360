"""Chips as data: capacities, widths and prices with their sources, and the rules they impose."""

from __future__ import annotations

from hardware_targets.accumulation import check_accumulation
from hardware_targets.facts import LayerFacts, Violation
from hardware_targets.loading import TargetFileError, list_targets, load_target
from hardware_targets.prices import EventTimes, PriceSet, System
from hardware_targets.quantity import Quantity
from hardware_targets.rules import check_layers
from hardware_targets.schema import NeuronFamily, SynapseFormat, Target
from hardware_targets.time_table import TimeTable

__all__ = [
    "EventTimes",
    "LayerFacts",
    "NeuronFamily",
    "PriceSet",
    "Quantity",
    "SynapseFormat",
    "System",
    "Target",
    "TargetFileError",
    "TimeTable",
    "Violation",
    "check_accumulation",
    "check_layers",
    "list_targets",
    "load_target",
]
