"""The README says what the repository's scripts measured, and names commands that exist."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from benchmarks.measurements import read
from benchmarks.runs import newest
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
    described = set(re.findall(r"^([a-z0-9-]+):.*## [A-Z].*\.$", makefile, re.MULTILINE))
    (phony,) = re.findall(r"^\.PHONY: ((?:.*\\\n)*.*)$", makefile, re.MULTILINE)
    assert described == set(phony.replace("\\", " ").split())


def test_linked_files_exist():
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / link).exists(), link


def test_install_lines_work_from_a_checkout():
    """There is no release to install from, and every extra that a page names exists."""
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"])
    named = set()
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md"), *ROOT.glob("examples/*")):
        text = page.read_text("utf-8") if page.is_file() else ""
        assert not re.search(r"pip install[^\n`]*emonet-fast", text), page
        for names in re.findall(r"pip install [^\n`]*'\.\[([\w,]+)\]'", text):
            named |= set(names.split(","))
    assert {"eval", "video", "gpu"} <= named <= extras


def test_what_the_text_says_of_speed_is_measured():
    """Without bf16: the range in the text holds both factors of fp32. One figure for the first score, on two pages."""
    sides = {case: value for case, value in read("fidelity").values.items() if "factor" in value}
    run = newest("cpu")
    fp32 = [sides["large, engine fp32"]["factor"]]
    fp32 += [one.factor for one in run.entries if one.group.startswith("end to end") and one.side == "openvino fp32"]
    low, high = map(float, re.search(r"\*\*Without them it is ([\d.]+) to ([\d.]+) times", README).groups())
    assert low <= min(fp32) <= max(fp32) <= high
    assert f"not {sides['large, engine bf16']['factor']:.1f} times" in README
    (first,) = (one for one in run.entries if (one.group, one.side) == ("start: large", "openvino bf16, warm"))
    assert f"| {first.info['ms']['median'] / 1000:.1f} s (published pipeline:" in README
    assert README.count("first score") == 1


def test_disturbed_measurements_show_no_speed():
    for case, value in read("fidelity").values.items():
        if "seconds" in value:
            heads, side = case.split(", ")
            assert (f"| {heads.capitalize()} | {side} | – | – |" in README) == value.get("disturbed", False)


def test_the_demo_has_one_size():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    (size,) = re.findall(r"about two minutes, and (\d+ GB) with its packed copy", makefile)
    assert re.search(rf"\(two minutes, and {size} with\s+its packed copy\)", README)
