"""WebVTT, held to a strict reader of its specification."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emonet_fast import taxonomy
from emonet_fast.records import Status
from emonet_fast.scores import Scores
from emonet_fast.sinks.timeline import open_timeline
from emonet_fast.sinks.webvtt import WebVtt, _escaped
from emonet_fast.timeline import NO_TRACK, Timeline

from .vtt import Cue, read

NAMES = tuple(d.slug for d in taxonomy.EMOTIONS)
MEANS = dict.fromkeys(NAMES, 0.0)
ENVY = NAMES.index("jealousy_envy")


def rows(found, facts=None):
    """A time line of (seconds, track, number of the strongest emotion, or None for a frame without a face)."""
    raw = np.zeros((len(found), 40), np.float32)
    for i, (_, _, emotion) in enumerate(found):
        if emotion is not None:
            raw[i, emotion] = 5.0
    seconds = np.array([second for second, _, _ in found], np.float64)
    frame = np.unique(seconds, return_inverse=True)[1]
    places = [int(np.sum(frame[:i] == frame[i])) for i in range(len(found))]
    status = [Status.OK if emotion is not None else Status.NO_FACE for _, _, emotion in found]
    scores = Scores.from_raw(
        raw, NAMES, MEANS, status=status, metadata=facts,
        keys=[f"a::frame{f}::box{p}" for f, p in zip(frame, places, strict=True)],
    )  # fmt: skip
    return Timeline(
        scores=scores,
        source="a",
        pts=np.round(seconds * 1000).astype(np.int64),
        seconds=seconds,
        frame=frame.astype(np.int64),
        time_bases=(Fraction(1, 1000),) * len(found),
        track=np.array([track for _, track, _ in found], np.int64),
        reused=np.zeros(len(found), bool),
    )


def subtitles(path, *lines, metadata=None):
    path.unlink(missing_ok=True)
    sink = WebVtt(path, metadata or {})
    for timeline in lines:
        sink.write(timeline)
    sink.close()
    return read(path.read_bytes())


def test_two_faces_at_once_are_two_cues_in_the_order_of_their_starts(tmp_path):
    """The second face's cue ends first, and stands after the first face's."""
    found = [(0.0, 1, 3), (0.5, 1, 3), (0.5, 2, ENVY), (1.0, 1, 3), (1.0, 2, ENVY), (1.5, 1, 3), (2.0, 1, 3)]
    cues, _ = subtitles(tmp_path / "a.vtt", *(rows([row]) for row in found))
    assert cues == [Cue(0, 2000, "Face 1", "Contentment 79%"), Cue(500, 1000, "Face 2", "Jealousy & Envy 79%")]


def test_faces_without_a_track_have_cues_of_their_own(tmp_path):
    found = [(second, NO_TRACK, emotion) for second in (0.0, 0.5) for emotion in (1, 2)]
    cues, _ = subtitles(tmp_path / "a.vtt", rows(found))
    assert [(cue.start, cue.end, cue.voice, cue.text) for cue in cues] == [
        (0, 500, "", "Elation 79%"), (0, 500, "", "Pleasure/Ecstasy 79%"),
    ]  # fmt: skip


def test_nothing_is_before_zero(tmp_path):
    """MPEG-TS may begin before 0: one face is gone by then, another one's cue goes on."""
    found = [(-3.0, 1, 1), (-2.0, 1, 1), (-0.5, 2, 1), (0.25, 2, 1)]
    cues, notes = subtitles(tmp_path / "a.vtt", rows(found))
    assert cues == [Cue(0, 250, "Face 2", "Elation 79%")]
    assert notes == ["what happens before the time 0 has no place in this format"]


