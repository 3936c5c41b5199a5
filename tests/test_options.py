"""Every field of the options is held to its type and range; what is wrong is named."""

import math
from dataclasses import fields, replace
from fractions import Fraction
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest

import emonet_fast as ef

# Something that no field takes, in place of each field of each record.
FIELDS = [(record, one.name) for record in (ef.Options, ef.FaceOptions, ef.VideoOptions) for one in fields(record)]


@pytest.mark.parametrize(("record", "name"), FIELDS, ids=lambda v: v if isinstance(v, str) else v.__name__)
def test_every_field_names_itself_where_its_type_is_wrong(record, name):
    for wrong in (object(), [1], b"x", 1j):
        with pytest.raises(ef.OptionError, match=rf"^{name} is .*; expected "):
            record(**{name: wrong})
    if type(None) not in getattr(get_type_hints(record)[name], "__args__", ()):
        with pytest.raises(ef.OptionError, match=f"^{name} is None; expected "):
            record(**{name: None})


@pytest.mark.parametrize(
    ("record", "settings", "said"),
    [
        (ef.VideoOptions, {"fps": 0}, "fps is 0; expected a number from 1e-06 to 1000 or None"),
        (ef.VideoOptions, {"fps": "2"}, "fps is '2'; expected a number"),
        (ef.VideoOptions, {"fps": True}, "fps is True"),
        (ef.VideoOptions, {"fps": math.nan}, "fps is nan"),
        (ef.VideoOptions, {"start": math.inf}, "start is inf; expected a number or None"),
        (ef.VideoOptions, {"start": 5, "end": 4.0}, "end is 4 and start 5; expected end after start"),
        (ef.VideoOptions, {"track": 1}, "track is 1; expected True or False"),
        (ef.VideoOptions, {"live": "yes"}, "live is 'yes'; expected True or False or None"),
        (ef.VideoOptions, {"people": 101}, "people is 101; expected a whole number from 1 to 100 or None"),
        (ef.VideoOptions, {"stream": -1}, "stream is -1; expected a whole number from 0"),
        (ef.VideoOptions, {"score_every": 2.5}, "score_every is 2.5; expected a whole number from 1"),
        (ef.VideoOptions, {"score_change": 1.5}, "score_change is 1.5; expected a number from 0 to 1"),
        (ef.VideoOptions, {"track_memory": -1}, "track_memory is -1; expected a number from 0"),
        (ef.VideoOptions, {"smooth": -0.1}, "smooth is -0.1; expected a number from 0"),
        (ef.VideoOptions, {"faces": "detect"}, "faces is 'detect'; expected a FaceOptions"),
        (ef.FaceOptions, {"faces": "detect", "model": ""}, "model is an empty text; is a variable unset?"),
        (ef.FaceOptions, {"min_score": 0}, "min_score is 0; expected a number from 0.001 to 1"),
        (ef.Options, {"streams": "many"}, "streams is 'many'; expected 'auto' or a whole number from 1 to 4096"),
        (ef.Options, {"max_seconds": "10"}, "max_seconds is '10'; expected a number from 0.001 to 1e+06"),
        (ef.Options, {"exif": "no"}, "exif is 'no'; expected True or False"),
    ],
)
def test_what_is_wrong_is_said(record, settings, said):
    with pytest.raises(ef.OptionError) as caught:
        record(**settings)
    assert str(caught.value).startswith(said)


def test_numbers_and_paths_of_other_types_are_taken():
    video = ef.VideoOptions(fps=25, start=np.float32(0.5), end=Fraction(3, 2), people=np.int64(2))
    assert (video.fps, video.start, video.end, video.people) == (25.0, 0.5, 1.5, 2)
    assert [type(v) for v in (video.fps, video.start, video.end, video.people)] == [float, float, float, int]
    assert ef.FaceOptions("detect", model="a.onnx").model == Path("a.onnx")
    assert ef.Options(threads=np.int32(3), cache_dir="x").threads == 3
    assert replace(video, fps=None).fps is None
