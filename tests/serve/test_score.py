"""POST /v1/score: the same bits as Scorer's in every form, in the order sent, whatever else is under way."""

import base64
import io
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest

from emonet_fast import Scorer, taxonomy
from emonet_fast.options import Options, ServeOptions
from emonet_fast.serve.answers import ARROW

from .conftest import running


@pytest.fixture(scope="module")
def want(tiny_folder, pictures):
    with Scorer(tiny_folder, precision="fp32") as scorer:
        return scorer(pictures, embeddings=True)


def files(pictures):
    return [("any", (f"{i}.jpg", data)) for i, data in enumerate(pictures)]


def raw_of(rows):
    return np.array([list(row["raw"].values()) for row in rows], np.float32)


def test_multipart_json_and_bytes_give_the_scorers_own_bits(served, pictures, want):
    fields = {"fields": "raw,score,softmax,embedding"}
    answers = [
        served.client.post("/v1/score", params=fields, files=files(pictures)),
        served.client.post(
            "/v1/score",
            params=fields,
            json={
                "pictures": [
                    {"key": f"{i}.jpg", "data": base64.b64encode(one).decode()} for i, one in enumerate(pictures)
                ]
            },
        ),
    ]
    for answer in answers:
        assert answer.status_code == 200, answer.text
        rows = answer.json()["rows"]
        assert [row["key"] for row in rows] == [f"{i}.jpg" for i in range(12)]
        assert list(rows[0]["raw"]) == list(want.names)
        np.testing.assert_array_equal(raw_of(rows), want.raw)
        np.testing.assert_array_equal([list(row["score"].values()) for row in rows], want.score)
        np.testing.assert_array_equal([list(row["softmax"].values()) for row in rows], want.softmax)
        np.testing.assert_array_equal(np.array([row["embedding"] for row in rows], np.float32), want.embeddings)
    one = served.client.post("/v1/score", content=pictures[3], headers={"Content-Type": "image/jpeg"}).json()
    np.testing.assert_array_equal(raw_of(one["rows"]), want.raw[3:4])
    assert one["rows"][0]["key"] == "#0"
    # no place of this machine: the checkpoint's name alone
    assert one["metadata"]["checkpoint"] == "tiny-folder"


def test_arrow_has_the_same_columns_as_a_table(served, pictures, want):
    answer = served.client.post(
        "/v1/score", params={"fields": "raw,embedding"}, files=files(pictures), headers={"Accept": ARROW}
    )
    assert answer.headers["content-type"] == ARROW
    table = pa.ipc.open_stream(answer.content).read_all()
    np.testing.assert_array_equal(np.stack([table[f"raw_{n}"].to_numpy() for n in want.names], 1), want.raw)
    np.testing.assert_array_equal(np.stack(table["embedding"].to_pylist()).astype(np.float32), want.embeddings)
    assert not [n for n in table.column_names if n.startswith(("score_", "softmax_"))]
    assert json.loads(table.schema.metadata[b"notes"]) == list(want.notes)


def test_a_bad_picture_is_a_status_in_its_row(served, pictures, want):
    sent = [pictures[0], b"no picture", b"", pictures[1][:300], pictures[1]]
    rows = served.client.post("/v1/score", params={"top": 2}, files=files(sent)).json()["rows"]
    assert [row["status"] for row in rows] == ["ok", "not_an_image", "empty", "truncated", "ok"]
    assert all(row["reason"] and row["raw"] is None and row["top"] == [] for row in rows[1:4])
    np.testing.assert_array_equal(raw_of([rows[0], rows[4]]), want.raw[:2])
    assert rows[4]["top"] == [{"emotion": slug, "value": value} for slug, value in want[1].top(2)[0]]


def test_names_are_keys_and_nothing_else(served, pictures):
    names = ["../../etc/passwd", "a.jpg", "a.jpg", '"><script>.jpg']
    answer = served.client.post("/v1/score", files=[("f", (n, pictures[0])) for n in names])
    keys = [row["key"] for row in answer.json()["rows"]]
    assert keys[:3] == ["../../etc/passwd", "a.jpg", "a.jpg#2"]
    assert len({json.dumps(row["raw"]) for row in answer.json()["rows"]}) == 1
    assert answer.headers["content-type"] == "application/json"


def test_rows_of_many_requests_share_batches_and_do_not_depend_on_them(tiny_folder, pictures):
    options = Options(batch_size=4, precision="fp32")
    with Scorer(tiny_folder, batch_size=4, precision="fp32") as scorer:
        want = scorer(pictures)
    # long enough that rows of other requests come into the batch, however slow this machine is
    with running(tiny_folder, ServeOptions(port=0, max_wait_ms=300.0), options=options) as server:

        def ask(i):
            several = [pictures[(i + k) % 12] for k in range(1 + i % 3)]
            answer = server.client.post("/v1/score", files=files(several))
            return raw_of(answer.json()["rows"])

        with ThreadPoolExecutor(12) as pool:
            for i, got in enumerate(pool.map(ask, range(24))):
                np.testing.assert_array_equal(got, want.raw[[(i + k) % 12 for k in range(1 + i % 3)]])
        text = server.client.get("/metrics").text
    batches = float(text.split("emonet_fast_batch_rows_count ")[1].split()[0])
    assert float(text.split("emonet_fast_batch_rows_sum ")[1].split()[0]) == 48
    assert batches < 24, "requests did not share batches"
    assert 'emonet_fast_rows_total{status="ok"} 48.0' in text
    assert "emonet_fast_queue 0.0" in text
    assert 'emonet_fast_requests_total{route="/v1/score",status="200"} 24.0' in text


def test_baselines_have_names(tiny_folder, pictures, want):
    baseline = want.as_baseline()
    with running(tiny_folder, baselines={"usual": baseline}) as server:
        answer = server.client.post("/v1/score", params={"baseline": "usual", "fields": "z"}, files=files(pictures))
        rows = answer.json()["rows"]
        np.testing.assert_array_equal([list(row["z"].values()) for row in rows], want.against(baseline).z)
        assert answer.json()["value_kind"] == "z"
        for other in ("/etc/passwd", "usual.json", ""):
            assert server.client.post("/v1/score", params={"baseline": other}, files=files(pictures)).status_code == 422


def test_taxonomy_and_codebook(served):
    found = served.client.get("/v1/taxonomy").json()
    assert [one["slug"] for one in found["dimensions"]] == [one.slug for one in taxonomy.DIMENSIONS]
    assert found["dimensions"][0]["reliability"]["agreement"] in ("agree", "somewhat", "not")
    assert {"key", "status"} <= {one["name"] for one in served.client.get("/v1/codebook").json()}


def test_faces_need_a_server_with_a_detector(served, pictures):
    answer = served.client.post("/v1/score", params={"faces": "detect"}, files=files(pictures[:1]))
    assert (answer.status_code, "--faces none" in answer.json()["error"]) == (422, True)
    assert served.client.post("/v1/score", params={"faces": "none"}, files=files(pictures[:1])).status_code == 200


def test_a_picture_of_two_values_is_a_file_that_scorer_takes(served, tiny_folder):
    file = io.BytesIO()
    from PIL import Image

    Image.new("L", (9, 5), 77).save(file, "PNG")
    with Scorer(tiny_folder, precision="fp32") as scorer:
        want = scorer([file.getvalue()]).raw
    got = served.client.post("/v1/score", content=file.getvalue(), headers={"Content-Type": "image/png"}).json()
    np.testing.assert_array_equal(raw_of(got["rows"]), want)
