"""Which samples of a set on the user's disk train, calibrate, validate and test.

In: the items of a set's training and of its test part. Out: those of a split, in an order that
never changes. Sets that come without a test part give the last tenth of every class to it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.errors import DataError

Item = tuple[str, int]  # what it is read from, and its label
N_CALIBRATION, N_VALIDATION = 1000, 1000  # of the training part, a tenth of it at most
_SEED = 0


def chosen(
    train: Sequence[Item], test: Sequence[Item], split: str, n_samples: int | None, where: str
) -> list[Item]:
    """Return the first ``n_samples`` of a split (all of it if None).

    Raises
    ------
    DataError
        If the split holds fewer; ``where`` says where the set is.
    """
    items = list(test if split == "test" else train)
    order = np.random.default_rng(_SEED).permutation(len(items))
    if split != "test":
        n_calibration, n_validation = (
            min(n, len(items) // 10) for n in (N_CALIBRATION, N_VALIDATION))
        begin, end = {
            "calibration": (0, n_calibration),
            "validation": (n_calibration, n_calibration + n_validation),
            "train": (n_calibration + n_validation, len(items)),
        }[split]
        order = order[begin:end]
    if len(order) < max(1, n_samples or 0):
        raise DataError(
            f"{split}: {n_samples or 'all'} samples asked for, {where} holds {len(order)} of this "
            "split; lower the number in the recipe, or unpack all of the set"
        )
    return [items[i] for i in order[: n_samples or len(order)]]


def parted(items: Sequence[Item]) -> tuple[list[Item], list[Item]]:
    """Return a training part and a test part, of the last tenth of every class."""
    train, test = list[Item](), list[Item]()
    for label in sorted({label for _, label in items}):
        own = [item for item in items if item[1] == label]
        n_train = len(own) - len(own) // 10
        train += own[:n_train]
        test += own[n_train:]
    return train, test
