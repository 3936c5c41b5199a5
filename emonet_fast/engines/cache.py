"""Compiled engines on disk, by their plans. Size and SHA-256 are checked before use."""

import hashlib
import json
import logging
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..files import PendingFile
from ..trust import foreign, make_trusted_folder, mark_used, write_own

_log = logging.getLogger("emonet_fast")


@dataclass(frozen=True, slots=True)
class EnginePlan:
    """What an engine is built from and for. Two engines with equal plans are interchangeable.

    Args:
        part: of the graph, see graph.PARTS.
        backend: "openvino" or "tensorrt".
        version: of its compiler, with the build number.
        device: the processor's full name and instruction sets, or the GPU's name and compute capability.
        precision: "fp32", "bf16" or "fp8"; "int8+bf16" or "int8+fp32" where some layers are int8, the rest the other.
        batch_sizes: those that it is compiled for.
        graph_version: GRAPH_VERSION.
        weights_hash: of the packed checkpoint.
        layout: whatever else decides its form. For OpenVINO, where the tensors lie in the weights file: a stored engine
            points into it. For int8, the recipe's hash, which decides that, too.
    """

    part: str
    backend: str
    version: str
    device: str
    precision: str
    batch_sizes: tuple[int, ...]
    graph_version: int
    weights_hash: str
    layout: str

    def key(self) -> str:
        """Return a file name for this plan: 32 hexadecimal digits of the SHA-256 of all fields."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def __str__(self) -> str:
        sizes = ", ".join(map(str, self.batch_sizes))
        return (
            f"{self.backend} {self.version}, {self.precision}, batch sizes {sizes}, {self.device}, "
            f"graph {self.graph_version} ({self.part}), weights {self.weights_hash}"
        )


class EngineCache:
    """A folder of `<key>.engine` files, each beside a `<key>.json` of its plan, size and hash.

    An engine is a program: only what this cache wrote is loaded, and only where nobody else can have changed it since
    (see trust.foreign). Nothing is stored in a folder of which that does not hold.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, plan: EnginePlan) -> bytes | None:
        """Load the engine of a plan; None where there is none, or where it is damaged, which is logged."""
        path, record = self._paths(plan)
        try:
            fault = foreign(path) or foreign(record)
            if fault is not None:
                _log.warning("stored engine %s is not loaded: %s; it is built again", path, fault)
                return None
            blob, meta = path.read_bytes(), json.loads(record.read_text("utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            _log.warning("stored engine %s cannot be read (%s): it is built again", path, error)
            return None
        if meta != _record(plan, blob):
            _log.warning("stored engine %s does not match its record %s: it is built again", path, record.name)
            return None
        mark_used(path)
        return blob

    def store(self, plan: EnginePlan, blob: bytes) -> None:
        """Store an engine. Two processes that store the same plan at once leave one whole engine.

        Raises OSError or EmonetError when the folder cannot be made or written, or others may write it.
        """
        make_trusted_folder(self.folder)
        path, record = self._paths(plan)
        write_own(path, blob)
        try:
            write_own(record, json.dumps(_record(plan, blob), indent=1, sort_keys=True).encode())
        except BaseException:
            path.unlink(missing_ok=True)  # without a record it is never loaded: a gigabyte for nothing
            raise

    def load_weights(self, name: str) -> Path | None:
        """The file of weights of this name, which engines point into; None where there is none, or it is damaged."""
        path = self.folder / f"{name}.weights"
        record = path.with_suffix(".json")
        try:
            fault = foreign(path) or foreign(record)
            if fault is None:
                with path.open("rb") as file:
                    found = [path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()]
                meta = json.loads(record.read_text("utf-8"))
                fault = None if found == [meta["size"], meta["sha256"]] else f"it does not match {record.name}"
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            fault = f"it or its record cannot be read ({error})"
        if fault is not None:
            _log.warning("stored weights %s are not loaded: %s; they are made again", path, fault)
            return None
        mark_used(path)
        return path

    def store_weights(self, name: str, source: Path, about: str) -> Path:
        """Store a copy of the file `source`; `about` says for people what it is. Raises as store does."""
        make_trusted_folder(self.folder)
        path = self.folder / f"{name}.weights"
        with PendingFile(path, follow=False) as pending:
            with source.open("rb") as file:
                shutil.copyfileobj(file, pending.file, 1 << 20)
            pending.finish()
            sha256, size = pending.hashed()
            meta = {"source": about, "size": size, "sha256": sha256}
            write_own(path.with_suffix(".json"), json.dumps(meta, indent=1).encode())
            pending.publish()
        return path

    def _paths(self, plan: EnginePlan) -> tuple[Path, Path]:
        key = plan.key()
        return self.folder / f"{key}.engine", self.folder / f"{key}.json"


def _record(plan: EnginePlan, blob: bytes) -> dict[str, Any]:
    """Return what the file beside an engine says, in JSON's own types."""
    meta = {"plan": asdict(plan), "size": len(blob), "sha256": hashlib.sha256(blob).hexdigest()}
    record: dict[str, Any] = json.loads(json.dumps(meta))
    return record
