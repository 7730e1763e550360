"""A browser shows the report as it should be seen: wide and narrow, light, dark and printed."""

from __future__ import annotations

import itertools
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
