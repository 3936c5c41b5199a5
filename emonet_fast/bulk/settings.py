"""Everything a bulk run is asked for, in one frozen record."""

import re
from dataclasses import dataclass
from pathlib import Path

import PIL

from .._version import __version__
from ..checkpoint.fetch import VARIANTS
from ..errors import OptionError
from ..gpu import Gpu, look
from ..optional import need
from ..options import FaceOptions, Options, default_cache_dir
from ..process import available_cores
from ..scorer import Scorer
from ..sinks.encoders import SCHEMA_VERSION
from .faces import known, model_hash

EMBEDDINGS = ("none", "fp16", "fp32")
FACES = ("none", "detect")
ENGINES = ("local", "ray")
SHARD_SIZE = 10_000
_NO_FACES = FaceOptions()
_SLICE = re.compile(r"(\d+)/(\d+)")
_DEVICES = re.compile(r"cpu|cuda|cuda:\d+")
# What a device decides by itself; compared only once an engine is open.
_LEFT_TO_DEVICE = ("auto", None)


@dataclass(frozen=True, slots=True)
class Settings:
    """What `emonet-fast bulk` is asked for.

    inputs: folders, globs, tar shards, parquet files, image files, hub ids of data sets. output: a folder. Paths are
    made absolute, as workers may have another current folder.
    devices: "auto", or a list such as "cuda:0,1" or "cpu,cpu": one process for each. shard_size: rows a shard at most
    (a tar is one shard whatever its size). embeddings: "none", "fp16" or "fp32". faces: "none" or "detect", with the
    detector's settings. part: (i, n), this run's share of the shards: those whose number leaves i when divided by n.
    keep: columns of the tables to carry along. retry_errors: also score failed shards again, and shards with rows that
    could not be read. ray_address: of a running cluster, for engine "ray". The rest: see Options.

    Raises:
        OptionError: for a value that cannot work.
    """

    inputs: tuple[str, ...]
    checkpoint: str
    output: Path
    devices: str = "auto"
    shard_size: int = SHARD_SIZE
    embeddings: str = "none"
    faces: FaceOptions = _NO_FACES
    engine: str = "local"
    part: tuple[int, int] = (0, 1)
    retry_errors: bool = False
    keep: tuple[str, ...] = ()
    image_column: str | None = None
    precision: str = "auto"
    backend: str = "auto"
    batch_size: int | None = None
    decoder: str = "auto"
    exif: bool = True
    revision: str | None = None
    threads: int | None = None
    cache_dir: Path | None = None
    ray_address: str | None = None

    def __post_init__(self) -> None:
        for name, choices in (("embeddings", EMBEDDINGS), ("engine", ENGINES)):
            if getattr(self, name) not in choices:
                raise OptionError(f"{name} is {getattr(self, name)!r}; expected one of {', '.join(choices)}")
        if self.faces.faces not in FACES:
            raise OptionError(f"faces is {self.faces.faces!r}; expected one of {', '.join(FACES)} for bulk scoring")
        if self.shard_size < 1:
            raise OptionError(f"shard_size is {self.shard_size}; expected 1 or more rows")
        index, count = self.part
        if not 0 <= index < count:
            raise OptionError(f"shard is {index}/{count}; expected i/n with i from 0 to n - 1, such as 0/{count}")
        if len(set(self.keep)) != len(self.keep):
            raise OptionError(f"keep names a column twice: {', '.join(self.keep)}")
        if self.ray_address is not None and self.engine != "ray":
            raise OptionError("ray_address is for engine 'ray'")
        object.__setattr__(self, "output", Path(self.output).absolute())
        if self.checkpoint not in VARIANTS and Path(self.checkpoint).exists():
            object.__setattr__(self, "checkpoint", str(Path(self.checkpoint).absolute()))
        self.options()  # refuses what a Scorer would refuse

    def options(self) -> Options:
        """What decoding and reading go by."""
        return Options(
            precision=self.precision,
            backend=self.backend,
            batch_size=self.batch_size,
            decoder=self.decoder,
            exif=self.exif,
            threads=self.threads,
            cache_dir=self.cache_dir or default_cache_dir(),
        )

    def scorer(self, device: str, threads: int | None) -> Scorer:
        """A scorer, not opened yet, for one device. threads: of the engine on a CPU."""
        return Scorer(
            self.checkpoint,
            device=device,
            precision=self.precision,
            backend=self.backend,
            batch_size=self.batch_size,
            decoder=self.decoder,
            exif=self.exif,
            revision=self.revision,
            threads=threads,
            cache_dir=self.cache_dir,
        )

    def known(self) -> dict[str, str]:
        """The part of the fingerprint that is known before an engine is open; see fingerprint()."""
        options = self.options()
        facts = {
            "package_version": __version__,
            "schema_version": SCHEMA_VERSION,
            "exif": "yes" if self.exif else "no",
            "max_pixels": str(options.max_pixels),
            "max_bytes": str(options.max_bytes),
            "pillow": PIL.__version__,  # its resize decides pixels, whichever decoder is used
            **known(self.faces),
            "embeddings": self.embeddings,
        }
        for name in ("precision", "backend", "batch_size", "decoder"):
            asked = getattr(self, name)
            if asked not in _LEFT_TO_DEVICE:
                facts[name] = str(asked)
        return facts

    def fingerprint(self, scorer: Scorer) -> dict[str, str]:
        """All that decides a row's content, of an open scorer."""
        engine = {k: v for k, v in scorer.metadata.items() if k != "checkpoint"}
        model = model_hash(self.faces, self.options().cache_dir)
        return dict(sorted((self.known() | engine | model).items()))


def parse_part(text: str) -> tuple[int, int]:
    """ "i/n" as (i, n). Raises OptionError."""
    match = _SLICE.fullmatch(text)
    if match is None:
        raise OptionError(f"shard is {text!r}; expected i/n, such as 0/8 for the first of eight parts")
    return int(match[1]), int(match[2])


def parse_devices(text: str) -> tuple[str, ...]:
    """ "cuda:0,1" as ("cuda:0", "cuda:1"), "cpu,cpu" as two of them; "auto": every GPU, or one CPU process.

    Raises:
        OptionError: another text, or a GPU twice.
    """
    if text == "auto":
        if not isinstance(look(), Gpu):
            return ("cpu",)
        return tuple(f"cuda:{i}" for i in range(need("torch", "several GPUs").cuda.device_count()))
    found: list[str] = []
    for part in (p.strip() for p in text.split(",")):
        device = f"cuda:{part}" if part.isdecimal() and found and found[-1].startswith("cuda:") else part
        if not _DEVICES.fullmatch(device):
            raise OptionError(f"devices is {text!r}; expected auto, cpu, cuda, cuda:0,1 or a list such as cpu,cpu")
        if device != "cpu" and device in found:
            raise OptionError(f"devices is {text!r}, which names {device} twice; one process uses a GPU fully")
        found.append(device)
    return tuple(found)


def threads_each(devices: tuple[str, ...], asked: int | None) -> int | None:
    """CPU threads of each process, for engine or decoding: as asked for, else the cores shared out among several."""
    if asked is not None or len(devices) < 2:
        return asked
    return max(1, available_cores() // len(devices))


def differences(recorded: dict[str, str], asked: dict[str, str]) -> list[str]:
    """What two fingerprints differ in, as texts; names that only one of them has are passed over."""
    return [
        f"{name.replace('_', ' ')}: the folder has {recorded[name]}, this run has {asked[name]}"
        for name in sorted(recorded.keys() & asked.keys())
        if recorded[name] != asked[name]
    ]
