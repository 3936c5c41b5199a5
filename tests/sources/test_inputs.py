"""Inputs as a user names them."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emonet_fast.errors import InputError, OptionError
from emonet_fast.options import Options
from emonet_fast.records import Status
from emonet_fast.sources import Inputs
from emonet_fast.sources.skipped import skipped_text

from .made import OPTIONS, write_tar


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder with some of everything."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pics" / "deep").mkdir(parents=True)
    for name in ("pics/b.jpg", "pics/a.PNG", "pics/deep/c.gif", "pics/notes.txt", "one.jpg", "two.dat"):
        (tmp_path / name).write_bytes(name.encode())
    write_tar(tmp_path / "s.tar", [("m.jpg", b"m"), ("m.txt", b"-"), ("n.png", b"n")])
    pq.write_table(pa.table({"image": [b"0", b"1"], "label": [0, 1]}), tmp_path / "t.parquet")
    return tmp_path


def keys(*inputs, **settings):
    return [p.key for p in Inputs(inputs, OPTIONS, **settings)]


def test_everything_in_the_order_given(here):
    got = Inputs(["t.parquet", "pics", "two.dat", "s.tar", "one.jpg"], OPTIONS)
    pictures = list(got)
    assert [p.key for p in pictures] == [
        "t.parquet::0", "t.parquet::1", "pics/a.PNG", "pics/b.jpg", "pics/deep/c.gif", "two.dat", "s.tar::m.jpg",
        "s.tar::n.png", "one.jpg",
    ]  # fmt: skip
    data = [b"0", b"1", b"pics/a.PNG", b"pics/b.jpg", b"pics/deep/c.gif", b"two.dat", b"m", b"n", b"one.jpg"]
    assert [p.data for p in pictures] == data
    assert {p.status for p in pictures} == {Status.OK}
    assert got.skipped == {".txt": 2}, "one in the folder, one in the tar"
    assert got.notes == []
    assert got.total is None, "a tar does not say how many"
    assert [p.key for p in got] == [p.key for p in pictures], "can be read again"
    assert got.skipped == {".txt": 2}


def test_total_where_it_is_known(here):
    assert Inputs(["pics", "t.parquet", "one.jpg", "missing.jpg"], OPTIONS).total == 7
    assert Inputs(["s.tar", "one.jpg"], OPTIONS).total is None


def test_pattern_that_the_shell_left_alone(here):
    assert keys("pics/*.jpg") == ["pics/b.jpg"]
    assert keys("pics/**/*.gif") == ["pics/deep/c.gif"]
    assert keys("*.parquet", "*.tar") == ["t.parquet::0", "t.parquet::1", "s.tar::m.jpg", "s.tar::n.png"]
    assert keys(f"{here}/p*") == [f"{here}/pics/{n}" for n in ("a.PNG", "b.jpg", "deep/c.gif")]


def test_file_names_that_look_like_patterns(here):
    for name in ("a[1].jpg", "a1.jpg", "what?.jpg", "star*.jpg"):
        (here / name).write_bytes(name.encode())
    assert keys("a[1].jpg", "what?.jpg", "star*.jpg") == ["a[1].jpg", "what?.jpg", "star*.jpg"]
    (here / "a[1].jpg").unlink()
    assert keys("a[1].jpg") == ["a1.jpg"]


def test_an_input_twice_has_two_rows(here):
    assert keys("one.jpg", "./one.jpg") == ["one.jpg", "one.jpg#2"]
    assert keys("pics/b.jpg", "pics") == ["pics/b.jpg", "pics/a.PNG", "pics/b.jpg#2", "pics/deep/c.gif"]
    assert keys("s.tar", "s.tar") == ["s.tar::m.jpg", "s.tar::n.png", "s.tar#2::m.jpg", "s.tar#2::n.png"]
    assert keys("t.parquet", "t.parquet")[2:] == ["t.parquet#2::0", "t.parquet#2::1"]


def test_missing_file_beside_others_is_a_row(here):
    got = list(Inputs(["missing.jpg", "one.jpg", "none/*.jpg"], OPTIONS))
    assert [(p.key, p.status) for p in got] == [
        ("missing.jpg", Status.UNREADABLE), ("one.jpg", Status.OK), ("none/*.jpg", Status.UNREADABLE),
    ]  # fmt: skip
    assert got[0].reason == os.strerror(2)
    assert got[2].reason == "no picture, shard or table matches this pattern"


def test_dangling_link_is_a_row(here):
    (here / "link.jpg").symlink_to("nowhere")
    (got,) = Inputs(["link.jpg"], OPTIONS)
    assert (got.key, got.status, got.reason) == ("link.jpg", Status.UNREADABLE, os.strerror(2))


def test_file_that_vanishes_after_the_search(here):
    inputs = Inputs(["pics"], OPTIONS)
    (here / "pics" / "a.PNG").unlink()
    assert [p.status for p in inputs] == [Status.UNREADABLE, Status.OK, Status.OK]


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([], ["no input was given"]),
        (["missing.jpg"], ["'missing.jpg'", os.strerror(2)]),
        (["none/*.png"], ["'none/*.png'", "matches"]),
        (["empty"], ["'empty'", "no image files", "no other files"]),
        (["other"], ["'other'", "3 .txt, 1 .csv, 1 without suffix"]),
        (["shards"], ["2 .tar", "shards/*.tar"]),
        (["other", "missing.jpg"], ["'other'", "'missing.jpg'"]),
        (["other/*.txt"], ["'other/*.txt'", "2 .txt"]),
    ],
)
def test_nothing_at_all(here, inputs, words):
    (here / "other" / "deep").mkdir(parents=True)
    for name in ("a.txt", "b.txt", "deep/c.TXT", "d.csv", "README"):
        (here / "other" / name).write_bytes(b"")
    (here / "empty").mkdir()
    (here / "shards").mkdir()
    write_tar(here / "shards" / "0.tar", [])
    write_tar(here / "shards" / "1.tar", [])
    with pytest.raises(InputError) as e:
        Inputs(inputs, OPTIONS)
    for word in words:
        assert word in str(e.value)


def test_folder_without_images_beside_others_is_noted(here):
    (here / "empty").mkdir()
    got = Inputs(["empty", "one.jpg"], OPTIONS)
    assert got.notes == ["folder 'empty' has no image files, and no other files"]
    assert got.total == 1


def test_one_text_instead_of_a_list(here):
    with pytest.raises(InputError, match="put it in a list"):
        Inputs("one.jpg", OPTIONS)


def test_limit_on_bytes(here):
    (got,) = Inputs(["one.jpg"], Options(max_bytes=6))
    assert got.status == Status.TOO_LARGE
    shard = list(Inputs(["s.tar"], Options(max_bytes=1)))
    assert [p.status for p in shard] == [Status.OK, Status.OK]


def test_image_column(here):
    pq.write_table(pa.table({"x": [b"xx"], "y": [b"yy"]}), here / "u.parquet")
    assert [p.data for p in Inputs(["u.parquet"], OPTIONS, image_column="y")] == [b"yy"]
    with pytest.raises(InputError, match=r"u\.parquet has no column known.*x \(binary\), y \(binary\)"):
        Inputs(["u.parquet"], OPTIONS)
    with pytest.raises(InputError, match="no single column 'z'"):
        Inputs(["u.parquet"], OPTIONS, image_column="z")
    with pytest.raises(OptionError, match="no input is a readable parquet file"):
        Inputs(["one.jpg"], OPTIONS, image_column="y")


def test_a_table_without_pictures_is_skipped_among_others(here):
    """As img2dataset's metadata beside its tars, or the scores of an earlier run beside its pictures."""
    pq.write_table(pa.table({"url": ["u"], "key": ["0"]}), here / "meta.parquet")
    pq.write_table(pa.table({"image": pa.array([], pa.binary())}), here / "none.parquet")
    got = Inputs(["t.parquet", "meta.parquet", "none.parquet", "one.jpg"], OPTIONS)
    assert [p.key for p in got] == ["t.parquet::0", "t.parquet::1", "one.jpg"]
    assert got.skipped == {"table without a picture column": 1, "table without rows": 1}
    assert got.total == 3
    with pytest.raises(InputError, match=r"meta\.parquet has no column known.*--image-column.*url \(string\)"):
        Inputs(["meta.parquet", "missing.jpg"], OPTIONS)
    with pytest.raises(InputError, match="no single column 'z'"):
        Inputs(["t.parquet", "one.jpg"], OPTIONS, image_column="z")


