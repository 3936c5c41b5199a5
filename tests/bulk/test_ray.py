"""Scoring by Ray: EmoNetScorer alone, in map_batches, and the engine of bulk scoring, whose actors may die."""

import json
import os
import pickle
import signal
import threading

import numpy as np
import pytest

from emonet_fast import Scorer
from emonet_fast.bulk.ray import _connect, _ShardActor
from emonet_fast.bulk.settings import Settings
from emonet_fast.errors import InputError, OptionError
from emonet_fast.options import Options
from emonet_fast.ray_scorer import EmoNetScorer

from .made import contents, jpeg, run, table

ONE_THREAD = Options(device="cpu", threads=1)


@pytest.fixture(scope="module")
def local_ray():
    """Ray on this machine with 2 cores, shared by the tests."""
    ray = pytest.importorskip("ray", reason="extra `ray` is not installed")
    pytest.importorskip("ray.data", reason="extra `ray` is not installed")
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100 << 20)
    yield ray
    ray.shutdown()


def test_scorer_of_columns(tiny):
    """Structs, bytes, None and other columns; a pickled copy; the same numbers as Scorer gives."""
    images = [jpeg(0), b"no", None, jpeg(1)]
    batch = {"image": np.array([{"bytes": b, "path": "x"} for b in images], dtype=object), "id": np.arange(4)}
    scorer = pickle.loads(pickle.dumps(EmoNetScorer(tiny, embeddings=True, options=ONE_THREAD)))  # noqa: S301 - just made
    found = scorer(batch)
    with Scorer(tiny, device="cpu", threads=1) as plain:
        expected = plain([b"" if b is None else b for b in images], embeddings=True)
    assert found["id"].tolist() == [0, 1, 2, 3]
    assert found["status"].tolist() == ["ok", "not_an_image", "empty", "ok"]
    assert "image" not in found
    assert "key" not in found
    for i, name in enumerate(expected.names):
        np.testing.assert_array_equal(found[f"raw_{name}"], expected.raw[:, i])
    np.testing.assert_array_equal(found["embedding"], expected.embeddings)
    pixels = np.zeros((2, 20, 30, 3), np.uint8)
    assert EmoNetScorer(tiny, image_column="x", options=ONE_THREAD)({"x": pixels})["status"].tolist() == ["ok", "ok"]
    with pytest.raises(InputError, match="no column 'image'; its columns are: x"):
        scorer({"x": [1]})
    with pytest.raises(InputError, match="column 'status' already"):
        scorer({**batch, "status": [0] * 4})


def test_map_batches(local_ray, tiny):
    rows = [{"image": jpeg(i), "id": i} for i in range(12)]
    ds = local_ray.data.from_items(rows).map_batches(
        EmoNetScorer,
        fn_constructor_args=(str(tiny),),
        fn_constructor_kwargs={"options": ONE_THREAD},
        batch_size=5,
        concurrency=1,
    )
    found = sorted(ds.take_all(), key=lambda r: r["id"])
    with Scorer(tiny, threads=1, device="cpu") as plain:
        expected = plain([r["image"] for r in rows])
    assert [r["id"] for r in found] == list(range(12))
    assert [r["raw_elation"] for r in found] == expected.raw[:, expected.names.index("elation")].tolist()


def test_a_shard_that_kills_its_actor_is_given_up(tiny, tmp_path):
    """An actor that finds two attempts of its run noted beside the shard; older runs' attempts do not count."""
    data = table(tmp_path / "data" / "a.parquet", [jpeg(i) for i in range(8)], group=2)
    run(data, tiny, tmp_path / "out", shard_size=2, part=(0, 4))
    names = {"inputs": (str(data),), "checkpoint": str(tiny), "output": tmp_path / "out"}
    actor = _ShardActor(Settings(**names, shard_size=2, options=Options(batch_size=4)), "cpu", 1, "this run")
    for shard, earlier in ((1, "this run"), (2, "an older run")):
        (tmp_path / "out" / f"0000{shard}.attempt").write_text(json.dumps({"run": earlier, "attempts": 2}))
    (failed, done) = (json.loads(actor({"shard": [s]})["result"][0])["marker"] for s in (1, 2))
    assert failed["failed"] == "its actor died each time"
    assert done["rows"] == 2
    assert (tmp_path / "out" / "00001.failed.json").exists()
    assert not list((tmp_path / "out").glob("*.attempt"))


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "127.0.0.1:99999"])
def test_no_cluster_at_the_address(address):
    """Ray itself would try for ever."""
    ray = pytest.importorskip("ray", reason="extra `ray` is not installed")
    with pytest.raises(OptionError, match=f"cannot join the Ray cluster at '{address}'") as error:
        _connect(ray, address)
    assert "\n" not in str(error.value)


def test_bulk_by_actors_of_which_one_is_killed(local_ray, tiny, tmp_path):
    """Begun by local processes, gone on with under Ray, where an actor is killed: the same bytes as without it."""
    data = table(tmp_path / "data" / "a.parquet", [jpeg(i) for i in range(600)], group=100)
    run(data, tiny, tmp_path / "whole", shard_size=100)
    output = tmp_path / "out"
    run(data, tiny, output, shard_size=100, part=(0, 3))
    stop, killed = threading.Event(), []

    def kill_one() -> None:
        """The process that has noted an attempt is an actor at work."""
        while not stop.wait(0.002) and not killed:
            for path in output.glob("*.attempt"):
                try:
                    pid = json.loads(path.read_text())["pid"]
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
                    return
                except (OSError, ValueError):  # finished in the meantime
                    continue

    killer = threading.Thread(target=kill_one)
    killer.start()
    summary, said = run(data, tiny, output, shard_size=100, engine="ray", devices="cpu,cpu")
    stop.set()
    killer.join()
    assert killed
    assert summary.done == summary.shards
    assert summary.scored_now == 400, "what local processes did is not done again"
    assert contents(output) == contents(tmp_path / "whole")
    assert not list(output.glob("*.attempt"))
    assert any("on ray cpu" in line for line in said)
