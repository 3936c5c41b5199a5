"""How often tracks mistake one person for another, by scenes whose truth is known.

    python -m benchmarks.tracks

Squares of 80 pixels move over 1280 x 720; one that another covers is not found, as after the detector's suppression.
What they show are faces of scikit-image's 100 people in grey, each a little moved, turned and lit anew in each sample.
Grey tells people apart less well than colours. `python -m benchmarks.pages` puts the figures into docs/video.md.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from benchmarks import measurements

SIDE, WIDTH, HEIGHT = 80.0, 1280, 720
RUNS = 100
SAMPLINGS, SPEEDS = (1.0, 2.0, 5.0), (1.0, 1.75, 2.5)  # a second; faces a second
# Where a person is at a time, None where nobody is.
Way = Callable[[float], tuple[float, float] | None]


def cross(rng: Any, speed: float) -> list[Way]:
    """Two walk past each other, nearly on one line."""
    left, right, lower = rng.uniform(0, 200), rng.uniform(800, 1100), rng.uniform(-40, 40)
    back = speed * rng.uniform(0.6, 1)
    return [lambda t: (left + speed * t, 200.0), lambda t: (right - back * t, 200.0 + lower)]


def turn(rng: Any, speed: float) -> list[Way]:
    """Two walk to each other, and back when they have met."""
    meet = (rng.uniform(700, 800) - SIDE) / 2 / speed
    far = [lambda t: speed * min(t, 2 * meet - t)] * 2
    return [lambda t: (200 + far[0](t), 200.0), lambda t: (200 + SIDE + 2 * speed * meet - far[1](t), 210.0)]


def follow(rng: Any, speed: float) -> list[Way]:
    """One walks out at the right; within 1.5 s another one comes in there."""
    start = rng.uniform(200, 700)
    out = (WIDTH - SIDE / 2 - start) / speed
    entry = out + rng.uniform(0.1, 1.5)
    return [
        lambda t: (start + speed * t, 200.0) if t < out else None,
        lambda t: (WIDTH - SIDE / 2 - speed * (t - entry), 200.0) if t > entry else None,
    ]


def seat(rng: Any, speed: float) -> list[Way]:
    """One is gone, and within a second another one sits less than a face away."""
    (x, y), away = rng.uniform(-60, 60, 2), rng.uniform(0.3, 1.0)
    return [lambda t: (500.0, 200.0) if t < 4 else None, lambda t: (500 + x, 200 + y) if t > 4 + away else None]


def crowd(rng: Any, speed: float) -> list[Way]:
    """Five walk about, and turn at the picture's edges."""
    span = np.array([WIDTH - SIDE, HEIGHT - SIDE])

    def way(at: Any, step: Any, t: float) -> tuple[float, float]:
        x, y = np.abs((at + step * t + span) % (2 * span) - span)
        return float(x), float(y)

    angles = rng.uniform(0, 2 * np.pi, 5)
    steps = speed * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return [partial(way, at, step) for at, step in zip(rng.uniform(0, span, (5, 2)), steps, strict=True)]


def table(rng: Any, speed: float) -> list[Way]:
    """Five sit beside each other and move their heads."""
    paces = rng.uniform(0.5, 2, 5)

    def way(place: int, t: float) -> tuple[float, float]:
        return 200 + 110 * place + 12 * np.sin(paces[place] * t + place), 200 + 6 * np.cos(paces[place] * t)

    return [partial(way, place) for place in range(5)]


SCENES: dict[str, tuple[Callable[[Any, float], list[Way]], Sequence[float]]] = {
    "two pass each other": (cross, SPEEDS),
    "two meet and turn back": (turn, SPEEDS),
    "one leaves, another one comes in there": (follow, SPEEDS),
    "five walk about": (crowd, SPEEDS),
    "another one sits there within a second": (seat, (0.0,)),
    "five at a table": (table, (0.0,)),
}


def shown(face: Any, rng: Any) -> Any:
    """[75, 75, 3] uint8 of a face [25, 25] as a sample shows it."""
    from PIL import Image

    picture = Image.fromarray((face * 255).astype(np.uint8)).resize((75, 75), Image.Resampling.BILINEAR)
    moved = tuple(rng.normal(0, 2, 2))
    turned = picture.rotate(
        rng.normal(0, 4), Image.Resampling.BILINEAR, translate=moved, fillcolor=int(face.mean() * 255)
    )
    lit = np.asarray(turned) * rng.uniform(0.85, 1.15) + rng.normal(0, 5, (75, 75))
    return np.clip(lit, 0, 255).astype(np.uint8)[..., None].repeat(3, axis=2)


def run(ways: Sequence[Way], people: Any, sampling: float, rng: Any) -> tuple[bool, int]:
    """Whether one number was two people's, and how many numbers there were beyond one a person."""
    from emonet_fast.faces.decoding import suppress
    from emonet_fast.faces.looks import looks_of
    from emonet_fast.faces.track import GapLimit, Tracker
    from emonet_fast.records import Face

    tracker, owners = Tracker(GapLimit(1.0)), set()
    whole = [Face(0, 0, 75, 75)]
    for seconds in np.arange(rng.uniform(0, 1 / sampling), 10, 1 / sampling).tolist():
        places = [(*place, who) for who, way in enumerate(ways) if (place := way(seconds)) is not None]
        boxes = np.array([(x, y, SIDE, SIDE, who) for x, y, who in places]).reshape(-1, 5)
        boxes = rng.permutation(suppress(boxes[np.abs(boxes[:, 0] - WIDTH / 2) < WIDTH / 2], 0.3))
        boxes[:, :2] += rng.normal(0, 1.5, (len(boxes), 2))
        faces = [Face(*box) for box in boxes[:, :4].tolist()]
        who = boxes[:, 4].astype(int).tolist()
        looks = [looks_of(shown(people[one], rng), whole)[0] for one in who]
        numbers = tracker.update(seconds, faces, (WIDTH, HEIGHT), 0, np.array(looks).reshape(len(faces), 193))
        owners.update(zip(numbers, who, strict=True))
    numbers = {number for number, _ in owners}
    return len(numbers) < len(owners), len(owners) - len({who for _, who in owners})


def measured() -> list[dict[str, Any]]:
    """For each scene, sampling and speed: the part of the runs with a mistaken person, and new numbers a run."""
    from skimage.data import lfw_subset

    faces, rows = lfw_subset()[:100], []
    for name, (scene, speeds) in SCENES.items():
        for sampling in SAMPLINGS:
            for speed in speeds:
                found = []
                for seed in range(RUNS):
                    rng = np.random.default_rng(seed)
                    people = faces[rng.choice(len(faces), 5, replace=False)]
                    found.append(run(scene(rng, speed * SIDE), people, sampling, rng))
                mistaken, split = np.mean(found, axis=0).tolist()
                rows.append({"scene": name, "sampling": sampling, "speed": speed, "mistaken": mistaken, "split": split})
                print(f"{name}, {sampling:g}/s, {speed:g} faces/s: {mistaken:.0%}, {split:.2f}", flush=True)
    return rows


if __name__ == "__main__":
    measurements.keep("video", {"tracks": measured()})
