"""What a bulk run does, in one frozen record."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import PIL

from .._version import __version__
from ..baseline import Baseline
from ..checkpoint.fetch import VARIANTS
from ..engines.reports import ReportStore
from ..errors import DataError, InputError, OptionError
from ..faces.finder import find_model
from ..gpu import Gpu, look
from ..optional import need
from ..options import (
    EMBEDDINGS,
    ENGINES,
    SHARD_SIZE,
    FaceOptions,
    Options,
    check_choices,
    check_for_embeddings,
)
from ..process import available_cores
from ..scorer import Scorer
from ..sinks.encoders import SCHEMA_VERSION
from ..sources.folder import hash_of
from .inputs import canonical
from .plan import Plan

SELF = "self"
_SLICE = re.compile(r"(\d+)/(\d+)")
_HASH = re.compile(r"[0-9a-f]{64}")
# What a fingerprint says of the recipe for people: proven again, its figures may differ, and no row does.
_TOLD = ("fidelity", "accepted_fidelity")
_DEVICES = re.compile(r"cpu|cuda|cuda:\d+")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a bulk run does. Paths are made absolute, as workers may have another current folder.

    Args:
        inputs: folders, globs, tar shards, parquet files, image files, hub ids of data sets.
        checkpoint: as of `Scorer`.
        output: folder of the shards.
        options: of each process' scorer. `threads` None shares the cores out; `trust_engine` is refused.
        devices: a list such as "cuda:0,1" or "cpu,cpu", one process for each; "auto" takes every GPU, or one process
            on the CPU. The device of `options` stands for a list of one.
        shard_size: rows in a shard at most; a tar is one shard whatever its size.
        embeddings: "none", "fp16" or "fp32".
        faces: which faces are scored.
        engine: what runs the processes, "local" or "ray".
        part: (i, n), this run's share: the shards whose number leaves i when divided by n.
        retry_errors: also score failed shards again, and shards with rows that could not be read.
        keep: columns of the tables to carry along.
        image_column: column of the tables that holds the pictures; None tells it by its type.
        embedding_column: column of the tables that holds stored embeddings, which are scored instead of pictures; None
            tells it by its name or type, in tables without pictures.
        baseline: file of the population that rows are ranked against; "self" is the run's own rows, once all shards are
            done; None ranks them by themselves.
        ray_address: of a running cluster, for engine "ray"; None starts a Ray of its own.
        stored: what the run says of stored embeddings, see Embeddings.facts; None where it scores pictures. The run
            finds it out.

    Raises:
        OptionError: for a value that cannot work.
    """

    inputs: tuple[str, ...]
    checkpoint: str
    output: Path
    options: Options = field(default_factory=Options)
    devices: str = "auto"
    shard_size: int = SHARD_SIZE
    embeddings: str = "none"
    faces: FaceOptions = field(default_factory=FaceOptions)
    engine: str = "local"
    part: tuple[int, int] = (0, 1)
    retry_errors: bool = False
    keep: tuple[str, ...] = ()
    image_column: str | None = None
    embedding_column: str | None = None
    baseline: str | None = None
    ray_address: str | None = None
    stored: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        check_choices(self, embeddings=EMBEDDINGS, engine=ENGINES)
        if self.shard_size < 1:
            raise OptionError(f"shard_size is {self.shard_size}; expected 1 or more rows")
        index, count = self.part
        if not 0 <= index < count:
            raise OptionError(f"shard is {index}/{count}; expected i/n with i from 0 to n - 1, such as 0/{count}")
        if len(set(self.keep)) != len(self.keep):
            raise OptionError(f"keep names a column twice: {', '.join(self.keep)}")
        if self.ray_address is not None and self.engine != "ray":
            raise OptionError("ray_address is for engine 'ray'")
        device = self.options.device
        if device not in ("auto", self.devices):
            if self.devices != "auto":
                raise OptionError(f"device is {device!r} and devices is {self.devices!r}; expected one of the two")
            object.__setattr__(self, "devices", device)
        self.options.without_effect(("trust_engine",), "a bulk run, whose plan knows engines by what made them")
        object.__setattr__(self, "output", Path(self.output).absolute())
        if self.faces.boxes is not None:
            object.__setattr__(self, "faces", replace(self.faces, faces=f"boxes:{self.faces.boxes.absolute()}"))
        if self.baseline not in (None, SELF):
            object.__setattr__(self, "baseline", str(Path(str(self.baseline)).absolute()))
        if self.checkpoint not in VARIANTS and Path(self.checkpoint).exists():
            object.__setattr__(self, "checkpoint", str(Path(self.checkpoint).absolute()))

    @property
    def places(self) -> list[str]:
        """The inputs as the plan keeps them. Raises InputError, see `inputs.canonical`."""
        return sorted({canonical(text) for text in self.inputs})

    def mine(self, plan: Plan) -> list[int]:
        """Return the shards of this run's part of a plan."""
        part, parts = self.part
        return list(range(part, len(plan.shards), parts))

    def population(self) -> Baseline | None:
        """Return the baseline of the file; None for the run's own rows, or for none."""
        return None if self.baseline in (None, SELF) else Baseline.read(Path(str(self.baseline)))

    def scorer(self, device: str, threads: int | None) -> Scorer:
        """Return a scorer, not opened yet, for one device; threads None takes all cores."""
        scorer = Scorer(self.checkpoint, options=replace(self.options, device=device, threads=threads))
        return scorer if self.stored is None else scorer.of_embeddings(self.stored)

    def of_embeddings(self, facts: Mapping[str, str]) -> "Settings":
        """Return these settings for stored embeddings, which the CPU scores. Raises OptionError as Scorer does."""
        check_for_embeddings(self.options, self.faces)
        return replace(self, stored=dict(facts), devices="cpu" if self.devices == "auto" else self.devices)

    def known(self) -> dict[str, str]:
        """Return the part of the fingerprint that is known before an engine is open; see `fingerprint`."""
        options = self.options
        facts = {
            "package_version": __version__,
            "schema_version": SCHEMA_VERSION,
            "exif": "yes" if options.exif else "no",
            "max_pixels": str(options.max_pixels),
            "max_bytes": str(options.max_bytes),
            "max_memory": str(options.max_memory),
            "max_seconds": f"{options.max_seconds:g}",
            "pillow": PIL.__version__,  # its resize decides pixels, whichever decoder is used
            "embeddings": self.embeddings,
            "faces": self.faces.faces.partition(":")[0],
            "baseline": self.baseline or "none",
        }
        population = self.population()
        if population is not None:
            facts["baseline"] = population.facts["baseline_hash"]
        if self.faces.faces != "none":
            facts["face_margin"] = f"{self.faces.margin:g}"
            facts["min_face"] = f"{self.faces.min_face:g}"
            facts["face_score"] = f"{self.faces.min_score:g}"
        for name in ("precision", "backend", "batch_size", "decoder"):
            value = getattr(options, name)
            if value not in ("auto", None):  # else the device decides; compared only once an engine is open
                facts[name] = str(value)
        return facts

    def pinned(self, fingerprint: Mapping[str, str]) -> "Settings":
        """Return these settings with the precision that a begun run computes in: no later report may change it.

        Raises DataError when the run's int8 recipe is not in the cache any more, and none is named.
        """
        if self.stored is not None:  # the encoder's precision; the heads have one only
            return self
        options, precision, recipe = self.options, fingerprint.get("precision", "auto"), fingerprint.get("recipe", "")
        if options.precision == "auto":
            options = replace(options, precision=precision)
        if options.precision == precision == "int8" and options.recipe is None and _HASH.fullmatch(recipe):
            path = ReportStore(options.cache_dir).recipe_path(recipe)
            if not path.exists():
                raise DataError(
                    f"the run computes by the int8 recipe {recipe[:16]}, and {path} is not there (any more); name a "
                    "copy of that recipe by --recipe, or take another output folder"
                )
            options = replace(options, recipe=path)
        return replace(self, options=options)

    def fingerprint(self, scorer: Scorer) -> dict[str, str]:
        """Return everything that decides a row's content, of an open scorer."""
        engine = {k: v for k, v in scorer.metadata.items() if k != "checkpoint"}
        return dict(sorted((self.known() | engine | self.face_file()).items()))

    def face_file(self) -> dict[str, str]:
        """Return the file of the detector, or of the boxes, as the fingerprint names it; {} for faces "none"."""
        if self.faces.faces == "none":
            return {}
        path = self.faces.boxes
        if path is None:
            model = find_model(self.faces.model, self.options.cache_dir, self.checkpoint)
            return {"face_model": "sha256:" + hashlib.sha256(model).hexdigest()}
        try:
            return {"face_boxes": "sha256:" + hash_of(path)}
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror or error}") from error


