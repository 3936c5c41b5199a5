"""A bulk run against its own rows: once every shard is done, z and percentile columns in a second pass over them."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq

from ..files import PendingFile, write_whole, writing
from ..population import baseline_of
from ..population.annotate import adding
from ..sinks.encoders import AddColumns
from ..sinks.parquet import ROW_GROUP, ParquetEncoder
from ..sinks.streamed import encode
from ..sources.table import open_table
from .folder import Folder
from .marker import ShardState
from .plan import Plan

NAME = "baseline.json"


def rank_by_own_rows(folder: Folder, plan: Plan, say: Callable[[str], None]) -> None:
    """Write the folder's baseline.json and the columns of its shards, as far as that is not done.

    Nothing happens before every shard of the plan is done. The raw scores stay, so the same rows give the same baseline
    however often this is begun. A shard that a kill leaves between its file and its marker is scored again.
    """
    shards = folder.look(plan, range(len(plan.shards)), hashes=False)
    undone = sum(one.state != ShardState.DONE for one in shards.values())
    if undone:
        say(f"{undone} of {len(shards)} shards are not done: z columns against the run's own rows come when all are")
        return
    paths = {number: folder.stem(plan, number).with_suffix(".parquet") for number in shards}
    todo = [number for number, path in paths.items() if not _has_z(path)]
    if not todo or not any((one.marker or {})["counts"].get("ok") for one in shards.values()):
        return
    baseline = replace(baseline_of(list(paths.values())), sources=("the run's own rows",))
    write_whole(folder.path / NAME, baseline.to_json().encode(), follow=False)
    for number in todo:
        with PendingFile(paths[number], follow=False) as pending:
            _rewrite(paths[number], pending, adding(baseline.names, baseline), baseline.facts)
            pending.finish()
            folder.publish_again(plan, number, pending, shards[number].marker or {})
    say(f"{len(todo)} shards have z columns against the run's own rows, whose figures are in {folder.path / NAME}")


def _rewrite(path: Path, pending: PendingFile, add: AddColumns, facts: Mapping[str, str]) -> None:
    """A shard with more columns at its end, and more facts, into a pending file."""
    with writing(path), pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        texts = [f.name for f in schema if str(f.type) in ("string", "large_string") and f.name != "key"]
        metadata = {k.decode(): v.decode() for k, v in (schema.metadata or {}).items()} | dict(facts)
        encode(ParquetEncoder(pending.file, texts), schema, file.iter_batches(ROW_GROUP), metadata, add)


def _has_z(path: Path) -> bool:
    with open_table(str(path)) as file:
        return any(name.startswith("z_") for name in file.schema_arrow.names)
