"""PyTorch's settings of float32 are changed while work lasts and put back, whichever interface a program has used."""

from contextlib import ExitStack

import pytest

torch = pytest.importorskip("torch", reason="PyTorch (extra gpu) is not installed")

from emonet_fast.float32 import exact_convolutions, exact_products  # noqa: E402

matmul, conv = torch.backends.cuda.matmul, torch.backends.cudnn.conv


def settings():
    """What can be read of all of them, in either interface."""

    def older(read):
        try:
            return read()
        except RuntimeError:
            return "cannot be read"

    return {
        "generic": torch.backends.fp32_precision,
        "cuda": torch.backends.cudnn.fp32_precision,
        "products": matmul.fp32_precision,
        "convolutions": conv.fp32_precision,
        "recurrent": torch.backends.cudnn.rnn.fp32_precision,
        "older": older(torch.get_float32_matmul_precision),
        "older products": older(lambda: matmul.allow_tf32),
        "older cudnn": older(lambda: torch.backends.cudnn.allow_tf32),
        "cudnn": torch.backends.cudnn.enabled,
        "sums": matmul.allow_bf16_reduced_precision_reduction,
        "split": matmul.allow_bf16_reduced_precision_reduction_split_k,
    }


@pytest.fixture(autouse=True)
def as_before():
    yield
    torch.backends.fp32_precision = torch.backends.cudnn.fp32_precision = matmul.fp32_precision = "none"
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = True
    matmul.allow_bf16_reduced_precision_reduction = True


def above():
    torch.backends.fp32_precision = "tf32"
    matmul.fp32_precision = "none"


def of_cudnn():
    conv.fp32_precision = "ieee"
    torch.backends.cudnn.rnn.fp32_precision = "tf32"


PROGRAMS = {
    "untouched": lambda: None,
    "older, high": lambda: torch.set_float32_matmul_precision("high"),
    "older, medium": lambda: torch.set_float32_matmul_precision("medium"),
    "older, without TF32": lambda: setattr(torch.backends.cudnn, "allow_tf32", False),
    "newer, products": lambda: setattr(matmul, "fp32_precision", "tf32"),
    "newer, from above": above,
    "newer, cudnn apart": of_cudnn,
    "sums not split": lambda: setattr(matmul, "allow_bf16_reduced_precision_reduction", (False, False)),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_all_settings_are_put_back(program):
    PROGRAMS[program]()
    before = settings()
    with exact_products(), exact_convolutions():
        assert "tf32" not in (matmul.fp32_precision, conv.fp32_precision)
        assert matmul.allow_bf16_reduced_precision_reduction is False
        assert matmul.allow_bf16_reduced_precision_reduction_split_k == before["split"]
        assert torch.backends.cudnn.enabled
    assert settings() == before


def test_what_comes_from_above_goes_on_coming_from_there():
    above()
    with exact_products():
        pass
    torch.backends.fp32_precision = "ieee"
    assert matmul.fp32_precision == "ieee"


def test_work_that_overlaps_puts_back_at_its_last_end():
    """As in two threads, which do not end in the order of their beginning."""
    matmul.fp32_precision = "tf32"
    first, second = ExitStack(), ExitStack()
    first.enter_context(exact_products())
    second.enter_context(exact_products())
    first.close()
    assert matmul.fp32_precision == "ieee"
    second.close()
    assert matmul.fp32_precision == "tf32"


def test_an_error_inside_puts_back():
    matmul.fp32_precision = "tf32"
    with pytest.raises(ZeroDivisionError), exact_products(), exact_convolutions():
        1 / 0  # noqa: B018
    assert matmul.fp32_precision == conv.fp32_precision == "tf32"
