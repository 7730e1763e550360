"""Train nmnist_cnn from its seed: ``make train MODEL=nmnist_cnn``."""

from __future__ import annotations

from pathlib import Path

import torch

from models.nmnist_cnn.network import Network
from models.training import TrainingPlan, train

PLAN = TrainingPlan(n_epochs=14, learning_rate=2e-3, max_shift_px=1)

if __name__ == "__main__":
    torch.manual_seed(PLAN.seed)
    train(Network(), Path(__file__).parent, PLAN)
