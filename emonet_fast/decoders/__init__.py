"""Pictures to batches of the network's input: by Pillow, or by NVIDIA DALI. Joins decode.py and preprocess.py."""

from .base import Decoder, Prepared
from .choose import open_decoder

__all__ = ["Decoder", "Prepared", "open_decoder"]
