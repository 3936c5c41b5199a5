"""The demo's portraits: whole, and the crops of their faces."""

import numpy as np
import pytest
from PIL import Image

from benchmarks.pictures import PORTRAITS, write_portraits
from emonet_fast.faces.geometry import boxes_of, overlaps

from ..tolerances import DETECTOR_IOU


@pytest.fixture(scope="module")
def portraits(tmp_path_factory):
    for package in ("skimage", "matplotlib"):
        pytest.importorskip(package, reason=f"{package} (extra demo) is not installed")
    return write_portraits(tmp_path_factory.mktemp("portraits"))


def test_each_portrait_is_there_whole_and_cropped(portraits):
    names = [path.name for path in portraits]
    assert names == [f"{name}-{part}.png" for name in PORTRAITS for part in ("whole", "face")]
    for whole, face, (_, _, box) in zip(portraits[::2], portraits[1::2], PORTRAITS.values(), strict=True):
        pixels, cropped = np.asarray(Image.open(whole)), np.asarray(Image.open(face))
        side = round(1.5 * box.height)
        assert cropped.shape == (side, side, 3)
        left, top = round(box.x + box.width / 2 - side / 2), round(box.y + box.height / 2 - side / 2)
        np.testing.assert_array_equal(cropped, pixels[top : top + side, left : left + side])


def test_the_boxes_are_the_detectors(portraits):
    from emonet_fast.faces import FaceDetector

    from ..faces.conftest import SHARED_MODELS

    yunet = SHARED_MODELS / "yunet_s_dynamic.onnx"
    if not yunet.exists():
        pytest.skip("../shared/models is not beside this checkout")

    found = FaceDetector(yunet).detect([np.asarray(Image.open(path)) for path in portraits[::2]])
    assert [len(faces) for faces in found] == [1, 1]
    known = boxes_of([box for _, _, box in PORTRAITS.values()])
    overlap = overlaps(boxes_of([faces[0] for faces in found]), known).diagonal()
    assert (overlap > DETECTOR_IOU).all(), overlap  # the boxes are written in whole pixels
