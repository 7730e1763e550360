"""Train spike_digits from its seed, in its published form: ``make train MODEL=spike_digits``."""

from __future__ import annotations

from pathlib import Path

import torch
import yaml

from models.deep.spike_transformer import SpikeTransformer
from models.deep.spike_transformer_copies import copied
from models.deep.spike_transformer_published import PublishedSpikeTransformer
from models.training import TrainingPlan, evaluate, save_state, train

FOLDER = Path(__file__).parent

if __name__ == "__main__":
    description = yaml.safe_load((FOLDER / "model.yaml").read_text(encoding="utf-8"))
    plan = TrainingPlan(
        n_epochs=14, learning_rate=4e-3, max_shift_px=1, n_steps=description["n_steps"],
        loss="cross_entropy")
    torch.manual_seed(plan.seed)
    published = PublishedSpikeTransformer(**description["arguments"])
    train(published, FOLDER, plan)
    net = SpikeTransformer(**description["arguments"])
    copied(published.eval(), net)
    save_state(net.state_dict(), FOLDER / "checkpoint.pt")
    print(f"with a copy for every reader {evaluate(net, 'test', plan.n_steps):.4f}")
