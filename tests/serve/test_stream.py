"""WS /v1/stream: the rows of `video`, frame by frame; faults, newer frames, the end of the server."""

import io
import json
import struct
import threading
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from emonet_fast import Scorer
from emonet_fast.options import FaceOptions, ServeOptions, VideoOptions
from emonet_fast.video.pipeline import stream

from ..pictures import photographs
from .conftest import TOKEN, running, until

SHARED_MODELS = Path(__file__).parents[3] / "shared" / "models" / "yunet"


def message(seconds, picture):
    if isinstance(picture, bytes):
        return struct.pack("<dII", seconds, 0, 0) + picture
    return struct.pack("<dII", seconds, picture.shape[1], picture.shape[0]) + picture.tobytes()


@contextmanager
def opened(server, query="", **more):
    with connect(f"{server.url.replace('http', 'ws')}/v1/stream{query}", **more) as socket:
        assert "metadata" in json.loads(socket.recv(30))
        yield socket


def asked(socket, sent):
    socket.send(sent)
    return json.loads(socket.recv(60))


def jpeg(rgb):
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def frames():
    return [np.random.default_rng(i // 2).integers(0, 256, (48, 64, 3), np.uint8) for i in range(6)]


def test_frames_give_what_video_gives(served, tiny_folder, frames):
    times = [0.0, 0.1, 0.4, 0.5, 2.5, 2.6]
    with Scorer(tiny_folder, precision="fp32") as scorer:
        options = VideoOptions(fps=None, smooth=0.3, faces=FaceOptions())
        pairs = list(zip(times, frames, strict=True))
        want = [row for line in stream(scorer, pairs, options) for row in line.to_dicts()]
    with opened(served, "?fields=raw&smooth=0.3") as socket:
        for i, (seconds, frame) in enumerate(zip(times, frames, strict=True)):
            answer = asked(socket, message(seconds, frame if i % 2 else jpeg(frame)))
            (row,) = answer["rows"]
            assert (answer["frame"], answer["seconds"], answer["status"], answer["dropped"]) == (i, seconds, "ok", 0)
            assert row["raw"] == {k.removeprefix("raw_"): v for k, v in want[i].items() if k.startswith("raw_")}
            smooth = {k.removeprefix("smooth_"): v for k, v in want[i].items() if k.startswith("smooth_")}
            assert row["smooth"] == smooth
            assert row["track"] is None


def test_faces_have_the_tracks_and_curves_of_video(tiny_folder):
    model = SHARED_MODELS / "yunet_s_dynamic.onnx"
    if not model.exists():
        pytest.skip("../shared/models is not beside this checkout")
    pairs = [(i / 4, np.roll(photographs()[0], 6 * i, axis=1)) for i in range(5)]  # the astronaut
    faces = FaceOptions("detect", model=model)
    with Scorer(tiny_folder, precision="fp32") as scorer:
        lines = list(stream(scorer, pairs, VideoOptions(fps=None, faces=faces, score_every=2)))
        want = [row for line in lines for row in line.to_dicts()]
    with running(tiny_folder, faces=faces) as server, opened(server, "?fields=raw&score_every=2") as socket:
        rows = [row for pair in pairs for row in asked(socket, message(*pair))["rows"]]
    assert len(rows) == len(want) >= 5
    assert [row["track"] for row in rows] == [row["track"] for row in want]
    assert [row["reused"] for row in rows] == [row["reused"] for row in want]
    assert any(row["reused"] for row in rows)
    for row, other in zip(rows, want, strict=True):
        assert row["face"]["face_x"] == other["face_x"]
        assert row["raw"] == {k.removeprefix("raw_"): v for k, v in other.items() if k.startswith("raw_")}
        assert row["smooth"] == {k.removeprefix("smooth_"): v for k, v in other.items() if k.startswith("smooth_")}


def test_a_bad_frame_is_answered_and_the_next_one_scored(served, frames):
    bad = [
        b"short",
        message(float("nan"), frames[0]),
        message(1e300, frames[0]),
        struct.pack("<dII", 0.0, 2**32 - 1, 2**32 - 1) + b"x",
        struct.pack("<dII", 0.0, 5, 0),
        message(0.0, b"no picture"),
    ]
    with opened(served) as socket:
        states = [asked(socket, one)["status"] for one in [*bad, message(0.0, frames[0]), message(-1.0, frames[1])]]
    assert states == [*["bad_input"] * 5, "not_an_image", "ok", "ok"]


def test_the_newest_frame_wins_and_the_answer_counts_the_others(tiny_folder, frames):
    gate, entered = threading.Event(), threading.Event()
    with running(tiny_folder) as server, opened(server) as socket:
        backend = server.service.scorers[0].backend
        run = backend.run

        def gated(pixels):
            entered.set()
            gate.wait(60)
            return run(pixels)

        backend.run = gated
        socket.send(message(0.0, frames[0]))
        assert entered.wait(30)
        for i in range(1, 6):
            socket.send(message(i / 10, frames[i]))
        until(lambda: "emonet_fast_dropped_frames_total 4.0" in httpx.get(f"{server.url}/metrics").text)
        gate.set()
        first, second = (json.loads(socket.recv(60)) for _ in range(2))
    assert (first["frame"], first["dropped"], second["frame"], second["dropped"]) == (0, 0, 5, 4)
    assert server.service.held._left == server.service.settings.max_held


def test_a_server_that_stops_answers_the_frame_that_it_has(tiny_folder, frames):
    gate, entered = threading.Event(), threading.Event()
    with running(tiny_folder) as server, opened(server) as socket:
        backend = server.service.scorers[0].backend
        run = backend.run
        backend.run = lambda pixels: entered.set() or (gate.wait(60) and run(pixels))
        socket.send(message(0.0, frames[0]))
        assert entered.wait(30)
        server.server.stop()
        gate.set()
        assert json.loads(socket.recv(60))["status"] == "ok"
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(60)
        assert closed.value.rcvd.code == 1001


def test_who_may_not_have_a_stream(tiny_folder, served, frames):
    def refused(server, query="", **more):
        with pytest.raises(InvalidStatus) as answer, opened(server, query, **more):
            pass
        return answer.value.response.status_code

    assert refused(served, origin="https://foreign.example") == 403
    assert refused(served, "?smooth=-1") == refused(served, "?smooth=x") == refused(served, "?file=/etc/passwd") == 422
    assert refused(served, "?deadline=1") == 422  # of /v1/score alone
    assert refused(served, "?faces=detect") == refused(served, "?people=2") == 422
    with running(tiny_folder, ServeOptions(port=0, max_streams=1), token=TOKEN) as server:
        assert refused(server) == 401
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        with opened(server, additional_headers=bearer):
            assert refused(server, additional_headers=bearer) == 503
        until(lambda: server.service.streams == 0)
        with opened(server, additional_headers=bearer):
            pass


def test_a_text_ends_the_stream_with_a_word(served):
    with opened(served) as socket:
        socket.send("hello")
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(30)
    assert (closed.value.rcvd.code, "text" in closed.value.rcvd.reason) == (1003, True)
