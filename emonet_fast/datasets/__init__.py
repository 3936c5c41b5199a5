"""EmoNet-Face's data sets HQ, Binary and Big in their published parquet layout, read lazily from disk or hub."""

from .reader import DataSet, open_dataset
from .records import Demographics, Kind, Record

__all__ = ["DataSet", "Demographics", "Kind", "Record", "open_dataset"]
