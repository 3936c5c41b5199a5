"""The contract that every backend fulfils."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..records import Float32Array, UInt8Array


@dataclass(frozen=True, slots=True)
class Outputs:
    """What the network gives for n images.

    Args:
        embedding: [n, hidden] float32, not normalised.
        raw: [n, H] float32 scores in the order of Checkpoint.names.
    """

    embedding: Float32Array
    raw: Float32Array


class Backend(Protocol):
    """Runs the network.

    Args:
        name: of the backend; goes into every output's metadata, as does the precision.
        precision: "fp32", "bf16", "int8" or "fp8": the one that is used, never "auto".
        proof: what every output says of the precision besides. Of int8 `recipe`, the recipe's hash, and `fidelity`, the
            verdict of its report, or `accepted_fidelity` where it does not pass. Empty for others.
        batch_size: the largest batch.
        depth: how many batches are worth having under way before the oldest result is taken; 0 where `submit` does
            the work before it returns.
    """

    name: str
    precision: str
    proof: Mapping[str, str]
    batch_size: int
    depth: int

    def run(self, pixels: UInt8Array) -> Outputs:
        """Score pixels [n, 3, S, S], uint8 RGB planes, 1 <= n <= batch_size; a smaller batch is padded inside.

        A row's outputs depend neither on the other rows nor on its place.
        """

    def submit(self, pixels: UInt8Array) -> Callable[[], Outputs]:
        """As `run`, but return at once where the engine works beside the host: a function that waits for the outputs.

        Results are taken in order, and at most depth + 1 of them may be outstanding. The memory of `pixels` may be
        reused when this returns.
        """

    def close(self) -> None:
        """Free the engine's memory. The backend cannot be used afterwards."""


class DeviceBackend(ABC):
    """A backend on a GPU, which also takes batches where they lie there. For its methods see Backend, too."""

    # Batches worth having under way: the copy of one overlaps with the work of the one before.
    depth = 1
    proof: Mapping[str, str] = MappingProxyType({})

    def run(self, pixels: UInt8Array) -> Outputs:
        return self.submit(pixels)()

    def run_to_host(self, pixels: object, stream: object = None) -> Outputs:
        """As `run_device` of the backend, then wait and return the outputs on the host."""
        return self.queue(pixels, stream)()

    def submit_device(self, pixels: object) -> Callable[[], Outputs]:
        """As Backend.submit, for pixels [n, 3, S, S] on the GPU that become ready on the stream of `place`.

        Does not wait for anything. The pixels are kept until the result is taken, since their memory must not go to
        others before. Raises InputError when the pixels are no batch of this network on this GPU.
        """
        return self.queue(pixels, self.place()[1])

    @abstractmethod
    def submit(self, pixels: UInt8Array) -> Callable[[], Outputs]:
        """See Backend.submit."""

    @abstractmethod
    def queue(self, pixels: object, stream: object) -> Callable[[], Outputs]:
        """Queue `run_device` and the copies to the host; returns what waits for them and gives them."""

    @abstractmethod
    def place(self) -> tuple[int, int]:
        """Return the GPU's index, and the handle of the CUDA stream on which `submit_device` works."""


def padded(pixels: npt.NDArray[Any], batch_size: int) -> npt.NDArray[Any]:
    """Return pixels or embeddings [n, ...] with rows of zeros added up to batch_size; no copy where n is that."""
    n = len(pixels)
    if not 1 <= n <= batch_size:
        raise ValueError(f"a batch has {n} rows; expected 1 to {batch_size}")
    if n == batch_size:
        return np.ascontiguousarray(pixels)
    out = np.zeros((batch_size, *pixels.shape[1:]), dtype=pixels.dtype)
    out[:n] = pixels
    return out
