"""One run of `emonet-fast bulk`: plan, lock, what is still to do, an engine, and what came of it."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from ..checkpoint import open_checkpoint
from ..checkpoint.tensors import Progress
from ..files import write_whole
from ..records import Status
from . import inputs as listing
from .folder import Folder, FoundShard, ShardState, check_same, refuse_different
from .local import run_local
from .lock import BEAT, STALE, Lock
from .plan import FILES, Plan, asked, make_plan
from .progress import BulkProgress, duration
from .rows import write_files
from .settings import Settings, differences

# Statuses that may be of the moment, not of the picture: `retry_errors` scores their shards again.
PASSING = (Status.UNREADABLE, Status.FAILED)


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
    """

    counts: Mapping[str, int]
    shards: int
    done: int
    failed: Mapping[int, str]
    notes: tuple[str, ...]
    progress: BulkProgress

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
            lines.append(f"this run: {self.scored_now} rows in {duration(seconds)}, {rate} ({by})")
            waits = ", ".join(f"{name.replace('_', ' ')} {s:.1f} s" for name, s in self.progress.waited.items())
            lines.append(f"waited: {waits}")
        lines += [f"shard {shard} failed: {reason}" for shard, reason in self.failed.items()]
        counts = ", ".join(f"{n} {status}" for status, n in sorted(self.counts.items()))
        total = sum(self.counts.values())
        lines.append(f"{self.done} of {self.shards} shards done: {total} rows: {counts or 'none'}")
        return "\n".join(lines)


def run(settings: Settings, say: Callable[[str], None], packing: Progress | None = None) -> BulkSummary:
    """Score everything that is not done yet. An error or an interrupt leaves the folder whole.

    `say` takes lines for people, `packing` (bytes done, bytes in all) while a checkpoint is packed for the first time.
    """
    folder = Folder(settings.output)
    with Lock(folder.path, settings.part, patience=STALE + BEAT):
        plan, fresh = _plan(settings, folder, say)
        known = open_checkpoint(
            settings.checkpoint, settings.options.cache_dir, revision=settings.options.revision, progress=packing
        )
        expected = settings.known() | settings.face_file() | {"checkpoint_hash": known.weights_hash}
        if not fresh:
            refuse_different(folder.path, differences(dict(plan.fingerprint), expected))
        mine = [s for s in range(len(plan.shards)) if s % settings.part[1] == settings.part[0]]
        folder.clear_temporary(mine)
        shards = {s: FoundShard(ShardState.TODO) for s in mine} if fresh else folder.look(plan, mine)
        todo = [s for s in mine if _wanted(shards[s], settings.retry_errors)]
        for shard in todo:
            if shards[shard].reason:
                say(f"shard {shard} is scored again: {shards[shard].reason}")
        progress = BulkProgress(say)
        if todo:
            if len(todo) < len(mine):
                say(f"{len(mine) - len(todo)} of {len(mine)} shards are done or failed already")
            _engine(settings, folder, plan, fresh, todo, progress)
            # By markers and sizes alone, as this run took the hashes while it wrote.
            shards |= folder.look(folder.plan(), todo, hashes=False)
    return _summary(shards, progress)


def _plan(settings: Settings, folder: Folder, say: Callable[[str], None]) -> tuple[Plan, bool]:
    """The folder's plan, held to the settings; or a new one, not written yet, and True."""
    places = sorted({listing.canonical(text) for text in settings.inputs})
    kept = folder.read_plan()
    if kept is not None:
        wanted = asked(places, settings.shard_size, settings.image_column, settings.keep)
        refuse_different(folder.path, differences(kept.asked(), wanted))
        return kept, False
    cache_dir = settings.options.cache_dir
    found_inputs = listing.find(
        settings.inputs, settings.image_column, settings.keep, leave_out=folder.path, cache_dir=cache_dir
    )
    for note in found_inputs.notes:
        say(note)
    files_hash = ""
    if found_inputs.files:
        data = write_files(found_inputs.files, settings.shard_size)
        write_whole(folder.path / FILES, data)
        files_hash = hashlib.sha256(data).hexdigest()
    plan = make_plan(found_inputs, places, settings.shard_size, settings.image_column, files_hash)
    rows = plan.rows(range(len(plan.shards)))
    say(
        f"plan: {len(plan.shards)} shards, {'tars, whose rows are not counted yet' if rows is None else f'{rows} rows'}"
    )
    return plan, True


def _wanted(found: FoundShard, retry_errors: bool) -> bool:
    if found.state == ShardState.TODO:
        return True
    if not retry_errors:
        return False
    marker = found.marker or {}
    return found.state == ShardState.FAILED or any(marker["counts"].get(status) for status in PASSING)


def _engine(
    settings: Settings, folder: Folder, plan: Plan, fresh: bool, todo: list[int], progress: BulkProgress
) -> None:
    def settle(fingerprint: Mapping[str, str]) -> None:
        settled = replace(plan, fingerprint=fingerprint)
        if fresh:
            folder.keep_plan(settled)
        else:
            check_same(folder.path, plan, settled)

    progress.begin(plan, todo)
    try:
        if settings.engine == "ray":
            from .ray import run_ray

            run_ray(settings, folder, todo, settle, progress)
        else:
            run_local(settings, folder, todo, settle, progress)
    finally:
        progress.close()


def _summary(shards: Mapping[int, FoundShard], progress: BulkProgress) -> BulkSummary:
    counts: Counter[str] = Counter()
    notes: dict[str, None] = {}
    for found in shards.values():
        if found.state == ShardState.DONE and found.marker is not None:
            counts.update(found.marker["counts"])
            notes |= dict.fromkeys(found.marker["notes"])
    failed = {s: str((f.marker or {}).get("failed")) for s, f in shards.items() if f.state == ShardState.FAILED}
    return BulkSummary(
        counts=dict(counts),
        shards=len(shards),
        done=sum(f.state == ShardState.DONE for f in shards.values()),
        failed=failed,
        notes=tuple(notes),
        progress=progress,
    )
