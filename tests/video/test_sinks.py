"""Outputs of a video run: whole at the end, readable when cut off, kept when the disk is full."""

import base64
import csv
import io
import json
import re
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from emonet_fast.arithmetic import EMOTIONS
from emonet_fast.errors import EmonetError, OptionError
from emonet_fast.faces import open_finder
from emonet_fast.options import VideoOptions
from emonet_fast.records import Status
from emonet_fast.reports.heat import heat_map
from emonet_fast.reports.timeline import TimelineReport, bands, polylines
from emonet_fast.reports.timeline_collect import BINS, MAX_TRACKS, TimelineTotals
from emonet_fast.scores import Scores
from emonet_fast.sinks import streamed
from emonet_fast.sinks.apart import OutputsApart
from emonet_fast.sinks.coco import CocoJson
from emonet_fast.sinks.overlay import Overlay
from emonet_fast.sinks.tables import recover
from emonet_fast.sinks.terminal import table
from emonet_fast.sinks.timeline import open_timeline
from emonet_fast.sinks.webvtt import WebVtt
from emonet_fast.sources.video.av import AvSource
from emonet_fast.sources.video.frames import Sampling, Sound
from emonet_fast.taxonomy import find
from emonet_fast.text import value_text
from emonet_fast.timeline import Timeline
from emonet_fast.video.pipeline import VideoPipeline

from ..sinks.rows import HOSTILE, made
from ..sinks.test_report import Page
from .making import av, whole


def line(start, n, *, source="a.mp4", step=0.5, tracks=(1,), bad=(), seed=None, crops=False):
    """n sampled frames from frame `start` on, each with a row for every track."""
    keys = [f"{source}::frame{start + i}::box{j}" for i in range(n) for j in range(len(tracks))]
    scores = made(keys, seed=start if seed is None else seed, bad=bad)
    rows = len(keys)
    frame = np.repeat(np.arange(start, start + n), len(tracks))
    boxes = np.random.default_rng(start).uniform(1, 50, (rows, 10))
    boxes[[i in bad for i in range(rows)]] = np.nan
    object.__setattr__(scores, "faces", boxes)
    return Timeline(
        scores=scores,
        source=source,
        pts=frame * 500,
        seconds=frame * step,
        frame=frame,
        time_bases=(Fraction(1, 1000),) * rows,
        track=np.tile(np.array(tracks), n),
        reused=np.zeros(rows, bool),
        smooth=scores.raw.astype(np.float64),
        crops=tuple(np.full((30, 20, 3), 90, np.uint8) for _ in range(rows)) if crops else (),
    )


