"""Inputs and tables at URLs: fsspec's memory:// for object stores, and a web server on this machine."""

import http.server
import io
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image

from emonet_fast.bulk import inputs as listing
from emonet_fast.commands.main import cli
from emonet_fast.errors import InputError, MissingPackageError, OptionError
from emonet_fast.options import Options
from emonet_fast.records import Status
from emonet_fast.sinks.deliver import Deliveries
from emonet_fast.sources import Inputs, remote
from emonet_fast.sources.remote import is_remote, stat_remote

from .made import encoded, write_tar

fsspec = pytest.importorskip("fsspec", reason="needs the extra remote")


def tar_of(members, mode="w"):
    with tempfile.TemporaryDirectory() as folder:
        return write_tar(Path(folder) / "t", list(members.items()), mode).read_bytes()


RED, BLUE = (encoded(Image.new("RGB", (8, 8), color)) for color in ("red", "blue"))


def table():
    data = io.BytesIO()
    pq.write_table(pa.table({"image": pa.array([RED, BLUE], pa.binary()), "label": [1, 2]}), data)
    return data.getvalue()


FILES = {
    "a.png": RED,
    "sub/b.png": BLUE,
    "sub/notes.txt": b"text",
    "s.tar": tar_of({"m.png": RED, "n.txt": b"x"}),
    "z.tar.gz": tar_of({"m.png": BLUE}, "w:gz"),
    "t.parquet": table(),
}


