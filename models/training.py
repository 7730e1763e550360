"""The training loop the bundled networks share: SLAYER, Adam, a loss on rates, one seed.

In: a SLAYER module and the training split. Out: the state dict of the last epoch, written beside
the module. Accuracy is measured on the validation split after each epoch, and on the test split
once, at the end; nothing is chosen by either.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lava.lib.dl import slayer
from numpy.typing import NDArray
from rich.progress import track

from models.data.source import DataSource
from models.data.splits import load_split
from pipeline.errors import DataError

EMULATED = DataSource()


@dataclass(frozen=True)
class TrainingPlan:
    """What is needed, besides the code, to train a network again.

    Attributes
    ----------
    n_epochs, batch_size, seed : as named
    learning_rate : of Adam, annealed to zero along a cosine over all epochs
    true_rate, false_rate : target spikes per step of the labelled and of the other outputs
    max_shift_px : each training sample is shifted by up to so many pixels in x and y
    n_steps : time steps of a sample
    loss : rate, the squared distance of output rates to their targets; or, of a network that is
        read by its voltages, cross_entropy of their mean over time
    """

    n_epochs: int = 20
    batch_size: int = 32
    learning_rate: float = 1e-3
    true_rate: float = 0.2
    false_rate: float = 0.03
    max_shift_px: int = 0
    seed: int = 1
    n_steps: int = 60
    loss: Literal["rate", "cross_entropy"] = "rate"


def train(
    module: torch.nn.Module, folder: Path, plan: TrainingPlan, source: DataSource = EMULATED, *,
    after_step: Callable[[], None] = lambda: None, keeps_statistics: bool = False,
) -> float:
    """Train ``module``, write ``folder/checkpoint.pt`` and return the test accuracy (0 to 1).

    Parameters
    ----------
    after_step : called when the optimizer has changed the weights
    keeps_statistics : whether normalization keeps the mean and variance it has
    """
    torch.set_flush_denormal(True)  # surrogate gradients decay into denormals, slow on x86
    rng = np.random.default_rng(plan.seed)
    spikes, labels = _packed(source, "train", plan.n_steps)
    optimizer = torch.optim.Adam(module.parameters(), lr=plan.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, plan.n_epochs)
    loss_of = _loss(plan)
    for epoch in range(plan.n_epochs):
        start, total_loss, n_right = time.perf_counter(), 0.0, 0
        module.train(not keeps_statistics)
        order = rng.permutation(len(labels))
        batches = [order[i : i + plan.batch_size] for i in range(0, len(order), plan.batch_size)]
        for batch in track(batches, description=f"epoch {epoch + 1}/{plan.n_epochs}"):
            output = module(_unpack(spikes[batch], plan.n_steps, plan.max_shift_px, rng))
            target = torch.from_numpy(labels[batch])
            loss = loss_of(output, target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            after_step()
            total_loss += float(loss)
            n_right += int((slayer.classifier.Rate.predict(output) == target).sum())
        schedule.step()
        print(
            f"epoch {epoch + 1:3d}/{plan.n_epochs}  loss {total_loss / len(labels):8.3f}  "
            f"train {n_right / len(labels):.4f}  "
            f"validation {evaluate(module, 'validation', plan.n_steps, source):.4f}  "
            f"{time.perf_counter() - start:.0f} s",
            flush=True,
        )
        save_state(module.state_dict(), folder / "checkpoint.pt")
    accuracy = evaluate(module, "test", plan.n_steps, source)
    print(f"test accuracy {accuracy:.4f} ({source.kind})")
    return accuracy


@torch.no_grad()
def evaluate(
    module: torch.nn.Module, split: str, n_steps: int = TrainingPlan.n_steps,
    source: DataSource = EMULATED,
) -> float:
    """Return the share of a split that the module classifies by its most active output."""
    module.eval()
    spikes, labels = _packed(source, split, n_steps)
    n_right = 0
    for i in range(0, len(labels), 100):
        output = module(_unpack(spikes[i : i + 100], n_steps))
        predicted = slayer.classifier.Rate.predict(output)
        n_right += int((predicted == torch.from_numpy(labels[i : i + 100])).sum())
    return n_right / len(labels)


def save_state(state: dict[str, Any], path: Path) -> None:
    """Write a state dict whole or not at all."""
    partial = path.with_suffix(".tmp")
    torch.save(state, partial)
    os.replace(partial, path)


def _loss(plan: TrainingPlan) -> Any:
    """Return what is made small, of outputs (n, classes, t) and labels (n,)."""
    if plan.loss == "rate":
        return slayer.loss.SpikeRate(plan.true_rate, plan.false_rate, reduction="sum")
    entropy = torch.nn.CrossEntropyLoss(reduction="sum")
    return lambda output, labels: entropy(output.mean(dim=-1), labels)


def _packed(
    source: DataSource, split: str, n_steps: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the spikes of a split packed along time, eight steps to a byte, and the labels.

    Raises
    ------
    DataError
        If they are graded, which does not pack.
    """
    data = load_split(source, split, n_steps, None)
    if data.spikes.dtype != np.uint8:
        raise DataError(f"{data.origin}: graded input; training here takes binary spikes")
    return np.packbits(data.spikes, axis=-1), data.labels


def _unpack(
    packed: NDArray[np.uint8], n_steps: int, max_shift_px: int = 0,
    rng: np.random.Generator | None = None,
) -> torch.Tensor:
    spikes = np.unpackbits(packed, axis=-1, count=n_steps)
    if rng is not None and max_shift_px:
        for n, (dy, dx) in enumerate(
            rng.integers(-max_shift_px, max_shift_px + 1, (len(spikes), 2))
        ):
            spikes[n] = np.roll(spikes[n], (dy, dx), axis=(1, 2))
    return torch.from_numpy(spikes).float()
