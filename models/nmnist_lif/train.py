"""Train nmnist_lif from its seed: ``make train MODEL=nmnist_lif``."""

from __future__ import annotations

from pathlib import Path

import torch

from models.nmnist_mlp.network import Network
from models.training import TrainingPlan, train

PLAN = TrainingPlan()

if __name__ == "__main__":
    torch.manual_seed(PLAN.seed)
    train(Network(current_decay=1.0), Path(__file__).parent, PLAN)
