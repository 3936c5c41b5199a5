"""The pages of docs/: all in the navigation, links that lead somewhere, a reference to names that exist."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))


def test_navigation_holds_every_page():
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:")[2]
    assert sorted(re.findall(r": ([\w-]+\.md)$", navigation, re.MULTILINE)) == [page.name for page in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_of_docs(page):
    """The built site holds docs/ alone: a link out of it would be broken there."""
    for link in re.findall(r"\]\(([^)#:\s]+)[^):]*\)", page.read_text("utf-8")):
        target = (page.parent / link).resolve()
        assert target.exists(), link
        assert target.is_relative_to(page.parent), f"{link} leaves docs/"


def test_other_pages_link_to_files():
    for name in ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"):
        for link in re.findall(r"\]\(([^)#:\s]+)\)", (ROOT / name).read_text("utf-8")):
            assert (ROOT / link).exists(), f"{name}: {link}"


@pytest.mark.parametrize(
    "name", re.findall(r"^::: (\S+)$", (ROOT / "docs/reference.md").read_text("utf-8"), re.MULTILINE)
)
def test_reference_names_documented_objects(name):
    module, _, attribute = name.rpartition(".")
    try:
        documented = importlib.import_module(name)
    except ModuleNotFoundError:
        documented = getattr(importlib.import_module(module), attribute)
    assert documented.__doc__


def test_the_site_asks_no_other_host():
    text = (ROOT / "mkdocs.yml").read_text("utf-8")
    assert "font: false" in text
    assert not re.search(r"^\s*(analytics:|- offline)", text, re.MULTILINE)
    assert "```mermaid" not in "".join(page.read_text("utf-8") for page in PAGES)  # its script comes from another host