def parse_part(text: str) -> tuple[int, int]:
    """Read "i/n" as (i, n); another text raises OptionError."""
    match = _SLICE.fullmatch(text)
    if match is None:
        raise OptionError(f"shard is {text!r}; expected i/n, such as 0/8 for the first of eight parts")
    return int(match[1]), int(match[2])


def parse_devices(text: str) -> tuple[str, ...]:
    """Read "cuda:0,1" as ("cuda:0", "cuda:1"), and "auto" as every GPU, or the CPU where there is none."""
    if text == "auto":
        if not isinstance(look(), Gpu):
            return ("cpu",)
        return tuple(f"cuda:{i}" for i in range(need("torch", "several GPUs").cuda.device_count()))
    devices: list[str] = []
    for part in (p.strip() for p in text.split(",")):
        device = f"cuda:{part}" if part.isdecimal() and devices and devices[-1].startswith("cuda:") else part
        if not _DEVICES.fullmatch(device):
            raise OptionError(f"devices is {text!r}; expected auto, cpu, cuda, cuda:0,1 or a list such as cpu,cpu")
        if device != "cpu" and device in devices:
            raise OptionError(f"devices is {text!r}, which names {device} twice; one process uses a GPU fully")
        devices.append(device)
    return tuple(devices)


def threads_each(devices: tuple[str, ...], threads: int | None) -> int | None:
    """Return the CPU threads of each process: `threads`, or for None the cores shared out among several."""
    if threads is not None or len(devices) < 2:
        return threads
    return max(1, available_cores() // len(devices))


def differences(recorded: dict[str, str], wanted: dict[str, str]) -> list[str]:
    """Say what two fingerprints differ in; names that only one of them has are passed over."""
    return [
        f"{name.replace('_', ' ')}: the folder has {recorded[name]}, this run has {wanted[name]}"
        for name in sorted(recorded.keys() & wanted.keys())
        if recorded[name] != wanted[name] and name not in _TOLD
    ]
