"""The report's files are whole, repeat byte by byte, and hold what was deployed."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.errors import OutputError
from pipeline.recipe import load_recipe
from pipeline.report import build_document, write_report
from pipeline.report.csv_files import as_csv

FILES = ("report.json", "report.html", "layers.csv", "cores.csv", "steps.csv", "recipe.yaml",
         "thresholds.yaml")


def test_two_runs_write_identical_bytes_and_no_path_of_this_machine(
    bench: Callable[..., Any], tmp_path: Path
) -> None:
    context = bench()
    assert write_report(context).files == FILES
    first = {name: (context.out / name).read_bytes() for name in FILES}
    write_report(context)
    assert first == {name: (context.out / name).read_bytes() for name in FILES}
    assert {path.name for path in context.out.iterdir()} == {
        *FILES, "network.net", "network.nir", "checkpoint.pt"}
    for content in first.values():
        assert str(tmp_path) not in content.decode()
    assert json.loads(first["report.json"]) == build_document(context)


def test_csv_files_carry_every_number_of_their_rows(bench: Callable[..., Any]) -> None:
    context = bench(neurons_per_core=7)
    write_report(context)
    document = build_document(context)
    for name in ("layers", "cores"):
        with (context.out / f"{name}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == len(document[name])
        for row, expected in zip(rows, document[name], strict=True):
            for key, value in expected.items():
                if isinstance(value, dict):
                    for part, number in value.items():
                        assert float(row[f"{key}.{part}"]) == number
                elif isinstance(value, (int, float)):
                    assert float(row[key]) == value
                elif isinstance(value, str):
                    assert row[key] == value


def test_name_that_would_be_a_formula_is_text_in_a_spreadsheet() -> None:
    text = as_csv([{"layer": "=1+2", "n": -3, "of": [1, 2]}, {"layer": 'a,"b', "n": None}])
    assert text == 'layer,n,of\n\'=1+2,-3,1 2\n"a,""b",,\n'


def test_json_keeps_lists_of_numbers_on_one_line(bench: Callable[..., Any]) -> None:
    context = bench()
    write_report(context)
    lines = (context.out / "report.json").read_text().splitlines()
    assert not any(line.strip().rstrip(",").isdigit() for line in lines)


def test_recipe_file_is_the_recipe(bench: Callable[..., Any]) -> None:
    context = bench()
    write_report(context)
    assert load_recipe(context.out / "recipe.yaml") == context.recipe
    assert (context.out / "recipe.yaml").read_text().startswith("#")


def test_thresholds_file_holds_the_deployed_thresholds(bench: Callable[..., Any]) -> None:
    context = bench()
    write_report(context)
    thresholds = yaml.safe_load((context.out / "thresholds.yaml").read_text())
    dense = {layer.name: layer.neuron for layer in context.value("ingest").network.layers}
    for layer in context.value("quantize").network.layers:
        entry = thresholds[layer.name]
        assert entry["vth_mant"] == layer.neuron.vth_mant
        assert entry["vth_mant_dense"] == dense[layer.name].vth_mant
        assert entry["threshold_scale"] == layer.neuron.vth_mant / dense[layer.name].vth_mant


def test_file_that_cannot_be_written_is_named_and_leaves_no_fragment(
    bench: Callable[..., Any]
) -> None:
    context = bench()
    (context.out / "report.html").mkdir()
    with pytest.raises(OutputError, match=r"report\.html: cannot be written"):
        write_report(context)
    assert not list(context.out.glob("*.tmp"))
    json.loads((context.out / "report.json").read_text())


def test_earlier_report_survives_a_failed_write(
    bench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    context = bench()
    (context.out / "report.json").write_text("earlier")

    def fail(source: Path, target: Path) -> None:
        assert Path(source).stat().st_size > 1000  # written whole before it replaces anything
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OutputError, match=r"report\.json: cannot be written \(No space left"):
        write_report(context)
    assert (context.out / "report.json").read_text() == "earlier"
    assert not list(context.out.glob("*.tmp"))


def test_unusable_folder_is_an_output_error(bench: Callable[..., Any], tmp_path: Path) -> None:
    context = bench()
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"network\.nir: cannot be read"):
        write_report(replace(context, out=tmp_path / "file"))
