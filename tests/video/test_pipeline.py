"""Video to rows: each sampled frame and face once, at the true time and place, with the scores of its crop."""

import csv
import math
from dataclasses import replace

import numpy as np
import pytest

import emonet_fast as ef
from emonet_fast import stream
from emonet_fast.errors import InputError, OptionError
from emonet_fast.faces import face_crop
from emonet_fast.faces.geometry import overlaps
from emonet_fast.options import FaceOptions, VideoOptions
from emonet_fast.preprocess import crop
from emonet_fast.records import Face
from emonet_fast.scorer import NoScoresWarning
from emonet_fast.sources.video.av import AvSource
from emonet_fast.sources.video.frames import Frame, Sampling
from emonet_fast.timeline import Timeline
from emonet_fast.video.pipeline import VideoPipeline

from ..tolerances import SAME_ENGINE
from .making import numbered, whole


def rows_of(batches: list[Timeline]) -> list[dict]:
    return [row for batch in batches for row in batch.to_dicts()]


@pytest.fixture(scope="module")
def batches(scorer, walk, found_faces):
    return list(stream(scorer, walk.path, VideoOptions(fps=5, faces=found_faces, embeddings=True)))


@pytest.fixture(scope="module")
def rows(batches):
    return rows_of(batches)


def sampled(walk):
    return whole(walk.path, 5)


def test_a_row_a_face_and_a_row_for_none(rows, walk):
    frames = sorted({row["frame"] for row in rows})
    assert frames == [f.index for f in sampled(walk) if isinstance(f, Frame)]
    for frame in frames:
        status = [row["status"] for row in rows if row["frame"] == frame]
        assert status == (["no_face"] if frame in walk.gone else ["ok", "ok"])
    assert all(row["seconds"] == walk.ticks[row["frame"]] / 1000 for row in rows)
    assert all(row["source"] == str(walk.path) for row in rows)
    assert len({row["key"] for row in rows}) == len(rows)


def test_streams_change_no_row(scorer, tiny_folder, cache_dir):
    """More frames are worked on together, so that each stream has some; their rows stay as they are, in order."""
    frames = [(i / 2, numbered(i)) for i in range(19)]
    options = VideoOptions(fps=None, faces=FaceOptions(faces="none"))
    want = rows_of(list(stream(scorer, frames, options)))
    with ef.Scorer(tiny_folder, device="cpu", precision="fp32", streams=2, cache_dir=cache_dir) as several:
        found = list(stream(several, frames, options))
        assert len(found[0]) == max(4, 8 * several.backend.depth)
    assert rows_of(found) == want
    assert [row["frame"] for row in want] == list(range(19))


def test_faces_are_where_they_were_put(rows, walk):
    for row in rows:
        if row["status"] == "ok":
            box = np.array([[row[f"face_{n}"] for n in ("x", "y", "width", "height")]])
            assert overlaps(box, walk.truth[row["frame"]]).max() > 0.7


def test_identities_hold_while_they_pass(rows, walk):
    """The upper face walks to the right and the lower one to the left: each is one track from end to end."""
    tracks = {True: set(), False: set()}
    for row in rows:
        if row["status"] == "ok":
            tracks[row["face_y"] < 100].add(row["track"])
        else:
            assert row["track"] is None
    assert [len(t) for t in tracks.values()] == [1, 1]
    assert not tracks[True] & tracks[False]


def test_short_forms_stand_for_the_records(scorer, walk, found_faces):
    options = VideoOptions(fps=1, faces=found_faces)
    long = rows_of(list(stream(scorer, walk.path, options)))
    short = rows_of(list(stream(scorer, walk.path, fps=1, faces=found_faces)))
    assert long == short != []
    whole = list(stream(scorer, walk.path, fps=0.5, faces="none"))
    assert all(np.isnan(part.scores.faces).all() for part in whole)
    with pytest.raises(OptionError, match="options came together with fps or faces"):
        next(stream(scorer, walk.path, options, fps=5))


