"""Files of episodes: ELAN's, held to its schema and to pympi, and BORIS' events, held to the columns of its export."""

import csv
import io
import os
import warnings
from datetime import datetime

import pympi
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emonet_fast import taxonomy
from emonet_fast.sinks.episodes import Episodes, name_of, who
from emonet_fast.sinks.timeline import open_timeline, recover
from emonet_fast.timeline import NO_TRACK

from ..sinks.rows import HOSTILE
from . import eaf
from .test_webvtt import NAMES, rows, subtitles

OFFICIAL = [d.name for d in taxonomy.EMOTIONS]
AWE, FEAR, ENVY = (NAMES.index(name) for name in ("awe", "fear", "jealousy_envy"))
# boris_behav_obs 10.0.2, boris/export_observation.py, export_tabular_events: one medium, no variables, no modifiers.
BORIS = [
    "Observation id", "Observation date", "Description", "Observation duration", "Observation type", "Source",
    "Time offset (s)", "Media duration (s)", "FPS", "Subject", "Behavior", "Behavioral category", "Behavior type",
    "Time", "Media file name", "Image index", "Image file path", "Comment",
]  # fmt: skip


def written(path, *timelines, metadata=None):
    path.unlink(missing_ok=True)
    sink = open_timeline(path, metadata or {})
    for timeline in timelines:
        sink.write(timeline)
    sink.close()
    return path


def elan(path, *timelines, **settings):
    return eaf.read(written(path, *timelines, **settings).read_bytes())


def boris(path, *timelines, **settings):
    text = written(path, *timelines, **settings).read_bytes().decode()
    assert text.endswith("\r\n")  # as BORIS ends its lines
    header, *events = csv.reader(io.StringIO(text, newline=""), dialect="excel-tab")
    assert header == BORIS
    return [dict(zip(header, event, strict=True)) for event in events]


def two_people():
    """Face 1: awe until 1.0 s, then fear; face 2 from 0.5 s on envies; then nobody."""
    found = [
        (0.0, 1, AWE),
        (0.5, 1, AWE),
        (0.5, 2, ENVY),
        (1.0, 1, FEAR),
        (1.0, 2, ENVY),
        (1.5, 1, FEAR),
        (2.0, -1, None),
    ]
    return [rows(found[:3]), rows(found[3:])]


def test_elan_has_two_tiers_for_each_face(tmp_path):
    document = elan(tmp_path / "a.eaf", *two_people(), metadata={"checkpoint": "a < b & \x01"})
    assert document.tiers == {
        "emotion@Face 1": eaf.Tier("Face 1", "", [(0, 1000, "Awe"), (1000, 1500, "Fear")]),
        "softmax@Face 1": eaf.Tier("Face 1", "emotion@Face 1", [(0, 1000, "0.7919"), (1000, 1500, "0.7919")]),
        "emotion@Face 2": eaf.Tier("Face 2", "", [(500, 1000, "Jealousy & Envy")]),
        "softmax@Face 2": eaf.Tier("Face 2", "emotion@Face 2", [(500, 1000, "0.7919")]),
    }
    assert document.vocabulary == OFFICIAL
    assert document.properties["emonet-fast.checkpoint"] == "a < b & \\x01"
    assert document.properties["lastUsedAnnotationId"] == "6"
    assert document.media == {}  # there is no file "a"


def test_pympi_reads_what_elan_gets(tmp_path):
    path = written(tmp_path / "a.eaf", *two_people())
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it warns of versions that it does not know
        read = pympi.Elan.Eaf(str(path))
    assert read.get_tier_names() == dict.fromkeys(eaf.read(path.read_bytes()).tiers).keys()
    assert read.get_annotation_data_for_tier("emotion@Face 1") == [(0, 1000, "Awe"), (1000, 1500, "Fear")]
    assert [one[2] for one in read.get_ref_annotation_data_for_tier("softmax@Face 2")] == ["0.7919"]
    assert read.get_controlled_vocabulary_names() == {"EmoNet-Face": None}.keys()


