"""One run of `emonet-fast bulk`: plan, lock, what is still to do, an engine, and what came of it."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import pyarrow.parquet as pq

from ..checkpoint import encoder_hash, open_checkpoint
from ..checkpoint.tensors import Progress
from ..faces import Looked, open_faces
from ..records import Picture, Status
from ..reports.collect import InputCount
from ..sources.embeddings import Embeddings
from ..sources.embeddings.chosen import stored_embeddings
from ..sources.keys import picture_of
from ..sources.skipped import skipped_text
from ..text import counted, duration
from . import inputs as listing
from .folder import Folder, check_same, refuse_different
from .local import run_local
from .lock import BEAT, STALE, Lock
from .marker import FoundShard, ShardState, failures, input_count, skipped_by
from .plan import Plan, asked, make_plan
from .population import rank_by_own_rows
from .progress import BulkProgress
from .settings import SELF, Settings, differences, parse_devices

# Statuses that may be of the moment, not of the picture: `retry_errors` scores their shards again.
PASSING = (Status.UNREADABLE, Status.CHANGED, Status.FAILED)


@dataclass(frozen=True, slots=True)
class BulkSummary:
    """What a folder holds at the end of a run, of the shards that the run was in charge of.

    Args:
        counts: rows by status.
        shards: number of shards.
        done: number of shards that are done.
        failed: why a shard was given up, by its number.
        notes: what a reader of the scores must know.
        progress: of this run.
        skipped: what the inputs hold beside rows, by kind.
        inputs: how many pictures and faces.
        looked: what was seen in some pictures of a run that scored whole ones.
    """

    counts: Mapping[str, int]
    shards: int
    done: int
    failed: Mapping[int, str]
    notes: tuple[str, ...]
    progress: BulkProgress
    skipped: Mapping[str, int]
    inputs: InputCount
    looked: Looked

    @property
    def scored_now(self) -> int:
        """Rows that this run scored."""
        return self.progress.rows

    def text(self) -> str:
        """The last lines of a run."""
        lines = [*self.notes]
        if self.scored_now:
            seconds = self.progress.seconds
            rate = f"{self.scored_now / seconds:.2f} rows/s" if seconds else ""
            by = ", ".join(f"{device}: {rows}" for device, rows in sorted(self.progress.devices.items()))
            lines.append(f"this run: {counted(self.scored_now, 'row')} in {duration(seconds)}, {rate} ({by})")
            waits = ", ".join(f"{name.replace('_', ' ')} {s:.1f} s" for name, s in self.progress.waited.items())
            lines.append(f"waited: {waits}")
        lines += [f"shard {shard} failed: {reason}" for shard, reason in self.failed.items()]
        counts = ", ".join(f"{n} {status}" for status, n in sorted(self.counts.items()))
        whole = " as wholes" if self.inputs.faces is None else ""
        skipped = skipped_text(self.skipped) if any(self.skipped.values()) else ""
        facts = "; ".join(filter(None, (counts or "none", self.looked.text(), skipped)))
        shards = counted(self.shards, "shard")
        lines.append(f"{self.done} of {shards} done: {self.inputs.text()}{whole}: {facts}")
        return "\n".join(lines)


@dataclass
class _Work:
    """The plan, and what is to be done of it. Both change where another part has made the plan meanwhile.

    Args:
        settings: of the run.
        folder: the output folder.
        say: takes lines for people.
        progress: of the run.
        plan: without a fingerprint as long as it is fresh.
        fresh: made by this run, and not written yet.
        shards: what each shard of this run's part is.
        todo: the shards to score.
    """

    settings: Settings
    folder: Folder
    say: Callable[[str], None]
    progress: BulkProgress
    plan: Plan
    fresh: bool
    shards: dict[int, FoundShard] = field(default_factory=dict)
    todo: list[int] = field(default_factory=list)

    def look(self) -> None:
        """Find out what is to be done."""
        part, parts = self.settings.part
        mine = self.settings.mine(self.plan)
        if not mine:
            self.say(f"part {part}/{parts} has nothing to do: the plan has {len(self.plan.shards)} shards")
        self.folder.clear_temporary(mine, alone=parts == 1)
        untouched = {s: FoundShard(ShardState.TODO) for s in mine}
        self.shards = untouched if self.fresh else self.folder.look(self.plan, mine)
        self.todo = [s for s in mine if wanted(self.shards[s], self.settings.retry_errors)]
        for shard in self.todo:
            if self.shards[shard].reason:
                self.say(f"shard {shard} is scored again: {self.shards[shard].reason}")
        if self.todo and len(self.todo) < len(mine):
            self.say(f"{len(mine) - len(self.todo)} of {len(mine)} shards are done or failed already")

    def settle(self, fingerprint: Mapping[str, str]) -> list[int]:
        """Write the plan, or hold it to the fingerprint of an open engine. Gives the shards to score."""
        settled = replace(self.plan, fingerprint=fingerprint)
        if not self.fresh:
            check_same(self.folder.path, self.plan, settled)
            return self.todo
        self.plan, self.fresh = self.folder.keep_plan(settled), False
        if self.plan.id != settled.id:
            self.say("another part has made the plan meanwhile, of other input files: that plan is used")
            self.look()
            self.progress.begin(self.plan, self.todo)
        return self.todo


def run(
    settings: Settings, say: Callable[[str], None], packing: Progress | None = None, show: str = "auto"
) -> BulkSummary:
    """Score everything that is not done yet. An error or an interrupt leaves the folder whole.

    `say` takes lines for people, `packing` (bytes done, bytes in all) while a checkpoint is packed for the first time.
    show: how progress is shown, see bars.progress.
    """
    parse_devices(settings.devices)  # refuses a slip before a folder is made
    folder = Folder(settings.output)
    with Lock(folder.path, settings.part, patience=STALE + BEAT):
        plan, fresh = _plan(settings, folder, say)
        settings = settings if plan.stored is None else settings.of_embeddings(plan.stored)
        settings = settings if fresh else settings.pinned(plan.fingerprint)
        work = _Work(settings, folder, say, BulkProgress(say, show), plan, fresh)
        expected = settings.known() | settings.face_file()  # the detector is smaller than the weights, so it goes first
        known = open_checkpoint(
            settings.checkpoint, settings.options.cache_dir, revision=settings.options.revision, progress=packing
        )
        expected["checkpoint_hash"] = known.weights_hash
        if settings.stored is not None:
            expected["encoder_hash"] = encoder_hash(known)
            if fresh:
                embeddings = Embeddings([source.path for source in plan.sources], column=settings.embedding_column)
                embeddings.check(expected["encoder_hash"], known.vision.hidden_size, l2_normalise=known.l2_normalise)
        population = settings.population()
        if population is not None:
            population.check(known.names, expected)
        if not work.fresh:
            refuse_different(folder.path, differences(dict(work.plan.fingerprint), expected))
        work.look()
        if work.todo:
            _engine(work)
            # By markers and sizes alone, as this run took the hashes while it wrote.
            work.shards |= folder.look(folder.plan(), work.todo, hashes=False)
            _check_boxes_again(work)
        if settings.baseline == SELF:
            rank_by_own_rows(folder, folder.plan(), say)
    return _summary(work)


def _plan(settings: Settings, folder: Folder, say: Callable[[str], None]) -> tuple[Plan, bool]:
    """The folder's plan, held to the settings; or a new one, not written yet, and True."""
    kept = kept_plan(settings, folder)
    if kept is not None:
        folder.move_files(kept)
        return kept, False
    found = find_inputs(settings, say)
    if found.stored is not None:
        settings = settings.of_embeddings(found.stored)
    _check_boxes(settings, (file.key for file in found.files if not file.fault), say)
    files_hash = folder.keep_files(found.files, settings.shard_size)
    plan = make_plan(found, settings.places, settings.shard_size, settings.image_column, files_hash)
    say(f"plan: {described(plan)}")
    return (replace(plan, fingerprint=found.stored) if found.stored is not None else plan), True


