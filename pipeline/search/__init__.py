"""Searches: mixed precision and sparsity per layer, from a good front to a better one."""
