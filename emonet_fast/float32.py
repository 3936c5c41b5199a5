"""PyTorch's settings that decide how exact its products and convolutions are, changed while a piece of work lasts.

They are PyTorch's own and hold for the whole process: none of them is kept for each thread. So threads share them. The
first one to ask saves and changes a setting, and the last one to end puts it back. What is saved is the setting itself:
PyTorch's older interface (`set_float32_matmul_precision`, `allow_tf32`) cannot even be read where a program uses the
newer one (`fp32_precision`), and setting it would change more than this.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .optional import need
from .shared import HeldSetting


def _backends() -> Any:
    return need("torch", "the GPU engine").backends


@contextmanager
def _without_tf32(operation: Callable[[Any], Any]) -> Iterator[None]:
    """`operation` gives of torch.backends the object whose `fp32_precision` is changed."""
    settings = operation(_backends())
    before = settings.fp32_precision
    if before == "tf32":
        settings.fp32_precision = "ieee"
    yield
    if before == "tf32":
        # PyTorch does not tell whether the value was the operation's own or came from the setting above it. What
        # comes from above must go on following that one, or the program could not turn TF32 off any more.
        settings.fp32_precision = "none"
        if settings.fp32_precision != before:
            settings.fp32_precision = before


@contextmanager
def _full_sums() -> Iterator[None]:
    """cuBLAS may add the parts of a bf16 product in bf16, where it splits the sum, unless this is forbidden."""
    matmul = _backends().cuda.matmul
    before = matmul.allow_bf16_reduced_precision_reduction
    if before:
        # Whether sums may be split at all can only be forbidden together with this, so it is allowed before and after.
        matmul.allow_bf16_reduced_precision_reduction = False
    yield
    if before:
        matmul.allow_bf16_reduced_precision_reduction = True


_products = HeldSetting(lambda: _without_tf32(lambda backends: backends.cuda.matmul))
_sums = HeldSetting(_full_sums)


@contextmanager
def exact_products() -> Iterator[None]:
    """Products of float32 are computed in float32, and those of bf16 are summed in float32, while this lasts."""
    with _products.held(), _sums.held():
        yield


# Convolutions of float32 are computed in float32 while this lasts.
exact_convolutions = HeldSetting(lambda: _without_tf32(lambda backends: backends.cudnn.conv)).held
