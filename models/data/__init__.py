"""Digits, the event camera that turns them into spikes, and the splits that never move."""
