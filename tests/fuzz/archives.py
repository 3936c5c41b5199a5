"""Damaged tars, plain and zipped: no member is lost or wrong that the damage did not touch, and every loss is told."""

import gzip
import hashlib
import io
import random
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from emonet_fast.records import Status
from emonet_fast.sources.shards import read_shard

from . import mutated

COUNT, QUICK = 1000, 60
_BLOCK = 512


def prepare(folder: Path) -> Callable[[int], None]:
    path = folder / "s.tar"

    def case(seed: int) -> None:
        rng = random.Random(seed)  # noqa: S311 - the same damage for the same seed
        whole = _archive(rng)
        members, places = _members(whole)
        touched: list[range] | None = None
        if rng.random() < 0.6:
            data, touched = overwritten(whole, rng)
        elif rng.random() < 0.5:
            data = mutated(whole, rng)
        else:
            data = mutated(gzip.compress(whole, 1), rng, 3)
        zipped = touched is not None and rng.random() < 0.3
        path.write_bytes(gzip.compress(data, 1) if zipped else data)
        # Nobody can tell what was zeroed whole from the zeros that end an archive.
        _check(path, members, touched, sum(any(data[place.start : place.stop]) for place in places))

    return case


def _check(path: Path, members: dict[str, range], touched: list[range] | None, everything: int) -> None:
    skipped: Counter[str] = Counter()
    pictures = list(read_shard(str(path), "s", 1 << 20, skipped))
    keys = [picture.key for picture in pictures]
    assert len(set(keys)) == len(keys), "a key twice"
    for picture in pictures:
        assert (picture.data is not None) == (picture.status == Status.OK), picture
        assert picture.status == Status.OK or picture.reason, picture
    right = {p.key.removeprefix("s::") for p in pictures if p.data is not None and _right(p.key, p.data)}
    if touched is not None:
        told = any(picture.status != Status.OK for picture in pictures)
        assert told or len(pictures) + skipped.total() >= everything, "a member is lost in silence"
        safe = {name for name, place in members.items() if not any(_meet(place, one) for one in touched)}
        assert right >= safe, f"untouched members are missing: {sorted(safe - right)}"


def _right(key: str, data: bytes) -> bool:
    """A member's name says which bytes it has."""
    return hashlib.sha256(data).hexdigest()[:16] in key


def _meet(one: range, other: range) -> bool:
    return one.start < other.stop and other.start < one.stop


def _archive(rng: random.Random) -> bytes:
    """One archive or two joined ones, in any layout, with hard links, long names and members that are no pictures."""
    parts = []
    for number in range(rng.choice((1, 1, 2))):
        out = io.BytesIO()
        layout = rng.choice((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
        with tarfile.open(fileobj=out, mode="w", format=layout) as tar:
            first: tarfile.TarInfo | None = None
            for i in range(rng.randint(1, 12)):
                data = rng.randbytes(rng.choice((0, 1, 511, 512, 513, 3000)))
                long = "d" * 120 + "/" if layout != tarfile.USTAR_FORMAT and rng.random() < 0.2 else ""
                ending = rng.choice((".jpg", ".jpg", ".PNG", ".json"))
                info = tarfile.TarInfo(f"{long}{number}-{i}-{hashlib.sha256(data).hexdigest()[:16]}{ending}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
                first = first or info
                if rng.random() < 0.2:
                    link = tarfile.TarInfo(f"link-{number}-{i}-{first.name.split('-')[-1]}")
                    link.type, link.linkname = tarfile.LNKTYPE, first.name
                    tar.addfile(link)
        parts.append(out.getvalue())
    return b"".join(parts)


def _members(whole: bytes) -> tuple[dict[str, range], list[range]]:
    """Where each picture's bytes lie, its headers and, of a link, its target's included; and where each member's do."""
    members: dict[str, range] = {}
    everything = []
    places: dict[str, range] = {}
    with tarfile.open(fileobj=io.BytesIO(whole), ignore_zeros=True) as tar:
        for info in tar:
            start = info.offset
            place = range(start, info.offset_data + -(-info.size // _BLOCK) * _BLOCK)
            everything.append(place)
            if info.islnk():  # all between the link and its target, so that neither can be shadowed
                place = range(places[info.linkname].start, info.offset_data)
            places[info.name] = place
            if not info.name.endswith(".json"):
                members[info.name] = place
    return members, everything


def overwritten(whole: bytes, rng: random.Random) -> tuple[bytes, list[range]]:
    """Runs of bytes changed in their place, and where: every other byte stays where it was."""
    data = bytearray(whole)
    touched = []
    for _ in range(rng.randint(0, 5)):
        at = rng.randrange(len(data))
        length = min(rng.choice((1, 2, 16, 512, 700, 4096)), len(data) - at)
        data[at : at + length] = bytes(length) if rng.random() < 0.5 else rng.randbytes(length)
        touched.append(range(at, at + length))
    return bytes(data), touched
