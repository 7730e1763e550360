"""The color ramp of the floorplan, and the ink that can be read on each of its colors.

In: shares from 0 to 1. Out: hexadecimal colors. The ramp rises evenly in luminance, so that it
reads the same to color-blind eyes and in gray.

References
----------
Viridis: van der Walt and Smith, matplotlib 1.5 (CC0), at tenths, linear in between.
"""

from __future__ import annotations

RAMP = ("#440154", "#482475", "#414487", "#355f8d", "#2a788e", "#21918c", "#22a884", "#44bf70",
        "#7ad151", "#bddf26", "#fde725")
_DARK, _LIGHT = "#000000", "#ffffff"


def ramp_color(share: float) -> str:
    """Return the color of a share; one outside 0 to 1 takes the color of the end."""
    place = min(max(share, 0.0), 1.0) * (len(RAMP) - 1)
    below = min(int(place), len(RAMP) - 2)
    mixed = (
        round(low + (place - below) * (high - low))
        for low, high in zip(_channels(RAMP[below]), _channels(RAMP[below + 1]), strict=True)
    )
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def ink_on(color: str) -> str:
    """Return black or white, whichever contrasts more: always at least 4.5."""
    return max((_DARK, _LIGHT), key=lambda ink: contrast(ink, color))


def contrast(first: str, second: str) -> float:
    """Return the contrast ratio of two colors, 1 to 21 (WCAG 2.2, section 1.4.3)."""
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def luminance(color: str) -> float:
    """Return the relative luminance of a color, 0 to 1 (WCAG 2.2)."""
    linear = [
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4
        for share in (channel / 255 for channel in _channels(color))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _channels(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)
