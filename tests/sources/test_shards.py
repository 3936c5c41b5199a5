"""Tar shards, sound, hostile and damaged."""

import gzip
import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emonet_fast.records import Status
from emonet_fast.sources.shards import read_shard

from .made import write_tar

LIMIT = 1 << 20
MEMBERS = [
    ("0001.jpg", b"one" * 400),
    ("0001.json", b"{}"),
    ("sub/0002.PNG", b"two"),
    ("0003.webp", b"x" * 512),
    ("0003.cls", b"7"),
]
IMAGES = [("0001.jpg", b"one" * 400), ("sub/0002.PNG", b"two"), ("0003.webp", b"x" * 512)]


def read(path, limit=LIMIT):
    return list(read_shard(str(path), "s", limit))


@pytest.mark.parametrize(("name", "mode"), [("s.tar", "w"), ("s.tar.gz", "w:gz"), ("s.tgz", "w:gz"), ("z.tar", "w:gz")])
@pytest.mark.parametrize("layout", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_images_in_order(tmp_path, name, mode, layout):
    with tarfile.open(tmp_path / name, mode, format=layout) as tar:
        for member, data in MEMBERS:
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    got = read(tmp_path / name)
    assert [(p.key, p.data) for p in got] == [(f"s::{n}", d) for n, d in IMAGES]
    assert {p.status for p in got} == {Status.OK}


def test_long_and_foreign_names(tmp_path):
    names = ["d" * 120 + "/" + "n" * 150 + ".jpg", "façade/日本.png"]
    write_tar(tmp_path / "s.tar", [(n, b"1") for n in names])
    assert [p.key for p in read(tmp_path / "s.tar")] == [f"s::{n}" for n in names]


def test_names_that_are_not_utf8(tmp_path):
    info = tarfile.TarInfo("caf\udce9.jpg")
    with tarfile.open(tmp_path / "s.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        tar.addfile(info)
    (got,) = read(tmp_path / "s.tar")
    assert (got.key, got.data) == ("s::caf\\xe9.jpg", b"")


def test_hostile_names_are_labels_only(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["../../etc/x.jpg", "/etc/passwd.png", "..\\..\\x.jpg", "a\nb.jpg"]
    write_tar(tmp_path / "s.tar", [(n, b"1") for n in names])
    got = read(tmp_path / "s.tar")
    assert [(p.key, p.data) for p in got] == [(f"s::{n}", b"1") for n in names]
    assert [p.name for p in tmp_path.iterdir()] == ["s.tar"]


def test_only_regular_files(tmp_path):
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for kind in (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
            info = tarfile.TarInfo("x.jpg")
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
        last = tarfile.TarInfo("real.jpg")
        last.size = 2
        tar.addfile(last, io.BytesIO(b"ok"))
    assert [(p.key, p.data) for p in read(tmp_path / "s.tar")] == [("s::real.jpg", b"ok")]


def test_a_name_twice_gives_two_keys(tmp_path):
    write_tar(tmp_path / "s.tar", [("a.jpg", b"1"), ("a.jpg", b"2")])
    assert [(p.key, p.data) for p in read(tmp_path / "s.tar")] == [("s::a.jpg", b"1"), ("s::a.jpg#2", b"2")]


def test_member_over_the_limit_is_not_read(tmp_path):
    write_tar(tmp_path / "s.tar", [("a.jpg", b"1" * 10), ("b.jpg", b"1" * 11), ("c.jpg", b"1")])
    got = read(tmp_path / "s.tar", limit=10)
    assert [p.status for p in got] == [Status.OK, Status.TOO_LARGE, Status.OK]
    assert (got[1].data, got[1].reason) == (None, "11 bytes; max_bytes allows 10")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_forged_size_reads_nothing(tmp_path, pack):
    """A header of 8 EB: refused by the limit; that the archive cannot hold it is the damage after it.

    tarfile's stream mode goes on reading the ended file for hours here, zipped or not.
    """
    info = tarfile.TarInfo("a.jpg")
    info.size = 2**63
    (tmp_path / "s.tar").write_bytes(pack(info.tobuf(tarfile.GNU_FORMAT) + b"\0" * 2048))
    got = read(tmp_path / "s.tar")
    assert [p.status for p in got] == [Status.TOO_LARGE, Status.UNREADABLE]


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_forged_extended_header(tmp_path, kind):
    """tarfile would read 4 GB of name into memory."""
    info = tarfile.TarInfo("a")
    info.type, info.size = kind, 2**32
    path = write_tar(tmp_path / "s.tar", IMAGES[:1])
    whole = path.read_bytes()
    path.write_bytes(whole[: 512 + 1536] + info.tobuf(tarfile.GNU_FORMAT) + b"x" * 4096)
    got = read(path)
    assert [p.status for p in got] == [Status.OK, Status.UNREADABLE]
    assert "claims 4,294,967,296 bytes" in got[1].reason


def test_negative_size(tmp_path):
    info = tarfile.TarInfo("a.jpg")
    info.size = -512
    (tmp_path / "s.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + b"\0" * 1024)
    (got,) = read(tmp_path / "s.tar")
    assert got.status == Status.UNREADABLE


def test_cut_inside_a_member(tmp_path):
    path = write_tar(tmp_path / "s.tar", MEMBERS)
    path.write_bytes(path.read_bytes()[: 512 + 1536 + 512 + 512 + 512 + 512 + 512 + 100])
    got = read(path)
    assert [p.key for p in got] == ["s::0001.jpg", "s::sub/0002.PNG", "s::<damaged after 2 images>"]
    assert (got[2].status, got[2].data) == (Status.UNREADABLE, None)
    assert "unexpected end of data" in got[2].reason
    assert "0003.webp" in got[2].reason


def test_cut_between_members(tmp_path):
    """tarfile itself takes this for the end of the archive."""
    path = write_tar(tmp_path / "s.tar", MEMBERS)
    path.write_bytes(path.read_bytes()[: 512 + 1536])
    got = read(path)
    assert [p.key for p in got] == ["s::0001.jpg", "s::<damaged after 1 images>"]
    assert "without the end-of-archive mark" in got[1].reason


def test_damaged_header_between_members(tmp_path):
    """tarfile itself takes this for the end of the archive, too."""
    path = write_tar(tmp_path / "s.tar", MEMBERS)
    data = bytearray(path.read_bytes())
    data[512 + 1536 + 512 + 512] ^= 1  # the third header's name
    path.write_bytes(data)
    got = read(path)
    assert [p.key for p in got] == ["s::0001.jpg", "s::<damaged after 1 images>"]
    assert "damaged header" in got[1].reason


def test_sound_shards_without_images(tmp_path):
    assert read(write_tar(tmp_path / "a.tar", [("a.txt", b"1")])) == []
    assert read(write_tar(tmp_path / "b.tar", [])) == []


@pytest.mark.parametrize("data", [b"", b"no tar at all", b"\0" * 100, b"\x1f\x8b\x08\0", b"\xff" * 2000])
def test_not_a_tar(tmp_path, data):
    (tmp_path / "s.tar").write_bytes(data)
    (got,) = read(tmp_path / "s.tar")
    assert (got.key, got.status) == ("s::<damaged after 0 images>", Status.UNREADABLE)
    assert got.reason.startswith("tar archive: ")


def test_missing_and_folder(tmp_path):
    (missing,) = read(tmp_path / "none.tar")
    assert (missing.key, missing.status, missing.reason) == ("s", Status.UNREADABLE, "No such file or directory")
    (folder,) = read(tmp_path)
    assert (folder.status, folder.reason) == (Status.UNREADABLE, "a folder, not a file")


def test_only_one_member_at_a_time_is_read(tmp_path):
    """The first picture comes before the archive's later damage is met."""
    path = write_tar(tmp_path / "s.tar", [(f"{i}.jpg", b"x" * 5_000_000) for i in range(3)])
    path.write_bytes(path.read_bytes()[:-3_000_000])
    stream = read_shard(str(path), "s", 1 << 30)
    assert next(stream).status == Status.OK
    assert [p.status for p in stream] == [Status.OK, Status.UNREADABLE]


def sound(members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


WHOLE = sound(MEMBERS)


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, len(WHOLE) - 1), zipped=st.booleans())
def test_cut_anywhere(tmp_path_factory, cut, zipped):
    """Never raises; what comes is a beginning of the images, and a loss is always told."""
    path = tmp_path_factory.mktemp("t") / "s.tar"
    path.write_bytes(gzip.compress(WHOLE[:cut], 1) if zipped else WHOLE[:cut])
    got = read(path)
    good = [(p.key.removeprefix("s::"), p.data) for p in got if p.status == Status.OK]
    assert good == IMAGES[: len(good)]
    if len(good) < len(IMAGES):
        assert [p.status for p in got].count(Status.UNREADABLE) == 1
        assert got[-1].key == f"s::<damaged after {len(good)} images>"


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, len(gzip.compress(WHOLE, 1)) - 1))
def test_gzip_cut_anywhere(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("t") / "s.tgz"
    path.write_bytes(gzip.compress(WHOLE, 1)[:cut])
    got = read(path)
    good = [(p.key.removeprefix("s::"), p.data) for p in got if p.status == Status.OK]
    assert good == IMAGES[: len(good)]
    assert len(good) == len(IMAGES) or got[-1].status == Status.UNREADABLE


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(1, 255)), min_size=1, max_size=4))
def test_flipped_anywhere(tmp_path_factory, flips):
    data = bytearray(WHOLE)
    for at, bits in flips:
        data[at] ^= bits
    path = tmp_path_factory.mktemp("t") / "s.tar"
    path.write_bytes(data)
    for picture in read(path):
        assert (picture.data is not None) == (picture.status == Status.OK)
