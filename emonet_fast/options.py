"""Every setting in one frozen record, with its one default. The only file that reads environment variables."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path

from .errors import OptionError

BACKENDS = ("auto", "openvino", "cuda", "tensorrt")
PRECISIONS = ("auto", "fp32", "bf16", "int8", "fp8")
DECODERS = ("auto", "pillow", "dali")
# Of bulk scoring: they stand here because a help text may not import what bulk scoring imports.
EMBEDDINGS = ("none", "fp16", "fp32")
ENGINES = ("local", "ray")
SHARD_SIZE = 10_000
MAX_PIXELS = 200_000_000
MAX_BYTES = 512 * 1024 * 1024
MAX_MEMORY = 1_000_000_000
MAX_SECONDS = 10.0
MAX_PEOPLE = 100
_FACES = re.compile(r"none|detect|boxes:.+")
_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")
_RANGES = {
    "batch_size": (1, 1024),
    "threads": (1, 4096),
    "streams": (1, 4096),
    "max_pixels": (1, 2**40),
    "max_bytes": (1, 2**40),
    "max_memory": (1, 2**50),
    "max_seconds": (1e-3, 1e6),
    "margin": (0.0, 10.0),
    "min_face": (0.0, 1e5),
    "min_score": (1e-3, 1.0),
}


def default_cache_dir() -> Path:
    """Return `$EMONET_FAST_CACHE`, else `$XDG_CACHE_HOME/emonet-fast`, else `~/.cache/emonet-fast`.

    Raises OptionError for a user without a home folder, where none of the two is set.
    """
    own = os.environ.get("EMONET_FAST_CACHE")
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(own).expanduser() if own else Path(base or "~/.cache").expanduser() / "emonet-fast"
    except RuntimeError:  # pathlib's
        raise OptionError(
            "this user has no home folder to keep engines in; name a folder by --cache-dir, or in EMONET_FAST_CACHE"
        ) from None


def check_choices(options: object, **choices: tuple[str, ...]) -> None:
    """Raise OptionError where a field, named by its keyword, has none of the values."""
    for name, allowed in choices.items():
        if getattr(options, name) not in allowed:
            raise OptionError(f"{name} is {getattr(options, name)!r}; expected one of {', '.join(allowed)}")


def _check_numbers(options: object, *names: str) -> None:
    for name in names:
        value, (low, high) = getattr(options, name), _RANGES[name]
        if isinstance(value, str) or not low <= value <= high:
            raise OptionError(f"{name} is {value!r}; expected a number from {low:g} to {high:g}")


@dataclass(frozen=True, slots=True)
class FaceOptions:
    """Which faces of a picture are scored.

    Args:
        faces: "none" (the whole picture is scored), "detect" (YuNet finds the faces) or "boxes:FILE" (COCO JSON,
            parquet or CSV).
        model: ONNX file of the detector; None takes the hub's.
        margin: how far the square crop reaches beyond the box on each side, as a part of the box's longer side.
        min_face: pixels; faces whose longer side is shorter are left out.
        min_score: 0..1; faces of which the detector is less sure are left out. Photographs without people gave up to
            0.70, clear faces 0.9.

    Raises:
        OptionError: for a value that cannot work.
    """

    faces: str = "none"
    model: Path | None = None
    margin: float = 0.25
    min_face: float = 20.0
    min_score: float = 0.75

    def __post_init__(self) -> None:
        if not _FACES.fullmatch(self.faces):
            raise OptionError(f"faces is {self.faces!r}; expected 'none', 'detect' or 'boxes:FILE'")
        if self.model is not None and self.faces != "detect":
            raise OptionError(f"a detector's model is for faces 'detect', and faces is {self.faces!r}")
        _check_numbers(self, "margin", "min_face", "min_score")
        if self.model is not None:
            object.__setattr__(self, "model", Path(self.model))

    @property
    def boxes(self) -> Path | None:
        """The file of "boxes:FILE"; None for other faces."""
        return Path(self.faces.removeprefix("boxes:")) if self.faces.startswith("boxes:") else None


@dataclass(frozen=True, slots=True)
class VideoOptions:
    """How a video becomes a time line.

    Args:
        fps: sampled frames a second; None takes every frame.
        start: seconds of the video's own time at which sampling begins; None is the beginning.
        end: seconds of the video's own time at which sampling ends; None is the end.
        faces: who finds the faces; with "none" whole frames are scored.
        track: follow faces from frame to frame.
        track_memory: seconds after which a face that was not found is somebody new; at least one sampled frame
            without it is bridged.
        people: join tracks into at most so many people, by place, size and embedding; None joins none. Needs `track`.
        cuts: look for hard cuts in the picture, over which no track goes on, nothing is smoothed and no score is taken
            over.
        smooth: time constant of the smoothed columns in seconds, 0 for none; needs `track`.
        score_every: score a track in every so many sampled frames only; None scores it in all.
        score_change: score a track again when its box has changed by more than this (1 - intersection over union);
            None does not look at the change.
        stream: number of the video stream within its container; None takes the one that players take.
        live: the source does not wait for its reader, as a camera; None tells it by the source's name.
        hardware: decode by NVDEC where the machine can.
        embeddings: keep the embeddings in each batch's scores.

    Raises:
        OptionError: for a value that cannot work.
    """

    fps: float | None = 2.0
    start: float | None = None
    end: float | None = None
    faces: FaceOptions = field(default_factory=lambda: FaceOptions(faces="detect"))
    track: bool = True
    track_memory: float = 1.0
    people: int | None = None
    cuts: bool = True
    smooth: float = 1.0
    score_every: int | None = None
    score_change: float | None = None
    stream: int | None = None
    live: bool | None = None
    hardware: bool = True
    embeddings: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.faces, FaceOptions):
            raise OptionError(f"faces is {self.faces!r}; expected a FaceOptions, such as FaceOptions(faces='none')")
        if self.stream is not None and self.stream < 0:
            raise OptionError(f"stream is {self.stream}; expected the number of a stream, from 0 on")
        if self.score_every is not None and self.score_every < 1:
            raise OptionError(f"score_every is {self.score_every}; expected 1 or more frames")
        if self.score_change is not None and not 0 <= self.score_change <= 1:
            raise OptionError(f"score_change is {self.score_change}; expected 0 to 1")
        if self.people is not None and not 1 <= self.people <= MAX_PEOPLE:
            raise OptionError(f"people is {self.people}; expected 1 to {MAX_PEOPLE}")
        if self.people is not None and (not self.track or self.faces.faces == "none"):
            raise OptionError("people are joined from the tracks of faces; they need track and faces")
        if not 0 <= self.track_memory < 1e6:
            raise OptionError(f"track_memory is {self.track_memory}; expected 0 or more seconds")
        if not 0 <= self.smooth < 1e6:
            raise OptionError(f"smooth is {self.smooth}; expected 0 or more seconds")
        if not self.track and (self.score_every is not None or self.score_change is not None):
            raise OptionError("score_every and score_change follow tracks; they need track")


@dataclass(frozen=True, slots=True)
class Options:
    """How a scorer decodes, computes and stores; `Scorer` takes the same names as keywords.

    Args:
        device: "auto" (a GPU where there is one), "cpu", "cuda" or "cuda:N".
        precision: "auto", "fp32", "bf16", on a CPU "int8" or on a GPU "fp8". "auto" takes int8 where a fidelity report
            of these weights on this processor passes and int8 was the faster, else bf16 where the device computes in
            it, else fp32. Named "int8" is calibrated and proven at its first use, which takes minutes.
        batch_size: pictures in one call of the engine; None takes the device's default. Shorter batches are padded.
        decoder: "auto", "pillow" or "dali" (extra `dali`); `decoders.choose` tells what "auto" takes.
        exif: turn pictures upright by their EXIF orientation first.
        revision: branch, tag or commit of the hub's repositories; None takes the pinned one.
        max_pixels: pictures with more pixels get a status and are not decoded.
        max_bytes: picture files with more bytes get a status and are not decoded.
        max_memory: bytes; pictures whose decoding takes more, by their header, get a status and are not decoded.
        max_seconds: CPU seconds; pictures whose decoding takes longer, estimated from their structure, get a status and
            are not decoded (docs/decoding.md).
        threads: CPU threads of the engine; None takes all cores.
        streams: batches that the CPU engine works on at once, each on its share of the threads, but never more than
            threads. More of them score many pictures sooner and one picture later; scores are the same bits. "auto"
            takes as many as pay for the pictures that `Scorer.open` is told of, which is one where it is not told.
        cache_dir: folder of engines and packed weights; see `default_cache_dir`.
        backend: "auto" (by the device), "openvino", "cuda" or "tensorrt".
        trust_engine: an engine file that backend "tensorrt" loads as it is. Engines are programs: name a file only
            when you know who made it.
        recipe: a file of `emonet-fast calibrate --output` that precision "int8" takes instead of the newest in the
            cache; it is proven on this processor at its first use.
        accept_fidelity: use precision "int8" although its fidelity report misses the bars. The outputs say so.

    Raises:
        OptionError: for a value that cannot work.
    """

    device: str = "auto"
    precision: str = "auto"
    batch_size: int | None = None
    decoder: str = "auto"
    exif: bool = True
    revision: str | None = None
    max_pixels: int = MAX_PIXELS
    max_bytes: int = MAX_BYTES
    max_memory: int = MAX_MEMORY
    max_seconds: float = MAX_SECONDS
    threads: int | None = None
    streams: int | str = "auto"
    cache_dir: Path = field(default_factory=default_cache_dir)
    backend: str = "auto"
    trust_engine: Path | None = None
    recipe: Path | None = None
    accept_fidelity: bool = False

    def __post_init__(self) -> None:
        if not _DEVICE.fullmatch(self.device):
            raise OptionError(f"device is {self.device!r}; expected 'auto', 'cpu', 'cuda' or 'cuda:N'")
        check_choices(self, backend=BACKENDS, precision=PRECISIONS, decoder=DECODERS)
        if self.trust_engine is not None and self.backend != "tensorrt":
            raise OptionError(f"trust_engine is for backend 'tensorrt', and the backend is {self.backend!r}")
        for name in ("recipe", "accept_fidelity"):
            if getattr(self, name) and self.precision != "int8":
                raise OptionError(f"{name} is for precision 'int8', and the precision is {self.precision!r}")
        _check_numbers(self, "max_seconds")
        for name in ("batch_size", "threads", "max_pixels", "max_bytes", "max_memory"):
            value, (low, high) = getattr(self, name), _RANGES[name]
            if value is not None and not (type(value) is int and low <= value <= high):
                raise OptionError(f"{name} is {value!r}; expected a whole number from {low} to {high}")
        low, high = _RANGES["streams"]
        if self.streams != "auto" and not (type(self.streams) is int and low <= self.streams <= high):
            raise OptionError(f"streams is {self.streams!r}; expected 'auto' or a whole number from {low} to {high}")
        for name in ("cache_dir", "trust_engine", "recipe"):
            if getattr(self, name) == "":  # as a path it would be the working folder
                raise OptionError(f"{name} is an empty text; is a variable unset?")
            if getattr(self, name) is not None:
                object.__setattr__(self, name, Path(getattr(self, name)))

    def without_effect(self, names: Iterable[str], where: str) -> None:
        """Raise OptionError when one of these settings is not at its default; `where` says who refuses them."""
        defaults = {one.name: one.default for one in fields(Options)}
        for name in names:
            if getattr(self, name) != defaults[name]:
                raise OptionError(f"{name} is {getattr(self, name)!r}, which changes nothing in {where}; leave it out")
