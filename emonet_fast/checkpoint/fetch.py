"""Published weights from the Hugging Face hub, always of the same commit once they have been used."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from .. import taxonomy
from ..errors import CheckpointError, EmonetError
from ..trust import foreign, write_own
from . import jsonfile
from .heads import HEAD_PATTERN, MEANS_PATTERN, find_heads
from .published import CONFIG_FILE, PREPROCESS_FILE, Published

_PATIENCE = 10.0  # seconds in which the hub answers
PINS_FILE = "hub-pins.json"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REVISION = re.compile(r"[\w.][\w./-]{0,255}", re.ASCII)

_OTHER_WAYS = (
    "(2) in place of 'large' or 'small', a folder in the published layout (one called small as ./small): encoder/ and "
    "heads/ with the files of both repositories; (3) a packed file made where there is a connection: "
    "emonet-fast pack --checkpoint large -o large.safetensors"
)


@dataclass(frozen=True, slots=True)
class Repository:
    """What is fetched from one repository of the hub.

    Args:
        role: "encoder" or "heads", as in revision="encoder=REV,heads=REV".
        name: of the repository.
        patterns: names of the files that are fetched.
        kind: "model" or "dataset".
        other_ways: what a user without a connection can do, for the error's text, numbered from (2).
    """

    role: str
    name: str
    patterns: tuple[str, ...]
    kind: str = "model"
    other_ways: str = _OTHER_WAYS


# The safetensors patterns are narrow: repositories also hold the same weights in other forms.
_ENCODER = Repository(
    role="encoder",
    name="google/siglip2-so400m-patch16-384",
    patterns=(
        CONFIG_FILE,
        PREPROCESS_FILE,
        "model.safetensors",
        "model.safetensors.index.json",
        "model-*.safetensors",
    ),
)
_HEADS = {
    "large": Repository("heads", "laion/Empathic-Insight-Face-Large", (HEAD_PATTERN, MEANS_PATTERN)),
    "small": Repository("heads", "laion/Empathic-Insight-Face-Small", (HEAD_PATTERN, MEANS_PATTERN)),
}
VARIANTS = tuple(_HEADS)


def fetch_published(variant: str, cache_dir: Path, revision: str | None = None) -> Published:
    """The published files of "large" or "small", from the hub's cache or downloaded into it.

    Without a revision, the commit that `main` meant at the first use is written to `<cache_dir>/hub-pins.json` and
    used from then on. So scores do not change when a repository does. A revision is a commit, tag or branch for both
    repositories, or "encoder=REV,heads=REV" (one may be left out). Raises CheckpointError when the files cannot be had
    (the text names the other ways) or are incomplete, or the revision is unusable.
    """
    revisions = _parse_revision(revision)
    folders, commits = [], []
    for repository in (_ENCODER, _HEADS[variant]):
        folder = snapshot(repository, revisions.get(repository.role), cache_dir)
        folders.append(folder)
        commits.append(f"{repository.name}@{folder.name}")
    _check_complete(folders[1])
    source = " + ".join(commits)
    return Published(encoder=folders[0], heads=folders[1], source=source, identity=source)


def _parse_revision(revision: str | None) -> dict[str, str]:
    if revision is None:
        return {}
    parts = [part.partition("=") for part in revision.split(",")]
    by_role = {role: rev for role, _, rev in parts}
    if "=" not in revision:
        by_role = {"encoder": revision, "heads": revision}
    if len(by_role) < len(parts) or not set(by_role) <= {"encoder", "heads"}:
        raise CheckpointError(f"revision is {revision!r}; expected REV or encoder=REV,heads=REV.")
    for rev in by_role.values():
        _check_revision(rev, revision)
    return by_role


def _check_revision(rev: str, whole: str) -> None:
    if not _REVISION.fullmatch(rev) or ".." in rev:
        raise CheckpointError(f"revision is {whole!r}; expected a commit, tag or branch, not {rev!r}.")


def snapshot(repository: Repository, revision: str | None, cache_dir: Path) -> Path:
    """The snapshot folder of a repository; its name is the commit, pinned where no revision is given.

    Raises CheckpointError when it cannot be had (the text names the other ways), or the revision is unusable.
    """
    if revision is not None:
        _check_revision(revision, revision)
        return _download(repository, revision)
    pinned = _read_pins(cache_dir).get(repository.name)
    folder = _download(repository, pinned or "main")
    if pinned is None:
        _write_pin(cache_dir, repository.name, folder.name)
    return folder


def _download(repository: Repository, revision: str) -> Path:
    from huggingface_hub import HfApi, snapshot_download

    name, kind, fault = repository.name, repository.kind, None
    try:
        try:  # one question first: without a connection a download would ask again and again, for half a minute
            HfApi().repo_info(name, repo_type=kind, revision=revision, timeout=_PATIENCE)
        except Exception as error:
            fault = error
        patterns, offline = list(repository.patterns), fault is not None
        folder = Path(
            snapshot_download(
                name, repo_type=kind, revision=revision, allow_patterns=patterns, local_files_only=offline
            )
        )
    except Exception as error:  # what is raised differs between versions, down to the HTTP client's classes
        reason = str(fault or error)
        reason = next((line.strip() for line in reason.splitlines() if line.strip()), type(fault or error).__name__)
        raise CheckpointError(
            f"{name} (revision {revision}) is neither whole in the hub's cache nor could it be "
            f"downloaded ({reason[:200]}). Expected one of: (1) a connection to the hub, with HF_HUB_OFFLINE "
            f"unset, or HF_ENDPOINT naming a mirror; {repository.other_ways}."
        ) from None
    if not _COMMIT.fullmatch(folder.name):
        raise CheckpointError(f"{folder}: found a snapshot without a commit in its name; expected 40 hex digits.")
    if repository.kind == "model":
        _refuse_foreign(folder)
    return folder


def _refuse_foreign(folder: Path) -> None:
    """Weights that others can change would change scores in silence. Data sets are inputs, whoever made them."""
    fault = next((fault for path in sorted(folder.rglob("*")) if path.exists() and (fault := foreign(path))), None)
    if fault is not None:
        raise CheckpointError(
            f"the hub's cache is not used: {fault}. Expected weights that only you can change: name a cache of your "
            "own by HF_HUB_CACHE, or, if you trust these files, name a folder that holds them as encoder/ and heads/."
        )


def _check_complete(heads: Path) -> None:
    """Without this check an interrupted download would count, offline, as a checkpoint of fewer heads."""
    found = find_heads(heads)
    missing = [d.slug for d in taxonomy.EMOTIONS if d.slug not in found]
    if missing:
        raise CheckpointError(
            f"{heads} has no heads for {len(missing)} of the 40 emotions ({', '.join(missing[:5])}); "
            "expected all of them: the download was cut short. Connect and run again; only what is missing "
            "is downloaded."
        )


def _read_pins(cache_dir: Path) -> dict[str, str]:
    path = cache_dir / PINS_FILE
    if not path.exists():
        return {}
    fault = foreign(path)
    if fault is not None:
        raise CheckpointError(f"{path} is not used: {fault}. Remove it to pin anew, or choose another cache folder.")
    pins = jsonfile.read(path)
    for name, commit in pins.items():
        if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
            raise CheckpointError(
                f"{path}: {name} is pinned to {commit!r}; expected 40 hex digits. Remove the file to pin anew."
            )
    return pins


def _write_pin(cache_dir: Path, name: str, commit: str) -> None:
    path = cache_dir / PINS_FILE
    pins = _read_pins(cache_dir) | {name: commit}
    try:
        write_own(path, json.dumps(pins, indent=1).encode() + b"\n")
    except (OSError, EmonetError) as error:
        raise CheckpointError(
            f"{path} could not be written ({error}); expected a cache folder that can be written to. "
            "Choose another one, or give a revision."
        ) from None
