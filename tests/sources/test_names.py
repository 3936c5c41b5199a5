"""Names and keys are joined whole or by the longest tail of whole parts; what is ambiguous is an error."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emonet_fast.sources.keys import AmbiguousKeyError, Names

PARTS = st.sampled_from(["a", "b", "1.jpg", "2.jpg"])
PATHS = st.lists(PARTS, min_size=1, max_size=4).map("/".join)


def tail(short, long):
    return ("/" + long).endswith("/" + short)


@given(st.sets(PATHS, max_size=8), PATHS)
def test_rule(names, key):
    """As by comparing the key with every name."""
    fits = {min(len(n.split("/")), len(key.split("/"))): [] for n in names if tail(n, key) or tail(key, n)}
    for name in names:
        if tail(name, key) or tail(key, name):
            fits[min(len(name.split("/")), len(key.split("/")))].append(name)
    longest = [key] if key in names else fits[max(fits)] if fits else []
    if len(longest) > 1:
        with pytest.raises(AmbiguousKeyError) as error:
            Names(names).find(key)
        assert sum(repr(name) in str(error.value) for name in longest) >= 2, "names both"
    else:
        assert Names(names).find(key) == (longest[0] if longest else None)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("a.jpg", "d/a.jpg"),
        ("./d//a.jpg", "/x/d/a.jpg"),
        ("../d/a.jpg", "/x/d/a.jpg"),
        ("C:\\x\\a.jpg", "x/a.jpg"),
        (unicodedata.normalize("NFC", "é/ü.jpg"), unicodedata.normalize("NFD", "é/ü.jpg")),
        ("a.jpg", "d/s.tgz::/a.jpg"),
        ("s.tar.gz::./x/a.jpg", "d/s.tar.gz::x/a.jpg"),
        ("s.tar::a.jpg", "s.tar#2::a.jpg"),
        ("a.jpg", "d/a.jpg#2"),
        ("a.jpg", "a.jpg::box12"),
        ("t.parquet::3", "d/t.parquet::3"),
        ("t.parquet::3", "t.parquet#2::3"),
    ],
)
def test_are_one_picture(name, key):
    assert Names([name]).find(key) == name


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("anna/1.jpg", "cleo/1.jpg"),
        ("1.jpg", "x1.jpg"),
        ("3", "t.parquet::3"),
        ("a.jpg", "s.tar::a.jpg#2"),
        ("a.jpg", "a.png"),
        ("a", "a.jpg"),
        ("s.tar::a.jpg", "s.tgz::a.jpg"),
        ("", "a.jpg"),
    ],
)
def test_are_two_pictures(name, key):
    assert Names([name]).find(key) is None


def test_endings_count_last():
    names = Names(["d/1.png", "d/v1.5", "e/1.jpg"], endings=False)
    assert [names.find(k) for k in ("1.jpg", "x/d/1.webp", "v1.5.jpg", "d/2.png")] == [
        "e/1.jpg",
        "d/1.png",
        "d/v1.5",
        None,
    ]
    with pytest.raises(AmbiguousKeyError, match=r"'1' fits both 'd/1.png' and 'e/1.jpg'"):
        names.find("1")


def test_two_spellings_of_one_name_are_ambiguous():
    composed, apart = (unicodedata.normalize(form, "é.jpg") for form in ("NFC", "NFD"))
    names = Names([composed, apart])
    assert [names.find(composed), names.find(apart)] == [composed, apart]
    with pytest.raises(AmbiguousKeyError):
        names.find(f"d/{apart}")
