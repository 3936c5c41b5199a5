"""Damaged tables: pictures in parquet; predictions and boxes in parquet, CSV and JSON. Right, or refused in a line."""

import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from emonet_fast import taxonomy
from emonet_fast.errors import DataError, InputError
from emonet_fast.evaluate.prediction_files import read_columns
from emonet_fast.faces.files import BoxFile
from emonet_fast.records import Status
from emonet_fast.sources.inputs import inspect_file
from emonet_fast.sources.table import open_table, read_rows

from . import mutated
from .archives import overwritten

COUNT, QUICK = 500, 60
_LONGEST = 2000  # characters of a reason or message
_GROUP = 7


def prepare(folder: Path) -> Callable[[int], None]:
    columns = [f"score_{emotion.slug}" for emotion in taxonomy.EMOTIONS[:4]]
    predictions = pa.table({"key": ["a", "b"], "status": ["ok", "ok"]} | {name: [0.5, 1.5] for name in columns})
    boxes = pa.table({"key": ["a", "b"], "x": [1.0, 2.0], "y": [1.0, 2.0], "width": [5.0, 6.0], "height": [5.0, 6.0]})

    def case(seed: int) -> None:
        rng = random.Random(seed)  # noqa: S311 - the same damage for the same seed
        if seed % 2:
            _pictures(folder / "t.parquet", rng)
            return
        table, read = rng.choice(((predictions, _read_predictions), (boxes, _read_boxes)))
        kind = rng.choice(("parquet", "csv", "jsonl" if table is predictions else "json"))
        path = folder / f"p.{kind}"
        path.write_bytes(mutated(_bytes(table, kind), rng))
        _refused(read, path, _LONGEST)

    return case


def _refused(read: Callable[[Path], Any], path: Path, longest: int) -> Any:
    """What the reader gives; None where it refuses in few words."""
    text = ""
    try:
        return read(path)
    except (DataError, InputError) as error:
        text = str(error)
    assert 0 < len(text) <= longest, text
    return None


def _pictures(path: Path, rng: random.Random) -> None:
    """Row groups that were not touched are whole; in the others every row comes, with bytes or with a reason."""
    rows = [rng.randbytes(rng.choice((0, 3, 200, 5000))) for _ in range(rng.randint(1, 30))]
    texts = [str(i) for i in range(len(rows))]
    image = pa.array([{"bytes": row, "path": text} for row, text in zip(rows, texts, strict=True)])
    pq.write_table(
        pa.table({"image": image, "text": texts}),
        path,
        row_group_size=_GROUP,
        compression=rng.choice(("none", "snappy", "zstd", "gzip")),
        use_dictionary=rng.random() < 0.5,
        data_page_size=rng.choice((100, 1 << 20)),
        data_page_version=rng.choice(("1.0", "2.0")),
    )
    whole = path.read_bytes()
    metadata = pq.read_metadata(path)
    footer = len(whole) - metadata.serialized_size - 8
    if rng.random() < 0.5:
        data, touched = overwritten(whole[:footer], rng)
        path.write_bytes(data + whole[footer:])
    else:
        touched = [range(len(whole))]
        path.write_bytes(mutated(whole, rng))
    got = _read_pictures(path)
    if got is None:
        assert touched == [range(len(whole))], "the footer is whole"
        return
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        chunks = [group.column(c) for c in range(group.num_columns) if group.column(c).path_in_schema != "image.path"]
        starts = [min(c.data_page_offset, c.dictionary_page_offset or c.data_page_offset) for c in chunks]
        places = [range(at, at + chunk.total_compressed_size) for at, chunk in zip(starts, chunks, strict=True)]
        if not any(place.start < one.stop and one.start < place.stop for place in places for one in touched):
            wanted = [(Status.OK, row) for row in rows[number * _GROUP : (number + 1) * _GROUP]]
            assert got[number * _GROUP : (number + 1) * _GROUP] == wanted, f"row group {number} was not touched"


def _read_pictures(path: Path) -> list[tuple[Status, object]] | None:
    """Statuses and bytes of all rows; None where the table is refused as a whole."""
    file = _refused(lambda path: inspect_file(str(path), "t", None), path, 300)
    if file is None or file.footer is None:
        assert file is None or file.fault
        return None
    got = []
    try:
        with open_table(str(path)) as opened:
            for picture, kept in read_rows(opened, str(path), "t", file.footer.column, 1 << 20, keep=("text",)):
                assert picture.key == f"t::{len(got)}"
                assert len(kept) == 1
                assert (picture.data is not None) == (picture.status == Status.OK)
                got.append((picture.status, picture.data))
    except KeyError:  # the footer has lost the kept column, which bulk looks for when it plans
        return None
    assert len(got) == sum(file.footer.groups)
    return got


def _read_predictions(path: Path) -> None:
    found = read_columns(path, "score_")
    assert {len(found.keys), len(found.status), *map(len, found.columns.values())} == {len(found.keys)}
    assert all(values.dtype == np.float64 for values in found.columns.values())


def _read_boxes(path: Path) -> None:
    file = BoxFile(path)
    for faces in file.detect([None, None], ["a", "b"]):
        assert all(face.width > 0 and face.height > 0 for face in faces)


def _bytes(table: pa.Table, kind: str) -> bytes:
    out = io.BytesIO()
    if kind == "parquet":
        pq.write_table(table, out)
    elif kind == "csv":
        pa.csv.write_csv(table, out)
    elif kind == "jsonl":
        out.write("\n".join(map(json.dumps, table.to_pylist())).encode())
    else:
        boxes = [[row[name] for name in ("x", "y", "width", "height")] for row in table.to_pylist()]
        images = [{"id": i, "file_name": name} for i, name in enumerate(table.column("key").to_pylist())]
        found = [{"id": i, "image_id": i, "bbox": box} for i, box in enumerate(boxes)]
        out.write(json.dumps({"images": images, "annotations": found}).encode())
    return out.getvalue()
