"""Identities of synthetic people whose truth is known; reuse of scores; smoothing in time."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from emonet_fast.errors import OptionError
from emonet_fast.faces.geometry import boxes_of, overlaps
from emonet_fast.faces.track import GapLimit, Tracker
from emonet_fast.options import VideoOptions
from emonet_fast.records import Face
from emonet_fast.video.scoring import Smoother, due

MEMORY = VideoOptions().track_memory


def box(x: float, y: float, side: float = 80.0) -> Face:
    return Face(x, y, side, side * 1.2, 0.9)


def follow(times, people, *, hidden=lambda person, t: False, seed=0):
    """Track numbers by person: {person: [number at each time it was visible]}; faces come in random order."""
    rng = np.random.default_rng(seed)
    tracker = Tracker(GapLimit(MEMORY))
    found: dict[int, list[int]] = {i: [] for i in range(len(people))}
    for t in times:
        there = [i for i in range(len(people)) if not hidden(i, t)]
        order = rng.permutation(there).tolist()
        jitter = rng.normal(0, 1.0, (len(people), 2))
        faces = [box(people[i](t)[0] + jitter[i, 0], people[i](t)[1] + jitter[i, 1]) for i in order]
        for i, number in zip(order, tracker.update(t, faces), strict=True):
            found[i].append(number)
    return found


def covered(people, t) -> bool:
    """Whether the two boxes overlap so far that a detector's suppression leaves one of them."""
    table = overlaps(boxes_of([box(*people[0](t))]), boxes_of([box(*people[1](t))]))
    return bool(table[0, 0] > 0.3)


@pytest.mark.parametrize("suppressed", [True, False])
@settings(max_examples=40, deadline=None, derandomize=True)  # jitter is random: the same cases in every run
@given(
    seed=st.integers(0, 2**32 - 1),
    fps=st.sampled_from([5.0, 12.5, 25.0]),
    speed=st.floats(60, 240),
    other_speed=st.floats(60, 240),
    apart=st.floats(-40, 40),
)
def test_two_people_crossing(suppressed, seed, fps, speed, other_speed, apart):
    """From both sides, one behind the other, at walking speeds: who they were before, they are after.

    suppressed: of two faces that cover each other one is found, as the detector does it; else both are, and which of
    two equal boxes is whose cannot be said while they cover each other, only after.
    """
    people = [lambda t: (speed * t, 200.0), lambda t: (800 - other_speed * t, 200.0 + apart)]
    times = np.arange(0, 800 / max(speed, other_speed), 1 / fps)
    apart_again = [not covered(people, t) for t in times]
    found = follow(times, people, hidden=lambda p, t: suppressed and p == 1 and covered(people, t), seed=seed)
    if not suppressed:
        found = {p: [n for n, clear in zip(numbers, apart_again, strict=True) if clear] for p, numbers in found.items()}
    else:
        front = [n for n, clear in zip(found[0], apart_again, strict=True) if clear]
        found = {0: front, 1: found[1]}
    hidden_for = (len(times) - sum(apart_again)) / fps
    if hidden_for < MEMORY or not suppressed:
        assert [len(set(numbers)) for numbers in found.values()] == [1, 1]
    assert not set(found[0]) & set(found[1])


@pytest.mark.parametrize("fps", [2.0, 4.0])
def test_two_people_crossing_at_few_frames(fps):
    people = [lambda t: (90 * t, 200.0), lambda t: (720 - 70 * t, 220.0)]
    found = follow(np.arange(0, 8, 1 / fps), people)
    assert [len(set(numbers)) for numbers in found.values()] == [1, 1]


@pytest.mark.parametrize("fps", [5.0, 25.0])
def test_crossing_while_one_is_hidden(fps):
    """Where they overlap only the front one is found, as suppression leaves it: both go on as who they were."""
    people = [lambda t: (120 * t, 200.0), lambda t: (700 - 120 * t, 210.0)]

    found = follow(np.arange(0, 5.5, 1 / fps), people, hidden=lambda p, t: p == 1 and covered(people, t))
    assert [len(set(numbers)) for numbers in found.values()] == [1, 1]


