"""Threads of the libraries that compute: one, where processes share the cores, or bits are to last.

Sums of floats depend on how threads share them out, and a mask or a scale may hang on the last bit:
on nmnist_cnn at 2 bits a threshold moved by 11 % between one thread and two. Torch therefore
calibrates and compresses with one thread, so that a recipe gives the same bits on any number of
cores. What is compiled with numba sums integers and may use all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numba
import torch


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Let torch compute with one thread inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread inside the block, whatever the library."""
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        with one_torch_thread():
            yield
    finally:
        numba.set_num_threads(before)


def one_thread_for_good() -> None:
    """Compute with one thread from now on in the calling thread.

    Several threads of a process cannot each use :func:`one_thread`: torch's number is all
    threads', and the first to leave would give it back under the others.
    """
    numba.set_num_threads(1)
    torch.set_num_threads(1)