def test_scores_are_those_of_the_crop(batches, scorer, walk, found_faces):
    """The crop and the resize are those of pictures: the same numbers, bit for bit."""
    pixels = {f.index: f.rgb() for f in sampled(walk) if isinstance(f, Frame)}
    scores = batches[0].scores
    crops = []
    for i in range(4):
        face = Face(*scores.faces[i, :5].tolist())
        crops.append(crop(pixels[int(batches[0].frame[i])], face_crop(face, found_faces.margin)))
    alone = scorer(crops, embeddings=True)
    np.testing.assert_allclose(scores.raw[:4], alone.raw, rtol=0, atol=SAME_ENGINE)
    np.testing.assert_allclose(scores.embeddings[:4], alone.embeddings, rtol=0, atol=SAME_ENGINE)


def test_smoothed_columns_stand_beside_the_raw_ones(batches):
    first = batches[0]
    names = first.to_arrow().column_names
    assert [n for n in names if n.startswith("smooth_")] == [f"smooth_{d}" for d in first.scores.names]
    weight = 1 - np.exp(-(first.seconds[2] - first.seconds[0]) / 1.0)
    raw = first.scores.raw.astype(np.float64)
    np.testing.assert_allclose(first.smooth[0], raw[0])
    by_track = [i for i in range(4) if first.track[i] == first.track[0]]
    np.testing.assert_allclose(first.smooth[by_track[1]], raw[0] + weight * (raw[by_track[1]] - raw[0]))


def test_gaps_have_no_value(batches):
    last = batches[-1]
    assert last.scores.status[-1] == "no_face"
    assert np.isnan(last.smooth[-1]).all()


@pytest.mark.parametrize("settings", [{"score_every": 3}, {"score_change": 0.4}])
def test_reused_scores_are_marked(scorer, walk, found_faces, settings):
    """A track's rows carry the scores of its last scored crop, and say so."""
    found = rows_of(list(stream(scorer, walk.path, VideoOptions(fps=5, faces=found_faces, **settings))))
    last: dict[int, float] = {}
    reused = 0
    for row in found:
        if row["status"] != "ok":
            assert not row["reused"]
        elif row["reused"]:
            assert row["raw_awe"] == last[row["track"]]
            reused += 1
        else:
            last[row["track"]] = row["raw_awe"]
    scored = [row for row in found if row["status"] == "ok" and not row["reused"]]
    assert reused > 0
    if "score_every" in settings:
        frames = [row["frame"] for row in scored if row["track"] == 1]
        taken = sorted({row["frame"] for row in found if row["status"] == "ok"})
        assert frames == taken[::3]


def test_without_tracks(scorer, walk, found_faces):
    (first, *_) = stream(scorer, walk.path, VideoOptions(fps=2, faces=found_faces, track=False, smooth=0))
    row = first.to_dicts()[0]
    assert row["track"] is None
    assert not any(name.startswith("smooth_") for name in row)


def test_whole_frames(scorer, walk):
    """Detector none: one row a frame, without a box."""
    found = rows_of(list(stream(scorer, walk.path, VideoOptions(fps=2, faces=FaceOptions()))))
    assert [row["status"] for row in found] == ["ok"] * 8
    assert found[0]["face_x"] is None
    assert found[0]["smooth_awe"] is not None


def boxes_of_walk(walk, path, identities, *, every=1) -> FaceOptions:
    """A file of the true boxes of every so many frames; identities: what the file calls the two people."""
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["frame", "x", "y", "width", "height", "track_id"])
        for i in range(0, walk.gone.start, every):
            out.writerows([i, *box, name] for box, name in zip(walk.truth[i], identities, strict=True))
    return FaceOptions(faces=f"boxes:{path}")


