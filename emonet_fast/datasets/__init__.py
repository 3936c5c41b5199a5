"""EmoNet-Face's data sets HQ, Binary and Big in their published parquet layout, from disk or hub, read lazily."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .reader import DataSet, open_dataset
    from .records import Demographics, Kind, Record

__all__ = ["DataSet", "Demographics", "Kind", "Record", "open_dataset"]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "reader" if name in ("DataSet", "open_dataset") else "records"
    return getattr(import_module(f".{home}", __name__), name)
