"""Tracks that become people: synthetic truth with embeddings in clusters, and a clip of one who leaves and returns."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emonet_fast import stream
from emonet_fast.errors import OptionError
from emonet_fast.faces.people import People
from emonet_fast.faces.track import GapLimit, Tracker
from emonet_fast.options import FaceOptions, VideoOptions
from emonet_fast.timeline import NO_TRACK

from .test_pipeline import boxes_of_walk, rows_of
from .test_track import box

SIZE = 32


class Story:
    """Frames of people whose embeddings lie around their own directions, `wide` apart from them."""

    def __init__(self, most: int, *, first: int = 1, wide: float = 0.1, seed: int = 0) -> None:
        self.tracker, self.people = Tracker(GapLimit(1.0), first), People(most, first)
        self.rng, self.wide, self.seconds, self.scene = np.random.default_rng(seed), wide, 0.0, 0
        self.centres = np.linalg.qr(self.rng.normal(size=(SIZE, SIZE)))[0]
        self.found: dict[int, list[int]] = {}

    def __call__(self, *there: tuple[int, float], frames: int = 4, pause: float = 0.0, cut: bool = False) -> list[int]:
        """The numbers of (person, place)s in the last of some frames."""
        self.scene += cut
        if pause:
            self(frames=round(pause * 2), cut=False)
        for _ in range(frames):
            self.seconds += 0.5
            faces = [box(x + self.rng.normal(0, 2), 100) for _, x in there]
            tracks = self.tracker.update(self.seconds, faces, None, self.scene)
            noise = self.rng.normal(0, self.wide / np.sqrt(SIZE), (len(there), SIZE))
            values = self.centres[np.array([who for who, _ in there], int)] + noise
            numbers = self.people.numbers(self.scene, faces, tracks, values, np.ones(len(there), bool))
            for (who, _), number in zip(there, numbers, strict=True):
                self.found.setdefault(who, []).append(number)
        return numbers


def test_one_person_is_one_whatever_happens():
    story = Story(1)
    story((0, 100))
    story((0, 100), pause=9)
    story((0, 600), pause=9)
    story((0, 300), cut=True)
    assert set(story.found[0]) == {1}
    assert story((0, 300), (1, 600)) == [1, NO_TRACK]  # more faces than people: nobody is a guess


def test_two_people_who_leave_and_return():
    story = Story(2)
    assert story((0, 100), (1, 500)) == [1, 2]
    assert story((1, 500), frames=8) == [2]
    assert story((0, 900), (1, 500)) == [1, 2]  # only one is absent
    assert story(frames=1, pause=9) == []
    assert story((1, 100)) == [2]  # where the other one sat
    assert story((0, 300), cut=True) == [1]
    assert story((1, 300), cut=True) == [2]


def test_a_seat_that_somebody_else_takes():
    """While numbers are left, place alone does not make two people one; the one who comes back is."""
    story = Story(3)
    assert story((0, 100)) == [1]
    assert story((1, 100), pause=9) == [2]
    assert story((0, 100), pause=9) == [1]
    assert story((2, 100), cut=True) == [3]


def test_split_people_leave_no_number_to_others():
    """One who came back elsewhere has two numbers of two; then another one is nobody, not the first."""
    story = Story(2)
    assert story((0, 100)) == [1]
    assert story((0, 900), pause=9) == [2]
    assert story((0, 900), (1, 100)) == [2, NO_TRACK]


def test_faces_without_an_embedding_wait():
    people, face = People(1), [box(0, 0)]
    assert people.numbers(0, face, [5], np.full((1, 4), np.nan), np.ones(1, bool)) == [NO_TRACK]
    assert people.numbers(0, face, [5], np.ones((1, 4)), np.ones(1, bool)) == [1]
    assert people.numbers(0, face, [5], np.full((1, 4), np.nan), np.zeros(1, bool)) == [1]
    assert people.numbers(0, [], [NO_TRACK], np.full((1, 4), np.nan), np.zeros(1, bool)) == []


def test_identities_of_a_file_stay():
    story = Story(1, first=8)
    faces = [replace(box(0, 0), track=7), box(300, 0)]
    tracks = story.tracker.update(0.0, faces)
    assert story.people.numbers(0, faces, tracks, np.eye(2, 4), np.ones(2, bool)) == [7, 8]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 4),
    st.lists(
        st.tuples(st.sets(st.integers(0, 3), max_size=4), st.permutations(range(4)), st.booleans(), st.booleans()),
        min_size=1,
        max_size=12,
    ),
    st.integers(0, 2**32 - 1),
)
def test_nobody_is_taken_for_somebody_else(people, events, seed):
    """Whoever leaves, returns, changes seats, is cut away: a number is one person's, and there are at most so many."""
    story = Story(people, seed=seed)
    for there, seats, cut, pause in events:
        who = [one for one in there if one < people]
        # Within a scene everybody keeps the seat while seen: motion alone tells who is who then.
        story(*((one, 250.0 * seats[one]) for one in who), cut=cut, pause=0.0 if cut and not pause else 5.0)
    numbers = {who: set(found) - {NO_TRACK} for who, found in story.found.items()}
    every = [number for found in numbers.values() for number in found]
    assert len(every) == len(set(every)) <= people
    assert set(every) <= set(range(1, people + 1))


def test_options():
    for settings_ in ({"people": 0}, {"people": 101}):
        with pytest.raises(OptionError, match="from 1 to 100"):
            VideoOptions(**settings_)
    for settings_ in ({"track": False}, {"faces": FaceOptions()}):
        with pytest.raises(OptionError, match="need track and faces"):
            VideoOptions(people=1, **settings_)


@pytest.mark.parametrize("score_every", [None, 3])
def test_an_interview(scorer, walk, tmp_path, score_every):
    """One person leaves for a second and a half and comes back elsewhere: two tracks, one person."""
    alone = replace(walk, truth=walk.truth[:, :1])
    path = tmp_path / "boxes.csv"
    boxes_of_walk(alone, path, ("",))
    head, *rows = path.read_text().splitlines()
    kept = [row for row in rows if not 12 <= int(row.split(",")[0]) < 32]
    path.write_text("\n".join([head, *kept]) + "\n")
    options = VideoOptions(fps=5, faces=FaceOptions(faces=f"boxes:{path}"), score_every=score_every)
    apart = rows_of(list(stream(scorer, walk.path, options)))
    joined = rows_of(list(stream(scorer, walk.path, replace(options, people=1))))
    faces = [row for row in joined if row["face_x"] is not None]
    assert {row["track"] for row in apart} == {None, 1, 2}
    assert {row["track"] for row in faces} == {1}
    assert "embedding" not in joined[0]
    assert [row["raw_awe"] for row in joined] == [row["raw_awe"] for row in apart]
    assert [row["reused"] for row in joined] == [row["reused"] for row in apart]
