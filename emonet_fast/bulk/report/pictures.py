"""The few pictures that the page shows, read again from where the plan says they are."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from ...decode import decode
from ...faces import face_crop
from ...options import MAX_BYTES, Options
from ...preprocess import crop
from ...records import Face, Picture
from ...reports.collect import encoded, thumbnail
from ...sources.folder import read_file
from ...sources.shards import read_shard
from ...sources.table import open_table, read_rows
from ..folder import Folder
from ..plan import Plan, Source
from ..rows import read_files
from .collect import Best, Collected, Rectangle

SIDE = 128  # pixels


def thumbnails(folder: Folder, plan: Plan, collected: Collected) -> dict[str, str]:
    """Base64 JPEGs of the most typical rows by key, read again from the inputs; without those that are gone."""
    wanted: dict[str, dict[int, list[Best]]] = defaultdict(lambda: defaultdict(list))
    for best in (b for rows in collected.best for b in rows):
        wanted[best.source][best.row].append(best)
    sources = {s.key: s for s in plan.sources if s.kind != "files"}
    shown: dict[str, str] = {}
    for key, rows in wanted.items():
        try:
            pictures = list(_read(folder, plan, sources.get(key), rows))
        except Exception:  # noqa: S112 - whatever a file that is gone or damaged leads to; the page says so
            continue
        for number, picture in pictures:
            for best in rows[number]:
                image = _thumbnail(picture, best.face, plan.fingerprint)
                if image:
                    shown[best.key] = image
    return shown


def _read(
    folder: Folder, plan: Plan, source: Source | None, rows: dict[int, list[Best]]
) -> Iterator[tuple[int, Picture]]:
    if source is None:  # an image file: its shard tells its path
        best = next(iter(rows.values()))[0]
        for span in plan.shards[best.shard]:
            for one in read_files(folder.files(plan), span, plan.shard_size):
                if one.key == best.source:
                    yield 0, read_file(one.path, one.key, MAX_BYTES)
    elif source.kind == "table":
        with open_table(source.path) as file:
            for number in sorted(rows):
                for picture, _ in read_rows(
                    file, source.path, source.key, source.column, MAX_BYTES, number, number + 1
                ):
                    yield number, picture
    else:
        members = read_shard(source.path, source.key, MAX_BYTES)
        for number, picture in enumerate(islice(members, max(rows) + 1)):
            if number in rows:
                yield number, picture


def _thumbnail(picture: Picture, face: Rectangle | None, fingerprint: Mapping[str, str]) -> str:
    options = Options(exif=fingerprint.get("exif") == "yes", cache_dir=Path())  # no home is needed
    try:
        rgb = decode(picture, options).rgb
        if rgb is None:
            return ""
        if face is not None:
            rgb = crop(rgb, face_crop(Face(*face), float(fingerprint["face_margin"])))
        return encoded(thumbnail(rgb, SIDE))
    except Exception:  # whatever a picture leads to, memory too: the page shows its row without it
        return ""
