"""The number of cores of a machine changes no bit of what is calibrated and compressed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hardware_targets import load_target
from pipeline.line import Line
from pipeline.model_folder import find_model
from pipeline.recipe import Recipe


@pytest.fixture
def calibrated_with(tmp_path: Path, dense_chain: Any) -> Any:
    from sweeps import write_net_model

    model = write_net_model(tmp_path / "wide", dense_chain((200, 24, 5), n_steps=20))
    recipe = Recipe.model_validate({"calibration": {"n_samples": 20}})

    def run(n_threads: int) -> Any:
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(n_threads)
        try:
            out = tmp_path / f"threads{n_threads}"
            line = Line(find_model(str(model)), recipe, load_target("loihi1"), out, out / "store")
            line.run("compress")
        finally:
            torch.set_num_threads(before)
        return line

    return run


def test_curvature_and_weights_are_the_same_with_one_thread_and_two(calibrated_with: Any) -> None:
    from pipeline.artifact import load_artifact

    one, two = calibrated_with(1), calibrated_with(2)
    first, second = (load_artifact(x.path("calibrate")).curvatures for x in (one, two))
    for name in first:
        assert np.array_equal(first[name].hessian, second[name].hessian)
    one_parts, two_parts = (load_artifact(x.path("compress")) for x in (one, two))
    assert one_parts.keys() == two_parts.keys()
    for name, part in one_parts.items():
        assert np.array_equal(part.weight, two_parts[name].weight)