@pytest.mark.parametrize(("identities", "tracks"), [(("", 1), [2, 1]), ((0, ""), [0, 1]), ((0, 1), [0, 1])])
def test_boxes_from_a_file(scorer, walk, tmp_path, identities, tracks):
    """Who has a number keeps it, and nobody else gets it: else they share a track, and a reused score."""
    options = VideoOptions(fps=5, faces=boxes_of_walk(walk, tmp_path / "boxes.csv", identities))
    every = rows_of(list(stream(scorer, walk.path, options)))
    reusing = rows_of(list(stream(scorer, walk.path, replace(options, score_every=3))))
    last: dict[int, float] = {}
    for row, scored in zip(reusing, every, strict=True):
        if row["frame"] < walk.gone.start:
            assert row["track"] == scored["track"] == tracks[row["face_y"] > 100]
            last[row["track"]] = last[row["track"]] if row["reused"] else scored["raw_awe"]
            assert row["raw_awe"] == pytest.approx(last[row["track"]], abs=SAME_ENGINE)
        else:
            assert row["status"] == "no_face"
    assert sum(row["reused"] for row in reusing) > 10


def test_boxes_of_every_third_frame(scorer, walk, tmp_path):
    """Every sample before the end has its two faces: those of the nearest frame that has a row."""
    options = VideoOptions(fps=None, end=3.0, faces=boxes_of_walk(walk, tmp_path / "boxes.csv", (3, 4), every=3))
    for row in rows_of(list(stream(scorer, walk.path, options))):
        truth = walk.truth[(row["frame"] + 1) // 3 * 3, row["track"] - 3]
        assert [row[f"face_{side}"] for side in ("x", "y", "width", "height")] == pytest.approx(truth.tolist())


@pytest.mark.parametrize("fps", [1.0, 0.5])
def test_few_samples_are_tracks_and_smoothed(scorer, walk, tmp_path, fps):
    """A sample is one step, whatever time passes between two."""
    still = replace(walk, truth=np.repeat(walk.truth[:1], 50, axis=0))
    faces = boxes_of_walk(still, tmp_path / "boxes.csv", ("", ""))
    rows = rows_of(list(stream(scorer, walk.path, VideoOptions(fps=fps, faces=faces))))
    assert [row["track"] for row in rows] == [1, 2] * round(4 * fps)
    weight = 1 - math.exp(rows[0]["seconds"] - rows[2]["seconds"])
    expected = rows[0]["raw_awe"] + weight * (rows[2]["raw_awe"] - rows[0]["raw_awe"])
    assert rows[2]["smooth_awe"] == pytest.approx(expected, abs=1e-6) != rows[2]["raw_awe"]


def test_boxes_that_fit_nothing_are_said(scorer, walk, tmp_path):
    """Python's users see no last line of a command."""
    path = tmp_path / "boxes.csv"
    path.write_text("frame,x,y,width,height\n1000,10,10,50,50\n")
    with pytest.warns(NoScoresWarning, match=r"4 of 4 sampled frames have no row in .*; its rows name such as 'frame"):
        rows = rows_of(list(stream(scorer, walk.path, VideoOptions(fps=1, faces=FaceOptions(f"boxes:{path}")))))
    assert [row["status"] for row in rows] == ["no_face"] * 4


def test_pairs_that_a_pipeline_holds(scorer, found_faces, walk):
    """The same frames from a file and from memory give the same rows."""
    pairs = [(f.seconds, f.rgb()) for f in whole(walk.path)][:15]
    options = VideoOptions(fps=5, faces=found_faces)
    given = rows_of(list(stream(scorer, iter(pairs), options)))
    read = rows_of(list(stream(scorer, walk.path, replace(options, end=pairs[-1][0]))))
    assert [(r["seconds"], r["raw_awe"]) for r in given] == [(r["seconds"], r["raw_awe"]) for r in read]


def test_endless_source_is_read_as_far_as_needed(scorer):
    taken = []

    def endless():
        i = 0
        while True:
            taken.append(i)
            yield i / 10, numbered(i % 256)
            i += 1

    parts = stream(scorer, endless(), VideoOptions(fps=None, faces=FaceOptions()))
    rows = sum(len(next(parts)) for _ in range(3))
    parts.close()
    assert rows <= len(taken) <= rows + 16 + 8


def test_source_that_ends_with_an_error_gives_what_it_had(scorer):
    """A camera that is unplugged."""

    def unplugged():
        for i in range(10):
            yield i / 10, numbered(i)
        raise InputError("the camera is gone")

    found = []
    with pytest.raises(InputError, match="gone"):
        found.extend(stream(scorer, unplugged(), VideoOptions(fps=None, faces=FaceOptions())))
    assert sum(map(len, found)) == 10  # all that came before it went


@pytest.mark.parametrize("settings", [{"smooth": -1.0}, {"track": False, "score_every": 2}])
def test_options_refused(settings):
    with pytest.raises(OptionError, match=r"expected|need"):
        VideoOptions(**settings)


def test_frames_between_samples_are_not_held(scorer, walk):
    """For an overlay every frame is given on, in order, a few at a time, however rarely one is sampled."""
    options = VideoOptions(fps=0.5, faces=FaceOptions())
    pipeline = VideoPipeline(scorer, AvSource(str(walk.path), Sampling(0.5), every=True), options, None)
    batches = list(pipeline)
    pipeline.close()
    assert max(len(batch.items) for batch in batches) <= 9
    given = [item.index for batch in batches for item, _ in batch.items if isinstance(item, Frame)]
    assert given == list(range(50))
    assert sum(len(batch.timeline) for batch in batches) == 2


def test_a_frame_is_decoded_once_for_all_its_faces(scorer, walk, found_faces, monkeypatch):
    """One picture a frame with the boxes that are due; a row's key still counts all faces of its frame."""
    pictures = []
    batches = scorer.batches

    def watched(given, **settings):
        taken = list(given)
        pictures.extend(taken)
        return batches(taken, **settings)

    monkeypatch.setattr(scorer, "batches", watched)
    options = VideoOptions(fps=5, faces=found_faces, score_every=3)
    rows = rows_of(list(stream(scorer, walk.path, options)))
    keys = [picture.key for picture in pictures]
    assert len(set(keys)) == len(keys)
    scored = [row["key"] for row in rows if not row["reused"]]
    assert sum(len(picture.row_keys()) for picture in pictures) == len(scored)
    frames = {row["frame"] for row in rows}
    assert len(keys) < len(frames)  # of some frames nothing was due
    for frame in frames - set(walk.gone):
        name = f"{walk.path}::frame{frame}"
        assert [row["key"] for row in rows if row["frame"] == frame] == [f"{name}::box0", f"{name}::box1"]


def test_dali_crops_the_faces_of_frames_like_pillow(scorer, tiny_folder, cache_dir, walk, tmp_path, monkeypatch):
    """Each frame goes DALI's way once, with all its faces, and its rows are Pillow's bit for bit."""
    pytest.importorskip("nvidia.dali", reason="DALI (extra dali) is not installed")
    from emonet_fast.decoders.dali import decoder

    path = tmp_path / "boxes.csv"
    rows = [f"{i},{x},{y},{w},{h}" for i in range(40) for x, y, w, h in walk.truth[i]]
    path.write_text("\n".join(["frame,x,y,width,height", *rows]) + "\n")
    options = VideoOptions(fps=5, faces=FaceOptions(faces=f"boxes:{path}"))
    expected = rows_of(list(stream(scorer, walk.path, options)))
    taken = []
    resized = decoder.resized
    monkeypatch.setattr(
        decoder, "resized", lambda whole, **more: taken.append(whole.picture.key) or resized(whole, **more)
    )
    with ef.Scorer(tiny_folder, precision="fp32", cache_dir=cache_dir, decoder="dali") as by_dali:
        found = rows_of(list(stream(by_dali, walk.path, options)))
        assert by_dali.decoder.name == "dali"
    assert found == expected
    assert sorted(taken) == sorted({row["key"].rpartition("::box")[0] or row["key"] for row in found})
    assert len(taken) < len(found)
