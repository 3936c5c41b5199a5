"""The colours of pages, light and dark: WCAG 2.2's contrast of what is read (4.5:1) and of what is only seen (3:1)."""

import re
from importlib import resources
from itertools import product

import pytest

from emonet_fast.evaluate import charts

LIGHT, DARK = (
    dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))
    for block in re.findall(
        r":root \{(.*?)\}", resources.files("emonet_fast").joinpath("reports/base.html").read_text("utf-8"), re.DOTALL
    )
)
BEHIND = ("page", "panel", "track", "sunk")
SEEN = [*product([f"g{i}" for i in range(7)], BEHIND), ("mark", "track"), ("mark", "panel")]
READ = [
    *product(("ink", "soft"), ("page", "panel", "sunk")),
    ("alert-ink", "alert"),
    ("bad", "bad-soft"),
    ("bad", "panel"),
]


def contrast(one: str, other: str) -> float:
    """By WCAG 2.2: relative luminance of sRGB, plus 0.05 of stray light."""

    def luminance(colour: str) -> float:
        shares = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_that_of_the_standard():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.005)  # a known pair of WCAG's examples


@pytest.mark.parametrize("colours", [LIGHT, {**LIGHT, **DARK}], ids=["light", "dark"])
def test_colours_of_pages_stand_out(colours):
    assert [(a, b) for a, b in SEEN if contrast(colours[a], colours[b]) < 3] == []
    assert [(a, b) for a, b in READ if contrast(colours[a], colours[b]) < 4.5] == []


def test_colours_of_charts_stand_out_on_both_pages():
    for colour in (charts.BLUE, charts.RED, charts.YELLOW, charts.GREY):
        assert min(contrast(colour, "#ffffff"), contrast(colour, charts._DARK_PAGE)) >= 3
