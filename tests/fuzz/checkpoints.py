"""Damaged checkpoints: nothing of them is executed, and each is refused in one line, or gives the scores of its bytes.

A tiny published checkpoint and its packed file are made once. A case damages one of their files: a head (as an archive,
or only its pickle, or replaced by a pickle that runs a program), the encoder's safetensors, a JSON file, the means, the
packed file (its bytes, or only its header). A packed file that still opens and keeps its hash is the one that was
written, so its scores are equal; a head that still opens is what PyTorch reads, where PyTorch reads it.
"""

import io
import json
import os
import pickle
import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from emonet_fast.checkpoint import open_checkpoint, pack_to, verify_hash
from emonet_fast.checkpoint.pickles import read_state_dict
from emonet_fast.errors import CheckpointError

from ..checkpoint.layouts import write_published
from . import mutated

COUNT, QUICK = 300, 20
_LONGEST = 1100  # characters of an error: one line of some 1,000
EXECUTED = "executed"


class _Program:
    """Pickled as a call that leaves a folder, which a reader must neither import nor run."""

    def __reduce__(self):
        return os.mkdir, (EXECUTED,)


def prepare(folder: Path) -> Callable[[int], None]:
    whole = write_published(folder / "whole")
    packed = pack_to(whole, folder / "whole.safetensors", folder / "cache")
    heads = sorted((whole / "heads").glob("*.pth"))
    os.chdir(folder)  # where a program that runs leaves its folder

    def case(seed: int) -> None:
        rng = random.Random(seed)  # noqa: S311 - the same cases each time
        target = rng.choice((*_DAMAGES, "packed", "packed header"))
        place = folder / "case"
        shutil.rmtree(place, ignore_errors=True)
        if target.startswith("packed"):
            place.mkdir()
            where = place / "packed.safetensors"
            damage = _header if target == "packed header" else mutated
            where.write_bytes(damage(packed.path.read_bytes(), rng))
        else:
            where = Path(shutil.copytree(whole, place / "published", copy_function=shutil.copyfile))
            name, damage = _DAMAGES[target]
            path = where / (name or f"heads/{rng.choice(heads).name}")
            path.write_bytes(damage(path.read_bytes(), rng))
        said, stated = "", ""
        try:
            stated = verify_hash(open_checkpoint(where, place / "cache"))
        except CheckpointError as error:
            said = str(error)
        assert len(said) <= _LONGEST, said
        assert said.isprintable(), said
        assert not Path(EXECUTED).exists(), "a program of the file was run"
        if stated and target.startswith("packed"):
            assert stated == packed.weights_hash
        elif stated and not name:
            _check_head(path)

    return case


def _check_head(path: Path) -> None:
    try:
        theirs = torch.load(path, weights_only=True)
    except Exception:  # it checks more of the archive
        return
    ours = read_state_dict(path)
    assert list(ours) == list(theirs)
    for key, values in ours.items():
        np.testing.assert_array_equal(values, theirs[key].float().numpy())


def _members(data: bytes, rng: random.Random) -> bytes:
    """The archive of a head with one member damaged, and sound around it."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        names = old.namelist()
        chosen = rng.choice([name for name in names if name.endswith("data.pkl")] * 4 + names)
        for name in names:
            content = old.read(name)
            new.writestr(name, mutated(content, rng) if name == chosen else content)
    return out.getvalue()


def _program(data: bytes, rng: random.Random) -> bytes:
    """A head whose pickle runs a program, beside its tensors or in their place."""
    out = io.BytesIO()
    program = pickle.dumps({"layers.0.weight": _Program()}, protocol=rng.randrange(6))
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("data.pkl"):
                content = program[:-1] + content if rng.random() < 0.5 else program
            new.writestr(name, content)
    return out.getvalue() if rng.random() < 0.8 else program


def _header(data: bytes, rng: random.Random) -> bytes:
    """A safetensors file with its header damaged, or some value in it another one, and its length right."""
    length = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + length]
    header = mutated(header, rng, changes=2) if rng.random() < 0.5 else _other_value(header, rng)
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def _other_value(text: bytes, rng: random.Random) -> bytes:
    """JSON in which one value is of another kind, far too large, or damaged."""
    doc = json.loads(text)
    here, key = doc, rng.choice(list(doc))
    while isinstance(here[key], dict | list) and here[key] and rng.random() < 0.8:
        here = here[key]
        key = rng.choice(list(here)) if isinstance(here, dict) else rng.randrange(len(here))
    strange = (
        None,
        True,
        -1,
        0,
        2**31,
        2**63,
        10**400,
        1e308,
        float("nan"),
        "",
        "\x1b[2J\n",
        "x" * 10**5,
        [],
        {},
        [[]],
    )
    here[key] = rng.choice(strange)
    if isinstance(doc.get("__metadata__"), dict) and rng.random() < 0.5:  # the packed file's own document within it
        inner = doc["__metadata__"].get("emonet_fast")
        if isinstance(inner, str):
            doc["__metadata__"]["emonet_fast"] = _other_value(inner.encode(), rng).decode()
    return json.dumps(doc).encode()


def _json(data: bytes, rng: random.Random) -> bytes:
    return mutated(data, rng) if rng.random() < 0.4 else _other_value(data, rng)


# What is damaged: the file, "" for any head, and how.
_DAMAGES: dict[str, tuple[str, Callable[[bytes, random.Random], bytes]]] = {
    "head": ("", mutated),
    "head's members": ("", _members),
    "program": ("", _program),
    "encoder": ("encoder/model.safetensors", mutated),
    "encoder's header": ("encoder/model.safetensors", _header),
    "config": ("encoder/config.json", _json),
    "preprocessor": ("encoder/preprocessor_config.json", _json),
    "means": ("heads/neutral_stats_cache_large", _json),
}
