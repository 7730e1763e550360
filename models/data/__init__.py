"""Digits, the event camera that turns them into spikes, and the splits that never move."""

from __future__ import annotations

from models.data.splits import SPLITS, SpikeSet, load_split

__all__ = ["SPLITS", "SpikeSet", "load_split"]
