"""Sweeps: a grid of configurations over the layer bank, each evaluated, placed and priced once."""
