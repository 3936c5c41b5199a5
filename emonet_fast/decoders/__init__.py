"""Pictures to batches of the network's input: by Pillow, or by NVIDIA DALI. The way is in flow.py."""

from .base import Decoder, FaceLocator, Prepared
from .choose import open_decoder

__all__ = ["Decoder", "FaceLocator", "Prepared", "open_decoder"]
