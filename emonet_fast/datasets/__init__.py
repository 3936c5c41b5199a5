"""EmoNet-Face's data sets HQ, Binary and Big in their published parquet layout, read lazily from disk or hub."""

from .reader import DataSet, Demographics, Kind, Record, open_dataset

__all__ = ["DataSet", "Demographics", "Kind", "Record", "open_dataset"]
