"""The files of a sweep agree; fronts are exact; the page stands alone."""

from __future__ import annotations

import csv
import html.parser
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sweeps import GRID, run_sweep, write_net_model

from pipeline.sweep.document import columns_of
from pipeline.sweep.figures import Axis, x_axis
from pipeline.sweep.fronts import pareto
from pipeline.sweep.page import render_page
from pipeline.sweep.plots import calibration_plot

WIDE = {**GRID, "recipe": {k: v for k, v in GRID["recipe"].items() if k != "calibration"},
        "n_calibration": [5, 20], "method": ["sbc", "magnitude"], "sensitivity": True}


class Page(html.parser.HTMLParser):
    """Rows of the table of trials, links, identifiers and what is loaded from elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: dict[str, list[Any]] = {}
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.foreign: list[str] = []
        self._row: list[Any] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if given.get("id"):
            self.ids.add(str(given["id"]))
        if tag == "a":
            self.links.append(str(given["href"]))
        if tag in ("script", "link", "img", "iframe") or "src" in given:
            self.foreign.append(tag)
        if tag == "tr" and str(given.get("id", "")).startswith("t-"):
            self._row = self.rows.setdefault(str(given["id"])[2:], [])
        elif tag == "td" and self._row is not None:
            self._row.append(given.get("data-n"))

    def handle_endtag(self, tag: str) -> None:
        if tag == "tr":
            self._row = None


@pytest.fixture(scope="module")
def wide(tmp_path_factory: Any, dense_chain: Callable[..., Any]) -> Path:
    """The folder of a study with every axis."""
    folder = tmp_path_factory.mktemp("wide")
    model = write_net_model(folder / "small", dense_chain((12, 16, 5), n_steps=20))
    out: Path = run_sweep(model, WIDE, folder / "out").out
    return out


def test_csv_json_and_page_say_the_same(wide: Path) -> None:
    out = wide
    document = json.loads((out / "sweep.json").read_text())
    rows = document["trials"]
    with (out / "trials.csv").open() as file:
        lines = list(csv.DictReader(file))
    page = Page((out / "report.html").read_text())
    columns = [name for name in columns_of(rows) if name not in ("key", "recipe")]
    assert len(rows) == len(lines) == len(page.rows) == 32
    assert [r["key"] for r in rows] == [line["key"] for line in lines] == list(page.rows)
    for row, line in zip(rows, lines, strict=True):
        for name, shown in zip(columns, page.rows[row["key"]], strict=True):
            value = row.get(name)
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                assert float(line[name]) == value == float(shown)
            else:
                assert line[name] == ("" if value is None else str(value)) and shown is None


def test_every_point_leads_to_its_row_and_every_row_to_its_recipe(wide: Path) -> None:
    out = wide
    page = Page((out / "report.html").read_text())
    inside = {link[1:] for link in page.links if link.startswith("#")}
    assert inside <= page.ids and {f"t-{key}" for key in page.rows} <= inside
    outside = {link for link in page.links if not link.startswith("#")}
    assert all((out / link).is_file() for link in outside)
    assert len([link for link in outside if link.startswith("recipes/")]) == 16
    assert page.foreign == []


def test_every_plotted_point_stands_where_its_row_of_the_csv_says(wide: Path) -> None:
    with (wide / "trials.csv").open() as file:
        lines = {line["key"]: line for line in csv.DictReader(file)}
    fronts = json.loads((wide / "sweep.json").read_text())["fronts"]
    text = (wide / "report.html").read_text()
    drawings = re.findall(r'<svg class="plot".*?</svg>', text, re.DOTALL)
    for front, drawing in zip(fronts, drawings, strict=False):
        points = re.findall(
            r'<a href="#t-(\w+)".*?cx="([\d.]+)" cy="([\d.]+)".*?<title>([\d.]+)\s%, ', drawing)
        rows = [lines[key] for key, *_ in points]
        fitting = [key for key in lines if lines[key]["target"] == front["target"]]
        assert sorted(key for key, *_ in points) == sorted(fitting)
        costs = np.array([float(row[front["cost"]]) for row in rows])
        accuracies = np.array([float(row["accuracy_frac"]) for row in rows])
        x, y = (np.array([float(point[i]) for point in points]) for i in (1, 2))
        is_log = costs.max() / costs.min() > 20
        assert_on_a_line(np.log(costs) if is_log else costs, x, rising=True)
        assert_on_a_line(accuracies, y, rising=False)  # SVG counts from above
        assert [point[3] for point in points] == [f"{100 * a:.1f}" for a in accuracies]
    assert len(fronts) >= 8


def assert_on_a_line(values: Any, places: Any, *, rising: bool) -> None:
    """Require places that are a linear function of values, but for their one decimal."""
    if np.ptp(values) == 0:
        assert np.ptp(places) == 0
        return
    slope, offset = np.polyfit(values, places, 1)
    assert (slope > 0) == rising
    assert np.abs(slope * values + offset - places).max() < 0.11


def test_many_lines_have_no_legend_that_repeats_its_colors(wide: Path) -> None:
    document = json.loads((wide / "sweep.json").read_text())
    plot = calibration_plot(document)
    assert plot is not None and len(plot.lines) == 8
    assert len({line.style for line in plot.lines}) == 8 == len({x.label for x in plot.lines})
    more = {**document, "axes": {**document["axes"], "bits": [3, 8, 9]}, "trials": [
        *document["trials"], *({**row, "bits": 9} for row in document["trials"])]}
    plot = calibration_plot(more)
    assert plot is not None and len(plot.lines) == 12
    assert {(line.style, line.label) for line in plot.lines} == {(6, "")}
    assert "12 lines, one a configuration" in render_page(more)


def test_names_of_users_are_escaped(wide: Path) -> None:
    document = json.loads((wide / "sweep.json").read_text())
    document["model"]["description"] = "<script>alert(1)</script>"
    document["trials"][0]["reason"] = "<b>bold</b>"
    text = render_page(document)
    assert "<script" not in text and "<b>bold" not in text


def test_an_unfinished_or_failed_sweep_has_a_page(wide: Path) -> None:
    document = json.loads((wide / "sweep.json").read_text())
    unfinished = {**document, "trials": [], "fronts": [], "sensitivity": [],
                  "accuracy_dense_frac": None, "data_origin": None}
    assert "Sweep of small" in render_page(unfinished)
    failed = [{**row, "status": "failed", "reason": "why", "accuracy_frac": None}
              for row in document["trials"]]
    assert "why" in render_page({**document, "trials": failed, "fronts": []})


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=30))
def test_a_front_is_what_nothing_dominates(points: list[tuple[int, int]]) -> None:
    rows = [{"key": i, "accuracy_frac": a, "cost": c} for i, (a, c) in enumerate(points)]
    found = {row["key"] for row in pareto(rows, "cost")}
    expected = {
        i for i, (a, c) in enumerate(points)
        if not any(b >= a and d <= c and (b > a or d < c) for b, d in points)}
    assert found == expected


@given(st.lists(st.floats(1e-3, 1e12), min_size=1, max_size=20))
def test_an_axis_holds_every_value_and_has_few_ticks(values: list[float]) -> None:
    axis = x_axis(values)
    low, high = sorted((axis.begin, axis.end))
    assert all(low - 0.1 <= axis(value) <= high + 0.1 for value in values)
    ticks = axis.ticks(str)
    assert len(ticks) <= 16 and all(low - 0.1 <= tick.at <= high + 0.1 for tick in ticks)


def test_ticks_are_round() -> None:
    assert [t.text for t in Axis(0.0, 1.0, 0, 100).ticks("{:.1f}".format)] == [
        "0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
    assert [t.text for t in Axis(1.0, 1000.0, 0, 100, True).ticks("{:g}".format)] == [
        "1", "10", "100", "1000"]


def test_columns_keep_the_order_of_rows() -> None:
    assert columns_of([{"a": 1, "c": 2}, {"a": 1, "b": 3, "c": 4, "d": 5}]) == ["a", "b", "c", "d"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium here")
def test_the_page_opens_in_a_browser(
    net_model: Path, sweep: Callable[..., Any], tmp_path: Path
) -> None:
    out = sweep(net_model, WIDE).out
    picture = tmp_path / "page.png"
    done = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1200,6000",
         f"--screenshot={picture}", f"--user-data-dir={tmp_path / 'profile'}",
         (out / "report.html").as_uri()], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and picture.stat().st_size > 50_000, done.stderr
    dom = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom",
         f"--user-data-dir={tmp_path / 'profile'}", (out / "report.html").as_uri()],
        capture_output=True, text=True, timeout=120).stdout
    assert len(Page(dom).rows) == 32 and np.isfinite(len(dom))
