"""What is asked of an engine: everything that decides whether a stored one may be used."""

import hashlib
import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class EnginePlan:
    """Two engines with equal plans are interchangeable.

    part: of the graph, see graph.PARTS. backend: "openvino". version: of its compiler, build number included.
    device: the processor's full name and instruction sets. layout: where the tensors lie in the weights file,
    since a stored engine points into it.
    """

    part: str
    backend: str
    version: str
    device: str
    precision: str
    batch_size: int
    graph_version: int
    weights_hash: str
    layout: str

    def key(self) -> str:
        """A file name for this plan: 32 hexadecimal digits of the SHA-256 of all fields."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]
