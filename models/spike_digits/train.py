"""Train spike_digits from its seed, in its published form: ``make train MODEL=spike_digits``."""

from __future__ import annotations

from pathlib import Path

import torch
import yaml

from models.deep.spike_transformer_published import PublishedSpikeTransformer
from models.training import TrainingPlan, train

FOLDER = Path(__file__).parent

if __name__ == "__main__":
    description = yaml.safe_load((FOLDER / "model.yaml").read_text(encoding="utf-8"))
    plan = TrainingPlan(
        n_epochs=14, learning_rate=4e-3, max_shift_px=1,
        n_steps=description["n_steps"] - description["data"]["n_silent_steps"],
        loss="cross_entropy")
    torch.manual_seed(plan.seed)
    train(PublishedSpikeTransformer(**description["arguments"]), FOLDER, plan)