def test_a_long_cue_is_cut_so_that_others_do_not_wait(tmp_path):
    sink = WebVtt(tmp_path / "a.vtt", {})
    most = 0
    for i in range(400):
        sink.write(rows([(i * 0.5, 1, 1), (i * 0.5, 2, i % 2)]))
        most = max(most, len(sink._episodes.done))
    sink.close()
    cues, _ = read((tmp_path / "a.vtt").read_bytes())
    assert [(cue.start, cue.end) for cue in cues if cue.voice == "Face 1"][:3] == [
        (0, 30_000), (30_000, 60_000), (60_000, 90_000),
    ]  # fmt: skip
    assert most == 58  # those that begin at 0.5 to 29.0 s wait for the cue of 0 to 30 s


def test_slow_sampling_is_no_gap(tmp_path):
    cues, _ = subtitles(tmp_path / "a.vtt", rows([(5.0 * i, 1, 1) for i in range(4)]))
    assert [(cue.start, cue.end) for cue in cues] == [(0, 500), (5000, 15_000)]  # the second frame tells the rate


def test_an_emotion_on_which_experts_do_not_agree_is_left_out_on_demand(tmp_path):
    """Awe (alpha 0.08) is strongest; of the others, all alike, amusement (0.56) is the first."""
    timeline = rows([(0.0, 1, NAMES.index("awe"))])
    assert subtitles(tmp_path / "a.vtt", timeline)[0][0].text == "Awe 79%"
    sink = open_timeline(tmp_path / "b.vtt", {}, min_reliability=0.1)
    sink.write(timeline)
    sink.close()
    cues, _ = read((tmp_path / "b.vtt").read_bytes())
    assert [cue.text.rpartition(" ")[0] for cue in cues] == ["Amusement"]


def test_facts_and_warnings_are_comments(tmp_path):
    metadata = {"untrained": "a --> b\n\n<c> & \u202e"}
    _, notes = subtitles(tmp_path / "a.vtt", rows([(0, 1, 1)], {"colours": "as HDR"}), metadata=metadata)
    assert notes == ["a → b <c> & \u202e", "colours: as HDR"]


PARTS = ("-->", "&", "<", ">", "\n", "\r", "\n\n", "\0", "שלום", "مرحبا", "&amp;", "NOTE")
TEXTS = st.one_of(st.text(), st.lists(st.sampled_from(PARTS)).map("".join))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("vtt") / "a.vtt"


@given(TEXTS)
@settings(max_examples=25, deadline=None)
def test_any_text_can_be_a_comment_or_a_cue(place, text):
    cues, notes = subtitles(place, rows([(0, 1, 1)]), metadata={"untrained": text})
    assert len(cues) == len(notes) == 1
    body = f"WEBVTT\n\n00:00.000 --> 00:01.000\nx{_escaped(text)}\n"
    expected = " ".join(("x" + text).replace("\0", "").split()) if text.isascii() else None
    cue = read(body.encode("utf-8", "backslashreplace"))[0][0]
    if expected is not None and "-->" not in text:
        assert " ".join(cue.text.split()) == expected


@given(
    start=st.floats(-5, 400_000),
    steps=st.lists(st.floats(0.0001, 40), min_size=1, max_size=12),
    seen=st.lists(st.lists(st.tuples(st.integers(-1, 3), st.integers(0, 2)), max_size=4), min_size=12, max_size=12),
    size=st.integers(1, 5),
)
@settings(max_examples=25, deadline=None)
def test_any_time_line_obeys_the_specification(place, start, steps, seen, size):
    """And each moment at which a face was seen, from 0 on, lies in a cue that says so."""
    found, now = [], start
    for step, faces in zip(steps, seen, strict=False):
        tracks = {track: (track, emotion) for track, emotion in faces}  # a track is once in a frame
        found += [(now, *face) for face in tracks.values()] or [(now, NO_TRACK, None)]
        now += step
    cues, _ = subtitles(place, *(rows(found[i : i + size]) for i in range(0, len(found), size)))
    for second, track, emotion in found:
        at, voice = round(second * 1000), "" if track == NO_TRACK else f"Face {track}"
        if emotion is None or at < 0:
            continue
        name = taxonomy.EMOTIONS[emotion].name
        assert any(c.start <= at <= c.end and c.voice == voice and c.text.startswith(name) for c in cues)
