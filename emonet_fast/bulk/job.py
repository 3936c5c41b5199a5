"""One run of `emonet-fast bulk`: plan, lock, what is still to do, an engine, and what came of it."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..checkpoint import open_checkpoint
from ..checkpoint.tensors import Progress as Steps
from ..files import write_whole
from ..records import Status
from . import inputs as listing
from .faces import model_hash
from .folder import Folder, Found, State, check_same, refuse
from .local import run_local
from .lock import BEAT, STALE, Lock
from .plan import FILES, Plan, asked, make_plan
from .progress import Progress, duration
from .rows import write_files
from .settings import Settings, differences

# Statuses that may be of the moment, not of the picture: `retry_errors` scores their shards again.
PASSING = (Status.UNREADABLE, Status.FAILED)


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run's folder holds at its end, of the shards the run was in charge of.

    counts: rows by status. scored_now: rows of this run. failed: shards that were given up, with the reason.
    waited: seconds that stages waited for others, in this run. complete: every shard is done.
    """

    counts: Mapping[str, int]
    shards: int
    done: int
    failed: Mapping[int, str]
    scored_now: int
    seconds: float
    waited: Mapping[str, float]
    devices: Mapping[str, int]
    engines: Mapping[str, str]
    notes: tuple[str, ...]
    memory: Mapping[str, float]

    @property
    def complete(self) -> bool:
        return self.done == self.shards

    def text(self) -> str:
        """The last lines of a run."""
        lines = [*self.notes]
        if self.scored_now:
            rate = f"{self.scored_now / self.seconds:.2f} rows/s" if self.seconds else ""
            by = ", ".join(f"{d}: {n}" for d, n in sorted(self.devices.items()))
            lines.append(f"this run: {self.scored_now} rows in {duration(self.seconds)}, {rate} ({by})")
            waits = ", ".join(f"{name.replace('_', ' ')} {s:.1f} s" for name, s in self.waited.items())
            lines.append(f"waited: {waits}")
        for shard, reason in self.failed.items():
            lines.append(f"shard {shard} failed: {reason}")
        counts = ", ".join(f"{n} {status}" for status, n in sorted(self.counts.items()))
        total = sum(self.counts.values())
        lines.append(f"{self.done} of {self.shards} shards done: {total} rows: {counts or 'none'}")
        return "\n".join(lines)


def run(settings: Settings, say: Callable[[str], None], steps: Steps | None = None) -> Summary:
    """Score everything that is not done yet. say: takes lines for people. steps: of packing the checkpoint.

    Raises:
        EmonetError: of many kinds, each with what to do. KeyboardInterrupt: as it came; the folder is whole.
    """
    folder = Folder(settings.output)
    with Lock(folder.path, settings.part, patience=STALE + BEAT):
        plan, fresh = _plan(settings, folder, say)
        known = open_checkpoint(
            settings.checkpoint, settings.options.cache_dir, revision=settings.options.revision, progress=steps
        )
        expected = settings.known() | {"checkpoint_hash": known.weights_hash}
        expected |= model_hash(settings.faces, settings.options.cache_dir)
        if not fresh:
            found = differences(dict(plan.fingerprint), expected)
            if found:
                refuse(folder.path, found)
        mine = [s for s in range(len(plan.shards)) if s % settings.part[1] == settings.part[0]]
        folder.clear_temporary(mine)
        before = {s: Found(State.TODO) for s in mine} if fresh else folder.look(plan, mine)
        todo = [s for s in mine if _wanted(before[s], settings.retry_errors)]
        for shard in todo:
            if before[shard].reason:
                say(f"shard {shard} is scored again: {before[shard].reason}")
        progress = Progress(say)
        if todo:
            if len(todo) < len(mine):
                say(f"{len(mine) - len(todo)} of {len(mine)} shards are done or failed already")
            _engine(settings, folder, plan, fresh, todo, progress)
        after = {**before, **_after(folder, todo)}
    return _summary(after, progress)


def _plan(settings: Settings, folder: Folder, say: Callable[[str], None]) -> tuple[Plan, bool]:
    """The folder's plan, held to the settings; or a new one, not written yet, and True."""
    places = sorted({listing.canonical(text) for text in settings.inputs})
    kept = folder.read_plan()
    if kept is not None:
        found = differences(kept.asked(), asked(places, settings.shard_size, settings.image_column, settings.keep))
        if found:
            refuse(folder.path, found)
        return kept, False
    found_inputs = listing.find(
        settings.inputs,
        settings.image_column,
        settings.keep,
        leave_out=folder.path,
        cache_dir=settings.options.cache_dir,
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


def _wanted(found: Found, retry_errors: bool) -> bool:
    if found.state == State.TODO:
        return True
    if not retry_errors:
        return False
    marker = found.marker or {}
    return found.state == State.FAILED or any(marker["counts"].get(status) for status in PASSING)


def _engine(settings: Settings, folder: Folder, plan: Plan, fresh: bool, todo: list[int], progress: Progress) -> None:
    def settle(fingerprint: Mapping[str, str]) -> Plan:
        if fresh:
            return folder.keep_plan(plan.with_fingerprint(fingerprint))
        check_same(folder.path, plan, plan.with_fingerprint(fingerprint))
        return plan

    progress.begin(plan, todo)
    try:
        if settings.engine == "ray":
            from .ray import run_ray

            run_ray(settings, folder, todo, settle, progress)
        else:
            run_local(settings, folder, todo, settle, progress)
    finally:
        progress.close()


def _after(folder: Folder, todo: list[int]) -> dict[int, Found]:
    """What the shards of this run are now: by their markers and sizes, as their hashes were taken while writing."""
    plan = folder.read_plan() if todo else None
    return folder.look(plan, todo, hashes=False) if plan is not None else {}


def _summary(shards: Mapping[int, Found], progress: Progress) -> Summary:
    counts: Counter[str] = Counter()
    notes: dict[str, None] = {}
    for found in shards.values():
        if found.state == State.DONE and found.marker is not None:
            counts.update(found.marker["counts"])
            notes |= dict.fromkeys(found.marker["notes"])
    failed = {s: str((f.marker or {}).get("failed")) for s, f in shards.items() if f.state == State.FAILED}
    return Summary(
        counts=dict(counts),
        shards=len(shards),
        done=sum(f.state == State.DONE for f in shards.values()),
        failed=failed,
        scored_now=progress.rows,
        seconds=progress.seconds,
        waited=dict(progress.waited),
        devices=dict(progress.devices),
        engines=dict(progress.engines),
        notes=tuple(notes),
        memory=dict(progress.memory_peak),
    )
