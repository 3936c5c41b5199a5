"""The contract that every backend fulfils."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from ..records import Float32Array, UInt8Array


@dataclass(frozen=True, slots=True)
class Outputs:
    """embedding: [n, hidden] float32, not normalised. raw: [n, H] float32 in the order of Checkpoint.names."""

    embedding: Float32Array
    raw: Float32Array


class Backend(Protocol):
    """Runs the network. name and precision go into every output's metadata.

    depth: how many batches are worth having under way before the oldest result is taken; 0 where `submit` works
    on the spot.
    """

    name: str
    precision: str
    batch_size: int
    depth: int

    def run(self, pixels: UInt8Array) -> Outputs:
        """pixels: [n, 3, S, S] uint8 RGB planes, 1 <= n <= batch_size; n below it is padded inside.

        A row's outputs depend neither on the other rows nor on its place.
        """
        ...

    def submit(self, pixels: UInt8Array) -> Callable[[], Outputs]:
        """As `run`, but returns at once where the engine works beside the host; the result is what it returns.

        pixels may be reused when this returns. Results are taken in order, at most depth + 1 of them outstanding.
        """
        ...

    def close(self) -> None:
        """Free the engine's memory; the backend cannot be used after."""
        ...


@runtime_checkable
class DeviceBackend(Protocol):
    """A backend that also takes batches where they lie on its GPU."""

    def run_to_host(self, pixels: object, stream: object = None) -> Outputs:
        """pixels: [n, 3, S, S] on the GPU, n free; see CudaBackend.run_device."""
        ...

    def place(self) -> tuple[int, int]:
        """The GPU's index, and the handle of the CUDA stream on which `submit_device` works."""
        ...

    def submit_device(self, pixels: object) -> Callable[[], Outputs]:
        """As Backend.submit, for [n, 3, S, S] on the GPU that become ready on the stream of `place`.

        Nothing is waited for here. pixels is kept until its result is taken: its memory must not go to others before.
        """
        ...


def padded(pixels: UInt8Array, batch_size: int) -> UInt8Array:
    """pixels [n, ...] with rows of zeros added up to batch_size, without a copy where n is already that."""
    n = len(pixels)
    if not 1 <= n <= batch_size:
        raise ValueError(f"a batch has {n} rows; expected 1 to {batch_size}")
    if n == batch_size:
        return np.ascontiguousarray(pixels)
    out = np.zeros((batch_size, *pixels.shape[1:]), dtype=pixels.dtype)
    out[:n] = pixels
    return out