def test_an_error_on_a_table_is_short(here):
    wide = pa.table({f"column_{i:04}": [1] for i in range(3000)})
    pq.write_table(wide, here / ("n" * 200 + ".parquet"))
    with pytest.raises(InputError) as error:
        Inputs(["n" * 200 + ".parquet"], OPTIONS)
    assert len(str(error.value)) <= 300
    assert "--image-column" in str(error.value)


def test_everything_that_is_no_row_is_counted(here):
    """A phone's folder, an empty one, a tar of zeros, a tar of other members, another form of a letter."""
    for name in ("phone/1.jpg", "phone/2.HEIC", "phone/3.mp4", "phone/._1.jpg", "none/deep", "cafe\u0301.jpg"):
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).write_bytes(b"x")
    (here / "none" / "deep").unlink()
    (here / "zeros.tar").write_bytes(bytes(10240))
    write_tar(here / "other.tar", [("a.img", b"1"), ("b.json", b"1")])
    got = Inputs(["phone", "none", "zeros.tar", "other.tar", "caf\xe9.jpg"], OPTIONS)
    assert [p.key for p in got] == ["phone/1.jpg", "phone/2.HEIC", "cafe\u0301.jpg"]
    assert skipped_text(got.skipped) == (
        "skipped: 1 .img, 1 .json, 1 .mp4, 1 folder without files, 1 of Finder's (._*, __MACOSX), 1 tar without members"
    )