def test_elan_finds_the_video(tmp_path):
    """By its place and by the way from the file, whatever the names."""
    (tmp_path / "films").mkdir()
    film = tmp_path / "films" / "a b#1.mp4"
    film.write_bytes(b"x")
    timeline = rows([(0.0, 1, AWE)])
    object.__setattr__(timeline, "source", str(film))
    media = elan(tmp_path / "a.eaf", timeline).media
    assert media == {
        "MEDIA_URL": film.as_uri(),
        "RELATIVE_MEDIA_URL": "./films/a%20b%231.mp4",
        "MIME_TYPE": "video/mp4",
    }
    (tmp_path / "coded").mkdir()
    assert elan(tmp_path / "coded" / "a.eaf", timeline).media["RELATIVE_MEDIA_URL"] == "../films/a%20b%231.mp4"
    object.__setattr__(timeline, "source", "https://host/a b.mp4?x=1")
    assert elan(tmp_path / "a.eaf", timeline).media == {
        "MEDIA_URL": "https://host/a%20b.mp4?x=1",
        "MIME_TYPE": "video/mp4",
    }


def test_boris_events_begin_and_end(tmp_path):
    events = boris(tmp_path / "a.boris.tsv", *two_people(), metadata={"untrained": "the numbers mean nothing"})
    found = [tuple(event[name] for name in ("Time", "Behavior type", "Subject", "Behavior")) for event in events]
    assert found == [
        ("0.000", "START", "Face 1", "Awe"),
        ("0.500", "START", "Face 2", "Jealousy & Envy"),
        ("1.000", "STOP", "Face 1", "Awe"),
        ("1.000", "STOP", "Face 2", "Jealousy & Envy"),
        ("1.000", "START", "Face 1", "Fear"),
        ("1.500", "STOP", "Face 1", "Fear"),
    ]
    first = events[0]
    assert datetime.strptime(first.pop("Observation date"), "%Y-%m-%d %H:%M:%S")
    assert first == {
        "Observation id": "a", "Description": "the numbers mean nothing", "Observation duration": "1.500",
        "Observation type": "Media file(s)", "Source": "player #1:a", "Time offset (s)": "0.0",
        "Media duration (s)": "NA", "FPS": "NA", "Subject": "Face 1", "Behavior": "Awe",
        "Behavioral category": "Positive High-Energy", "Behavior type": "START", "Time": "0.000",
        "Media file name": "a", "Image index": "NA", "Image file path": "NA", "Comment": "softmax 0.7919",
    }  # fmt: skip


_ROW = st.tuples(st.integers(0, 12), st.sampled_from([NO_TRACK, 1, 2]), st.sampled_from([None, AWE, FEAR]))


@settings(max_examples=60, deadline=None)
@given(st.lists(_ROW, max_size=30), st.integers(0, 30))
def test_all_formats_tell_the_same_episodes(tmp_path_factory, found, cut):
    """Whatever comes: EAF holds to its schema, every start of BORIS has its end, and both tell what WebVTT tells."""
    folder = tmp_path_factory.getbasetemp()
    shown = {(second / 2 - 1, track): emotion for second, track, emotion in found}  # a track is once in a frame
    found = [(*one, shown[one]) for one in sorted(shown)]
    parts = [rows(part) for part in (found[:cut], found[cut:]) if part]
    document = elan(folder / "any.eaf", *parts)
    tiers = {name: tier for name, tier in document.tiers.items() if not tier.parent}
    told = sorted(
        (start, end, tier.participant, value) for tier in tiers.values() for start, end, value in tier.annotations
    )
    open_now, pairs = {}, []
    for event in boris(folder / "any.boris.tsv", *parts):
        face, now = event["Subject"], round(float(event["Time"]) * 1000)
        if event["Behavior type"] == "START":
            assert face not in open_now
            open_now[face] = now
        else:
            pairs.append((open_now.pop(face), now, face, event["Behavior"]))
    assert not open_now
    assert sorted(pairs) == told
    cues, _ = subtitles(folder / "any.vtt", *parts)
    assert sorted((cue.start, cue.end) for cue in cues) == [one[:2] for one in told]


