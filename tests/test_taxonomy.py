"""The taxonomy against the authors' annotation guide, and every spelling of a name."""

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emonet_fast import taxonomy

GUIDE = Path(__file__).parents[2] / "shared" / "data" / "guide.json"


@pytest.fixture(scope="module")
def guide():
    if not GUIDE.is_file():
        pytest.skip(f"the annotation guide is not at {GUIDE}")
    return json.loads(GUIDE.read_text(encoding="utf-8"))["options"]


def test_forty_emotions_and_four_dimensions_with_distinct_names():
    assert len(taxonomy.EMOTIONS) == 40
    assert [d.name for d in taxonomy.EXTRA_DIMENSIONS] == ["Arousal", "Valence", "Dominance", "Emotional Vulnerability"]
    assert taxonomy.DIMENSIONS == taxonomy.EMOTIONS + taxonomy.EXTRA_DIMENSIONS
    for attribute in ("name", "slug", "file_stem"):
        assert len({getattr(d, attribute) for d in taxonomy.DIMENSIONS}) == 44


def test_each_emotion_is_in_one_group_and_the_groups_hold_nothing_else():
    members = Counter(name for group in taxonomy._GROUPS.values() for name in group)
    assert members == Counter(d.name for d in taxonomy.EMOTIONS)
    assert all(d.group in taxonomy.GROUPS for d in taxonomy.EMOTIONS)
    assert Counter(d.group for d in taxonomy.EMOTIONS) == dict(
        zip(taxonomy.GROUPS, (9, 6, 6, 10, 2, 4, 3), strict=True)
    )


def test_emotions_are_the_guides_in_its_order(guide):
    assert [d.name for d in taxonomy.EMOTIONS] == list(guide["labels"])


def test_groups_are_the_guides(guide):
    ours = {g: {d.name for d in taxonomy.EMOTIONS if d.group == g} for g in taxonomy.GROUPS}
    assert ours == {g.removesuffix(" Emotions"): set(names) for g, names in guide["buttons"].items()}


@pytest.mark.parametrize(
    ("name", "stem", "slug"),
    [
        ("Elation", "model_elation_best", "elation"),
        ("Jealousy & Envy", "model_jealousy_&_envy_best", "jealousy_envy"),
        ("Pleasure/Ecstasy", "model_pleasure_ecstasy_best", "pleasure_ecstasy"),
        ("Hope/Enthusiasm/Optimism", "model_hope_enthusiasm_optimism_best", "hope_enthusiasm_optimism"),
        ("Sexual Lust", "model_sexual_lust_best", "sexual_lust"),
        (
            "Intoxication/Altered States of Consciousness",
            "model_intoxication_altered_states_of_consciousness_best",
            "intoxication_altered_states_of_consciousness",
        ),
        ("Emotional Vulnerability", "model_emotional_vulnerability_best", "emotional_vulnerability"),
    ],
)
def test_file_stems_are_the_published_ones(name, stem, slug):
    dimension = taxonomy.find(name)
    assert (dimension.name, dimension.file_stem, dimension.slug) == (name, stem, slug)


@pytest.mark.parametrize("dimension", taxonomy.DIMENSIONS, ids=lambda d: d.slug)
def test_every_spelling_finds_the_dimension(dimension):
    spellings = [
        dimension.name,
        dimension.slug,
        dimension.file_stem,
        dimension.file_stem + ".pth",
        dimension.name.upper(),
    ]
    assert {taxonomy.find(s) for s in spellings} == {dimension}


def test_scales_are_the_annotators():
    assert {d.scale for d in taxonomy.EMOTIONS} == {(0.0, 7.0)}
    assert [d.scale for d in taxonomy.EXTRA_DIMENSIONS] == [(0.0, 7.0), (-3.0, 3.0), (-3.0, 3.0), (0.0, 5.0)]
    assert all(d.is_emotion for d in taxonomy.EMOTIONS)
    assert not any(d.is_emotion for d in taxonomy.EXTRA_DIMENSIONS)


def test_hopelessness_of_the_binary_data_set_is_not_taken_for_helplessness():
    found = taxonomy.find("Hopelessness")
    assert found.slug == "hopelessness"
    assert not found.is_emotion


def test_the_guide_calls_hopelessness_a_synonym_of_helplessness(guide):
    """Why the trap is one: a reader of Binary may rename it with reason, a head's name may not be."""
    assert "hopelessness" in guide["labels"]["Helplessness"]


def test_unknown_names_keep_their_spelling_and_have_no_scale():
    found = taxonomy.find("model_age_best.pth")
    assert (found.name, found.slug, found.file_stem, found.group) == ("age", "age", "model_age_best", "")
    assert found.scale == (float("-inf"), float("inf"))


@given(st.permutations([d.name for d in taxonomy.DIMENSIONS]))
def test_canonical_order_does_not_depend_on_the_order_given(names):
    expected = [d.slug for d in taxonomy.DIMENSIONS] + ["age", "zeal"]
    assert taxonomy.canonical_order(["zeal", *names, "model_age_best"]) == expected
