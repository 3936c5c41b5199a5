"""Picks the decoder and says why."""

import logging
from dataclasses import dataclass

from ..checkpoint.spec import Preprocess
from ..optional import available, need
from ..options import Options
from .base import Decoder, Timed
from .dali.exact import exact_possible
from .pillow import PillowDecoder

_log = logging.getLogger("emonet_fast")
INSTALL = "pip install 'emonet-fast[dali]'"


@dataclass(frozen=True, slots=True)
class DecoderChoice:
    """The name of the decoder that is taken, and why.

    The log gives the reason where the choice is notable: a person may have expected another one.
    """

    decoder: str
    reason: str
    notable: bool = False


def choose(options: Options, spec: Preprocess, device_id: int | None) -> DecoderChoice:
    """Which decoder serves these options beside an engine on that GPU; None is the CPU.

    On the CPU "auto" takes Pillow: DALI saves milliseconds of the network's second, for 250 MB (docs/decoding.md).
    """
    if options.decoder != "auto":
        return DecoderChoice(options.decoder, "asked for")
    if device_id is None:
        return DecoderChoice("pillow", "fast enough beside an engine on the CPU")
    if not available("nvidia.dali"):
        return DecoderChoice("pillow", f"DALI, which decodes on the GPU, is not installed: {INSTALL}", notable=True)
    if not exact_possible(device_id, spec.resample):
        reason = "decodes on the GPU; the host crops and resizes (the GPU does with PyTorch, Triton and the filter"
        return DecoderChoice("dali", f"{reason} bilinear or bicubic)", notable=True)
    return DecoderChoice("dali", "decodes on the GPU")


def open_decoder(
    spec: Preprocess,
    options: Options,
    timed: Timed,
    *,
    threads: int,
    depth: int,
    device_id: int | None,
    stream: int | None,
) -> Decoder:
    """Open the chosen decoder beside an engine on that GPU and CUDA stream; both are None on the CPU.

    depth: of the backend. Beside an engine on the CPU, which has the cores, Pillow gets a thread for two batches of it.

    Raises MissingPackageError when DALI was named and is not installed.
    """
    choice = choose(options, spec, device_id)
    if choice.notable:
        _log.warning("decoder 'auto' takes %s: %s", choice.decoder, choice.reason)
    if choice.decoder == "pillow":
        return PillowDecoder(spec, options, timed, max(1, depth // 2) if device_id is None else threads)
    need("nvidia.dali", "the decoder 'dali'")  # before our own modules, which import it
    from .dali.decoder import DaliDecoder

    return DaliDecoder(spec, options, timed, threads, device_id, stream)
