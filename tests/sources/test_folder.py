"""Folders, globs and single files."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emonet_fast.records import Status
from emonet_fast.sources.folder import (
    FoundFiles,
    _matches,
    is_image_name,
    read_file,
    same_letters,
    search_folder,
    search_glob,
)
from emonet_fast.sources.skipped import skipped_text

LIMIT = 1 << 20


def tree(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def below(root: Path, found: FoundFiles) -> list[str]:
    return [Path(p).relative_to(root).as_posix() for p in found.paths]


def folder(root: Path) -> tuple[list[str], FoundFiles]:
    found = FoundFiles()
    search_folder(str(root), found)
    return below(root, found), found


def matching(root: Path, pattern: str) -> list[str]:
    found = FoundFiles()
    search_glob(str(root / pattern), found)
    return below(root, found)


def test_recursive_in_sorted_order(tmp_path):
    tree(tmp_path, "b.jpg", "a/z.PNG", "a/b/c.WebP", "c.tiff", "a.jpg", "a/a.JPeG")
    names, _ = folder(tmp_path)
    assert names == ["a/a.JPeG", "a/b/c.WebP", "a/z.PNG", "a.jpg", "b.jpg", "c.tiff"]


def test_other_files_are_skipped_and_counted(tmp_path):
    tree(tmp_path, "a.jpg", "a.json", "deep/b.JSON", "README", "x.tar", ".hidden")
    names, found = folder(tmp_path)
    assert names == ["a.jpg"]
    assert found.skipped == {".json": 2, "without suffix": 2, ".tar": 1}


@pytest.mark.parametrize("suffix", ["jpg", "JPG", "jpeg", "png", "webp", "bmp", "gif", "tif", "TIFF", "avif", "ppm"])
def test_image_suffixes(suffix):
    assert is_image_name(f"deep/a.{suffix}")
    assert not is_image_name(f"a{suffix}")
    assert not is_image_name(f"a.{suffix}.txt")


JPEG = b"\xff\xd8\xff\xe0 and so on"


def test_names_that_tell_nothing_are_known_by_their_first_bytes(tmp_path):
    for name in ("a.jpg?size=large", "b", "c.jpg.1", "d.jpg~", "e.jpg_large", "._f.jpg", ".h"):
        (tmp_path / name).write_bytes(JPEG)
    for name, data in {
        "g": b"\0\0\0\x18ftypheic",
        "i": b"P6\n# x\n3 2\n255\n",
        "j": b"BM" + bytes(12) + b"\x28\0\0\0",
    }.items():
        (tmp_path / name).write_bytes(data)
    tree(tmp_path, "Makefile", "x.jpg?page", "k.dat", "P6 is a text", "BMW")
    os.mkfifo(tmp_path / "pipe")
    names, found = folder(tmp_path)
    assert names == ["._f.jpg", ".h", "a.jpg?size=large", "b", "c.jpg.1", "d.jpg~", "e.jpg_large", "g", "i", "j"]
    assert found.skipped == {"without suffix": 5, ".dat": 1}
    assert matching(tmp_path, "?") == ["b", "g", "i", "j"]


def test_finders_notes_are_skipped_and_counted(tmp_path):
    tree(tmp_path, "a.jpg", "._a.jpg", "__MACOSX/b.jpg", "__MACOSX/deep/._b.jpg")
    names, found = folder(tmp_path)
    assert names == ["a.jpg"]
    assert found.skipped == {"of Finder's (._*, __MACOSX)": 3}


def test_pictures_that_need_a_plugin_are_pictures(tmp_path):
    tree(tmp_path, "a.HEIC", "b.heif", "c.hif", "d.avif", "e.jxl", "f.mp4")
    names, found = folder(tmp_path)
    assert names == ["a.HEIC", "b.heif", "c.hif", "d.avif", "e.jxl"]
    assert found.skipped == {".mp4": 1}


def test_what_was_skipped_in_words():
    assert skipped_text({}) == skipped_text({".txt": 0}) == ""
    assert skipped_text({".mp4": 1, ".heic": 3}) == "skipped: 3 .heic, 1 .mp4"
    assert (
        skipped_text({"table without rows": 2, "symbolic link": 1}) == "skipped: 2 tables without rows, 1 symbolic link"
    )
    assert skipped_text({"symbolic link": 2}) == "skipped: 2 symbolic links"
    assert skipped_text({f".{c}": 1 for c in "abcdefghij"}).endswith(", 1 .h, 2 others")


def deep(root: Path, times: int = 20) -> None:
    """Folders nested beyond PATH_MAX, with a picture in each."""
    at = os.open(root, os.O_RDONLY)
    for _ in range(times):
        os.mkdir("d" * 250, dir_fd=at)
        inside = os.open("d" * 250, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = inside
        os.close(os.open("a.jpg", os.O_CREAT | os.O_WRONLY, dir_fd=at))
    os.close(at)


def test_paths_beyond_path_max_are_told(tmp_path):
    """A folder that is too deep to be looked at may hold pictures: it is a row with the reason."""
    deep(tmp_path)
    try:
        _, found = folder(tmp_path)
        *sound, last = found.paths
        assert all(read_file(path, "k", LIMIT).status == Status.OK for path in sound)
        assert 10 < len(sound) < 20
        assert found.faults[last] == f"cannot be looked at: {os.strerror(36)}"
        assert read_file("a" * 5000, "k", LIMIT).reason == os.strerror(36)
    finally:
        shutil.rmtree(tmp_path / ("d" * 250))  # pytest cannot


def test_letters_match_however_they_are_composed(tmp_path):
    composed, decomposed = "caf\xe9", "cafe\u0301"
    tree(tmp_path, f"{decomposed}/1.jpg", "plain.jpg")
    (tmp_path / decomposed / f"{composed}.jpg").write_bytes(b"2")
    assert matching(tmp_path, f"{composed}/*.jpg") == [f"{decomposed}/1.jpg", f"{decomposed}/{composed}.jpg"]
    assert (
        matching(tmp_path, f"*/{decomposed}.*")
        == matching(tmp_path, f"**/{decomposed}.*")
        == [f"{decomposed}/{composed}.jpg"]
    )
    wanted = str(tmp_path / decomposed / f"{composed}.jpg")
    assert same_letters(str(tmp_path / composed / f"{decomposed}.jpg")) == wanted
    assert same_letters(str(tmp_path / "caf\xe8")) is None
    (tmp_path / composed).mkdir()
    assert same_letters(str(tmp_path / "cafe\u0301\u0301")) is None
    assert matching(tmp_path, f"{decomposed}/1.jpg") == [f"{decomposed}/1.jpg"]


def test_link_loops_end_and_nothing_comes_twice(tmp_path):
    tree(tmp_path, "a/1.jpg", "b/2.jpg")
    (tmp_path / "a" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "a" / "self").symlink_to(tmp_path / "a", target_is_directory=True)
    (tmp_path / "b" / "across").symlink_to(tmp_path / "a", target_is_directory=True)
    names, _ = folder(tmp_path)
    assert names == ["a/1.jpg", "b/2.jpg"]


def test_linked_folder_is_followed(tmp_path):
    outside = tree(tmp_path / "outside", "1.jpg")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link").symlink_to(outside, target_is_directory=True)
    assert folder(inside)[0] == ["link/1.jpg"]


def test_dangling_and_looping_links_are_rows(tmp_path):
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    names, _ = folder(tmp_path)
    assert names == ["gone.jpg", "loop.jpg"]
    gone, loop = (read_file(tmp_path / n, n, LIMIT) for n in names)
    assert (gone.status, gone.reason, gone.data) == (Status.UNREADABLE, os.strerror(2), None)
    assert (loop.status, loop.reason) == (Status.UNREADABLE, os.strerror(40))


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_forbidden_folder_and_file(tmp_path):
    tree(tmp_path, "a/1.jpg", "b.jpg")
    (tmp_path / "a").chmod(0)
    (tmp_path / "b.jpg").chmod(0)
    try:
        names, found = folder(tmp_path)
        assert names == ["a", "b.jpg"]
        assert os.strerror(13) in found.faults[str(tmp_path / "a")]
        got = read_file(tmp_path / "b.jpg", "b", LIMIT)
        assert (got.status, got.reason) == (Status.UNREADABLE, os.strerror(13))
    finally:
        (tmp_path / "a").chmod(0o700)


def test_unlistable_folder_is_a_fault(tmp_path, monkeypatch):
    """The same as a forbidden folder, also for root."""
    tree(tmp_path, "a/1.jpg", "b/2.jpg")
    listed = os.listdir

    def refusing(path):
        if Path(path).name == "a":
            raise PermissionError(13, os.strerror(13), str(path))
        return listed(path)

    monkeypatch.setattr(os, "listdir", refusing)
    names, found = folder(tmp_path)
    assert names == ["a", "b/2.jpg"]
    assert found.faults == {str(tmp_path / "a"): f"folder cannot be listed: {os.strerror(13)}"}
    recursive = FoundFiles()
    search_glob(str(tmp_path / "**" / "*.jpg"), recursive)
    assert recursive.faults.keys() == found.faults.keys(), "a pattern must not hide the fault either"
    for pattern in ("*/*.jpg", "?/?.*", "*", "[ab]/1.jpg"):
        one = FoundFiles()
        search_glob(str(tmp_path / pattern), one)
        assert one.faults.keys() == (found.faults.keys() if pattern != "[ab]/1.jpg" else set()), pattern


def test_read_file(tmp_path):
    tree(tmp_path, "abc.jpg")
    got = read_file(tmp_path / "abc.jpg", "key", LIMIT)
    assert (got.key, got.data, got.status, got.reason) == ("key", b"abc.jpg", Status.OK, "")


def test_read_file_at_and_over_the_limit(tmp_path):
    tree(tmp_path, "abc.jpg")
    assert read_file(tmp_path / "abc.jpg", "k", 7).status == Status.OK
    got = read_file(tmp_path / "abc.jpg", "k", 6)
    assert (got.status, got.data) == (Status.TOO_LARGE, None)
    assert got.reason == "7 bytes; max_bytes allows 6"


def test_a_file_that_grows_while_it_is_read_keeps_the_limit():
    """/proc tells a size of 0 and then gives bytes."""
    if not Path("/proc/self/status").exists():
        pytest.skip("no /proc here")
    assert read_file("/proc/self/status", "k", 10).status == Status.TOO_LARGE


@pytest.mark.parametrize(
    ("path", "words"), [("missing.jpg", os.strerror(2)), (".", "a folder, not a file"), ("a\0b.jpg", "null")]
)
def test_bad_paths(tmp_path, path, words):
    got = read_file(str(tmp_path / path), "k", LIMIT)
    assert (got.status, got.data) == (Status.UNREADABLE, None)
    assert words in got.reason


def test_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    got = read_file(tmp_path / "pipe.jpg", "k", LIMIT)
    assert (got.status, got.reason) == (Status.UNREADABLE, "a pipe, socket or device, not a file")


def test_glob(tmp_path):
    tree(tmp_path, "b.jpg", "a.jpg", "a.txt", "deep/c.jpg", ".h.jpg")
    assert matching(tmp_path, "*.jpg") == ["a.jpg", "b.jpg"]
    assert matching(tmp_path, "?.*") == ["a.jpg", "b.jpg"]
    assert matching(tmp_path, "[b-z].jpg") == ["b.jpg"]
    assert matching(tmp_path, "*.gif") == []


def test_glob_searches_folders_that_match(tmp_path):
    tree(tmp_path, "b.jpg", "deep/er/c.jpg", "deep/a.jpg")
    assert matching(tmp_path, "*") == ["b.jpg", "deep/a.jpg", "deep/er/c.jpg"]
    assert matching(tmp_path, "d*") == ["deep/a.jpg", "deep/er/c.jpg"]


def test_recursive_glob(tmp_path):
    tree(tmp_path, "a.jpg", "x/b.jpg", "x/y/c.jpg", "x/y/d.png", "z/train/e.png", "x/.h/f.jpg", ".g.jpg")
    assert matching(tmp_path, "**/*.jpg") == ["a.jpg", "x/b.jpg", "x/y/c.jpg"]
    assert matching(tmp_path, "x/**/*.jpg") == ["x/b.jpg", "x/y/c.jpg"]
    assert matching(tmp_path, "x/**/y/*") == ["x/y/c.jpg", "x/y/d.png"]
    assert matching(tmp_path, "*/**/*.png") == ["x/y/d.png", "z/train/e.png"]
    assert matching(tmp_path, "**/train") == ["z/train/e.png"]
    assert matching(tmp_path, "x/**") == ["x/b.jpg", "x/y/c.jpg", "x/y/d.png"]
    assert matching(tmp_path, "**/.*/*.jpg") == ["x/.h/f.jpg"]


def test_recursive_glob_in_a_link_loop(tmp_path):
    tree(tmp_path, "a/1.jpg", "b/2.jpg")
    for i in range(8):
        (tmp_path / "a" / f"up{i}").symlink_to(tmp_path, target_is_directory=True)
        (tmp_path / "b" / f"up{i}").symlink_to(tmp_path / "a", target_is_directory=True)
    assert matching(tmp_path, "**/*.jpg") == ["a/1.jpg", "b/2.jpg"]


def test_leading_folders_that_exist_are_literal(tmp_path):
    tree(tmp_path, "set[1]/a.jpg", "set1/b.jpg", "set[1]/x/c.jpg")
    assert matching(tmp_path, "set[1]/*.jpg") == ["set[1]/a.jpg"]
    assert matching(tmp_path, "set[1]/**/*.jpg") == ["set[1]/a.jpg", "set[1]/x/c.jpg"]
    assert matching(tmp_path, "set[1-2]/*.jpg") == ["set1/b.jpg"]


NAMES = st.lists(st.sampled_from(["a", "b", "ab"]), min_size=1, max_size=5)
PATTERNS = st.lists(st.sampled_from(["a", "?", "*", "**", "a*"]), min_size=1, max_size=5)


@given(NAMES, PATTERNS)
def test_matching_equals_the_obvious_recursion(names, pattern):
    import fnmatch

    def slow(ns, ps):
        if not ps:
            return not ns
        if ps[0] == "**":
            return slow(ns, ps[1:]) or (bool(ns) and slow(ns[1:], ps))
        return bool(ns) and fnmatch.fnmatchcase(ns[0], ps[0]) and slow(ns[1:], ps[1:])

    assert _matches(tuple(names), pattern) == slow(names, pattern)
