"""Links of the documents lead somewhere: to files, to headings, and never out of docs/ from within it."""

import re
from functools import cache
from pathlib import Path

import pytest

from .blocks import PAGES, ROOT

ALL = [*PAGES, *(ROOT / f"{name}.md" for name in ("CONTRIBUTING", "CHANGELOG", "SECURITY"))]
FOLDERS = "emonet_fast|kernels|csrc|benchmarks|tests|docs|examples|release"


@cache
def prose(page: Path) -> str:
    """The text of a page without its blocks of code."""
    return re.sub(r"^ *```.*?^ *```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


@cache
def anchors(page: Path) -> set[str]:
    """What a `#` may name: the headings in lower case, with hyphens, without other signs, as Python-Markdown does."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    words = [re.sub(r"[^\w\s-]", "", title).strip().lower() for title in titles]
    return {re.sub(r"[-\s]+", "-", title) for title in words}


@pytest.mark.parametrize("page", ALL, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page):
    for link, heading in re.findall(r"\]\(([^)#:\s]*)(?:#([^)\s]+))?\)", prose(page)):
        target = (page.parent / link).resolve() if link else page
        assert target.exists(), link
        if page.parent.name == "docs":  # the built site holds docs/ alone
            assert target.is_relative_to(page.parent), f"{link} leaves docs/"
        assert not heading or heading in anchors(target), f"{link}#{heading}"


@pytest.mark.parametrize("page", ALL, ids=lambda page: page.name)
def test_named_files_and_modules_exist(page):
    text = page.read_text("utf-8")
    for name in re.findall(rf"`((?:{FOLDERS})/[\w./-]+\w/?)(?=[`\s:])", text):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"python -m ((?:benchmarks|tests)[\w.]*)", text):
        path = ROOT / name.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), name