def test_leaving_and_returning():
    """Away for less than the memory: the same; for longer: someone new. The other one is not touched."""
    people = [lambda t: (100.0, 100.0), lambda t: (400.0, 100.0)]
    times = np.arange(0, 8, 0.25)
    brief = follow(times, people, hidden=lambda p, t: p == 1 and 2 <= t < 2 + MEMORY / 2)
    assert [len(set(numbers)) for numbers in brief.values()] == [1, 1]
    long = follow(times, people, hidden=lambda p, t: p == 1 and 2 <= t < 2 + 3 * MEMORY)
    assert [len(set(numbers)) for numbers in long.values()] == [1, 2]


@example(1.0, 0, 2.9999999999999996)
@example(10.0, 0, 0.3)
@given(st.floats(0.02, 30), st.integers(0, 2**32 - 1), st.floats(0, 3))
def test_a_gap_is_counted_in_frames_and_in_seconds(fps, seed, memory):
    """A motionless face is one track at any sampling, and goes on after a frame without it, or after the memory."""
    rng = np.random.default_rng(seed)

    def numbers(gap: int) -> list[int]:
        tracker = Tracker(GapLimit(memory))
        seen = [*range(4), *range(4 + gap, 8 + gap)]
        faces = {i: [box(*rng.normal(200, 2, 2))] for i in seen}
        found = [tracker.update(i / fps, faces.get(i, [])) for i in range(8 + gap)]
        return [one for some in found for one in some]

    assert numbers(0) == numbers(1) == [1] * 8
    at_the_limit = round(memory * fps) / fps - memory
    assume(not 1e-9 < abs(at_the_limit) < 1e-5)  # a time within a microsecond of the limit counts as within it
    longest = max(2, math.floor((memory + 1e-6) * fps)) - 1  # frames without it
    assert numbers(min(longest, 100)) == [1] * 8
    if longest < 100:
        assert numbers(longest + 1) == [1] * 4 + [2] * 4


def test_a_scene_has_its_own_tracks():
    """A face in the same place after a cut is somebody else; after a flash the ones before it go on."""
    tracker = Tracker(GapLimit(1.0))
    scenes = [0, 0, 1, 0, 2, 2]
    found = [tracker.update(i / 5, [box(0, 0), box(300, 0)], scene=scene) for i, scene in enumerate(scenes)]
    assert found == [[1, 2], [1, 2], [3, 4], [1, 2], [5, 6], [5, 6]]


def looks(*kinds: int) -> np.ndarray:
    """Looks of people who are as unlike as can be, one for each kind."""
    return np.eye(4)[list(kinds)]


def test_who_swaps_places_between_samples_is_nobody_known():
    """Motion alone would give each the other's number; who looks as before keeps theirs."""
    tracker = Tracker(GapLimit(MEMORY))
    assert tracker.update(0.0, [box(0, 0), box(300, 0), box(600, 0)], looks=looks(0, 1, 2)) == [1, 2, 3]
    assert tracker.update(1.0, [box(20, 0), box(310, 0), box(600, 0)], looks=looks(1, 0, 2)) == [4, 5, 3]
    assert tracker.update(2.0, [box(20, 0), box(310, 0), box(600, 0)], looks=looks(1, 0, 2)) == [4, 5, 3]


def test_another_face_where_somebody_left():
    """Where boxes overlap a face may change its look; where they hardly do, or it was away, it is somebody else."""
    for step, away, number in ((10, 0, 1), (70, 0, 2), (10, 1, 2)):
        tracker = Tracker(GapLimit(MEMORY))
        tracker.update(0.0, [box(0, 0)], looks=looks(0))
        for _ in range(away):
            tracker.update(0.25, [], looks=looks())
        assert tracker.update(0.5, [box(step, 0)], looks=looks(1)) == [number]


def test_a_face_that_is_half_covered_once():
    """A track's look follows slowly: what covers the face in one frame does not make two numbers of it."""
    tracker = Tracker(GapLimit(MEMORY))
    half = (looks(0) + looks(1)) / np.sqrt(2)
    shown = [looks(0), half, looks(0)]
    found = [tracker.update(i / 2, [box(60 * i, 0)], looks=look) for i, look in enumerate(shown)]
    assert found == [[1], [1], [1]]


