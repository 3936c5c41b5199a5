"""Keys are unique, printable and the same in every run."""

from hypothesis import given
from hypothesis import strategies as st

from emonet_fast.records import Status
from emonet_fast.sources.folder import UniqueKeys
from emonet_fast.sources.memory import Memory
from emonet_fast.text import utf8_text


def test_repeats_are_numbered():
    unique = UniqueKeys()
    assert [unique(k) for k in ("a", "b", "a", "a", "b")] == ["a", "b", "a#2", "a#3", "b#2"]


def test_a_file_of_the_numbered_name_keeps_its_own():
    unique = UniqueKeys()
    assert [unique(k) for k in ("a#2", "a", "a", "a#2")] == ["a#2", "a", "a#3", "a#2#2"]


@given(st.lists(st.sampled_from(["a", "b", "a#2", "a#2#2", "b#2", "a#3"])))
def test_unique_and_repeatable(names):
    one, two = UniqueKeys(), UniqueKeys()
    keys = [one(n) for n in names]
    assert len(set(keys)) == len(keys)
    assert keys == [two(n) for n in names]
    assert all(k.startswith(n) for k, n in zip(keys, names, strict=True))


@given(st.binary())
def test_any_file_name_becomes_valid_text(raw):
    text = utf8_text(raw.decode("utf-8", "surrogateescape"))
    assert text.encode("utf-8").decode("utf-8") == text


def test_bytes_that_are_not_utf8_are_escaped():
    assert utf8_text(b"caf\xe9.jpg".decode("utf-8", "surrogateescape")) == "caf\\xe9.jpg"
    assert utf8_text("café.jpg") == "café.jpg"


def test_a_surrogate_that_stands_for_no_byte_is_escaped_too():
    (picture,) = Memory(["\ud800.jpg"], max_bytes=9)
    assert (picture.key, picture.status) == ("\\ud800.jpg", Status.UNREADABLE)
