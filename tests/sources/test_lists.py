"""Lists of inputs, of lines and of a CSV's column."""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emonet_fast.bulk import inputs as listing
from emonet_fast.errors import InputError
from emonet_fast.options import Options
from emonet_fast.records import Status
from emonet_fast.sources import Inputs
from emonet_fast.sources.lists import expand

from .made import encoded


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder, with two pictures and a folder of lists."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lists").mkdir()
    for name in ("a.png", "b c.png"):
        (tmp_path / name).write_bytes(encoded())
    return tmp_path


def test_lines_are_inputs_relative_to_the_working_folder(folder):
    (folder / "lists" / "l.txt").write_bytes(b"\xef\xbb\xbfa.png\r\n\n  \ngone.png\nb c.png")
    found = Inputs(["@lists/l.txt"], Options())
    assert [(p.key, p.status) for p in found] == [
        ("a.png", Status.OK),
        ("gone.png", Status.UNREADABLE),
        ("b c.png", Status.OK),
    ]
    assert found.total == 3
    assert "lists/l.txt" in set(found.paths())  # so that no output replaces it


def test_a_column_of_a_csv(folder):
    (folder / "l.csv").write_text('id,path\n1,a.png\n2,"b c.png"\n3,\n', "utf-8-sig")
    assert [p.key for p in Inputs(["@l.csv:path"], Options())] == ["a.png", "b c.png"]
    for text in ("@l.csv", "@l.csv:file"):
        with pytest.raises(InputError, match=r"name one of its columns, as @l.csv:id; it has id, path$"):
            Inputs([text], Options())


def test_bulk_takes_lists_and_a_missing_line_is_a_row(folder):
    (folder / "l.txt").write_text("a.png\nphotos/gone\n")
    found = listing.find(["@l.txt"])
    assert [(file.key, file.fault) for file in found.files] == [
        ("a.png", ""),
        ("photos/gone", "no such file or folder"),
    ]
    assert listing.canonical("@l.txt") == f"@{folder}/l.txt"
    assert listing.canonical("@l.csv:path") == f"@{folder}/l.csv:path"


def test_what_is_no_list_is_said(folder):
    (folder / "@a.png").write_bytes(encoded())
    assert [p.key for p in Inputs(["@a.png"], Options())] == ["@a.png"]  # it lies here
    (folder / "empty.txt").write_text("\n\n")
    (folder / "binary").write_bytes(b"x" * 70_000)
    (folder / "zeros").write_text("a.png\n*.png\n", encoding="utf-16")
    (folder / "bad.csv").write_text('path\n"open')
    for text, said in (
        ("@gone.txt", "No such file or directory"),
        ("@lists", "a folder, not a file"),
        ("@empty.txt", "names no input"),
        ("@binary", "it is no list of paths"),
        ("@zeros", "a line has a zero byte"),
        ("*\0", "no pictures found"),
        ("@bad.csv:path", "cannot be read"),
    ):
        with pytest.raises(InputError, match=said):
            Inputs([text], Options())


@given(st.lists(st.binary(max_size=20).filter(lambda b: not set(b) & set(b"\0\r\n")), max_size=5))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_name_comes_back(tmp_path, names):
    names = [name for name in names if name.strip() and not name.startswith(b"\xef\xbb\xbf")]
    (tmp_path / "l").write_bytes(b"\n".join(names))
    if names:
        assert list(expand(f"@{tmp_path}/l")) == [os.fsdecode(name) for name in names]
