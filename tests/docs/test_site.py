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


def test_the_site_follows_the_system_between_light_and_dark():
    """Without a first palette for every scheme, and buttons, the theme stores the one of the first visit."""
    palette = (ROOT / "mkdocs.yml").read_text("utf-8").partition("\n  palette:\n")[2].partition("\n  features:")[0]
    media = re.findall(r'media: "(.*)"', palette)
    assert media == ["(prefers-color-scheme)", "(prefers-color-scheme: light)", "(prefers-color-scheme: dark)"]
    assert palette.count("toggle: {icon: material/") == 3


def test_names_in_code_are_not_broken():
    """The theme breaks any word, so that a column of a table on a phone shows `test_decoder` and `s.py` below it."""
    rule = re.search(r":not\(pre\) > code \{(.*?)\}", (ROOT / "docs" / "extra.css").read_text("utf-8"))
    assert rule is not None
    assert "word-break: normal" in {one.strip() for one in rule[1].split(";")}


def test_options_are_marked_and_signs_of_help_are_shown():
    """Python-Markdown knows no backslash before `<` and, outside of tables, before a bar."""
    pytest.importorskip("mkdocs", reason="mkdocs (extra docs) is not installed")
    from benchmarks.site import on_page_content, plain

    html = "<p><code>score --max-pixels N -o F</code> well-known <code>a-b</code></p><pre><code><i>-o</i></code></pre>"
    marked = html.replace("--max-pixels", '<span class="option">--max-pixels</span>')
    marked = marked.replace(" -o", ' <span class="option">-o</span>')
    assert on_page_content(html, page=None, config=None, files=None) == marked
    assert plain("a_b [default: 5; 1<=x<=40] c|d `e<f`") == r"a\_b \[default: 5; 1&lt;=x&lt;=40\] c&#124;d `e<f`"
