"""The table on the terminal: aligned, never wider than asked, and harmless whatever files are called."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emonet_fast import taxonomy
from emonet_fast.records import Status
from emonet_fast.scores import Scores
from emonet_fast.sinks.terminal import table
from emonet_fast.text import columns, shorten_end, shorten_middle, value_text, visible

from .rows import HOSTILE, NAMES, made


def test_the_table_of_a_simple_case():
    raw = np.zeros((3, 44), np.float32)
    raw[0, 38], raw[2, 1] = 6.0, 3.0
    scores = Scores.from_raw(
        raw,
        NAMES,
        dict.fromkeys(NAMES, 0.0),
        keys=["astronaut.png", "b.jpg", "c.jpg"],
        status=[Status.OK, Status.TRUNCATED, Status.OK],
        reason=["", "ends early", ""],
    )
    assert table(scores, 2, 80).splitlines() == [
        "picture        strongest emotions, softmax over 40",
        "astronaut.png  Intoxication/Altered S…~ 91%  Amusement 0.2%",
        "b.jpg          truncated: ends early",
        "c.jpg          Elation                  34%  Amusement 1.7%",
        "(~ experts agree somewhat on this emotion, ? they do not agree)",
    ]


@pytest.mark.parametrize("width", [40, 80, 120, 300])
@pytest.mark.parametrize("top", [0, 1, 3, 5, 40])
@pytest.mark.parametrize("means", [True, False])
def test_fits_aligns_and_has_one_line_a_picture(width, top, means):
    scores = made([*HOSTILE, "x/" * 200 + "y.jpg"], bad={3, 7}, means=means)
    lines = table(scores, top, width).splitlines()
    assert all(columns(line) <= width for line in lines)
    body = [line for line in lines[1:] if not line.startswith(("(room for", "(~ "))]
    assert len(body) == len(scores)
    starts = {line.index("truncated: ") for line in (body[3], body[7])}
    assert len(starts) == 1
    assert table(scores, top, width) == "\n".join(lines)


def test_says_when_not_all_emotions_fit():
    assert table(made(["a"]), 40, 80).splitlines()[-1].endswith("of 40 emotions)")
    assert "room for" not in table(made(["a"]), 3, 200)


def test_a_width_below_forty_is_forty():
    assert table(made(HOSTILE), 3, 5) == table(made(HOSTILE), 3, 40)


def test_three_emotions_fit_in_eighty_columns():
    last = table(made(["photos/a rather long folder/picture.jpg"] * 3), 5, 80).splitlines()[-1]
    assert last == "(room for 3 of 5 emotions)"


def test_no_pictures_and_only_bad_ones():
    assert table(made([]), 5, 80) == "no pictures"
    assert table(made(["a"], bad={0}), 5, 80) == "picture  status\na        truncated: ends after 12 bytes"


def test_a_row_without_a_ranking_says_that_it_is_ok():
    alone = made(["a"])
    assert table(alone.against(alone.as_baseline()), 5, 80) == "picture  status\na        ok"


@given(st.lists(st.text(max_size=60), min_size=1, max_size=5), st.text(max_size=30), st.integers(40, 200))
@settings(max_examples=60, deadline=None)
def test_no_control_character_of_a_key_or_reason_gets_out(keys, reason, width):
    scores = Scores.from_raw(
        np.ones((len(keys), 40)),
        [d.name for d in taxonomy.EMOTIONS],
        keys=keys,
        status=[Status.OK] * (len(keys) - 1) + [Status.FAILED],
        reason=[""] * (len(keys) - 1) + [reason],
    )
    text = table(scores, 3, width)
    for line in text.split("\n"):
        assert columns(line) <= width
        assert not any(
            unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in line if c not in "\u200c\u200d"
        )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x9b31m", r"\x1b[2J\x9b31m"),
        ("a\nb\rc\td\x00", r"a\nb\rc\td\x00"),
        ("\u202egpj.exe\u2066", r"\u202egpj.exe\u2066"),
        ("zero\u200bwidth\ufeff", r"zero\u200bwidth\ufeff"),
        ("caf\udce9 \ud83d", r"caf\xe9 \ud83d"),
        ("é 日本 \\ 👩‍🚀 ok", "é 日本 \\ 👩‍🚀 ok"),
    ],
)
def test_visible(text, shown):
    assert visible(text) == shown
    assert visible(shown) == shown


@given(st.text(max_size=40), st.integers(0, 30))
def test_shortening_fits_and_leaves_what_fits_alone(text, width):
    for shorten in (shorten_middle, shorten_end):
        short = shorten(text, width)
        assert columns(short) <= width
        assert (short == text) == (columns(text) <= width) or "…" in text


def test_the_middle_goes_first():
    assert shorten_middle("photos/2023/IMG_1234.jpg", 16) == "photo…G_1234.jpg"
    assert shorten_middle("写真/とても長い名前.jpg", 12) == "写真/…前.jpg"
    assert shorten_end("Intoxication/Altered States", 13) == "Intoxication…"


def test_what_rounds_to_zero_is_not_below_it():
    found = [value_text(-0.004, kind) for kind in ("raw", "score", "z", "softmax")]
    assert found == ["0.00", "+0.00", "+0.0", "-0.4%"]
    assert [value_text(-0.006, kind) for kind in ("raw", "score")] == ["-0.01", "-0.01"]
