"""Every setting in one frozen record, with its one default. The only file that reads environment variables."""

import os
import re
from dataclasses import dataclass, field, fields
from pathlib import Path

from .errors import OptionError

BACKENDS = ("auto", "openvino", "cuda", "tensorrt")
PRECISIONS = ("auto", "fp32", "bf16", "fp8")
DECODERS = ("auto", "pillow", "dali")
_FACES = re.compile(r"none|detect|boxes:.+")
_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")
_MAX_BATCH = 1024
MAX_PIXELS = 200_000_000
MAX_BYTES = 512 * 1024 * 1024


def default_cache_dir() -> Path:
    """`$EMONET_FAST_CACHE`, else `$XDG_CACHE_HOME/emonet-fast`, else `~/.cache/emonet-fast`."""
    own = os.environ.get("EMONET_FAST_CACHE")
    if own:
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base).expanduser() if base else Path.home() / ".cache") / "emonet-fast"


@dataclass(frozen=True, slots=True)
class FaceOptions:
    """Which faces of a picture are scored.

    faces: "none" (the whole picture), "detect" (YuNet), or "boxes:FILE" (COCO JSON, parquet or CSV). model: of the
    detector, None for the hub's. margin: of a box's longer side, added on each side of its square crop. min_face:
    faces whose longer side has fewer pixels are left out. min_score: of the detector, 0..1
    (photographs without people gave up to 0.70, clear faces 0.9).
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
        for name, low, high in (("margin", 0.0, 10.0), ("min_face", 0.0, 1e5), ("min_score", 1e-3, 1.0)):
            value = getattr(self, name)
            if not low <= value <= high:
                raise OptionError(f"{name} is {value!r}; expected a number from {low:g} to {high:g}")


@dataclass(frozen=True, slots=True)
class VideoOptions:
    """How a video becomes a time line.

    fps: sampled frames a second, None for all. start, end: seconds of the video's own time. faces: see FaceOptions;
    "none" scores whole frames. track: follow faces from frame to frame. smooth: time constant in seconds of the
    smoothed columns, 0 for none; needs track. score_every, score_change: see faces.reuse.ReusePolicy; both None
    scores every face. live: the source does not wait for its reader, None to tell by its name. hardware: decode by
    NVDEC where the machine can. embeddings: keep them in each batch's scores.
    """

    fps: float | None = 2.0
    start: float | None = None
    end: float | None = None
    faces: FaceOptions = field(default_factory=lambda: FaceOptions(faces="detect"))
    track: bool = True
    smooth: float = 1.0
    score_every: int | None = None
    score_change: float | None = None
    live: bool | None = None
    hardware: bool = True
    embeddings: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.smooth < 1e6:
            raise OptionError(f"smooth is {self.smooth}; expected 0 or more seconds")
        if not self.track and (self.score_every is not None or self.score_change is not None):
            raise OptionError("score_every and score_change follow tracks; they need track")


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of a Scorer.

    device: "auto", "cpu", "cuda" or "cuda:N". precision: "auto", "fp32", "bf16" or (GPU only) "fp8".
    batch_size: images per engine call, None for the device's default; shorter batches are padded to it.
    decoder: "auto", "pillow" or "dali" (extra `dali`); see decoders.choose for what "auto" takes.
    exif: turn pictures upright by their EXIF orientation. revision: of the hub repositories, None for the pinned.
    max_pixels, max_bytes: larger pictures are refused with a status before they are decoded.
    threads: CPU threads of the engine, None for all. cache_dir: where engines and packed weights are kept.
    backend: "auto" (by the device), "openvino", "cuda" or "tensorrt". trust_engine: an engine's file that backend
    "tensorrt" loads as it is; engines are programs, so only one whose origin is known.
    """

    device: str = "auto"
    precision: str = "auto"
    batch_size: int | None = None
    decoder: str = "auto"
    exif: bool = True
    revision: str | None = None
    max_pixels: int = MAX_PIXELS
    max_bytes: int = MAX_BYTES
    threads: int | None = None
    cache_dir: Path = field(default_factory=default_cache_dir)
    backend: str = "auto"
    trust_engine: Path | None = None

    def __post_init__(self) -> None:
        if not _DEVICE.fullmatch(self.device):
            raise OptionError(f"device is {self.device!r}; expected 'auto', 'cpu', 'cuda' or 'cuda:N'")
        if self.backend not in BACKENDS:
            raise OptionError(f"backend is {self.backend!r}; expected one of {', '.join(BACKENDS)}")
        if self.trust_engine is not None and self.backend != "tensorrt":
            raise OptionError(f"trust_engine is for backend 'tensorrt', and the backend is {self.backend!r}")
        if self.precision not in PRECISIONS:
            raise OptionError(f"precision is {self.precision!r}; expected one of {', '.join(PRECISIONS)}")
        if self.decoder not in DECODERS:
            raise OptionError(f"decoder is {self.decoder!r}; expected one of {', '.join(DECODERS)}")
        for name, low, high in (
            ("batch_size", 1, _MAX_BATCH),
            ("threads", 1, 4096),
            ("max_pixels", 1, 2**40),
            ("max_bytes", 1, 2**40),
        ):
            value = getattr(self, name)
            if value is not None and not (type(value) is int and low <= value <= high):
                raise OptionError(f"{name} is {value!r}; expected a whole number from {low} to {high}")
        object.__setattr__(self, "cache_dir", Path(self.cache_dir))

    @classmethod
    def names(cls) -> tuple[str, ...]:
        return tuple(f.name for f in fields(cls))
