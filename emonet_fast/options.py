"""Every setting in one frozen record, with its one default. The only file that reads environment variables."""

import math
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from .errors import OptionError

BACKENDS = ("auto", "openvino", "cuda", "tensorrt")
PRECISIONS = ("auto", "fp32", "bf16", "int8", "fp8")
DECODERS = ("auto", "pillow", "dali")
# Of exported models.
EXPORT_FORMATS = ("onnx", "openvino", "tensorrt-onnx")
EXPORT_PRECISIONS = ("fp32", "fp16", "int8")
EXPORT_INPUTS = ("uint8", "float")
EXPORT_OUTPUTS = ("softmax", "scores", "raw", "embedding")
# Of bulk scoring: they stand here because a help text may not import what bulk scoring imports.
EMBEDDINGS = ("none", "fp16", "fp32")
ENGINES = ("local", "ray")
SHARD_SIZE = 10_000
MAX_PIXELS = 200_000_000
MAX_BYTES = 512 * 1024 * 1024
MAX_MEMORY = 1_000_000_000
MAX_SECONDS = 10.0
MAX_DOWNLOAD = 2_000_000_000
MAX_PEOPLE = 100
_SIZE = re.compile(r"[1-9]\d{0,4}x[1-9]\d{0,4}")
_RATE = re.compile(r"[1-9]\d{0,5}(\.\d{1,6}|/[1-9]\d{0,5})?|0?\.\d*[1-9]\d{0,5}")
_PIXELS = re.compile(r"[a-z0-9_]{1,32}")
_FACES = re.compile(r"none|detect|boxes:.+")
_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")
# Of numbers, both ends included.
_RANGES: dict[str, tuple[float, float]] = {
    "batch_size": (1, 1024),
    "batch": (1, 1024),
    "threads": (1, 4096),
    "streams": (1, 4096),
    "max_pixels": (1, 2**40),
    "max_bytes": (1, 2**40),
    "max_memory": (1, 2**50),
    "max_seconds": (1e-3, 1e6),
    "max_download": (0, 2**50),
    "margin": (0.0, 10.0),
    "min_face": (0.0, 1e5),
    "min_score": (1e-3, 1.0),
    "fps": (1e-6, 1000.0),
    "track_memory": (0.0, 1e6),
    "people": (1, MAX_PEOPLE),
    "smooth": (0.0, 1e6),
    "score_every": (1, 10**6),
    "score_change": (0.0, 1.0),
    "stream": (0, 10**6),
    "port": (0, 65535),
    "workers_per_device": (1, 64),
    "max_batch": (1, 1024),
    "max_wait_ms": (0.0, 10_000.0),
    "max_queue": (1, 10**6),
    "max_body": (1, 2**40),
    "max_held": (1, 2**50),
    "max_files": (1, 10**5),
    "max_connections": (1, 10**6),
    "max_streams": (0, 4096),
    "deadline": (0.01, 86_400.0),
    "patience": (0.01, 86_400.0),
}
# By the type of a field: in words, whether a value is taken for it, and how it is kept.
_TAKEN: dict[object, tuple[str, Callable[[Any], bool], Callable[[Any], Any]]] = {
    bool: ("True or False", lambda v: isinstance(v, bool), bool),
    int: ("a whole number", lambda v: isinstance(v, Integral) and not isinstance(v, bool), int),
    float: ("a number", lambda v: isinstance(v, Real) and not isinstance(v, bool) and math.isfinite(v), float),
    str: ("a text", lambda v: isinstance(v, str), str),
    Path: ("a path", lambda v: isinstance(v, str | os.PathLike), Path),
    NoneType: ("None", lambda v: v is None, lambda v: v),
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


def token_of(file: Path | None) -> str | None:
    """The secret that a server asks of its clients: the text of a file, else `$EMONET_FAST_TOKEN`, else None.

    Raises OptionError where the file cannot be read, or a secret is shorter than 16 signs or not plain ASCII.
    """
    try:
        text = os.environ.get("EMONET_FAST_TOKEN") if file is None else file.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise OptionError(f"{file} cannot be read ({getattr(error, 'strerror', None) or error}); name a file") from None
    token = None if text is None else text.strip()
    if token is not None and (len(token) < 16 or not token.isascii() or not token.isprintable() or " " in token):
        raise OptionError("the token is no line of 16 ASCII signs or more; make one by: openssl rand -hex 32")
    return token


def check_choices(options: object, **choices: tuple[str, ...]) -> None:
    """Raise OptionError where a field, named by its keyword, has none of the values."""
    for name, allowed in choices.items():
        if getattr(options, name) not in allowed:
            raise OptionError(f"{name} is {getattr(options, name)!r}; expected one of {', '.join(allowed)}")


def check_fields(options: object) -> None:
    """Hold each field of a frozen record to its annotation and to `_RANGES`; numbers and paths are kept as its type.

    Raises OptionError for another type, a number outside of its range, or an empty text as a path.
    """
    for name, kinds in _kinds_of(type(options)).items():
        value, (low, high) = getattr(options, name), _RANGES.get(name, (-math.inf, math.inf))
        if isinstance(value, str) and not value and Path in kinds:  # as a path it would be the working folder
            raise OptionError(f"{name} is an empty text; is a variable unset?")
        ranged = isinstance(value, Real)
        kind = next((k for k in kinds if _taken(k)[1](value) and (not ranged or low <= value <= high)), None)
        if kind is None:
            limits = {int: f" from {low} to {high}", float: f" from {low:g} to {high:g}"} if name in _RANGES else {}
            words = " or ".join(_taken(k)[0] + limits.get(k, "") for k in kinds)
            raise OptionError(f"{name} is {value!r:.200}; expected {words}")
        object.__setattr__(options, name, _taken(kind)[2](value))


def _kinds_of(record: type) -> dict[str, tuple[Any, ...]]:
    """By field, the types that its annotation names; a text of a Literal stands for itself."""
    found = {}
    for name, hint in get_type_hints(record).items():
        kinds = get_args(hint) if get_origin(hint) is UnionType or get_origin(hint) is Union else (hint,)
        found[name] = tuple(k for kind in kinds for k in (get_args(kind) if get_origin(kind) is Literal else (kind,)))
    return found


def _taken(kind: Any) -> tuple[str, Callable[[Any], bool], Callable[[Any], Any]]:
    if isinstance(kind, str):
        return repr(kind), lambda v: isinstance(v, str) and v == kind, str
    return _TAKEN.get(kind) or (f"a {kind.__name__}", lambda v: isinstance(v, kind), lambda v: v)


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
        check_fields(self)
        if not _FACES.fullmatch(self.faces):
            raise OptionError(f"faces is {self.faces!r}; expected 'none', 'detect' or 'boxes:FILE'")
        if self.model is not None and self.faces != "detect":
            raise OptionError(f"a detector's model is for faces 'detect', and faces is {self.faces!r}")

    @classmethod
    def of(cls, faces: "str | FaceOptions") -> "FaceOptions":
        """The record that a short form stands for: "none", "detect" or "boxes:FILE"; a record as it is."""
        return faces if isinstance(faces, FaceOptions) else cls(faces=faces)

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
        max_download: bytes; larger files are refused where they must be read whole first, into a temporary file: MP4s
            whose index is at the end, from a pipe or a server that sends files only whole.
        embeddings: keep the embeddings in each batch's scores.
        video_size: of raw frames without a container, as FFmpeg says it: "640x360". None: it says so itself.
        framerate: frames a second of raw frames, as FFmpeg says it: "25", "30000/1001". Needed with video_size.
        pixel_format: of raw frames, by FFmpeg's name.

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
    max_download: int = MAX_DOWNLOAD
    embeddings: bool = False
    video_size: str | None = None
    framerate: str | None = None
    pixel_format: str = "rgb24"

    def __post_init__(self) -> None:
        check_fields(self)
        if (self.video_size is None) != (self.framerate is None):
            raise OptionError("raw frames need both video_size (640x360) and framerate (25); one of them is missing")
        if self.video_size is not None and not _SIZE.fullmatch(self.video_size):
            raise OptionError(f"video_size is {self.video_size!r}; expected width x height, as 640x360")
        if self.framerate is not None and not _RATE.fullmatch(self.framerate):
            raise OptionError(f"framerate is {self.framerate!r}; expected frames a second, as 25 or 30000/1001")
        if not _PIXELS.fullmatch(self.pixel_format):
            raise OptionError(f"pixel_format is {self.pixel_format!r}; expected a name of FFmpeg's, as rgb24")
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise OptionError(f"end is {self.end:g} and start {self.start:g}; expected end after start")
        if self.people is not None and (not self.track or self.faces.faces == "none"):
            raise OptionError("people are joined from the tracks of faces; they need track and faces")
        if not self.track and (self.score_every is not None or self.score_change is not None):
            raise OptionError("score_every and score_change follow tracks; they need track")


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """How a server takes pictures and puts them together into batches.

    Args:
        host: address to listen at; any other than this machine's own needs a token.
        port: to listen at; 0 takes a free one.
        workers_per_device: engines, each with its own copy of what it computes with.
        max_batch: rows in one call of an engine; "auto" takes its batch size.
        max_wait_ms: milliseconds that a row waits for others at most, while a batch is not full.
        max_queue: pictures that are taken and not scored yet; more are refused for now.
        max_body: bytes of a request, and of a frame of a stream.
        max_held: bytes of all requests together.
        max_files: pictures of a request.
        max_connections: connections at once, idle ones too.
        max_streams: WebSocket streams at once.
        deadline: seconds from a request's last byte to its answer at most.
        patience: seconds in which a request's head, and then its body, must have come.

    Raises:
        OptionError: for a value that cannot work.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    workers_per_device: int = 1
    max_batch: Literal["auto"] | int = "auto"
    max_wait_ms: float = 5.0
    max_queue: int = 1024
    max_body: int = 64 << 20
    max_held: int = 1 << 30
    max_files: int = 64
    max_connections: int = 1024
    max_streams: int = 16
    deadline: float = 30.0
    patience: float = 30.0

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What an exported model is like; docs/export.md describes it.

    Args:
        format: "onnx", "openvino" (a folder with OpenVINO's own format) or "tensorrt-onnx" (ONNX that TensorRT reads).
        precision: "fp32", "fp16" (weights in 16 bits, arithmetic in float32) or "int8" (needs a fidelity report).
        input: "uint8" for bytes [N, S, S, 3], or "float" for planes [N, 3, S, S] from 0 to 1.
        batch: rows of a batch; "dynamic" leaves them open.
        outputs: names of EXPORT_OUTPUTS between commas.
        with_softmax: `softmax` comes too.

    Raises:
        OptionError: for a value that cannot work.
    """

    format: str = "onnx"
    precision: str = "fp32"
    input: str = "uint8"
    batch: Literal["dynamic"] | int = "dynamic"
    outputs: str = "scores,raw,embedding"
    with_softmax: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        check_choices(self, format=EXPORT_FORMATS, precision=EXPORT_PRECISIONS, input=EXPORT_INPUTS)
        names = self.outputs.split(",")
        if not set(names) <= set(EXPORT_OUTPUTS) or len(set(names)) < len(names):
            known = ", ".join(EXPORT_OUTPUTS)
            raise OptionError(f"outputs is {self.outputs!r}; expected some of {known}, each once, between commas")

    @property
    def names(self) -> tuple[str, ...]:
        """The outputs in the order of the model, which is that of EXPORT_OUTPUTS."""
        wanted = {*self.outputs.split(","), *(("softmax",) if self.with_softmax else ())}
        return tuple(name for name in EXPORT_OUTPUTS if name in wanted)


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
    streams: Literal["auto"] | int = "auto"
    cache_dir: Path = field(default_factory=default_cache_dir)
    backend: str = "auto"
    trust_engine: Path | None = None
    recipe: Path | None = None
    accept_fidelity: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        if not _DEVICE.fullmatch(self.device):
            raise OptionError(f"device is {self.device!r}; expected 'auto', 'cpu', 'cuda' or 'cuda:N'")
        check_choices(self, backend=BACKENDS, precision=PRECISIONS, decoder=DECODERS)
        if self.trust_engine is not None and self.backend != "tensorrt":
            raise OptionError(f"trust_engine is for backend 'tensorrt', and the backend is {self.backend!r}")
        for name in ("recipe", "accept_fidelity"):
            if getattr(self, name) and self.precision != "int8":
                raise OptionError(f"{name} is for precision 'int8', and the precision is {self.precision!r}")

    def without_effect(self, names: Iterable[str], where: str) -> None:
        """Raise OptionError when one of these settings is not at its default; `where` says who refuses them."""
        defaults = {one.name: one.default for one in fields(Options)}
        for name in names:
            if getattr(self, name) != defaults[name]:
                raise OptionError(f"{name} is {getattr(self, name)!r}, which changes nothing in {where}; leave it out")


def check_for_embeddings(options: Options, faces: FaceOptions) -> None:
    """Raise OptionError where an option is set that is for pictures, and embeddings come in their place."""
    where = "stored embeddings, whose pictures were decoded long ago"
    options.without_effect(("decoder", "exif", "max_pixels", "max_bytes", "max_memory", "max_seconds"), where)
    options.without_effect(("trust_engine", "recipe", "accept_fidelity"), "stored embeddings: heads are float32")
    if faces.faces != "none":
        raise OptionError(f"faces is {faces.faces!r}, and stored embeddings have no pictures to find faces in")
