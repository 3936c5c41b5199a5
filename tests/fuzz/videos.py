"""Damaged videos of six containers: each frame read whole and in order, or the reason told in one line.

What is read is drawn into an overlay too, with its sound, as a run would.
"""

import random
from collections.abc import Callable
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import numpy as np

from emonet_fast.errors import EmonetError, InputError
from emonet_fast.sinks.overlay import Overlay
from emonet_fast.sources.video.ahead import Ahead
from emonet_fast.sources.video.av import AvSource
from emonet_fast.sources.video.frames import Frame, Sampling

from ..video.making import write_clip
from ..video.test_sinks import line
from . import mutated

COUNT = 200
QUICK = 24
_TICKS = [i * 40 for i in range(12)]
# What a damaged number can make of 12 frames at most, such as a picture shown again.
_MOST = 200
_CODECS = {
    "mp4": ("libx264", {"bf": "2"}, "aac"),
    "mkv": ("libx264", {"bf": "2"}, "aac"),
    "avi": ("mpeg4", {"bf": "2"}, ""),
    "ts": ("libx264", {"bf": "0"}, "aac"),
    "webm": ("libvpx", {"deadline": "realtime"}, ""),
    "gif": ("gif", {}, ""),
}


def prepare(folder: Path) -> Callable[[int], None]:
    whole = {}
    for kind, (codec, options, sound) in _CODECS.items():
        shape = "rgb8" if codec == "gif" else "yuv420p"
        path = write_clip(
            folder / f"whole.{kind}",
            _TICKS,
            Fraction(1, 1000) if kind != "avi" else Fraction(1, 25),
            codec=codec,
            options=options,
            sound=sound,
            pix_fmt=shape,
        )
        whole[kind] = path.read_bytes()

    def case(seed: int) -> None:
        rng = random.Random(seed)  # noqa: S311 - the same damage for the same seed
        kind = list(whole)[seed % len(whole)]
        path = folder / f"{seed}.{kind}"
        path.write_bytes(mutated(whole[kind], rng))
        refused = ""
        try:
            source = AvSource(str(path), Sampling(rng.choice((None, 10))), every=rng.random() < 0.5, threads=2)
            with closing(source):
                refused = _read(source, folder / f"{seed}.mkv")
        except InputError as error:
            refused = str(error)
        path.unlink()
        assert "\n" not in refused

    return case


def _read(source: AvSource, written: Path) -> str:
    """Check all frames; what was said of the video or the overlay."""
    overlay = Overlay(written)
    overlay.start(source.rate, source.audio)
    rows = line(0, 1)
    ahead = Ahead(source)
    last, said = (-1, Fraction(0)), ""
    try:
        for item in ahead:
            if isinstance(item, Frame):
                assert last[0] < item.index < _MOST
                assert last[0] < 0 or last[1] < item.time
                last = item.index, item.time
                rgb = item.rgb()
                assert rgb.dtype == np.uint8
                assert rgb.ndim == 3
                assert rgb.shape[2] == 3
            overlay.write(item, rows, range(1) if isinstance(item, Frame) and item.chosen else None)
    except EmonetError as error:
        said = str(error)
    finally:
        ahead.close()
        overlay.abort()
    return said + source.faults.ended
