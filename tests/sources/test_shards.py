"""Tar shards, sound, hostile and damaged."""

import gzip
import io
import tarfile
from collections import Counter

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


def read(path, limit=LIMIT, skipped=None):
    return list(read_shard(str(path), "s", limit, skipped))


def rows(path):
    """Each row's key without the archive's, and its bytes."""
    return [(p.key.removeprefix("s::"), p.data) for p in read(path)]


def padded(members):
    """A sound archive's bytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


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


@pytest.mark.parametrize("layout", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_that_are_not_utf8(tmp_path, layout):
    info = tarfile.TarInfo("caf\udce9.jpg")
    with tarfile.open(tmp_path / "s.tar", "w", format=layout) as tar:
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
    skipped = Counter()
    link, real = read(tmp_path / "s.tar", skipped=skipped)
    assert (link.key, link.status) == ("s::x.jpg", Status.UNREADABLE)
    assert link.reason == "a hard link to '/etc/passwd': there is no such member before it"
    assert (real.key, real.data) == ("s::real.jpg", b"ok")
    assert skipped == {"symbolic link": 1, "special member": 2}


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_hard_links_have_their_targets_bytes(tmp_path, mode):
    """tar writes the second name of a file as a link; links go to any earlier member, near or far, and to links."""
    files = [(f"{i}.jpg", bytes([i]) * 700) for i in range(4)] + [("raw.dat", b"\xff\xd8\xffraw")]
    links = [
        ("l3.jpg", "3.jpg"),
        ("l0.jpg", "0.jpg"),
        ("l1.jpg", "1.jpg"),
        ("raw.jpg", "raw.dat"),
        ("ll0.jpg", "l0.jpg"),
    ]
    with tarfile.open(tmp_path / "s.tar", mode) as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for name, target in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.LNKTYPE, target
            tar.addfile(info)
        tar.addfile(tarfile.TarInfo("end.jpg"))
    known = dict(files)
    known["l0.jpg"] = known["0.jpg"]
    wanted = files[:4] + [(name, known[target]) for name, target in links] + [("end.jpg", b"")]
    assert rows(tmp_path / "s.tar") == wanted


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_joined_archives_are_read_to_the_last(tmp_path, pack):
    """Two zero blocks end an archive, however far it is filled up; `cat a.tar b.tar` has another one behind them."""
    first, second = padded(IMAGES[:1]), padded(IMAGES[1:])
    barely = first[: 512 + 1536 + 1024]
    wide = first.ljust(64 * 512, b"\0")  # tar -b 64
    for n, parts in enumerate([(first, second), (barely, second), (wide, second)]):
        (tmp_path / f"{n}.tar").write_bytes(b"".join(pack(part) for part in parts))
        assert sorted(rows(tmp_path / f"{n}.tar")) == sorted(IMAGES)
        skipped: Counter[str] = Counter()
        read(tmp_path / f"{n}.tar", skipped=skipped)
        assert skipped["end of an archive within a tar"] == 1, "two zeroed blocks would look the same"


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_zeroed_header_loses_its_own_member_only(tmp_path, pack):
    """One zero block is no end of the archive."""
    data = bytearray(padded([(f"{i}.jpg", b"%d" % i * 1000) for i in range(6)]))
    data[3 * 1536 : 3 * 1536 + 512] = bytes(512)
    (tmp_path / "s.tar").write_bytes(pack(bytes(data)))
    got = read(tmp_path / "s.tar")
    assert [p.key for p in got] == [
        "s::0.jpg",
        "s::1.jpg",
        "s::2.jpg",
        "s::<damaged after 3 images>",
        "s::4.jpg",
        "s::5.jpg",
    ]
    assert got[3].status == Status.UNREADABLE
    assert "a lone zero block where a header is expected; 1,536 bytes were passed over" in got[3].reason


def test_holes_of_zeros_are_told(tmp_path):
    """Of a file that was preallocated, or copied around bad sectors: whole members may be missing, or the end."""
    data = padded([(f"{i}.jpg", bytes([i + 1]) * 1000) for i in range(60)])
    middle, end = bytearray(data), bytearray(data)
    middle[3 * 1536 : 33 * 1536] = bytes(30 * 1536)
    end[3 * 1536 :] = bytes(len(end) - 3 * 1536)
    (tmp_path / "middle.tar").write_bytes(middle)
    (tmp_path / "end.tar").write_bytes(end)
    got = read(tmp_path / "middle.tar")
    assert [p.key for p in got[2:5]] == ["s::2.jpg", "s::<damaged after 3 images>", "s::33.jpg"]
    assert "46,080 zero bytes where a member could be" in got[3].reason
    assert len(got) == 31
    got = read(tmp_path / "end.tar")
    assert [p.key for p in got[2:]] == ["s::2.jpg", "s::<damaged after 3 images>"]
    assert "zero bytes at its end" in got[3].reason


def test_a_tar_of_zeros_and_an_empty_one_are_counted(tmp_path):
    skipped = Counter()
    (tmp_path / "zeros.tar").write_bytes(bytes(10240))
    assert read(tmp_path / "zeros.tar", skipped=skipped) == []
    assert read(write_tar(tmp_path / "b.tar", []), skipped=skipped) == []
    assert skipped == {"tar without members": 2}


def test_other_members_are_counted_and_pictures_known_by_their_bytes(tmp_path):
    jpeg = b"\xff\xd8\xff and more" * 40
    members = [
        ("a.jpg", b"1"), ("a.json", b"{}"), ("b.IMG", jpeg), ("c", jpeg), ("d.jpg?size=large", jpeg),
        ("Makefile", b"all:"),        ("._a.jpg", b"\0\5\x16\7"), ("__MACOSX/e.jpg", b"\0\5\x16\7"), ("._f.jpg", jpeg),
    ]  # fmt: skip
    skipped = Counter()
    got = read(write_tar(tmp_path / "s.tar", members), skipped=skipped)
    assert [(p.key, p.data) for p in got] == [
        ("s::a.jpg", b"1"), ("s::c", jpeg), ("s::d.jpg?size=large", jpeg), ("s::._f.jpg", jpeg),
    ]  # fmt: skip
    assert skipped == {".json": 1, ".img": 1, "without suffix": 1, "of Finder's (._*, __MACOSX)": 2}


def test_members_at_the_archives_root(tmp_path):
    assert rows(write_tar(tmp_path / "s.tar", [("./a.jpg", b"1"), ("/b.jpg", b"2")])) == [
        ("./a.jpg", b"1"),
        ("/b.jpg", b"2"),
    ]


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


@pytest.mark.parametrize("layout", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_a_cut_member_is_told_once(tmp_path, layout):
    """The header behind a record of a long name or a large size belongs to it: it is no member of its own."""
    info = tarfile.TarInfo("é" * 120 + ".jpg")
    info.size = 2**34
    (tmp_path / "s.tar").write_bytes(info.tobuf(layout) + b"x" * 1000)
    got = read(tmp_path / "s.tar")
    assert [(p.key, p.status) for p in got] == [
        (f"s::{info.name}", Status.TOO_LARGE),
        ("s::<damaged after 1 images>", Status.UNREADABLE),
    ]


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
    assert [p.key for p in got] == ["s::0001.jpg", "s::<damaged after 1 images>", "s::0003.webp"]
    assert "damaged header" in got[1].reason
    assert "1,024 bytes were passed over" in got[1].reason


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


WHOLE = padded(MEMBERS)


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
