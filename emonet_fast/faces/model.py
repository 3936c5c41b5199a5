"""Where the detector's file is: the one that was named, or the hub's, at one commit and with one SHA-256."""

import hashlib
from pathlib import Path

from ..checkpoint.fetch import Repository, snapshot
from ..errors import CheckpointError

FILE = "face_detection_yunet_2023mar.onnx"
# MIT licence. The same bytes as yunet_s_640_640.onnx of the authors' own repository.
REVISION = "3cc26e7f1014a5ee5d74a42acee58bafc9d0a310"
SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
REPOSITORY = Repository(
    role="detector",
    name="opencv/face_detection_yunet",
    patterns=(FILE,),
    other_ways=f"(2) {FILE} (or another YuNet of 2023) from elsewhere, named by --detector-model PATH",
)


def find_model(path: Path | None, cache_dir: Path) -> Path:
    """The ONNX file: `path` as it is, or the hub's, downloaded once.

    Raises:
        CheckpointError: when there is no such file, it cannot be downloaded, or what was downloaded is another one.
    """
    if path is not None:
        if not path.is_file():
            raise CheckpointError(f"the detector's model {path} does not exist; expected a YuNet ONNX file")
        return path
    model = snapshot(REPOSITORY, REVISION, cache_dir) / FILE
    try:
        digest = hashlib.sha256(model.read_bytes()).hexdigest()
    except OSError as error:
        raise CheckpointError(f"{model} cannot be read ({error.strerror or error}); remove it and run again") from error
    if digest != SHA256:
        raise CheckpointError(
            f"{model} has the SHA-256 {digest}; expected {SHA256}. Remove the file to download it again, or name "
            "a model of your own by --detector-model PATH"
        )
    return model
