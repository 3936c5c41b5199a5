"""The face detector's file beside the weights in a packed file; the contract is docs/packed-checkpoint.md."""

import base64
import binascii
import hashlib
import json
from pathlib import Path

from ..errors import CheckpointError
from . import jsonfile
from .tensors import SafetensorsFile

DETECTOR_KEY = "emonet_fast.detector"
# Of the file: the hub's has 0.23 MB, and a packed file's header is bounded.
MOST_BYTES = 2_000_000


def detector_json(content: bytes) -> str:
    """The text of DETECTOR_KEY. Raises CheckpointError when the file is too large for a header."""
    if len(content) > MOST_BYTES:
        raise CheckpointError(
            f"the detector's model has {len(content)} bytes; expected at most {MOST_BYTES}, as YuNet has"
        )
    digest = hashlib.sha256(content).hexdigest()
    return json.dumps({"sha256": digest, "onnx": base64.b64encode(content).decode("ascii")})


def packed_detector(where: str | Path) -> bytes | None:
    """The detector's ONNX file within a packed file; None where `where` is no packed file or has none.

    Raises CheckpointError when the file is damaged.
    """
    path = Path(where)
    text = SafetensorsFile(path).metadata.get(DETECTOR_KEY) if path.is_file() else None
    if text is None:
        return None
    doc = jsonfile.parse(text, f"{path}, {DETECTOR_KEY}")
    try:
        content = base64.b64decode(str(doc.get("onnx")), validate=True)
    except binascii.Error:
        content = b""
    if hashlib.sha256(content).hexdigest() != doc.get("sha256"):
        raise CheckpointError(f"{path}: the detector in it is damaged. Pack the checkpoint again, or get it again.")
    return content
