"""EmoNet-Face's data sets HQ, Binary and Big in their published parquet layout, read lazily from disk or hub."""

from .opening import open_dataset
from .reader import DataSet, Demographics, Kind, Record

__all__ = ["DataSet", "Demographics", "Kind", "Record", "open_dataset"]
