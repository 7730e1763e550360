"""The ramp of the floorplan reads in gray and to color-blind eyes, and its ink can be read."""

from __future__ import annotations

import itertools

import pytest

from pipeline.report.colors import contrast, ink_on, luminance, ramp_color

SHARES = [i / 200 for i in range(201)]
# Vienot, Brettel and Mollon 1999, in linear RGB: what dichromats see of red, green and blue
DICHROMATS = {
    "protan": ((0.11238, 0.88762, 0.0), (0.11238, 0.88762, 0.0), (0.00401, -0.00401, 1.0)),
    "deutan": ((0.29275, 0.70725, 0.0), (0.29275, 0.70725, 0.0), (-0.02234, 0.02234, 1.0)),
}


def seen(color: str, kind: str) -> float:
    linear = [(int(color[i : i + 2], 16) / 255) ** 2.2 for i in (1, 3, 5)]
    rgb = [sum(a * b for a, b in zip(row, linear, strict=True)) for row in DICHROMATS[kind]]
    return 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2]


def test_ramp_rises_in_luminance() -> None:
    values = [luminance(ramp_color(share)) for share in SHARES]
    assert all(b > a for a, b in itertools.pairwise(values))
    assert values[-1] / values[0] > 20


@pytest.mark.parametrize("kind", DICHROMATS)
def test_ramp_rises_for_color_blind_eyes(kind: str) -> None:
    values = [seen(ramp_color(share), kind) for share in SHARES[::10]]
    assert all(b > a for a, b in itertools.pairwise(values))


def test_ink_can_be_read_on_every_color() -> None:
    assert min(contrast(ink_on(ramp_color(s)), ramp_color(s)) for s in SHARES) >= 4.5


@pytest.mark.parametrize(("share", "end"), [(-1.0, 0.0), (2.0, 1.0)])
def test_shares_beyond_the_ends_take_the_ends(share: float, end: float) -> None:
    assert ramp_color(share) == ramp_color(end)