def test_identities_of_a_file_are_not_ours():
    """Whoever has one keeps it, and numbers of ours begin above: also where 0 and 7 come later."""
    tracker = Tracker(GapLimit(1.0), first=8)
    for i in range(4):
        mixed = [box(0, 0), replace(box(300, 0), track=None if i < 2 else 7), replace(box(0, 300), track=0)]
        assert tracker.update(i / 2, mixed) == [8, 9 if i < 2 else 7, 0]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_variable_frame_rate(seed):
    """Velocities are in seconds: frames at random times follow as well as at even ones."""
    steps = np.random.default_rng(seed).uniform(0.02, 0.35, 40)
    people = [lambda t: (80 * t, 200.0), lambda t: (500 - 80 * t, 230.0)]
    found = follow(np.cumsum(steps)[np.cumsum(steps) < 6], people, seed=seed)
    assert [len(set(numbers)) for numbers in found.values()] == [1, 1]


def test_new_scene_sizes_and_times():
    tracker = Tracker(GapLimit(MEMORY))
    assert tracker.update(0.0, [box(0, 0), box(300, 0)], (640, 480)) == [1, 2]
    assert tracker.update(0.1, [box(1, 0)], (640, 480)) == [1]
    assert tracker.update(0.2, [box(1, 0)], (1280, 960)) == [3]  # another size: boxes cannot be compared
    assert tracker.update(0.1, [box(1, 0)], (1280, 960)) == [4]  # time stepped back
    assert tracker.update(0.2, [], (1280, 960)) == []
    assert tracker.update(0.3, [Face(1, 0, 400, 480)], (1280, 960)) == [5]  # five times as large
    assert tracker.update(0.4, [Face(1, 0, 400, 480, track=77)], (1280, 960)) == [77]


def test_memory_is_bounded():
    tracker = Tracker(GapLimit(MEMORY))
    for i in range(2000):
        tracker.update(i * 10.0, [box(0, 0)])
    assert len(tracker._tracks) == 1


def test_when_a_face_is_scored_again():
    here, moved = box(0, 0), box(40, 0)
    every = VideoOptions(score_every=3)
    assert [due(every, here, here, n) for n in (1, 2, 3, 4)] == [False, False, True, True]
    change = VideoOptions(score_change=0.3)
    assert not due(change, here, here, 1000)
    assert due(change, moved, here, 1)
    both = VideoOptions(score_every=3, score_change=0.3)
    assert [due(both, face, here, n) for face, n in ((here, 2), (here, 3), (moved, 1))] == [False, True, True]
    for settings_ in ({"score_every": 0}, {"score_change": 1.5}):
        with pytest.raises(OptionError, match="expected"):
            VideoOptions(**settings_)


@settings(max_examples=30)
@given(st.lists(st.floats(0.01, 0.4), min_size=1, max_size=30), st.floats(0.05, 5))
def test_smoothing_by_hand(steps, tau):
    smoother = Smoother(tau, GapLimit(1.0))
    now, expected = 0.0, None
    rng = np.random.default_rng(0)
    for number, step in enumerate(steps):
        now += step
        value = rng.normal(size=3)
        expected = value if expected is None else expected + (1 - math.exp(-step / tau)) * (value - expected)
        np.testing.assert_allclose(smoother((1, 0), number, now, value), expected, rtol=1e-9, atol=1e-12)


def test_smoothing_is_of_time_not_of_frames():
    """A step answered at 50 frames a second and at 2 has the same height a second later."""
    ends = []
    for fps in (2, 50):
        smoother = Smoother(0.7, GapLimit(5.0))
        smoother((1, 0), 0, 0.0, np.zeros(1))
        for i in range(1, fps + 1):
            found = smoother((1, 0), i, i / fps, np.ones(1))
        ends.append(float(found[0]))
    assert ends[0] == pytest.approx(ends[1], abs=1e-12)


def test_gaps_stay_gaps():
    smoother = Smoother(1.0, GapLimit(2.0))
    one, other, later = (1, 0), (2, 0), (1, 1)
    smoother(one, 0, 0.0, np.zeros(1))
    assert smoother(one, 3, 3.0, np.ones(1)) == 1.0  # begins anew
    assert 1.0 < smoother(one, 5, 5.5, np.full(1, 2.0)) < 2.0  # one frame is bridged, however long it takes
    assert smoother(other, 6, 5.6, np.full(1, 5.0)) == 5.0  # another track
    assert smoother(later, 6, 5.6, np.full(1, 9.0)) == 9.0  # another scene
    assert smoother(one, 7, 5.0, np.full(1, 7.0)) == 7.0  # time stepped back
    for track in range(1000):
        smoother((track, 0), 8, 6.0, np.zeros(1))
    assert len(smoother._last) <= 256