def test_damaged_table_is_a_row(here):
    (here / "bad.parquet").write_bytes(b"PAR1 and no more")
    got = Inputs(["bad.parquet", "t.parquet"], OPTIONS)
    pictures = list(got)
    assert got.total == len(pictures) == 3
    assert (pictures[0].key, pictures[0].status) == ("bad.parquet", Status.UNREADABLE)
    assert pictures[0].reason.startswith("parquet file: ")


@pytest.mark.skipif(not os.path.supports_unicode_filenames and os.name != "posix", reason="names are not bytes here")
def test_name_that_is_not_utf8(here):
    name = b"caf\xe9.jpg"
    try:
        Path(os.fsdecode(name)).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    (got,) = Inputs(["caf*.jpg"], OPTIONS)
    assert (got.key, got.data) == ("caf\\xe9.jpg", b"x")
    for kind in ("tar", "parquet"):
        (here / {"tar": "s.tar", "parquet": "t.parquet"}[kind]).rename(here / os.fsdecode(b"caf\xe9." + kind.encode()))
    assert [(p.key, p.data) for p in Inputs(["caf*.tar", "caf*.parquet"], OPTIONS)] == [
        ("caf\\xe9.tar::m.jpg", b"m"), ("caf\\xe9.tar::n.png", b"n"),
        ("caf\\xe9.parquet::0", b"0"), ("caf\\xe9.parquet::1", b"1"),
    ]  # fmt: skip


def test_unlistable_folder_is_found_and_told(here, monkeypatch):
    """A folder that may not be read is something: a row with the reason, not "nothing found"."""
    (here / "locked").mkdir()
    listed = os.listdir

    def refusing(path):
        if Path(path).name == "locked":
            raise PermissionError(13, os.strerror(13), str(path))
        return listed(path)

    monkeypatch.setattr(os, "listdir", refusing)
    (got,) = Inputs(["locked"], OPTIONS)
    assert (got.key, got.status) == ("locked", Status.UNREADABLE)
    assert os.strerror(13) in got.reason


def test_pipe_given_as_a_shard_does_not_hang(here):
    for name in ("p.tar", "p.parquet", "p.jpg"):
        os.mkfifo(here / name)
    got = list(Inputs(["p.tar", "p.parquet", "p.jpg"], OPTIONS))
    assert [p.status for p in got] == [Status.UNREADABLE] * 3
    assert all("a pipe, socket or device" in p.reason for p in got)
