"""Labels from wherever they are: a table, a published file, a data set, or an export of Label Studio."""

from dataclasses import replace
from pathlib import Path

from ..datasets import DataSet, open_dataset
from ..datasets.opening import is_shard
from ..errors import DataError
from ..evaluate.annotations import hq_from_csv
from ..evaluate.prediction_files import arrow_table
from ..files import is_file, is_folder
from .label_studio import export_table, is_export, mended
from .opened import TABLES, read_table
from .published import dataset_rows, rating_rows
from .record import Reading, Targets
from .rows import Labels, combined
from .tables import table_rows

_HQ = {"image", "annotator", "annotations"}


def read_targets(
    place: object,
    how: Reading = Reading(),  # noqa: B008 - it is frozen
    *,
    revision: str | None = None,
    cache_dir: Path | None = None,
) -> Targets:
    """Read labels.

    A table (.parquet, .csv, .jsonl, .xlsx, or of pandas, polars or pyarrow) has a column of pictures (key, image_path,
    path, image, file_name or file) and is one of these:

    - wide: a column for each emotion, in any spelling, or else for each head of your own (numbers, or yes and no).
    - long: one label a row, with the columns name, emotion or dimension, and value, rating or intensity.
    - classes: a column label, emotion, class or expression of texts, each of which becomes a head of 0 and 1.

    Several rows of a picture are several annotators, named by a column annotator, rater, coder, completed_by or user.
    Rows of one annotator for one picture are averaged. Columns person, participant, subject, identity, source and video
    become groups. Empty cells, NaN among them, are no labels.

    Args:
        place: a file, a table, an opened DataSet, the folder or hub id of one, or Label Studio's export.
        how: which columns, and what several annotators' labels become.
        revision: of the hub's repository.
        cache_dir: where the hub's commit is kept.

    Raises:
        DataError: when it cannot be read, has no labels, or a label is outside the scale.
        OptionError: when a setting cannot work.
    """
    return combined(_rows(place, how, revision, cache_dir), how)


def _rows(place: object, how: Reading, revision: str | None, cache_dir: Path | None) -> Labels:
    if isinstance(place, DataSet):
        return dataset_rows(place)
    if not isinstance(place, str | Path):
        return table_rows(arrow_table(place, "labels"), "the table of labels", how)
    path = Path(place)
    suffix = path.suffix.lower()
    if is_folder(path) or (suffix == ".parquet" and is_file(path) and is_shard(path)):
        return dataset_rows(open_dataset(path))
    if not is_file(path):
        if suffix in TABLES or not _is_hub_id(str(place)):
            raise DataError(f"{place} is not a file; expected labels in {', '.join(TABLES)}, or a data set")
        return dataset_rows(open_dataset(str(place), revision=revision, cache_dir=cache_dir))
    if suffix == ".json":
        table, notes = export_table(path)
        rows = table_rows(table, str(path), how)
        return replace(rows, notes=[*rows.notes, *notes])
    if suffix not in TABLES:
        raise DataError(f"{path} ends in {path.suffix!r}; expected labels in {', '.join(TABLES)} or .json")
    table = read_table(path, how)
    if is_export(table.column_names):
        table = mended(table, str(path))
    if set(table.column_names) >= _HQ:
        return rating_rows(hq_from_csv(path if suffix == ".csv" else table, partial=True))
    return table_rows(table, str(path), how)


def _is_hub_id(text: str) -> bool:
    owner, _, rest = text.partition("/")
    return bool(owner and rest) and "/" not in rest and not text.startswith((".", "~"))
