"""Heads, directories and indexes that are small on the disk and large in memory are refused before they are read."""

import io
import json
import zipfile

import pytest

from emonet_fast.checkpoint.jsonfile import MAX_BYTES
from emonet_fast.checkpoint.pickles import read_state_dict
from emonet_fast.checkpoint.tensors import EncoderFiles, SafetensorsFile
from emonet_fast.checkpoint.torchzip import MAX_FILE
from emonet_fast.errors import CheckpointError

from .layouts import TorchFile, program


def with_header(header: dict[str, object]) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text


def test_header_of_safetensors(tmp_path):
    """Sound, and of 95 MB it took 2.5 GB."""
    path = tmp_path / "large.safetensors"
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    path.write_bytes(with_header({f"{i:032}": empty for i in range(MAX_BYTES // 90)}))
    with pytest.raises(CheckpointError, match=rf"announces a header of \d{{7}} bytes; expected at most {MAX_BYTES}"):
        SafetensorsFile(path)


def test_index_of_an_encoder(tmp_path):
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {f"{i:032}": "a.safetensors" for i in range(MAX_BYTES // 50)}}))
    with pytest.raises(CheckpointError, match=f"expected a JSON file of at most {MAX_BYTES}"):
        EncoderFiles(tmp_path)


def test_directory_of_a_head(tmp_path):
    members = {f"data/{i:060}": b"" for i in range(9000)}
    path = TorchFile(program({}), members).write(tmp_path / "model_awe_best.pth")
    with pytest.raises(CheckpointError, match=r"a directory of \d{7} bytes, expected at most 1048576"):
        read_state_dict(path)


def test_size_of_a_head(tmp_path):
    """Sparse, so that it takes no room here."""
    path = tmp_path / "model_awe_best.pth"
    with path.open("wb") as file:
        file.write(b"PK\3\4")
        file.seek(MAX_FILE)
        file.write(TorchFile(program({})).data())
    with pytest.raises(CheckpointError, match=f"expected at most {MAX_FILE}"):
        read_state_dict(path)


def test_what_an_error_quotes(tmp_path):
    """A member's name of 60,000 characters and two lines."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a\n\x1b[2J" + "b" * 60_000, b"")
    path = tmp_path / "model_awe_best.pth"
    path.write_bytes(out.getvalue())
    with pytest.raises(CheckpointError) as caught:
        read_state_dict(path)
    assert len(str(caught.value)) < 1100
    assert str(caught.value).isprintable()
