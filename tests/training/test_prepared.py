"""Rows are dealt to three parts that share nobody, and HQ's experts teach nothing unless they are allowed to."""

from dataclasses import replace

import numpy as np
import pytest

from emonet_fast.errors import DataError, OptionError
from emonet_fast.targets import Labelled, Targets
from emonet_fast.training.prepared import prepare


def given(people=40, rows=200):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(rows, 8)).astype(np.float32)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    labels = rng.uniform(0, 7, (rows, 2)).astype(np.float32)
    labels[:, 1] = np.nan
    keys = tuple(f"{i}.jpg" for i in range(rows))
    groups = {"person": tuple(f"p{i % people}" for i in range(rows))}
    weights = (~np.isnan(labels)).astype(np.float32)
    scales = {"awe": (0.0, 7.0), "fear": (0.0, 7.0)}
    targets = Targets("made", keys, ("awe", "fear"), labels, weights, scales, groups)
    return Labelled(keys, values, labels, weights, groups, "", ("a note",)), targets


def test_nobody_is_in_two_parts():
    both, targets = given()
    dealt = prepare(both, targets, 0.3, seed=0)
    parts = [dealt.examples.training, dealt.examples.stopping, dealt.judging]
    assert sorted(np.concatenate(parts).tolist()) == list(range(200))
    people = [{both.groups["person"][row] for row in part.tolist()} for part in parts]
    assert not people[0] & people[1]
    assert not people[0] & people[2]
    assert not people[1] & people[2]
    assert [len(part) for part in parts] == [140, 30, 30]
    assert len(set(dealt.clusters.tolist())) == 40
    assert dealt.examples.names == ("awe",)  # fear has no labels
    assert dealt.notes == ("a note", "fear has no labels here: no heads")


def test_experts_prove_and_do_not_teach():
    both, targets = given()
    with pytest.raises(OptionError, match="ratings of HQ, which prove a model and must not train it"):
        prepare(both, replace(targets, experts=True), 0.3, seed=0)
    assert prepare(both, replace(targets, experts=True), 0.3, seed=0, experts=True).examples.names == ("awe",)


def test_one_person_cannot_stop_and_judge():
    both, targets = given(people=3)
    with pytest.raises(DataError, match="of one person, source or picture; expected two at least"):
        prepare(both, targets, 0.34, seed=0)


@pytest.mark.parametrize("label", [np.nan, 0.0])
def test_a_head_that_nothing_could_judge_is_refused_at_once(label):
    both, targets = given()
    judging = prepare(both, targets, 0.3, seed=0).judging
    labels = both.targets.copy()
    labels[judging, 0] = label
    with pytest.raises(DataError, match="awe has no labels, or all alike, in the 30 rows that judge heads"):
        prepare(replace(both, targets=labels), targets, 0.3, seed=0)


def test_a_head_with_one_label_alone_is_refused_as_such():
    """A class without positives: more rows to judge by would not help."""
    both, targets = given()
    with pytest.raises(DataError, match="awe has the label 0 alone, and nothing else to tell it from"):
        prepare(replace(both, targets=both.targets * 0), targets, 0.3, seed=0)
