"""The tables of a folder: of `emonet-fast bulk`'s its finished shards, of another one its parquet files."""

import re
from pathlib import Path

from ..errors import DataError

_SHARD = re.compile(r"\d{5,}\.parquet")


def finished_tables(folder: Path) -> list[Path]:
    """The files, sorted by name. Raises DataError where there is none."""
    found = sorted(p for p in folder.glob("*.parquet") if not p.name.startswith((".", "_")))
    if (folder / "plan.json").is_file():
        found = [p for p in found if _SHARD.fullmatch(p.name) and p.with_suffix(".json").is_file()]
    if not found:
        raise DataError(f"{folder} has no finished parquet files; expected tables, as of `emonet-fast bulk`")
    return found