def kept_plan(settings: Settings, folder: Folder) -> Plan | None:
    """The folder's plan; None where it has none. Raises DataError where it is not what the settings ask for."""
    plan = folder.read_plan()
    if plan is not None:
        wanted = asked(settings.places, settings.shard_size, settings.image_column, settings.keep)
        refuse_different(folder.path, differences(plan.asked(), wanted))
    return plan


def find_inputs(settings: Settings, say: Callable[[str], None]) -> listing.Listing:
    """What the inputs hold. `say` takes notes on them."""
    embeddings = stored_embeddings(settings.inputs, settings.image_column, settings.embedding_column)
    if embeddings is not None:
        found = listing.find_stored(embeddings, settings.keep)
    else:
        found = listing.find(
            settings.inputs,
            settings.image_column,
            settings.keep,
            leave_out=settings.output,
            cache_dir=settings.options.cache_dir,
        )
    for note in found.notes:
        say(note)
    return found


def described(plan: Plan) -> str:
    """What a plan holds, for people."""
    rows = plan.rows(range(len(plan.shards)))
    many = "tars, whose rows are not counted yet" if rows is None else counted(rows, "row")
    return "; ".join(filter(None, (f"{counted(len(plan.shards), 'shard')}, {many}", skipped_text(plan.skipped))))


