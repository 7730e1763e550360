"""Numbers for people carry the unit and the digits that suit them."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.report import units


@pytest.mark.parametrize(("pj", "shown"), [
    (0.5, "0.5 pJ"), (23.6, "23.6 pJ"), (999.7, "1,000 pJ"), (1234.0, "1.23 nJ"),
    (7_944_110.4, "7.94 µJ"), (10_041_103.3, "10.0 µJ"), (2.5e9, "2.50 mJ"), (3e12, "3.00 J"),
])
def test_energy_is_shown_in_the_unit_that_suits_it(pj: float, shown: str) -> None:
    assert units.human_energy(pj) == shown.replace(" ", "\N{NO-BREAK SPACE}")


@pytest.mark.parametrize(("low", "high", "shown"), [
    (7.9e6, 10.04e6, "7.90–10.0 µJ"), (900.0, 1200.0, "900 pJ–1.20 nJ"), (5e3, 5e3, "5.00 nJ"),
])
def test_band_shows_its_unit_once_if_both_ends_share_it(
    low: float, high: float, shown: str
) -> None:
    assert units.human_band(low, high) == shown.replace(" ", "\N{NO-BREAK SPACE}")


@pytest.mark.parametrize(("value", "shown"), [
    (None, "–"), (1234567, "1,234,567"), (1234.5, "1,234.5"), (3.0, "3"), (0.125, "0.12"),
    ("text", "text"),
])
def test_exact_numbers_have_at_most_two_decimals(value: Any, shown: str) -> None:
    assert units.exact(value) == shown


@pytest.mark.parametrize(("value", "shown"), [
    (23.6, "23.6"), (999.25, "999.25"), (12_185_361.53, "12,185,362"), (1000, "1,000"), ("", ""),
    (None, "–"),
])
def test_picojoules_have_no_decimals_from_a_nanojoule_on(value: Any, shown: str) -> None:
    assert units.picojoules(value) == shown
