"""The site: every page is in its navigation, its reference has every public name, and it asks no other host."""

import importlib
import re
from pathlib import Path

import pytest

import emonet_fast as ef

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))


def test_navigation_holds_every_page():
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:")[2]
    assert sorted(re.findall(r": ([\w-]+\.md)$", navigation, re.MULTILINE)) == [page.name for page in PAGES]


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


def test_reference_has_every_public_name():
    named = re.findall(r"^::: (\S+)$", (ROOT / "docs/reference.md").read_text("utf-8"), re.MULTILINE)
    for name in set(ef.__all__) - {"__version__"}:
        thing = getattr(ef, name)
        assert {f"{thing.__module__}.{name}", thing.__module__} & set(named), name


def test_the_site_asks_no_other_host():
    text = (ROOT / "mkdocs.yml").read_text("utf-8")
    assert "font: false" in text
    assert not re.search(r"^\s*(analytics:|- offline)", text, re.MULTILINE)
    assert "```mermaid" not in "".join(page.read_text("utf-8") for page in PAGES)  # its script comes from another host
