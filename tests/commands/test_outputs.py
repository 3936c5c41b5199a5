"""No output takes the place of an input or of another output, however it is named; and no empty text is a folder."""

import os
from pathlib import Path

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from emonet_fast.checkpoint import open_checkpoint
from emonet_fast.commands import main
from emonet_fast.commands.options import Exit, write_apart, write_json
from emonet_fast.commands.parts import OutputFile
from emonet_fast.datasets import open_dataset
from emonet_fast.errors import CheckpointError, DataError, InputError, OptionError
from emonet_fast.files import keep_apart
from emonet_fast.options import Options
from emonet_fast.sources import Inputs

from .test_options import every

NAMES = ("a", "b", "sub/a", "sub/../b", "./a", "new", "sub/../new", "sub/./new")


@pytest.fixture(scope="module")
def links(tmp_path_factory):
    """A folder with every way to name its files: two files, links of both kinds, and a linked folder."""
    root = tmp_path_factory.mktemp("links")
    (root / "sub").mkdir()
    for name in ("a", "b", "sub/a"):
        (root / name).write_text(name)
    (root / "soft").symlink_to("a")
    (root / "soft2").symlink_to(root / "soft")
    os.link(root / "b", root / "hard")
    (root / "folder").symlink_to("sub")
    (root / "dangling").symlink_to("new")
    return root


