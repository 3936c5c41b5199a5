"""Which rows make which shard: decided once, from footers and names, the same for the same inputs.

plan.json is written before anything is scored; another file lists the image files. Shards follow row groups, so that
none is read for two of them unless it is larger than a shard. A tar is one shard, as its members cannot be counted
without reading it. Kinds are not mixed: tables come first, then tars, then image files.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from itertools import chain
from typing import Any, Literal

import pyarrow as pa

from ..errors import InputError
from .inputs import Listing, PlannedFile
from .state import FileState, change, kind_of_state

PLAN = "plan.json"
FORMAT = "emonet_fast.bulk.plan"
# Version 1 knew no times and hashes of files; its list was files.parquet, which readers took for a shard.
VERSION = 2
VERSION_1_FILES = "files.parquet"


@dataclass(frozen=True, slots=True)
class Source:
    """Where rows come from.

    Args:
        kind: "table", "tar", "embeddings" for stored ones (a table or .npy), or "files" for all image files together,
            which the list of files names.
        path: absolute; "" for "files".
        key: of the file; "" for "files".
        rows: how many it has; None for a tar.
        size, mtime_ns, digest: of its FileState, which must be the same when the file is read; 0 and "" for "files".
        column: name of a table's image column.
    """

    kind: Literal["table", "tar", "embeddings", "files"]
    path: str
    key: str
    rows: int | None
    size: int
    column: str = ""
    mtime_ns: int = 0
    digest: str = ""

    def changed(self) -> str:
        """What has changed in its file since the plan was made; see `state.change`."""
        planned = FileState(self.size, self.mtime_ns, self.digest)
        return change(planned, self.path, "shard" if self.kind == "tar" else kind_of_state(self.path))


@dataclass(frozen=True, slots=True)
class Span:
    """Some rows of a source.

    Args:
        source: its place among the plan's sources.
        start: first row, from 0.
        stop: end of the rows; None for the source's end, as of a tar.
    """

    source: int
    start: int
    stop: int | None


@dataclass(frozen=True)
class Plan:
    """Which rows make which shard, and what decides a row's content. The fields' order is that of plan.json.

    Args:
        inputs: absolute paths and hub ids, sorted.
        shard_size: rows of a shard at most; a tar is one shard.
        image_column: as the user named it, or None.
        keep_names: names of the kept columns.
        keep: their schema in base64, "" without any.
        files_hash: SHA-256 of the list of image files, "" where the plan has no image files.
        sources: where the rows come from.
        shards: the spans of each shard.
        fingerprint: see Settings.fingerprint; {} until an engine is open.
        version: of its form.
        skipped: how many of what the inputs held were no rows, by kind. It is for people, and decides nothing.
    """

    inputs: tuple[str, ...]
    shard_size: int
    image_column: str | None
    keep_names: tuple[str, ...]
    keep: str
    files_hash: str
    sources: tuple[Source, ...]
    shards: tuple[tuple[Span, ...], ...]
    fingerprint: Mapping[str, str]
    version: int = VERSION
    skipped: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def id(self) -> str:
        """SHA-256 of everything but the fingerprint and `skipped`: what a marker says it belongs to."""
        facts = {k: v for k, v in self.as_dict().items() if k not in ("fingerprint", "skipped")}
        text = json.dumps(facts, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def rows(self, shards: Iterable[int]) -> int | None:
        """How many rows of input these shards have together; None if a tar is among them."""
        total = 0
        for span in chain.from_iterable(self.shards[shard] for shard in shards):
            if span.stop is None:
                return None
            total += span.stop - span.start
        return total

    @property
    def stored(self) -> dict[str, str] | None:
        """What the run says of the stored embeddings that it scores, see Embeddings.facts; None for pictures."""
        if all(source.kind != "embeddings" for source in self.sources):
            return None
        names = ("embedding_source", "embedding_dtype", "precision")
        return {name: self.fingerprint[name] for name in names if name in self.fingerprint}

    @property
    def files_name(self) -> str:
        """The name of the list of image files."""
        return files_name(self.files_hash)

    def keep_schema(self) -> pa.Schema:
        """Names and types of the kept columns."""
        return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(self.keep))) if self.keep else pa.schema([])

    def asked(self) -> dict[str, str]:
        """What two runs on one folder must have in common beside the fingerprint, for the text of a refusal."""
        return asked(self.inputs, self.shard_size, self.image_column, self.keep_names)

    def as_dict(self) -> dict[str, Any]:
        """The plan as plan.json holds it."""
        facts = {one.name: getattr(self, one.name) for one in fields(self)}
        facts["sources"] = [
            [s.kind, s.path, s.key, s.rows, s.size, s.column, s.mtime_ns, s.digest] for s in self.sources
        ]
        facts["shards"] = [[[s.source, s.start, s.stop] for s in spans] for spans in self.shards]
        del facts["version"]
        if self.version == 1:
            facts["sources"] = [source[:6] for source in facts["sources"]]
        return {"format": FORMAT, "version": self.version, **facts}

    def text(self) -> str:
        """plan.json: one line a source and a shard."""
        lines = []
        for name, value in self.as_dict().items():
            if name in ("sources", "shards"):
                inner = ",\n  ".join(json.dumps(v) for v in value)
                lines.append(f' "{name}": [\n  {inner}\n ]')
            else:
                lines.append(f" {json.dumps(name)}: {json.dumps(value)}")
        return "{\n" + ",\n".join(lines) + "\n}\n"


def files_name(files_hash: str) -> str:
    """The name of a list of image files: by its content, so that two plans that are made at once keep each its own.

    Readers of a folder pass over names that begin with "_", and readers of `*.parquet` over this ending.
    """
    return f"_files-{files_hash[:16]}.list"


def asked(
    inputs: Sequence[str], shard_size: int, image_column: str | None, keep_names: Sequence[str]
) -> dict[str, str]:
    """What decides a plan, as texts to compare. inputs: as `inputs.canonical` gives them."""
    return {
        "inputs": ", ".join(sorted(inputs)),
        "shard_size": str(shard_size),
        "image_column": image_column or "(by type)",
        "kept_columns": ", ".join(keep_names) or "(none)",
    }


def make_plan(
    listing: Listing, inputs: Sequence[str], shard_size: int, image_column: str | None, files_hash: str
) -> Plan:
    """The plan of a listing, without a fingerprint. inputs: as `inputs.canonical` gives them.

    Raises InputError when there is no row at all.
    """
    kind: Literal["table", "embeddings"] = "table" if listing.stored is None else "embeddings"
    tables = [_source(kind, file, sum(footer.groups), footer.column) for file, footer in listing.tables]
    tars = [_source("tar", file, None) for file in listing.tars]
    files = [Source("files", "", "", len(listing.files), 0)] if listing.files else []
    shards = list(cut([footer.groups for _, footer in listing.tables], shard_size))
    shards += [(Span(len(tables) + i, 0, None),) for i in range(len(tars))]
    for start in range(0, len(listing.files), shard_size):
        shards.append((Span(len(tables) + len(tars), start, min(start + shard_size, len(listing.files))),))
    if not shards:
        raise InputError("the inputs have no rows: every parquet file is empty")
    keep = pa.schema(list(listing.keep.items())).serialize().to_pybytes() if listing.keep else b""
    return Plan(
        inputs=tuple(sorted(inputs)),
        shard_size=shard_size,
        image_column=image_column,
        sources=(*tables, *tars, *files),
        shards=tuple(shards),
        keep=base64.b64encode(keep).decode("ascii"),
        keep_names=tuple(listing.keep),
        files_hash=files_hash,
        fingerprint={},
        skipped=dict(+listing.skipped),
    )


def _source(
    kind: Literal["table", "tar", "embeddings"], file: PlannedFile, rows: int | None, column: str = ""
) -> Source:
    state = file.state
    return Source(kind, file.path, file.key, rows, state.size, column, state.mtime_ns, state.digest)


def cut(groups: Sequence[Sequence[int]], shard_size: int) -> Iterator[tuple[Span, ...]]:
    """Shards of at most shard_size rows from the row groups of each table.

    A row group goes whole into the present shard or the next one; only one larger than a shard is cut. Every row is
    in one span, spans go up, and a shard's spans of neighbouring groups are one.
    """
    spans: list[Span] = []
    room = shard_size
    for source, sizes in enumerate(groups):
        at = 0
        for size in sizes:
            if size > room and spans:
                yield tuple(spans)
                spans, room = [], shard_size
            while size:
                taken = min(size, room)
                last = spans[-1] if spans else None
                if last is not None and last.source == source and last.stop == at:
                    spans[-1] = Span(source, last.start, at + taken)
                else:
                    spans.append(Span(source, at, at + taken))
                at, size, room = at + taken, size - taken, room - taken
                if not room:
                    yield tuple(spans)
                    spans, room = [], shard_size
    if spans:
        yield tuple(spans)
