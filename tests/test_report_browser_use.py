"""In a browser the report is used by mouse and by keyboard: sorted, filtered, recolored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from chromium import PATH, Chromium
from report_pages import with_many_cores, written

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