ALL = (*NAMES, "soft", "soft2", "hard", "folder/a", "dangling", "folder/../a")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(ALL), max_size=3), st.lists(st.sampled_from(ALL), max_size=4))
def test_outputs_are_kept_apart_by_what_they_are(links, outputs, inputs):
    """Refused exactly where two names lead to one file: told here by the bytes that a writer would find."""

    def what(name):
        path = (links / name).resolve()
        return path.read_text() if path.exists() else str(path)

    written = [what(name) for name in outputs]
    one_file = len(set(written)) < len(written)
    replaced = any(what(name) in written for name in inputs)
    said = ""
    try:
        keep_apart([links / name for name in outputs], [str(links / name) for name in inputs])
    except OptionError as error:
        said = str(error)
    assert ("is the same file as output" in said) is one_file
    assert ("is an input too" in said) is (replaced and not one_file)


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Runs the command line in an empty folder with some inputs. Returns what it said on standard error."""
    monkeypatch.chdir(tmp_path)
    for name in ("photo.jpg", "t.parquet", "c.safetensors", "boxes.csv", "labels.csv", "m.json"):
        Path(name).write_text(name)
    Image.new("RGB", (16, 16)).save("clip.mp4", "GIF")  # a video by what is in it
    Path("photos").mkdir()
    Path("photos/1.jpg").write_text("1")
    Path("ck/encoder").mkdir(parents=True)
    Path("ck/heads").mkdir()
    Path("ck/encoder/config.json").write_text("{}")
    Path("done").mkdir()
    Path("done/plan.json").write_text("{}")
    for link, target in (
        ("p.html", "photos/1.jpg"),
        ("c.html", "c.safetensors"),
        ("c.onnx", "c.safetensors"),
        ("c.md", "c.safetensors"),
        ("plan.html", "done/plan.json"),
    ):
        os.link(target, link)
    Path("t.csv").symlink_to("t.parquet")
    Path("soft.html").symlink_to("photos/1.jpg")
    os.link("ck/encoder/config.json", "k.json")
    os.link("boxes.csv", "b.html")
    Path("photos/s.parquet").write_text("s")
    os.link("photos/s.parquet", "s.json")
    Path("charts").mkdir()
    os.link("labels.csv", "charts/any-hit-classes.png")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def run(line):
        monkeypatch.setattr("sys.argv", ["emonet-fast", *line.split()])
        assert main._run() == 2
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
        return capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    "line",
    [
        "score t.parquet -c c.safetensors -o t.parquet",
        "score photo.jpg t.parquet -c c.safetensors -o t.csv",
        "score photos -c c.safetensors --report p.html",
        "score photos/*.jpg -c c.safetensors -o x.csv --report p.html",
        "score photo.jpg -c c.safetensors --report c.html",
        "score photo.jpg -c c.safetensors --faces boxes:boxes.csv --report b.html",
        "score photo.jpg -c c.safetensors --faces boxes:boxes.csv -o boxes.csv",
        "video clip.mp4 -c c.safetensors --overlay clip.mp4",
        "video clip.mp4 -c c.safetensors --faces boxes:boxes.csv -o boxes.csv",
        "video clip.mp4 -c ck -o k.json",
        "bulk photos -c c.safetensors -o photos",
        "verify -c ck --json k.json",
        "export -c c.safetensors -o c.onnx",
        "export -c c.safetensors -o x.onnx --card c.md",
        "export -c c.safetensors -o new --format openvino --card c.md",
        "pack -c c.safetensors -o x.safetensors --card c.md",
        "report done -o plan.html",
        "evaluate hq -p t.parquet --annotations m.json --json m.json",
        "evaluate any-hit -p t.parquet --mapping m.json --labels labels.csv --json m.json",
        "evaluate any-hit -p t.parquet --mapping m.json --labels labels.csv --charts charts",
        "evaluate demographics -p t.parquet --dataset photos --json s.json",
    ],
)
def test_no_command_writes_over_what_it_reads(line, run):
    """`pack` knows its files when it has found them: see tests/checkpoint/test_pack.py."""
    assert "is an input too: " in run(line)


@pytest.mark.parametrize(
    "line",
    [
        "score photos -c c.safetensors -o new.html --report ./new.html",
        "score photos -c c.safetensors -o x.csv --report x.csv.meta.json",
        "video clip.mp4 -c c.safetensors -o x.csv -o x.csv.meta.json",
        "video clip.mp4 -c c.safetensors -o x.parquet -o sub/../x.parquet",
        "profile photos -c c.safetensors --flame x.json --json x.json",
        "evaluate hq -p t.parquet --annotations m.json --json p.html --report p.html",
        "score photos -c c.safetensors --report x.pdf",
        "score photos -c c.safetensors --report t.csv",
        "score photos -c c.safetensors -o x.html",
        "video clip.mp4 -c c.safetensors --overlay x.avi",
        "video clip.mp4 -c c.safetensors -o x.tar",
        "pack -c ck -o x.bin",
        "verify -c ck --json x.csv",
        "profile photos -c c.safetensors --flame x.csv",
        "report done -o done/plan.json",
        "evaluate hq -p t.parquet --report x.json",
        "report done -o soft.html",
        "evaluate hq -p t.parquet --report soft.html",
        "score photos -c c.safetensors -o photo.jpg/x.csv",
        "score photos -c c.safetensors --report t.parquet/x.html",
    ],
)
def test_no_output_is_another_one_or_of_a_name_that_says_another_kind(line, run):
    said = run(line)
    assert "is the same file as output" in said or "ending in" in said or "expected" in said or "no folder" in said


def texts(command):
    """The arguments and options of a command that take a text or a path."""
    return [p for p in command.params if isinstance(p.type, click.Path) or p.type is click.STRING]


@pytest.mark.parametrize("name", list(every()))
def test_no_command_takes_an_empty_text(name):
    command = every()[name]
    context = click.Context(command)
    for parameter in texts(command):
        several = parameter.multiple or parameter.nargs == -1
        with pytest.raises(click.BadParameter, match="an empty text came; is a variable unset"):
            parameter.type_cast_value(context, ("x.csv", "") if several else "")


def test_no_function_takes_an_empty_text(tmp_path):
    with pytest.raises(InputError, match="is a variable unset"):
        Inputs(["photo.jpg", ""], Options())
    with pytest.raises(CheckpointError, match="is a variable unset"):
        open_checkpoint("", tmp_path)
    with pytest.raises(DataError, match="is a variable unset"):
        open_dataset("")
    with pytest.raises(OptionError, match="is a variable unset"):
        Options(cache_dir="")


def test_every_output_option_knows_its_suffixes():
    """Tables and overlays are told by their encoders, folders have none."""
    folders = {"bulk --output", "evaluate hq --charts", "evaluate binary --charts"}
    folders |= {"evaluate any-hit --charts", "evaluate demographics --charts", "evaluate compare --charts"}
    folders |= {"probe --output", "train --output", "export --output"}
    encoded = {"score --output", "video --output", "video --overlay"}
    for name, command in every().items():
        for option in command.params:
            if getattr(option, "section", "") == "Output" and isinstance(option.type, click.Path):
                known = f"{name} {option.opts[0]}" in folders | encoded
                assert isinstance(option.type, OutputFile), (name, option.opts)  # which refuses URLs
                assert bool(option.type.suffixes) is not known, (name, option.opts)


def test_an_output_is_written_though_another_one_fails(tmp_path, capsys):
    status = write_apart(
        lambda: write_json(tmp_path / "gone" / "a.json", {}), lambda: write_json(tmp_path / "b.json", {"x": 1})
    )
    assert status == Exit.MISSED
    said = capsys.readouterr()
    assert said.out == f"wrote {tmp_path / 'b.json'}\n"
    assert said.err.startswith("error: cannot write ")
    assert (tmp_path / "b.json").read_text() == '{\n "x": 1\n}\n'