def test_whole_frames_are_one_face(tmp_path):
    """Their keys differ from frame to frame; without `::box` they once were an episode each."""
    timeline = rows([(i / 2, NO_TRACK, AWE) for i in range(6)])
    keys = tuple(f"b::boxing.mp4::frame{i}" for i in range(6))
    object.__setattr__(timeline.scores, "keys", keys)
    assert elan(tmp_path / "a.eaf", timeline).tiers["emotion@Frame"].annotations == [(0, 2500, "Awe")]
    assert [(cue.start, cue.end) for cue in subtitles(tmp_path / "a.vtt", timeline)[0]] == [(0, 2500)]


@pytest.mark.parametrize("name", ["a.eaf", "a.boris.tsv"])
def test_a_killed_run_can_be_recovered(tmp_path, name):
    """What is left is an Arrow stream; the same file comes of it, but for the time at which it was made."""
    path = tmp_path / name
    sink = open_timeline(path, {"checkpoint": "x"})
    for timeline in two_people():
        sink.write(timeline)
    sink._flush()
    kept = (tmp_path / f"{name}.partial").read_bytes()
    sink.close()
    told = path.read_bytes()
    path.unlink()
    (tmp_path / f"{name}.partial").write_bytes(kept)
    assert recover(path) == 7
    assert [one.name for one in tmp_path.iterdir()] == [name]
    if name.endswith(".eaf"):
        assert eaf.read(path.read_bytes()) == eaf.read(told)
    else:
        assert [line.split(b"\t")[2:] for line in path.read_bytes().split(b"\n")] == [
            line.split(b"\t")[2:] for line in told.split(b"\n")
        ]


@pytest.mark.parametrize("name", ["a.eaf", "a.boris.tsv"])
def test_a_run_without_a_face_has_a_file_without_episodes(tmp_path, name):
    path = written(tmp_path / name, rows([(0.0, -1, None)]))
    if name.endswith(".eaf"):
        assert eaf.read(path.read_bytes()).tiers == {}
        assert eaf.read(written(path).read_bytes()).tiers == {}  # nor without a row
    else:
        assert boris(path) == []


@pytest.mark.parametrize("source", HOSTILE)
def test_any_name_has_a_place(tmp_path, source):
    timeline = rows([(0.0, 1, AWE)])
    object.__setattr__(timeline, "source", source)
    assert elan(tmp_path / "a.eaf", timeline).tiers["emotion@Face 1"].annotations == [(0, 500, "Awe")]
    assert len(boris(tmp_path / "a.boris.tsv", timeline)) == 2


def test_faces_have_names():
    keys = [(3, "a::frame1::box7"), (NO_TRACK, "a::frame1::box7"), (NO_TRACK, "a::frame1"), (NO_TRACK, "a::boxes")]
    assert [name_of(who(*one)) for one in keys] == ["Face 3", "Box 7", "Frame", "Frame"]


def test_a_long_episode_is_cut_where_that_is_wanted():
    episodes = Episodes(longest=1000)
    for i in range(4):
        episodes.at(i / 2)
        episodes.see((1, ""), "awe", 0.5)
    episodes.finish()
    assert [(one.start, one.end) for one in episodes.done] == [(0, 1000), (1000, 1500)]


def test_the_schema_itself(tmp_path):
    """EMONET_FAST_EAF_XSD names EAFv3.0.xsd; tests/video/eaf.py says where there is one."""
    if "EMONET_FAST_EAF_XSD" not in os.environ:
        pytest.skip("EMONET_FAST_EAF_XSD names no EAFv3.0.xsd")
    xmlschema = pytest.importorskip("xmlschema")
    path = tmp_path / "a.mp4"
    path.write_bytes(b"x")
    timeline = two_people()[0]
    object.__setattr__(timeline, "source", str(path))
    schema = xmlschema.XMLSchema(os.environ["EMONET_FAST_EAF_XSD"])
    for parts in ([timeline, *two_people()[1:]], []):
        schema.validate(str(written(tmp_path / "a.eaf", *parts, metadata={"a": "<&\x02>"})))