def read(path):
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    return [json.loads(text) for text in path.read_text("utf-8").splitlines()]


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_tables_hold_every_row(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    sink = open_timeline(path, {"checkpoint": "x"})
    parts = [line(0, 3, tracks=(1, 2), bad=(1,)), line(3, 1), *(line(4, 50, source=name) for name in HOSTILE[4:7])]
    for part in parts:
        sink.write(part)
    assert not path.exists()
    sink.close()
    assert [p.name for p in tmp_path.iterdir() if p.name.endswith(".partial")] == []
    expected = [row for part in parts for row in part.to_dicts()]
    found = read(path)
    assert len(found) == len(expected) == sink.rows
    for mine, theirs in zip(expected, found, strict=True):
        assert list(theirs) == list(mine)
        for name, value in mine.items():
            if kind != "csv":
                assert theirs[name] == value
            elif isinstance(value, float):
                exact = np.float32 if name.startswith("raw_") else np.float64
                assert exact(theirs[name]) == exact(value)
            elif isinstance(value, list):
                assert [np.float32(v) for v in json.loads(theirs[name])] == [np.float32(v) for v in value]
            else:
                assert theirs[name] == ("" if value is None else str(value).lower() if name == "reused" else str(value))


def test_row_groups_do_not_follow_the_batches(tmp_path):
    sink = open_timeline(tmp_path / "a.parquet", {})
    for start in range(0, 5000, 100):
        sink.write(line(start, 100))
    sink.close()
    file = pq.ParquetFile(tmp_path / "a.parquet")
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [4096, 904]


def test_subtitles_warn_of_untrained_weights(tmp_path):
    open_timeline(tmp_path / "a.vtt", {"untrained": "the numbers mean nothing"}).close()
    assert (tmp_path / "a.vtt").read_text() == "WEBVTT\n\nNOTE the numbers mean nothing\n\n"


def test_csv_has_the_dialect_of_score(tmp_path):
    sink = open_timeline(tmp_path / "a.csv", {})
    sink.write(line(2, 2, source="a,b.mp4", tracks=(-1,), bad=(1,)))
    sink.close()
    header, row, bad, end = (tmp_path / "a.csv").read_bytes().split(b"\n")
    assert header.startswith(b"source,seconds,pts,time_base,frame,track,reused,key,status,reason,raw_")
    assert row.startswith(b'"a,b.mp4",1.0,1000,1/1000,2,,false,"a,b.mp4::frame2::box0",ok,,')
    assert bad.startswith(b'"a,b.mp4",1.5,1500,1/1000,3,,false,"a,b.mp4::frame3::box0",truncated,ends after 12 bytes,,')
    assert end == b""


@pytest.mark.parametrize("name", HOSTILE[4:7])
def test_recover_counts_records_whose_keys_hold_line_breaks(tmp_path, name):
    path = tmp_path / "a.csv"
    sink = open_timeline(path, {})
    sink.write(line(0, 3, source=name))
    sink.write(line(3, 2, source=name))
    partial = tmp_path / "a.csv.partial"
    whole = partial.read_bytes()
    sink.write(line(5, 1, source=name))
    record = partial.read_bytes()[len(whole) :]
    for cut in (0, 5, record.index(b"::") + 2, len(record) - 1):
        partial.write_bytes(whole + record[:cut])
        assert recover(path) == 5
        assert path.read_bytes() == whole
    partial.write_bytes(b"")
    assert recover(path) == 0


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_what_a_killed_run_left_is_readable(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    sink = open_timeline(path, {"checkpoint": "x"})
    sink.write(line(0, streamed._GROUP_ROWS))
    sink.write(line(streamed._GROUP_ROWS, 5))
    with (tmp_path / f"a.{kind}.partial").open("ab") as file:  # a piece that was cut off
        file.write(b"\xff\xff\xff\xff\x10\x02" if kind == "parquet" else b"half a line")
    with pytest.raises(OptionError, match="killed"):
        open_timeline(path, {})
    whole = streamed._GROUP_ROWS + (0 if kind == "parquet" else 5)
    assert recover(path) == whole == len(read(path))
    with pytest.raises(EmonetError, match="expected what a killed run left"):
        recover(path)


@pytest.mark.parametrize("name", ["a.json", "a.vtt", "a.mp4"])
def test_a_file_that_is_no_table_gets_its_name_back(tmp_path, name):
    left = bytes(range(256)) * 3  # with line breaks, after the last of which a table would be cut
    (tmp_path / f"{name}.partial").write_bytes(left)
    assert recover(tmp_path / name) is None
    assert (tmp_path / name).read_bytes() == left
    assert [path.name for path in tmp_path.iterdir()] == [name]


class Full:
    """A disk that has room for so many bytes beyond the present place; what is cut off makes room again."""

    def __init__(self, file, room):
        self._file = file
        self.give(room)

    def give(self, room):
        self._end = self._file.tell() + room

    def write(self, data):
        data = bytes(data)
        taken = data[: max(0, self._end - self._file.tell())]
        self._file.write(taken)
        if len(taken) < len(data):
            raise OSError(28, "No space left on device")
        return len(taken)

    def __getattr__(self, name):
        return getattr(self._file, name)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("part", [0, 0.01, 0.9])
def test_a_disk_that_is_full_in_the_first_batch_keeps_the_rows_that_it_has(tmp_path, kind, part):
    """The rows that are said to be kept are those in the file, the first ones, whole."""
    path, apart = tmp_path / f"a.{kind}", OutputsApart()
    whole = open_timeline(path, {})
    whole.write(line(0, 30))
    size = whole.file.tell()
    whole.abort()
    sink = open_timeline(path, {})
    disk = sink.file = Full(sink.file, int(size * part))
    apart.add(sink, sink.write)
    with pytest.raises(EmonetError, match="No space left"):
        sink.write(line(0, 30))
    disk.give(10**9)
    rows = sink.rows
    apart.end(sink, early=True, empty=False)
    assert (rows > 0) is (part == 0.9)
    assert rows < 30
    if rows:
        assert [row["key"] for row in read(path)] == [str(key) for key in line(0, 30).scores.keys[:rows]]
    else:
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["csv", "jsonl", "json", "parquet", "vtt"])
def test_full_disk_keeps_what_was_written(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    sink = open_timeline(path, {})
    many = streamed._GROUP_ROWS
    disk = sink.file = Full(sink.file, 10**9)
    sink.write(line(0, many))
    size = disk.tell()
    disk.give(1500 if kind != "vtt" else 20)
    with pytest.raises(EmonetError, match="No space left on device"):
        sink.write(line(many, 3 * many))
    disk.give(10**9)  # room again, for the copy to parquet
    sink.close()
    if kind == "vtt":
        assert path.read_text().startswith("WEBVTT")
        assert path.stat().st_size >= size
        return
    found = json.loads(path.read_text())["annotations"] if kind == "json" else read(path)
    assert many <= len(found) <= 4 * many  # as many as there was room for
    if kind != "json":
        assert sink.kept == f"{len(found)} rows"


def test_coco_is_what_the_viewer_reads(tmp_path):
    """Its parser keeps annotations with a number face_id, 4 numbers bbox, a timestamp and attributes.emotions."""
    path = tmp_path / "face_analysis.json"
    sink = CocoJson(path, {"checkpoint": "c", "embedding_dim": "1152"})
    part = line(0, 4, tracks=(1, 7), bad=(2,))
    for some in (part, line(4, 2)):
        sink.write(some)
        half = json.loads((tmp_path / "face_analysis.json.partial").read_text())  # valid at any time
        assert len(half["annotations"]) == sink.rows
    sink.close()
    found = json.loads(path.read_text())
    assert len(found["annotations"]) == 9
    assert [i["frame_number"] for i in found["images"]] == [0, 1, 2, 3, 4, 5]
    ids = {i["id"] for i in found["images"]}
    for face in found["annotations"]:
        assert isinstance(face["face_id"], int)
        assert len(face["bbox"]) == 4
        assert isinstance(face["timestamp"], float)
        assert face["image_id"] in ids
        emotions = face["attributes"]["emotions"]
        assert sorted(e["rank"] for e in emotions.values()) == list(range(1, 41))
        best = min(emotions, key=lambda name: emotions[name]["rank"])
        assert emotions[best]["score"] == max(e["score"] for e in emotions.values())
    first = found["annotations"][0]
    assert first["bbox"] == part.scores.faces[0, :4].tolist()
    assert first["attributes"]["emotions"]["awe"]["raw_score"] == float(
        part.scores.raw[0, part.scores.names.index("awe")]
    )
    assert {a["face_id"] for a in found["annotations"]} == {1, 7}


def test_coco_without_faces_is_a_face_analysis_too(tmp_path):
    """The viewer knows the kind of a file by such words in its first 8,000 characters."""
    sink = CocoJson(tmp_path / "a.json", {"checkpoint": "c"})
    sink.write(line(0, 2, bad=(0, 1)))
    sink.close()
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text)["annotations"] == []
    assert '"attributes"' in text[:8000]


_CUE = re.compile(r"(\d\d):(\d\d):(\d\d)\.(\d{3}) --> (\d\d):(\d\d):(\d\d)\.(\d{3})\n(.+)\n")


def test_webvtt(tmp_path):
    path = tmp_path / "a.vtt"
    sink = WebVtt(path, {})
    for start in range(0, 20, 4):
        sink.write(line(start, 4, tracks=(1, 2), seed=start // 8))
    sink.write(line(40, 1))
    sink.close()
    text = path.read_text()
    assert text.startswith("WEBVTT\n\n")
    cues = [[int(v) for v in m[:8]] for m in _CUE.findall(text)]
    spans = [
        ((h * 60 + m) * 60 + s + ms / 1000, (i * 60 + n) * 60 + t + ns / 1000) for h, m, s, ms, i, n, t, ns in cues
    ]
    assert len(spans) == text.count("-->") >= 3
    assert all(end > start for start, end in spans)
    assert max(end for _, end in spans) == 20.5
    assert {m[8][:8] for m in _CUE.findall(text)} == {"<v Face "}


def pipeline_items(scorer, walk, found_faces, fps=5.0):
    options = VideoOptions(fps=fps, faces=found_faces)
    source = AvSource(str(walk.path), Sampling(fps), every=True)
    pipeline = VideoPipeline(scorer, source, options, open_finder(found_faces, scorer.options, scorer.place))
    return source, pipeline


def test_overlay_has_every_frame_the_boxes_and_the_sound(tmp_path, scorer, walk, found_faces):
    source, pipeline = pipeline_items(scorer, walk, found_faces)
    overlay = Overlay(tmp_path / "o.mp4")
    overlay.start(source.rate, source.audio)
    for batch in pipeline:
        for item, rows in batch.items:
            overlay.write(item, batch.timeline, rows)
    overlay.close()
    pipeline.close()
    assert overlay.audio_note == ""
    frames = whole(tmp_path / "o.mp4")
    np.testing.assert_allclose([f.seconds for f in frames], np.array(walk.ticks) / 1000, atol=1e-6)
    original = whole(walk.path)
    shown, plain = frames[20].rgb().astype(int), original[20].rgb().astype(int)
    changed = np.abs(shown - plain).max(axis=2) > 30
    x, y, _, height = walk.truth[20, 0]
    edge = changed[int(y + height / 2), int(x) - 14 : int(x) + 15]
    assert edge.any()  # the box's left side
    assert not changed[:, -3:].any()
    with av.open(str(walk.path)) as one, av.open(str(tmp_path / "o.mp4")) as two:
        kept = [
            p.size for p in one.demux(audio=0) if p.size and p.pts >= 0
        ]  # what begins before the pictures is left out
        assert [p.size for p in two.demux(audio=0) if p.size] == kept
        assert len(kept) > 20


@pytest.mark.parametrize("kind", ["mp4", "mkv"])
def test_overlay_that_was_cut_off_plays(tmp_path, walk, kind):
    """As a killed run leaves it: what is on the disk by then is a video."""
    overlay = Overlay(tmp_path / f"o.{kind}")
    source = AvSource(str(walk.path), Sampling(), every=True)
    overlay.start(source.rate, source.audio)
    empty = line(0, 0)
    for item in source:
        overlay.write(item, empty, None)
    source.close()
    data = overlay.partial.read_bytes()
    cut = tmp_path / f"cut.{kind}"
    cut.write_bytes(data[: len(data) * 3 // 4])
    played = [f.seconds for f in whole(cut)]
    overlay.abort()
    assert not overlay.partial.exists()
    if kind == "mkv" or played:
        np.testing.assert_allclose(played, np.array(walk.ticks[: len(played)]) / 1000, atol=1e-6)
    assert len(played) > 0


def test_overlay_says_why_there_is_no_sound(tmp_path):
    overlay = Overlay(tmp_path / "o.mp4")
    overlay.start(None, None)
    assert "no audio" in overlay.audio_note
    overlay.write(Sound(None), line(0, 0), None)  # of no stream that is kept
    overlay.close()  # not one frame: nothing is left
    assert list(tmp_path.iterdir()) == []


def test_report_shows_tracks_and_runs_nothing(tmp_path):
    path = tmp_path / "r.html"
    report = TimelineReport(path, HOSTILE[8], {"checkpoint": HOSTILE[9]})
    for start in range(0, 40, 4):
        report.write(line(start, 4, tracks=(1, 2), crops=True, source=HOSTILE[8], bad=(3,)))
    report.facts = {"frames": "40 sampled"}
    report.close()
    text = path.read_text("utf-8")
    page = Page(text)
    assert "<script" not in text
    assert "http" not in re.sub(r"http-equiv", "", text)
    assert "Face 1" in page.text
    assert "Face 2" in page.text
    assert "40 sampled" in page.text
    assert HOSTILE[8] in page.text
    assert len([a for a in page.all("img") if "Heat map" in a["alt"]]) == 2 * 3  # softmax, mean-subtracted, raw
    assert all(a["src"].startswith("data:image/") for a in page.all("img"))
    assert len(page.all("polyline")) >= 10


def test_report_of_a_video_without_faces(tmp_path):
    part = line(0, 2, bad=(0, 1))
    assert Status.OK not in part.scores.status
    report = TimelineReport(tmp_path / "r.html", "none", {})
    report.write(part)
    report.close()
    assert "No face was scored" in Page((tmp_path / "r.html").read_text()).text


def test_what_a_report_keeps_is_bounded():
    collected = TimelineTotals()
    for start in range(0, 6000, 40):
        collected.add(line(start, 40, tracks=(start, start + 1), crops=True, seed=start % 7))
    (video,) = collected.videos.values()
    assert len(video.tracks) == MAX_TRACKS
    assert video.forgotten == 300 - MAX_TRACKS
    scales = len(collected.scales)
    assert scales == 3
    assert all(track.sums.shape == (BINS, 80 + 2 * scales) for track in video.tracks.values())
    assert all(track.lows.shape == track.highs.shape == (BINS, scales) for track in video.tracks.values())
    assert video.width * BINS >= 3000
    assert video.width < 4 * 3000 / BINS


@pytest.mark.parametrize("length", [1, 100, 3000])
def test_bins_keep_sums_while_they_widen(length):
    collected = TimelineTotals()
    total = np.zeros((2, 40))
    valence = []
    for start in range(0, length, 10):
        part = line(start, min(10, length - start), seed=start)
        total += [part.scores.raw[:, :40].sum(axis=0, dtype=np.float64), part.scores.softmax.sum(axis=0)]
        valence += part.scores.raw[:, part.scores.names.index("valence")].tolist()
        collected.add(part)
    track = next(iter(collected.videos.values())).tracks[1]
    np.testing.assert_allclose(track.sums.sum(axis=0)[:80], total.ravel(), rtol=1e-9)
    np.testing.assert_allclose(track.sums.sum(axis=0)[[80, 83]], sum(valence), rtol=1e-9)  # raw, and smoothed the same
    assert track.counts.sum() == length
    assert (track.lows.min(axis=0)[0], track.highs.max(axis=0)[0]) == (min(valence), max(valence))


def heat(means, dark=None):
    image = Image.open(io.BytesIO(base64.b64decode(heat_map(np.array(means), dark))))
    return np.asarray(image.convert("RGBA"))


DARK, LIGHT = [68, 1, 84, 255], [253, 231, 37, 255]


def test_drawings():
    values = np.array([0.1, 0.2, np.nan, np.nan, 0.5, np.nan, 0.3, 0.4])
    assert [len(points.split()) for points in polylines(values, 160)] == [2, 2, 2]
    assert polylines(np.array([0.0, 1.0]), 84) == ("250.0,80.0 750.0,4.0",)
    low, high = np.array([0.0, np.inf, 0.5]), np.array([1.0, -np.inf, 0.5])
    assert bands(low, high, 84) == (
        "0.0,80.0 333.3,80.0 333.3,4.0 0.0,4.0", "666.7,42.0 1000.0,42.0 1000.0,42.0 666.7,42.0",
    )  # fmt: skip


def test_each_row_of_the_heat_map_has_its_own_scale():
    """An emotion of a thousandth shows its course as well as a strong one."""
    image = heat([[0.0, 0.0], [0.4, 0.0004], [0.8, 0.0008], [np.nan, np.nan]], dark=0.0)
    assert image.shape == (2, 4, 4)
    assert (image[0] == image[1]).all()
    assert image[0, 0].tolist() == DARK
    assert image[0, 2].tolist() == LIGHT
    assert image[:, 3, 3].tolist() == [0, 0]
    signed = heat([[-2.0], [-1.0]])
    assert signed[0].tolist() == [DARK, LIGHT]


def report_of(path, *parts, **metadata):
    report = TimelineReport(path, "talk", metadata)
    for part in parts:
        report.write(part)
    report.close()
    return Page(path.read_text("utf-8"))


def test_report_shows_valence_arousal_and_dominance_first(tmp_path):
    """Smoothed lines over the raw scores' range, with the ends of the annotators' scales."""
    part = line(0, 60, crops=True)
    raw = np.zeros((60, len(part.scores.names)), np.float32)
    raw[::2, part.scores.names.index("valence")] = 2.0
    smooth = np.full_like(raw, 0.5, np.float64)
    part = replace(part, scores=replace(part.scores, raw=raw), smooth=smooth)
    page = report_of(tmp_path / "r.html", part)
    plots = [svg["aria-label"] for svg in page.all("svg") if "over time" in svg.get("aria-label", "")]
    assert [label.partition(" of ")[0] for label in plots] == [
        "Valence", "Arousal", "Dominance", *["The strongest emotions"] * 3,
    ]  # fmt: skip
    assert "Valence +1.00 3 0 −3" in page.text
    assert "Arousal 0.00 7 3.5 0" in page.text
    line_of_valence = page.all("polyline")[0]["points"].split()
    # 0.5 of -3..3, in a drawing of 84 with margins of 4.
    assert {point.split(",")[1] for point in line_of_valence} == {f"{84 - 4 - 76 * 3.5 / 6:.1f}"}
    band = {point.split(",")[1] for point in page.all("polygon")[0]["points"].split()}
    assert band >= {f"{84 - 4 - 76 * 5 / 6:.1f}", "42.0"}


def test_report_of_a_checkpoint_without_scales(tmp_path):
    part = line(0, 3)
    scores = Scores.from_raw(part.scores.raw[:, :40], part.scores.names[:40])
    page = report_of(tmp_path / "r.html", replace(part, scores=scores, smooth=None))
    assert "Valence" not in page.text
    assert not page.all("polygon")


def test_report_sums_up_every_person(tmp_path):
    """Those with a section of their own, which the name leads to, and the shorter ones."""
    parts = [line(i, 1, tracks=tuple(range(1, 21 if i < 2 else 11)), crops=True) for i in range(4)]
    page = report_of(tmp_path / "r.html", *parts)
    leads = [a["href"] for a in page.all("a")]
    assert leads[:2] == ["#v0t1", "#v0t2"]
    assert len(leads) == 16
    assert {href[1:] for href in leads} == {article["id"] for article in page.all("article")}
    assert all(f"Face {number} 0:00.0 to" in page.text for number in range(1, 21))
    assert "Of 4 shorter tracks there is the summary alone." in page.text


@pytest.mark.parametrize("known", ["with the rows", "at the end", "each person's own"])
def test_a_reader_of_the_time_line_switches_between_rankings(tmp_path, known):
    """z stands first where there is a baseline; its figures are of the same bins as the other kinds'."""
    part, usual = line(0, 30), line(0, 60, seed=9).scores.as_baseline()
    report = TimelineReport(tmp_path / "r.html", "talk", {})
    rows = part.scores.against(usual) if known == "with the rows" else part.scores
    report.write(replace(part, scores=rows))
    if known != "with the rows":
        report.baseline = usual if known == "at the end" else {("a.mp4", 1): usual}
    report.close()
    page = Page(report.path.read_text("utf-8"))
    assert [a["id"] for a in page.all("input")] == ["v-z", "v-softmax", "v-score", "v-raw"]
    assert "Emotions are ranked by z" in page.text
    means = dict(zip(EMOTIONS, usual.z(part.scores.raw.astype(float)).mean(axis=0)[:40], strict=True))
    strongest = max(means, key=means.get)
    assert f"{find(strongest).name} {value_text(means[strongest], 'z')}".replace("-", "−") in page.text
    assert ("each person's own rows" in page.text) == (known == "each person's own")
    assert len({a["title"] for a in page.all("span", "agree") if "title" in a}) == 40  # in the names of the heat map


def test_a_person_without_a_quiet_level_has_no_z(tmp_path):
    usual = line(0, 60, seed=9).scores.as_baseline()
    report = TimelineReport(tmp_path / "r.html", "talk", {})
    report.write(line(0, 9, tracks=(1, 2)))
    report.baseline = {("a.mp4", 2): usual}
    report.close()
    page = Page(report.path.read_text("utf-8"))
    assert page.text.count("seen in too few rows") == 1
    assert [a["alt"] for a in page.all("img") if a["alt"].endswith("z (unusual)")] == [
        "Heat map: emotions of Face 2 over time, z (unusual)"
    ]


def test_strongest_moments_are_the_largest_values_of_each_kind(tmp_path):
    """Of an emotion that grows and falls: its moment is the same for raw, mean-subtracted and z."""
    part = line(0, 9, seed=3)
    raw = np.full((9, len(part.scores.names)), -1.0, np.float32)
    raw[4, 7], raw[2, 12] = 3.0, 2.0
    scores = Scores.from_raw(raw, part.scores.names, dict.fromkeys(part.scores.names, 0.5), keys=part.scores.keys)
    totals = TimelineTotals()
    totals.add(replace(part, scores=scores))
    (track,) = next(iter(totals.videos.values())).tracks.values()
    assert [(track.peaks[e].value, track.peaks[e].seconds) for e in (7, 12, 0)] == [(3.0, 2.0), (2.0, 1.0), (-1.0, 0.0)]
    assert track.peaks[47].value == scores.softmax[4, 7]


def test_report_of_two_hours_is_small(tmp_path):
    """48 people who are there all the time, a row each second."""
    report = TimelineReport(tmp_path / "r.html", "talk", {})
    noise = np.random.default_rng(0).integers(0, 256, (48, 112, 112, 3), dtype=np.uint8)  # what JPEG packs worst
    for start in range(0, 7200, 400):
        part = line(start // 400, 1, step=400.0, tracks=tuple(range(48)), seed=start)
        report.write(replace(part, crops=tuple(noise)))
    report.close()
    assert report.path.stat().st_size < 5_500_000  # three rankings


@pytest.mark.parametrize("kind", ["softmax", "score", "raw"])
def test_values_are_the_same_everywhere(tmp_path, kind):
    part = line(0, 1, crops=True)
    if kind != "softmax":
        names = part.scores.names[1:] if kind == "score" else part.scores.names
        means = dict.fromkeys(names, 0.25) if kind == "score" else None
        raw = part.scores.raw[:, -len(names) :]
        part = replace(part, scores=Scores.from_raw(raw, names, means, keys=part.scores.keys), smooth=None)
        object.__setattr__(part.scores, "faces", np.array([[1.0, 1, 30, 30, 0.9]]))
    assert part.scores.value_kind == kind
    ((slug, value),) = part.scores.top(1)[0]
    text = f"{find(slug).name} {value_text(value, kind)}"
    sink = open_timeline(tmp_path / "a.vtt", {})
    sink.write(part)
    sink.close()
    assert text.replace("&", "&amp;") in (tmp_path / "a.vtt").read_text()
    assert text in table(part.scores, 1, 200).replace("~", "").replace("?", "")  # without the marks of agreement
    assert text in report_of(tmp_path / "r.html", part).text
    overlay = Overlay(tmp_path / "a.mp4", 1)
    overlay._label(part, range(1))
    overlay.abort()
    assert overlay._labels[0][2] == ["#1", text]


@pytest.mark.parametrize("name", ["a.txt", "a", "none/a.csv"])
def test_outputs_refused(tmp_path, name):
    with pytest.raises(OptionError, match=r"expected one of|there is no folder"):
        open_timeline(tmp_path / name, {})
    if name != "none/a.csv":
        with pytest.raises(OptionError, match="expected"):
            Overlay(tmp_path / name)


def test_growing_file_over_a_folder(tmp_path):
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(OptionError, match="not a file"):
        open_timeline(tmp_path / "a.csv", {})


def test_an_overlay_does_not_write_over_what_a_killed_run_left(tmp_path):
    left = tmp_path / "o.mp4.partial"
    left.write_bytes(b"hours of work")
    with pytest.raises(OptionError, match="is there already"):
        Overlay(tmp_path / "o.mp4")
    assert left.read_bytes() == b"hours of work"


def test_rankings_of_the_time_line_leave_out_what_experts_do_not_agree_on(tmp_path):
    """By alpha from 0.3 on there are five; the heat map has all emotions still."""
    report = TimelineReport(tmp_path / "r.html", "talk", {}, 0.3)
    report.write(line(0, 30))
    report.close()
    text = report.path.read_text("utf-8")
    agreed = {"Elation", "Amusement", "Anger", "Astonishment/Surprise", "Thankfulness/Gratitude"}
    lines = [
        re.findall(r"<li [^>]*><span>([^<]+)", ul)
        for ul in re.findall(r'<ul class="label lines view.*?</ul>', text, re.S)
    ]
    assert lines
    assert all(set(names) == agreed for names in lines)
    peaks = [set(re.findall(r"<b>([^<]+)</b>", ul)) for ul in re.findall(r'<ul class="peaks">.*?</ul>', text, re.S)]
    assert peaks
    assert all(names == agreed for names in peaks)
    assert len({a["title"] for a in Page(text).all("span", "agree") if "title" in a}) == 40  # in the heat map
