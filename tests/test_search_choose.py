"""What is chosen from a study: the least within the limits, else the nearest miss is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import RecipeError
from pipeline.search.choose import Limits, choose, explain, load_study, write_chosen


def row(key: str, accuracy: float, synops: float, **more: Any) -> dict[str, Any]:
    return {"key": key, "recipe": f"recipes/{key}.yaml", "bits": key, "target": "loihi1",
            "status": "fits", "n_validation_samples": 500, "accuracy_frac": accuracy,
            "n_cores": 3, "memory_bits": 1000, "executed_synops_per_sample": synops,
            "effective_synops_per_sample": synops, **more}


def study(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"trials": list(rows), "n_trials": len(rows), "accuracy_dense_frac": 0.95}


ROWS = (row("a", 0.95, 100.0), row("b", 0.94, 60.0, n_cores=5), row("c", 0.92, 30.0),
        row("d", 0.945, 70.0), row("e", 0.99, 1.0, status="does not fit"))


def test_the_least_within_the_limits_is_chosen_and_what_each_limit_cost_is_told() -> None:
    document = study(*ROWS)
    choice = choose(document, Limits(max_loss_points=1.0, max_cores=4), "executed_synops")
    assert (choice.row["key"], choice.n_eligible, choice.n_rows) == ("d", 2, 4)
    assert choice.runner_up is not None and choice.runner_up["key"] == "a"
    assert {what: found[0]["key"] for what, found in choice.cheaper.items()} == {
        "cores": "b", "loss of accuracy in points": "c"}
    told = "\n".join(explain(document, choice))
    for part in ("bits d", "94.5% on 500 validation", "95.0% as trained", "within one standard",
                 "2 within the limits, 4 that fit", "30 for a loss of accuracy in points of 3"):
        assert part in told, told


def test_a_limit_that_is_just_met_is_met() -> None:
    assert choose(study(*ROWS), Limits(max_loss_points=1.0), "synops").row["key"] == "b"
    assert choose(study(*ROWS), Limits(), "synops").row["key"] == "c"


def test_of_equal_costs_the_more_accurate_is_chosen() -> None:
    document = study(row("a", 0.9, 5.0), row("b", 0.91, 5.0))
    assert choose(document, Limits(), "synops").row["key"] == "b"


def test_where_nothing_keeps_to_the_limits_the_nearest_miss_is_named() -> None:
    with pytest.raises(RecipeError, match="none of 4.*nearest miss is bits a: cores 3, limit 2"):
        choose(study(*ROWS), Limits(max_loss_points=0.0, max_cores=2), "synops")


def test_price_sets_and_energy_are_costs_where_there_are_prices() -> None:
    priced = [row("a", 0.9, 1.0, energy_x_pj_per_sample=5.0, energy_x_low_pj_per_sample=1.0),
              row("b", 0.9, 2.0, energy_x_pj_per_sample=4.0, energy_x_low_pj_per_sample=2.0)]
    for least in ("energy", "x"):
        assert choose(study(*priced), Limits(), least).row["key"] == "b"
    with pytest.raises(RecipeError, match="no prices"):
        choose(study(*ROWS), Limits(), "energy")
    with pytest.raises(RecipeError, match="'joules' is none of"):
        choose(study(*ROWS), Limits(), "joules")


def test_studies_that_hold_nothing_to_choose_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="none fits"):
        choose(study(ROWS[-1]), Limits(), "synops")
    two = study(ROWS[0], row("z", 0.9, 1.0) | {"target": "loihi2"})
    with pytest.raises(RecipeError, match="loihi1, loihi2.*--target"):
        choose(two, Limits(), "synops")
    assert choose(two, Limits(), "synops", "loihi2").row["key"] == "z"
    with pytest.raises(RecipeError, match=r"sweep\.json: is not the result"):
        load_study(tmp_path)
    (tmp_path / "sweep.json").write_text("[]")
    with pytest.raises(RecipeError, match="is not the result"):
        load_study(tmp_path)


def test_the_recipe_of_the_chosen_row_is_written(tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "d.yaml").write_text("compress: {bits: 3}\n")
    (tmp_path / "sweep.json").write_text(json.dumps(study(*ROWS)))
    choice = choose(load_study(tmp_path), Limits(max_loss_points=0.5), "synops")
    assert write_chosen(tmp_path, choice.row).read_text() == "compress: {bits: 3}\n"
