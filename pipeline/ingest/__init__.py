"""Readers of trained networks; each returns a :class:`pipeline.network.Network`."""
