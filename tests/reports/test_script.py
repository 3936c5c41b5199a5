"""The script of the page of pictures in a real browser: its cards are those of the page, its order is numpy's."""

import re
import shutil
import subprocess
from urllib.parse import urlencode

import numpy as np
import pytest

from emonet_fast import taxonomy
from emonet_fast.records import Photograph
from emonet_fast.reports.pictures import PictureReport
from emonet_fast.scores import Scores

from ..sinks.rows import HOSTILE, METADATA, made

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed")
EMOTIONS = [d.slug for d in taxonomy.EMOTIONS]


def written(path, scores, thumbnails=None, photographs=(), **more):
    report = PictureReport(path, "A report", METADATA, **more)
    report.write(scores, thumbnails or [None] * len(scores), photographs)
    report.close()
    return path


def opened(path, **state) -> str:
    """The page's elements after its script has run."""
    profile = path.parent / "profile"
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", "--dump-dom"]
    done = subprocess.run(
        [*command, f"{path.as_uri()}#{urlencode(state)}"], capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout


def cards(html: str) -> list[str]:
    (listed,) = re.findall(r'<ul class="cards" id="cards">(.*?)</ul>\s*<nav', html, re.DOTALL)
    return re.split(r'<li class="panel card', listed)[1:]


def keys(html: str) -> list[str]:
    return [re.search(r'<p class="key" title="([^"]*)"', card)[1] for card in cards(html)]


def said(html: str) -> str:
    return re.search(r'<output id="said"[^>]*>(.*?)</output>', html)[1]


def look(card: str) -> tuple[str, list[float], list[str]]:
    """What a card says, how long its bars are, where its spots stand, and how it marks agreement."""
    parts = re.findall(r"(?:width|left): ?([\d.]+)%", card)
    text = re.sub(r"<[^>]*>|\s", "", re.sub(r"<svg.*?</svg>", "", card, flags=re.DOTALL).partition(">")[2])
    return text, [float(part) for part in parts], re.findall(r'title="(experts[^"]*)"', card)


@pytest.fixture(scope="module")
def scores() -> Scores:
    """Rows of every kind of values, one without scores, one with a note, one of a hostile name."""
    rows = made([*(f"{i:03}.jpg" for i in range(254)), HOSTILE[8]], bad={5})
    return rows.against(made([str(i) for i in range(60)], seed=3).as_baseline())


@pytest.fixture(scope="module")
def page(tmp_path_factory, scores):
    return written(tmp_path_factory.mktemp("page") / "r.html", scores)


def test_cards_of_the_script_are_those_of_the_page(tmp_path, scores):
    few = scores.select([0, 1, 2, 5, 254])
    own = [look(card) for card in cards(opened(written(tmp_path / "own.html", few)))]
    made_by_script = [look(card) for card in cards(opened(written(tmp_path / "none.html", few, shown=0)))]
    assert made_by_script == own
    assert len(own[0][1]) == 4 * 5 + 4
    assert "&lt;script&gt;alert(1)&lt;/script&gt;.jpg" in own[4][0]


def test_rows_are_sorted_by_an_emotion_in_pages_of_200(page, scores):
    order = np.argsort(-np.nan_to_num(scores.softmax[:, EMOTIONS.index("anger")], nan=-1), kind="stable")[:-1]
    wanted = [scores.keys[i] for i in order]
    html = opened(page, emotion="anger", order="down", kind="softmax", page=1)
    assert keys(html) == [key.replace("<", "&lt;").replace(">", "&gt;") for key in wanted[200:]]
    assert said(html) == "201 to 254 of 254 (255 in all)"
    assert "picked" in cards(html)[0]


def test_rows_are_filtered_by_what_is_strongest(page, scores):
    top = scores.top(5, "z")
    wanted = [k for k, row in zip(scores.keys, top, strict=True) if "fear" in [slug for slug, _ in row]]
    html = opened(page, emotion="fear", order="given", show="among", kind="z", name=".jpg")
    assert keys(html) == wanted
    assert 3 < len(wanted) < 100
    assert said(opened(page, emotion="arousal", order="given", show="strongest")) == "1 to 200 of 254 (255 in all)"
    html = opened(page, emotion="bogus", order="<b>", kind="nothing", page="x", show="failed")
    assert keys(html) == ["005.jpg"]
    assert said(html) == "1 to 1 of 1 (255 in all)"


def test_faces_stand_with_their_photograph(tmp_path):
    """Where the page has it, and where its script draws it."""
    names = ["a.jpg::box0", "a.jpg::box1", "b.jpg", "c.jpg::box0"]
    scores = made(names)
    faces = np.full((4, 10), np.nan)
    faces[[0, 1, 3], :4] = [[10, 20, 30, 40], [50, 0, 50, 60], [0, 0, 100, 50]]
    object.__setattr__(scores, "faces", faces)
    shared = Photograph(np.zeros((50, 100, 3), np.uint8), 200, 100)
    for shown in (200, 0):
        html = opened(
            written(tmp_path / f"{shown}.html", scores, photographs=[shared, shared, None, shared], shown=shown)
        )
        found = cards(html)
        assert [card.startswith(" photo") for card in found] == [True, False, False, False, True, False]
        boxes = re.findall(r'class="face" style="left: ?([\d.]+)%; ?top: ?([\d.]+)%; ?width: ?([\d.]+)%', found[0])
        assert [tuple(map(float, box)) for box in boxes] == [(5, 20, 15), (25, 0, 25)]
        assert "2 faces in this picture" in found[0]