@pytest.fixture
def store():
    """memory://pics with FILES."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    for name, data in FILES.items():
        system.pipe_file(f"/pics/{name}", data)
    yield system
    system.store.clear()


class Handler(http.server.BaseHTTPRequestHandler):
    """FILES with ranges; /go?to=URL leads there; /long sends more than it says it may."""

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path, _, query = self.path.partition("?")
        if path.startswith("/silent"):
            self.server.asked_enough.wait(60)
            return
        if path == "/go":
            self.send_response(302)
            self.send_header("Location", query.removeprefix("to="))
            self.end_headers()
            return
        data = b"x" * 3_000_000 if path == "/long.png" else FILES.get(path.lstrip("/"))
        if data is None:
            self.send_error(404)
            return
        start, stop = 0, len(data)
        if asked := self.headers.get("Range"):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, stop = int(first), min(int(last or stop) + 1, stop)
        self.send_response(206 if asked else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(stop - start))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
        self.end_headers()
        if self.command == "GET":
            with suppress(OSError):  # the reader may have enough
                self.wfile.write(data[start:stop])

    def log_message(self, *args):
        pass


@pytest.fixture
def web():
    pytest.importorskip("aiohttp", reason="needs the extra remote")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked_enough = threading.Event()
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        server.url = f"http://127.0.0.1:{server.server_port}"
        yield server
        server.asked_enough.set()
        server.shutdown()


def read(*inputs, **options):
    return list(Inputs(inputs, Options(**options)))


def test_a_store_is_read_as_a_disk_is(store):
    folder = read("memory://pics")
    assert [(p.key, p.data) for p in folder] == [("memory:///pics/a.png", RED), ("memory:///pics/sub/b.png", BLUE)]
    every = Inputs(["memory://pics/*", "memory://pics/sub"], Options())
    found = {p.key.removeprefix("memory:///pics/"): p.data for p in every}
    assert found == {
        "a.png": RED,
        "s.tar::m.png": RED,
        "z.tar.gz::m.png": BLUE,
        "t.parquet::0": RED,
        "t.parquet::1": BLUE,
        "sub/b.png": BLUE,
        "sub/b.png#2": BLUE,
    }
    assert every.skipped[".txt"] == 3  # of two folders, and of the tar
    assert stat_remote("memory://pics/a.png").st_size == len(RED)


def test_what_is_missing_in_a_store_has_a_row(store):
    rows = read("memory://pics/a.png", "memory://pics/gone.png", "memory://pics/*.gif")
    assert [row.status for row in rows] == [Status.OK, Status.UNREADABLE, Status.UNREADABLE]
    assert [row.reason for row in rows[1:]] == ["no such file there", "no picture, shard or table matches this pattern"]
    with pytest.raises(InputError, match="no such file there"):
        read("memory://pics/gone.png")
    assert [row.status for row in read("memory://pics/a.png", max_bytes=len(RED) - 1)] == [Status.TOO_LARGE]
    assert [row.status for row in read("memory://pics/a.png", max_bytes=len(RED))] == [Status.OK]


def test_web_pictures_tars_and_tables(web):
    rows = read(f"{web.url}/a.png?size=large", f"{web.url}/z.tar.gz", f"{web.url}/t.parquet", f"{web.url}/gone.png")
    assert [row.data for row in rows] == [RED, BLUE, RED, BLUE, None]
    assert rows[-1].reason == "no such file there"
    assert rows[0].key == f"{web.url}/a.png?size=large"


def test_a_web_picture_is_read_up_to_max_bytes(web):
    (row,) = read(f"{web.url}/long.png", max_bytes=1000)
    assert (row.status, row.data, row.reason) == (Status.TOO_LARGE, None, "over 1,000 bytes, which max_bytes allows")


def test_a_server_that_does_not_answer_is_given_up(web, monkeypatch):
    monkeypatch.setattr(remote, "_SILENT", 0.1)
    rows = read(f"{web.url}/silent.png", f"{web.url}/silent.parquet", "http://127.0.0.1:1/a.png")
    assert {row.status for row in rows} == {Status.UNREADABLE}
    assert all("Timeout" in row.reason for row in rows[:2])
    assert "Connect" in rows[2].reason


def test_redirects_lead_to_the_web_alone(web, tmp_path):
    (tmp_path / "secret.png").write_bytes(BLUE)
    led, refused = read(f"{web.url}/go?to={web.url}/a.png", f"{web.url}/go?to=file://{tmp_path}/secret.png")
    assert led.data == RED
    assert (refused.status, refused.data) == (Status.UNREADABLE, None)


def test_no_server_is_a_row_and_secrets_are_in_none(web):
    url = f"http://me:hunter2@127.0.0.1:{web.server_port}/gone.png?token=abc123"
    (row, other) = read(url, "http://127.0.0.1:1/a.png?X-Amz-Signature=deadbeef")
    for text in (row.key, row.reason, other.key, other.reason):
        assert not any(secret in text for secret in ("hunter2", "abc123", "deadbeef"))
    assert row.key == f"http://127.0.0.1:{web.server_port}/gone.png?token=***"
    assert other.status == Status.UNREADABLE


def test_unknown_schemes_and_missing_packages_are_said(monkeypatch):
    with pytest.raises(InputError, match=r"nosuch:// is unknown"):
        read("nosuch://a/b.png")
    monkeypatch.setattr("emonet_fast.optional.available", lambda package: False)
    with pytest.raises(MissingPackageError, match=r"emonet-fast\[remote\]"):
        read("s3://bucket/a.png")


def test_a_path_is_no_url(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s3:").mkdir()
    (tmp_path / "s3:" / "a.png").write_bytes(RED)
    assert not is_remote("s3://a.png")  # it lies here
    assert not any(map(is_remote, ("a.png", "file:///a.png", "C:\\a.png", "x::y", b"s3://a", None)))


def test_bulk_lists_a_store_and_refuses_urls_with_secrets(store):
    found = listing.find(["memory://pics"])
    assert [file.key for file in found.files] == ["memory:///pics/a.png", "memory:///pics/sub/b.png"]
    assert [file.key for file in found.tars] == ["memory:///pics/s.tar", "memory:///pics/z.tar.gz"]
    ((planned, footer),) = found.tables
    assert (planned.path, footer.groups) == ("memory:///pics/t.parquet", (2,))
    assert planned.state.size == len(FILES["t.parquet"])
    assert planned.state.mtime_ns > 0
    assert listing.canonical("memory://pics") == "memory://pics"
    with pytest.raises(InputError, match=r"^https://host/\?sig=\*\*\* came with a password or token"):
        listing.canonical("https://u:p@host/?sig=1")


def test_a_table_is_put_whole_and_what_belongs_to_it_first(store, tmp_path):
    made = Deliveries(["memory://out/s.csv", str(tmp_path / "t.csv")])
    staged, local = made.paths
    assert local == tmp_path / "t.csv"
    assert not store.exists("/out/s.csv")
    staged.write_bytes(b"rows")
    staged.with_name("s.csv.meta.json").write_bytes(b"{}")
    assert made.put(early=False) == (["memory://out/s.csv"], [])
    assert {name: data.getvalue() for name, data in store.store.items() if name.startswith("/out")} == {
        "/out/s.csv": b"rows",
        "/out/s.csv.meta.json": b"{}",
    }
    assert not staged.parent.exists()


def test_a_run_that_ends_early_leaves_an_older_table(store):
    store.pipe_file("/out/s.csv", b"older")
    made = Deliveries(["memory://out/s.csv"])
    made.paths[0].write_bytes(b"newer")
    done, (fault,) = made.put(early=True)
    assert done == []
    assert "an older file is there, which stays; the table is here: " in fault
    assert store.cat_file("/out/s.csv") == b"older"
    assert made.paths[0].read_bytes() == b"newer"


def test_outputs_that_cannot_be_are_refused_at_once(store, monkeypatch):
    with pytest.raises(OptionError, match="the web takes no files"):
        Deliveries(["https://u:secret@host/s.csv"])
    for names, read_too in ((["memory://o/s.csv"] * 2, ()), (["memory://pics/t.csv"], ["memory://pics/*.csv"])):
        with pytest.raises(OptionError, match="is an input or another output too"):
            Deliveries(names, read_too)

    def refuse(self, path, value, **more):
        raise PermissionError(f"no key for {path}?token=abc")

    monkeypatch.setattr(type(store), "pipe_file", refuse)
    with pytest.raises(OptionError, match=r"nothing can be written to memory://o/s\.csv: PermissionError"):
        Deliveries(["memory://o/s.csv"])


def test_the_command_scores_a_store_into_a_store(store, tiny_folder, cache_dir):
    arguments = ["memory://pics/sub", "-c", str(tiny_folder), "--cache-dir", str(cache_dir), "--precision", "fp32"]
    done = CliRunner().invoke(cli, ["score", *arguments, "-o", "memory://out/s.parquet"])
    assert done.exit_code == 0, done.output
    assert "wrote memory://out/s.parquet" in done.output
    assert "wrote /" not in done.output
    rows = pq.read_table(io.BytesIO(store.cat_file("/out/s.parquet")))
    assert rows["key"].to_pylist() == ["memory:///pics/sub/b.png"]
    assert rows["status"].to_pylist() == ["ok"]
    refused = CliRunner().invoke(cli, ["score", *arguments, "--report", "memory://out/s.html"])
    assert refused.exit_code == 2
    assert "tables alone go to URLs" in refused.output
