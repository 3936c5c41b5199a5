"""PyTorch's settings that decide how exact its products and convolutions are, changed while a piece of work lasts.

They are PyTorch's own and hold for the whole process: none of them is kept for each thread. So threads share them. The
first one to ask saves and changes a setting, and the last one to end puts it back. What is saved is the setting itself:
PyTorch's older interface (`set_float32_matmul_precision`, `allow_tf32`) cannot even be read where a program uses the
newer one (`fp32_precision`), and setting it would change more than this.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from .optional import need

# Changes a setting of torch, and returns what puts it back.
Change: TypeAlias = Callable[[Any], Callable[[], None]]


class HeldSetting:
    """A setting of PyTorch that is changed as long as at least one piece of work, of any thread, holds it."""

    def __init__(self, change: Change) -> None:
        self._change = change
        self._lock, self._holders = threading.Lock(), 0
        self._put_back: Callable[[], None] = _nothing

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the setting while this lasts."""
        with self._lock:
            if self._holders == 0:
                self._put_back = self._change(need("torch", "the GPU engine"))
            self._holders += 1
        try:
            yield
        finally:
            with self._lock:
                self._holders -= 1
                if self._holders == 0:
                    self._put_back()


def _nothing() -> None:
    """What puts back a setting that was right already."""


def _without_tf32(operation: Callable[[Any], Any]) -> Change:
    """`operation` gives of torch the object whose `fp32_precision` is changed."""

    def change(torch: Any) -> Callable[[], None]:
        settings = operation(torch)
        before = settings.fp32_precision
        if before != "tf32":
            return _nothing
        settings.fp32_precision = "ieee"

        def put_back() -> None:
            # PyTorch does not tell whether the value was the operation's own or came from the setting above it. What
            # comes from above must go on following that one, or the program could not turn TF32 off any more.
            settings.fp32_precision = "none"
            if settings.fp32_precision != before:
                settings.fp32_precision = before

        return put_back

    return change


def _full_sums(torch: Any) -> Callable[[], None]:
    """cuBLAS may add the parts of a bf16 product in bf16, where it splits the sum, unless this is forbidden."""
    matmul = torch.backends.cuda.matmul
    if not matmul.allow_bf16_reduced_precision_reduction:
        return _nothing
    # Whether sums may be split at all can only be forbidden together with this, so it is allowed before and after.
    matmul.allow_bf16_reduced_precision_reduction = False

    def put_back() -> None:
        matmul.allow_bf16_reduced_precision_reduction = True

    return put_back


_products = HeldSetting(_without_tf32(lambda torch: torch.backends.cuda.matmul))
_convolutions = HeldSetting(_without_tf32(lambda torch: torch.backends.cudnn.conv))
_sums = HeldSetting(_full_sums)


@contextmanager
def exact_products() -> Iterator[None]:
    """Products of float32 are computed in float32, and those of bf16 are summed in float32, while this lasts."""
    with _products.held(), _sums.held():
        yield


@contextmanager
def exact_convolutions() -> Iterator[None]:
    """Convolutions of float32 are computed in float32 while this lasts."""
    with _convolutions.held():
        yield
