"""Train sew_digits from its seed: ``make train MODEL=sew_digits``."""

from __future__ import annotations

from pathlib import Path

import torch
import yaml

from models.deep.sew_resnet import SewResNet
from models.training import TrainingPlan, save_state, train

FOLDER = Path(__file__).parent

if __name__ == "__main__":
    description = yaml.safe_load((FOLDER / "model.yaml").read_text(encoding="utf-8"))
    plan = TrainingPlan(
        n_epochs=10, learning_rate=4e-3, max_shift_px=1, n_steps=description["n_steps"],
        loss="cross_entropy")
    torch.manual_seed(plan.seed)
    net = SewResNet(**description["arguments"])
    train(net, FOLDER, plan)
    net.fit_scales()
    save_state(net.state_dict(), FOLDER / "checkpoint.pt")
