"""The few pictures that the page shows, read again from where the plan says they are."""

import glob
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from ...decode import decode
from ...faces import face_crop
from ...options import MAX_BYTES, Options
from ...preprocess import crop
from ...records import Face, Picture
from ...sources.shards import read_shard
from ...sources.table import open_table, read_rows
from ...text import counted
from ...thumbnails import encoded, thumbnail
from ..folder import Folder
from ..plan import Plan, Source
from ..rows import read_files, read_planned
from .collect import Best, Collected, Rectangle

SIDE = 128  # pixels


def thumbnails(folder: Folder, plan: Plan, collected: Collected, *, anywhere: bool) -> dict[str, str]:
    """Base64 JPEGs of the most typical rows by key, read again from the inputs; without those that are gone.

    Unless `anywhere`, files that do not lie below the inputs are left out too, and a note says so.
    """
    roots = None if anywhere else _roots(plan.inputs)
    wanted: dict[str, dict[int, list[Best]]] = defaultdict(lambda: defaultdict(list))
    for best in (b for rows in collected.best for b in rows):
        wanted[best.source][best.row].append(best)
    sources = {s.key: s for s in plan.sources if s.kind != "files"}
    shown: dict[str, str] = {}
    outside = 0
    for key, rows in wanted.items():
        try:
            for number, picture in _read(folder, plan, sources.get(key), rows, roots):
                for best in rows[number]:
                    image = _thumbnail(picture, best.face, plan.fingerprint)
                    if image:
                        shown[best.key] = image
        except _OutsideError:
            outside += len(rows)
        except Exception:  # noqa: S112 - whatever a file that is gone or damaged leads to; the page says so
            continue
    if outside:
        collected.notes.append(
            f"{counted(outside, 'picture')} of files that do not lie below the run's inputs are not shown; --pictures "
            "shows them"
        )
    return shown


class _OutsideError(Exception):
    """A file that does not lie below the inputs."""


def _roots(inputs: tuple[str, ...]) -> list[str]:
    """The real folders and files that the inputs name: of a pattern the folder before it, of a hub id its cache."""
    roots = []
    for text in inputs:
        path = Path(text)
        while glob.has_magic(str(path)) and not path.exists():
            path = path.parent
        roots.append(os.path.realpath(path) if path.is_absolute() else f"/datasets--{text.replace('/', '--')}/")
    return roots


def _inside(path: str, roots: list[str] | None) -> str:
    """The path, if it lies below the roots. Raises _OutsideError."""
    real = os.path.realpath(path)
    if roots is not None and not any(
        root in real if root.startswith("/datasets--") else Path(real).is_relative_to(root) for root in roots
    ):
        raise _OutsideError
    return path


def _read(
    folder: Folder, plan: Plan, source: Source | None, rows: dict[int, list[Best]], roots: list[str] | None
) -> Iterator[tuple[int, Picture]]:
    """The pictures of some rows of one file, where that is still the planned one."""
    if source is None:  # an image file: its shard tells its path
        best = next(iter(rows.values()))[0]
        for span in plan.shards[best.shard]:
            for one in read_files(folder.files(plan), span, plan.shard_size):
                if one.key == best.source and _inside(one.path, roots):
                    yield 0, read_planned(one, MAX_BYTES)
        return
    _inside(source.path, roots)
    if source.changed():
        return
    if source.kind == "table":
        with open_table(source.path) as file:
            for number in sorted(rows):
                for picture, _ in read_rows(
                    file, source.path, source.key, source.column, MAX_BYTES, number, number + 1
                ):
                    yield number, picture
    elif source.kind == "tar":
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
