"""The code of each page runs, from its first block to its last, in one folder that holds the files it names."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from emonet_fast.commands.main import cli

from ..conftest import once
from ..faces.conftest import SHARED_MODELS
from .blocks import BLOCKS, SHOWN, commands
from .desk import given, hub, make

YUNET = SHARED_MODELS / "yunet_s_dynamic.onnx"
RUN = [block for block in BLOCKS if block.language in ("bash", "python") and not block.why and not block.test]


@pytest.fixture(scope="session")
def place(tiny_folder, tmp_path_factory):
    for package in ("scipy", "matplotlib", "xlsxwriter"):
        pytest.importorskip(package, reason=f"{package} (extra test) is not installed")
    return once(tmp_path_factory, "desk", lambda folder: make(folder, tiny_folder))


@pytest.mark.parametrize("page", sorted({block.page for block in RUN}))
def test_the_code_of_a_page_runs(page, place, tiny_folder, tmp_path, monkeypatch):
    blocks = [block for block in RUN if block.page == page]
    code = "".join(block.text for block in blocks)
    if ("detect" in code or "video" in code) and not YUNET.exists():
        pytest.skip("../shared/models is not beside this checkout")
    shutil.copytree(place / "desk", tmp_path, dirs_exist_ok=True)
    shutil.copytree(tiny_folder, tmp_path / "other-heads")
    if "emonet-fast bulk" in code:
        shutil.rmtree(tmp_path / "scores")  # which the page makes
    monkeypatch.chdir(tmp_path)
    names = given(tmp_path)
    with hub(place / "hub", YUNET if YUNET.exists() else None):
        for block in blocks:
            if block.language == "python":
                exec(compile("\n" * block.line + block.text, page, "exec"), names)  # noqa: S102 - of our own pages
            else:
                run_bash(block)


def run_bash(block):
    """Its commands in this process; what sets the environment up is left out."""
    for program, *words in commands(block.text):
        if program in SHOWN:
            continue
        assert program == "emonet-fast", (
            f"{block}: a test cannot run {program}; mark the block, or call another program"
        )
        words = [found for word in words for found in (sorted(map(str, Path().glob(word))) if "*" in word else [word])]
        done = CliRunner().invoke(cli, words, catch_exceptions=False)
        assert done.exit_code == 0, f"{block}: emonet-fast {' '.join(words)}: {done.output}"
