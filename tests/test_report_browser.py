"""A browser shows the report as it should be seen: wide and narrow, light and dark, by keyboard."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import PATH, Chromium

from pipeline.report import build_document, render_html

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PATH is None, reason="no chromium: apt-get install chromium"),
]

HOSTILE = "</script><img src=x onerror=document.title='hit'>"
COLUMN = """Array.from(document.querySelectorAll("#%s tbody tr"))
    .filter((row) => !row.hidden).map((row) => row.cells[%d].textContent)"""
FILLS = """Array.from(document.querySelectorAll(".core"))
    .sort((a, b) => a.id.slice(5) - b.id.slice(5))
    .map((core) => core.querySelector("rect").getAttribute("fill"))"""
PICK = """(function () {
    const select = document.querySelector("%s");
    select.value = "%s";
    select.dispatchEvent(new Event("change"));
})()"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    chromium = Chromium(tmp_path_factory.mktemp("chromium"))
    yield chromium
    chromium.close()


@pytest.fixture
def document(bench: Callable[..., Any]) -> dict[str, Any]:
    return build_document(bench(neurons_per_core=7))


@pytest.fixture
def page(document: dict[str, Any], tmp_path: Path) -> Path:
    return written(document, tmp_path)


def written(document: dict[str, Any], folder: Path) -> Path:
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


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_page_needs_nothing_and_fits_the_screen(
    browser: Chromium, page: Path, width: int, scheme: str
) -> None:
    browser.show(page, width, scheme)
    assert browser.run("innerWidth") == width
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run("performance.getEntriesByType('resource').length") == 0
    assert browser.complaints() == []
    is_dark = scheme == "dark"
    brightness = browser.run(
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (max(brightness[:3]) < 60) == is_dark


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_contrast_as_computed(
    browser: Chromium, page: Path, scheme: str
) -> None:
    browser.show(page, 1280, scheme)
    low = browser.run("""(function () {
        function luminance(rgb) {
            const c = rgb.map((v) => v / 255)
                .map((v) => v <= 0.04045 ? v / 12.92 : Math.pow((v + 0.055) / 1.055, 2.4));
            return 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2];
        }
        function numbers(color) { return color.match(/[\\d.]+/g).map(Number); }
        function ground(node) {
            for (; node; node = node.parentElement) {
                const color = numbers(getComputedStyle(node).backgroundColor);
                if (color.length === 3 || color[3] > 0) return color.slice(0, 3);
            }
        }
        const low = [];
        document.querySelectorAll("body *").forEach((node) => {
            if (!node.innerText || node.closest("svg")) return;
            const ink = luminance(numbers(getComputedStyle(node).color).slice(0, 3));
            const paper = luminance(ground(node));
            const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
            if (ratio < 4.5) low.push(node.outerHTML.slice(0, 80) + " " + ratio);
        });
        document.querySelectorAll(".core").forEach((core) => {
            const [a, b] = ["rect", "text"].map((part) => luminance(numbers(
                getComputedStyle(core.querySelector(part)).fill).slice(0, 3)));
            const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
            if (ratio < 4.5) low.push(core.id + " " + ratio);
        });
        return low;
    })()""")
    assert low == []


def test_tables_sort_by_click_and_by_key(
    browser: Chromium, page: Path, document: dict[str, Any]
) -> None:
    browser.show(page, 1280)
    n = [core["n_neurons"] for core in document["cores"]]
    button = "document.querySelector('#table-cores thead th:nth-child(4) button')"
    state = f"{button}.closest('th').getAttribute('aria-sort')"
    browser.run(f"{button}.click()")
    assert [int(t) for t in browser.run(COLUMN % ("table-cores", 3))] == sorted(n)
    assert browser.run(state) == "ascending"
    browser.run(f"{button}.focus()")
    browser.press("Enter")
    assert [int(t) for t in browser.run(COLUMN % ("table-cores", 3))] == sorted(n, reverse=True)
    assert browser.run(state) == "descending"
    assert browser.run("document.querySelectorAll('#table-cores [aria-sort]').length") == 1
    # "core 10" comes after "core 9", and text sorts as text
    browser.run("document.querySelector('#table-cores thead button').click()")
    indices = [core["index"] for core in document["cores"]]
    assert [int(t) for t in browser.run(COLUMN % ("table-cores", 0))] == sorted(indices)
    assert browser.complaints() == []


def test_numbers_with_separators_and_missing_ones_sort_as_numbers(
    browser: Chromium, document: dict[str, Any], tmp_path: Path
) -> None:
    for core, n in zip(document["cores"], (12_345, 999, 1_000_000, 7), strict=False):
        core["input_axons"] = n
    document["cores"][0]["input_axons"] = None
    browser.show(written(document, tmp_path), 1280)
    browser.run("document.querySelector('#table-cores thead th:nth-child(10) button').click()")
    texts = browser.run(COLUMN % ("table-cores", 9))
    assert texts[-1] == "–"
    values = [int(text.replace(",", "")) for text in texts[:-1]]
    assert values == sorted(values) and values[-1] == 1_000_000


def test_layer_filter_narrows_tables_and_floorplan(
    browser: Chromium, page: Path, document: dict[str, Any]
) -> None:
    browser.show(page, 1280)
    name = document["layers"][1]["name"]
    own = [core for core in document["cores"] if core["layer"] == name]
    browser.run(PICK % (".layer-filter", "1"))
    for table in ("table-cores", "table-events"):
        assert browser.run(COLUMN % (table, 1)) == [name] * len(own)
    lit = "document.querySelectorAll('.core:not(.faint)').length"
    assert browser.run(lit) == len(own)
    assert f"{len(own)} of {len(document['cores'])}" in browser.run(
        "document.getElementById('n-shown').textContent")
    browser.run(PICK % (".layer-filter", ""))
    assert browser.run(lit) == len(document["cores"])


def test_floorplan_recolors_by_the_counter_that_is_picked(
    browser: Chromium, page: Path, document: dict[str, Any]
) -> None:
    browser.show(page, 1280)
    before = browser.run(FILLS)
    labels = browser.run(
        "Array.from(document.getElementById('counter').options).map((o) => o.textContent)")
    assert {"synapse memory", "neurons", "executed synops", "spikes", "messages out",
            "energy by davies2018", "energy by nahuku-fit"} <= set(labels)
    browser.run(PICK % ("#counter", labels.index("spikes")))
    after = browser.run(FILLS)
    spikes = [core["spikes_per_sample"] for core in document["cores"]]
    assert before != after
    busiest, stillest = spikes.index(max(spikes)), spikes.index(min(spikes))
    assert after[busiest] == "rgb(253, 231, 37)"
    assert (min(spikes) == 0) == (after[stillest] == "rgb(68, 1, 84)")
    assert browser.run("document.getElementById('legend-name').textContent").startswith("spikes")
    # the same color as without script
    browser.run(PICK % ("#counter", "0"))
    as_rgb = [f"rgb({int(c[1:3], 16)}, {int(c[3:5], 16)}, {int(c[5:7], 16)})" for c in before]
    assert browser.run(FILLS) == as_rgb


def test_cores_are_reached_by_arrow_keys_and_tell_their_numbers(
    browser: Chromium, page: Path, document: dict[str, Any]
) -> None:
    browser.show(page, 1280)
    assert browser.run("document.querySelectorAll('.core[tabindex=\"0\"]').length") == 1
    browser.run("document.getElementById('core-0').focus()")
    told = browser.run("document.getElementById('core-detail').textContent")
    assert told.startswith("core 0: ") and "energy by davies2018" in told
    browser.press("ArrowRight")
    chosen = browser.run("document.activeElement.id")
    assert chosen != "core-0"
    assert browser.run("document.querySelector('.core.chosen').id") == chosen
    told = browser.run("document.getElementById('core-detail').textContent")
    core = document["cores"][int(chosen[5:])]
    assert told.startswith(f"core {core['index']}: {core['layer']}, {core['n_neurons']} neurons")


def test_without_script_everything_can_be_read(
    browser: Chromium, document: dict[str, Any], page: Path
) -> None:
    browser.show(page, 1280, script=False)
    hidden = "document.querySelectorAll('.controls:not([hidden])').length"
    assert browser.run(hidden) == 0
    text = browser.run("document.body.innerText")
    for layer in document["layers"]:
        assert layer["name"] in text
    assert len(set(browser.run(FILLS))) > 1
    browser("Emulation.setScriptExecutionDisabled", value=False)


def test_thousand_cores_on_several_chips_stay_usable(
    browser: Chromium, document: dict[str, Any], tmp_path: Path
) -> None:
    large = with_many_cores(document, 1000)
    page = written(large, tmp_path)
    assert page.stat().st_size < 3e6
    browser.show(page, 360)
    assert browser.run("document.documentElement.scrollWidth") <= 360
    assert browser.run("document.querySelectorAll('.chip svg').length") == 8
    assert browser.run("document.querySelectorAll('.core').length") == 1000
    assert browser.run("document.querySelector('#table-cores').parentNode.clientHeight") < 900
    took = browser.run("""(function () {
        const begin = performance.now();
        document.querySelector("#table-cores thead th:nth-child(8) button").click();
        document.getElementById("counter").value = "1";
        document.getElementById("counter").dispatchEvent(new Event("change"));
        document.body.getBoundingClientRect();
        return performance.now() - begin;
    })()""")
    assert took < 3000
    memory = [int(t.replace(",", "")) for t in browser.run(COLUMN % ("table-cores", 7))]
    assert memory == sorted(memory) and len(memory) == 1000


def test_hostile_names_stay_text(
    browser: Chromium, document: dict[str, Any], tmp_path: Path
) -> None:
    text = json.dumps(document)
    for layer in ("conv", "fc"):
        text = text.replace(json.dumps(layer), json.dumps(f"{layer}{HOSTILE}"))
    browser.show(written(json.loads(text), tmp_path), 360)
    assert browser.run("document.title").endswith("spikefit")
    assert browser.run("document.images.length") == 0
    assert HOSTILE in browser.run("document.body.innerText")
    assert browser.run("document.documentElement.scrollWidth") <= 360
    browser.run("document.getElementById('core-0').focus()")
    assert HOSTILE in browser.run("document.getElementById('core-detail').textContent")
    assert browser.run("document.images.length") == 0
    assert browser.complaints() == []


def test_headings_are_in_order_and_landmarks_and_figures_have_names(
    browser: Chromium, page: Path
) -> None:
    browser.show(page, 1280)
    levels = browser.run("Array.from(document.querySelectorAll('h1,h2,h3,h4'))"
                         ".map((h) => Number(h.tagName[1]))")
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    for selector in ("svg:not([aria-label]):not([aria-labelledby])",
                     "section:not([aria-labelledby])", "nav:not([aria-label])",
                     ".scroll:not([tabindex='0'])", "select:not(label select)"):
        assert browser.run(f"document.querySelectorAll({json.dumps(selector)}).length") == 0
    assert browser.run("document.querySelectorAll('main, header').length") == 2
    targets = browser.run("Array.from(document.querySelectorAll('nav a'))"
                          ".every((a) => document.querySelector(a.getAttribute('href')))")
    assert targets


def test_print_opens_every_scroll_box(
    browser: Chromium, document: dict[str, Any], tmp_path: Path
) -> None:
    browser.show(written(with_many_cores(document, 60), tmp_path), 800, media="print")
    assert browser.run("Array.from(document.querySelectorAll('.scroll'))"
                       ".every((box) => box.scrollHeight <= box.clientHeight + 1)")
    assert browser.run("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert len(browser("Page.printToPDF")["data"]) > 10_000