def _check_boxes(settings: Settings, keys: Iterable[str], say: Callable[[str], None]) -> None:
    """Look up all image files in a file of boxes. Raises InputError where one of its names could be two pictures.

    Each process would see its own pictures alone.
    """
    faces = open_faces(settings.faces, settings.options, None) if settings.faces.boxes is not None else None
    if faces is not None:
        for key in keys:
            faces.locate([Picture(key, None)], [])
        for note in faces.notes():
            say(note)


def _check_boxes_again(work: _Work) -> None:
    """Look up the pictures of all shards that are there: what is in tars and tables was not known before."""
    if work.settings.faces.boxes is None or all(source.kind == "files" for source in work.plan.sources):
        return
    paths = (work.folder.stem(work.plan, shard).with_suffix(".parquet") for shard in range(len(work.plan.shards)))
    tables = (pq.read_table(path, columns=["key"]) for path in paths if path.exists())
    keys = dict.fromkeys(picture_of(key) for table in tables for key in table.column("key").to_pylist())
    _check_boxes(work.settings, keys, lambda note: None)


def wanted(found: FoundShard, retry_errors: bool) -> bool:
    """Whether a run scores the shard."""
    if found.state == ShardState.TODO:
        return True
    if not retry_errors:
        return False
    marker = found.marker or {}
    return found.state == ShardState.FAILED or any(marker["counts"].get(status) for status in PASSING)


def _engine(work: _Work) -> None:
    settings, folder, progress = work.settings, work.folder, work.progress
    progress.begin(work.plan, work.todo)
    try:
        if settings.engine == "ray":
            from .ray import run_ray

            run_ray(settings, folder, work.settle, progress)
        else:
            run_local(settings, folder, len(work.todo), work.settle, progress)
    finally:
        progress.close()


def _summary(work: _Work) -> BulkSummary:
    shards = work.shards
    counts: Counter[str] = Counter()
    notes: dict[str, None] = {}
    looked = Looked()
    markers = [f.marker for f in shards.values() if f.state == ShardState.DONE and f.marker is not None]
    for marker in markers:
        counts.update(marker["counts"])
        notes |= dict.fromkeys(marker["notes"])
        pictures, unfit = marker.get("looked", (0, 0))
        looked.pictures, looked.unfit = looked.pictures + pictures, looked.unfit + unfit
    boxes = work.settings.faces.boxes
    if boxes is not None and counts[Status.NO_FACE] and not counts[Status.OK]:
        notes[f"no picture that could be read has a face in {boxes}: do its rows name these pictures?"] = None
    return BulkSummary(
        counts=dict(counts),
        shards=len(shards),
        done=sum(f.state == ShardState.DONE for f in shards.values()),
        failed=failures(shards),
        notes=tuple(notes),
        progress=work.progress,
        skipped=skipped_by(work.plan, shards.values()),
        inputs=input_count(markers, faces=work.settings.faces.faces != "none"),
        looked=looked,
    )
