"""The README says what the repository's scripts measured, and names commands that exist."""

import re
import subprocess
import sys
from pathlib import Path

from emonet_fast.commands import main as cli

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def test_pages_are_those_of_the_results():
    command = [sys.executable, "-m", "benchmarks.pages", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_commands_exist():
    named = set(re.findall(r"`emonet-fast (\w+)", README))
    assert named == set(cli.cli.commands)


def test_make_targets_exist():
    targets = set(re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = set(re.findall(r"\bmake (demo|test|bench|lint|test-lowest)\b", README))
    assert {"demo", "test", "bench"} <= named <= targets


def test_every_make_target_has_its_sentence_in_help():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    described = set(re.findall(r"^([a-z-]+):.*## [A-Z].*\.$", makefile, re.MULTILINE))
    (phony,) = re.findall(r"^\.PHONY: ((?:.*\\\n)*.*)$", makefile, re.MULTILINE)
    assert described == set(phony.replace("\\", " ").split())


def test_linked_files_exist():
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / link).exists(), link
