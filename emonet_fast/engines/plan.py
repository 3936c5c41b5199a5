"""The plan of an engine: everything that decides whether a stored one may be used."""

import hashlib
import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class EnginePlan:
    """What an engine is built from and for. Two engines with equal plans are interchangeable.

    Args:
        part: of the graph, see graph.PARTS.
        backend: "openvino" or "tensorrt".
        version: of its compiler, with the build number.
        device: the processor's full name and instruction sets, or the GPU's name and compute capability.
        precision: "fp32", "bf16" or "fp8".
        batch_sizes: those that it is compiled for.
        graph_version: GRAPH_VERSION.
        weights_hash: of the packed checkpoint.
        layout: whatever else decides its form. For OpenVINO, where the tensors lie in the weights file: a stored engine
            points into it.
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
