"""Finds a data set's shards in a folder, as one file or on the hub, and passes over other tables beside them."""

import re
from collections import Counter
from pathlib import Path

from ..errors import CheckpointError, DataError, InputError, OptionError
from ..files import is_file, is_folder
from ..options import Options
from ..sources.table import choose_column, open_table
from .reader import TEXTS, DataSet, Kind

HUB_NAMES = {k: f"laion/emonet-face-{k}" for k in Kind}
_SHARD = re.compile(r"(?P<split>.+)-\d+-of-(?P<of>\d+)\.parquet")


def open_dataset(
    place: str | Path, kind: Kind | str | None = None, *, revision: str | None = None, cache_dir: Path | None = None
) -> DataSet:
    """Open a data set in a folder, in one parquet file, or on the hub.

    Args:
        place: a folder, a file, or a hub id: `laion/emonet-face-hq`, -binary or -big.
        kind: what the data set must be, "hq", "binary" or "big"; None takes any, and reads a column `label` as experts'
            annotations.
        revision: of the hub's repository; without one, the first download fixes the commit for later ones.
        cache_dir: where that commit is kept; None takes the cache of the package.

    Raises:
        OptionError: for another kind than these.
        DataError: when nothing is there, the download fails, there are no shards, or they are of another kind.
    """
    if place == "":  # as a path it would be the working folder
        raise DataError("an empty text came as the data set; is a variable unset?")
    if kind is not None and kind not in set(Kind):
        raise OptionError(f"kind is {kind!r}; expected one of {', '.join(Kind)}")
    kind, path = None if kind is None else Kind(kind), Path(place)
    experts = kind != Kind.BIG and str(place) != HUB_NAMES[Kind.BIG]
    skipped: tuple[str, ...] = ()
    if is_folder(path):
        found = sorted(p for p in path.rglob("*.parquet") if not p.name.startswith("."))
        files = [p for p in found if is_shard(p)] or found  # of none the reader says what lacks
        skipped = tuple(p.name for p in found if p not in files)
    elif is_file(path):
        files = [path]
    else:
        files = _from_hub(str(place), revision, cache_dir or Options().cache_dir)
    data = DataSet(str(place), files, experts, skipped)
    check_kind(data, kind)
    return data


def check_kind(data: DataSet, kind: Kind | None) -> None:
    """Raise DataError where a data set is of another kind than is asked for; None asks for none."""
    if kind is not None and data.kind != kind:
        raise DataError(
            f"{data.source} is a data set of the kind {data.kind} by its annotations; expected {kind}, "
            f"such as {HUB_NAMES[kind]}"
        )


def is_shard(path: Path) -> bool:
    """Whether a table has an image column and a column that the published layout says of images; damage counts so."""
    try:
        with open_table(str(path)) as file:
            schema = file.schema_arrow
        choose_column(schema, None, str(path))
    except InputError:
        return False
    except Exception:  # the reader will say what is wrong with it
        return True
    return bool({"label", *TEXTS} & set(schema.names))


def _from_hub(name: str, revision: str | None, cache_dir: Path) -> list[Path]:
    from ..checkpoint.fetch import Repository, snapshot

    owner, _, rest = name.partition("/")
    if not owner or not rest or "/" in rest or name.startswith((".", "~")) or name.endswith(".parquet"):
        raise DataError(
            f"{name} is neither a folder, nor a parquet file, nor a hub id; expected a folder with the data set's "
            f"shards, or one of {', '.join(HUB_NAMES.values())}"
        )
    repository = Repository(
        "data", name, ("*.parquet",), "dataset", "(2) a folder that holds the data set's parquet shards"
    )
    try:
        folder = snapshot(repository, revision, cache_dir)
    except CheckpointError as error:
        raise DataError(str(error)) from None
    files = sorted(folder.rglob("*.parquet"))
    matches = [_SHARD.fullmatch(f.name) for f in files]
    shards = Counter((m["split"], int(m["of"])) for m in matches if m)
    for (split, of), present in sorted(shards.items()):
        if present < of:  # an interrupted download, which would offline look like a smaller data set
            raise DataError(
                f"{present} of {of} shards of {name} ({split}) are in the hub's cache: the download was cut short. "
                "Connect and run again; only what is missing is downloaded"
            )
    return files
