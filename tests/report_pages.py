"""What the tests of the report in a browser share: the browser, and a page."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import Chromium


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    chromium = Chromium(tmp_path_factory.mktemp("chromium"))
    yield chromium
    chromium.close()


@pytest.fixture
def document(bench: Callable[..., Any]) -> dict[str, Any]:
    from pipeline.report import build_document

    return build_document(bench(neurons_per_core=7))


@pytest.fixture
def page(document: dict[str, Any], tmp_path: Path) -> Path:
    return written(document, tmp_path)


def written(document: dict[str, Any], folder: Path) -> Path:
    from pipeline.report import render_html

    page = folder / "page.html"
    page.write_text(render_html(document), encoding="utf-8")
    return page


def with_many_cores(document: dict[str, Any], n_cores: int) -> dict[str, Any]:
    """Return a document whose cores are repeated over as many chips as they fill."""
    large, mesh = copy.deepcopy(document), document["chips"]
    tiles = list(itertools.product(range(mesh["n_tile_rows"]), range(mesh["n_tile_columns"])))
    own = itertools.cycle(sorted(large["cores"], key=lambda core: core["index"]))
    large["cores"] = []
    for index in range(n_cores):
        chip, slot = divmod(index, mesh["n_cores_per_chip"])
        y, x = tiles[slot // mesh["n_cores_per_tile"]]
        large["cores"].append(
            next(own) | {"index": index, "chip": chip, "tile_x": x, "tile_y": y,
                         "synapse_memory_bits": 37 * index % 1009})
    large["chips"]["n_chips"] = -(-n_cores // mesh["n_cores_per_chip"])
    return large
