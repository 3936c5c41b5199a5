"""The detector beside OpenCV's, at two scales, in any company, and its refusals."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emonet_fast.errors import CheckpointError, OptionError
from emonet_fast.faces.detector import FaceDetector
from emonet_fast.faces.geometry import boxes_of, overlaps

from ..tolerances import DETECTOR_IOU, DETECTOR_PIXELS, DETECTOR_SCORE


def crowd(astronaut: np.ndarray, width: int, height: int, seed: int = 0) -> np.ndarray:
    """Five faces of 40 to 110 pixels on a smooth background."""
    rng = np.random.default_rng(seed)
    rows = np.linspace(40, 200, height)[:, None, None]
    picture = np.broadcast_to(rows, (height, width, 3)).astype(np.uint8).copy()
    face = Image.fromarray(astronaut[20:230, 120:330])
    for i in range(5):
        side = int(rng.integers(80, 190))
        left, top = 10 + i * (width - 20) // 5, int(rng.integers(0, height - side))
        side = min(side, width - left)
        picture[top : top + side, left : left + side] = np.asarray(face.resize((side, side)))
    return picture


def opencv_faces(model: Path, picture: np.ndarray, min_score: float) -> np.ndarray:
    cv2 = pytest.importorskip("cv2", reason="opencv-python-headless (extra test) is not installed")
    height, width = picture.shape[:2]
    theirs = cv2.FaceDetectorYN.create(str(model), "", (width, height), min_score, 0.3, 5000)
    found = theirs.detect(np.ascontiguousarray(picture[..., ::-1]))[1]
    return np.empty((0, 15)) if found is None else found


@pytest.mark.parametrize("file", ["yunet_s_dynamic.onnx", "yunet_n_dynamic.onnx"])
@pytest.mark.parametrize("size", [(480, 480), (480, 288), (288, 480)])
def test_equals_opencv_at_the_same_size(yunet, astronaut, faces, file, size):
    model = yunet.with_name(file)
    pictures = [astronaut, crowd(astronaut, 960, 540), *(np.asarray(Image.open(p).convert("RGB")) for p in faces)]
    pictures = [np.asarray(Image.fromarray(p).resize(size)) for p in pictures]
    ours = FaceDetector(model, scales=(480,), min_score=0.6, min_face=0)
    total = 0
    for picture, found in zip(pictures, ours.detect(pictures), strict=True):
        theirs = opencv_faces(model, picture, 0.6)
        assert len(found) == len(theirs)
        total += len(found)
        if not found:
            continue
        table = overlaps(boxes_of(found), np.asarray(theirs[:, :4], np.float64))
        assert table.max(axis=1).min() >= DETECTOR_IOU
        nearest = theirs[table.argmax(axis=1)]
        np.testing.assert_allclose([f.score for f in found], nearest[:, 14], atol=DETECTOR_SCORE)
        marks = np.array([f.landmarks for f in found]).reshape(len(found), 10)
        np.testing.assert_allclose(marks, nearest[:, 4:14], atol=1.0)
    assert total >= 3  # the other shapes squash faces beyond recognition


def test_astronaut_is_where_she_is(yunet, astronaut):
    (found,) = FaceDetector(yunet).detect([astronaut])
    assert len(found) == 1
    truth = np.array([[178.0, 65.0, 91.0, 111.0]])
    assert overlaps(boxes_of(found), truth)[0, 0] > 0.85
    assert found[0].score > 0.9


def test_second_scale_finds_small_faces_and_keeps_large_ones(yunet, astronaut):
    picture = np.full((720, 1280, 3), 90, np.uint8)
    picture[100:612, 60:572] = astronaut
    small = np.asarray(Image.fromarray(astronaut[:280, 90:370]).resize((80, 80)))
    picture[300:380, 900:980] = small  # a face of 25 pixels: 9 at the first scale
    coarse = FaceDetector(yunet, scales=(480,), min_face=0).detect([picture])[0]
    both = FaceDetector(yunet, min_face=0).detect([picture])[0]
    assert len(coarse) == 1
    assert len(both) == 2
    assert sorted(round(f.x) > 640 for f in both) == [False, True]


def test_result_does_not_depend_on_company(yunet, astronaut):
    """Alone, in the midst of others, and of another size beside it: the same numbers."""
    detector = FaceDetector(yunet)
    others = [crowd(astronaut, 640, 360, seed) for seed in range(3)]
    together = detector.detect([others[0], astronaut, *others[1:], np.zeros((300, 200, 3), np.uint8)])
    alone = [detector.detect([p])[0] for p in (others[0], astronaut, *others[1:])]
    for one, many in zip(alone, together, strict=False):
        np.testing.assert_allclose(boxes_of(one), boxes_of(many), atol=1e-3)
    assert together[-1] == ()
    assert detector.detect([]) == []


def test_minimum_size(yunet, astronaut):
    assert FaceDetector(yunet, min_face=200).detect([astronaut]) == [()]


def test_tiny_and_odd_pictures(yunet):
    shapes = [(1, 1), (3, 700), (700, 3), (31, 33)]
    found = FaceDetector(yunet).detect([np.zeros((h, w, 3), np.uint8) for h, w in shapes])
    assert found == [()] * 4


@pytest.mark.parametrize("file", ["yunet_s_dynamic.onnx", "yunet_n_dynamic.onnx"])
def test_pytorch_network_is_the_same(yunet, astronaut, file):
    """The path of a GPU, run where there is none: the same graph, the same numbers."""
    pytest.importorskip("torch")
    pictures = [crowd(astronaut, 640, 360, seed) for seed in range(2)] + [astronaut]
    ours = FaceDetector(yunet.with_name(file)).detect(pictures)
    theirs = FaceDetector(yunet.with_name(file), device="cpu:0").detect(pictures)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(boxes_of(one), boxes_of(other), atol=DETECTOR_PIXELS)
        np.testing.assert_allclose([f.score for f in one], [f.score for f in other], atol=1e-5)


def test_pytorchs_settings_may_be_any_and_stay(yunet, astronaut, monkeypatch):
    """cuDNN goes on, in float32; and PyTorch's older setting of TF32, which cannot be read here, is not asked for."""
    torch = pytest.importorskip("torch")
    cudnn, seen = torch.backends.cudnn, []
    convolve = torch.nn.functional.conv2d

    def watched(*arguments):
        seen.append((cudnn.enabled, cudnn.conv.fp32_precision))
        return convolve(*arguments)

    monkeypatch.setattr(torch.nn.functional, "conv2d", watched)
    monkeypatch.setattr(cudnn.rnn, "fp32_precision", "ieee")
    assert len(FaceDetector(yunet, device="cpu:0").detect([astronaut])) == 1
    assert set(seen) == {(True, "ieee")}
    assert (cudnn.enabled, cudnn.conv.fp32_precision) == (True, "tf32")


def test_pictures_on_the_networks_device_are_read_there(yunet, astronaut):
    """As on a GPU, whose pictures PyTorch shrinks: the faces are those of the same pictures shrunk by Pillow."""
    torch = pytest.importorskip("torch")
    pictures = [crowd(astronaut, 1900, 1100, 3), crowd(astronaut, 640, 360, 1), astronaut]
    detector = FaceDetector(yunet, device="cpu:0")
    ours = detector.detect([torch.from_numpy(rgb) for rgb in pictures])
    for one, other in zip(ours, detector.detect(pictures), strict=True):
        assert len(one) == len(other) > 0
        shared = overlaps(boxes_of(one), boxes_of(other)).max(axis=1)
        assert shared.min() >= DETECTOR_IOU
        np.testing.assert_allclose(sorted(f.score for f in one), sorted(f.score for f in other), atol=DETECTOR_SCORE)


@pytest.mark.parametrize(
    "settings", [{"scales": ()}, {"scales": (500,)}, {"scales": (960, 480)}, {"min_score": 0.0}, {"min_face": -1.0}]
)
def test_settings_refused(tmp_path, settings):
    with pytest.raises(OptionError, match="expected"):
        FaceDetector(tmp_path / "any.onnx", **settings)


def test_not_a_model(tmp_path):
    path = tmp_path / "other.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(CheckpointError, match="expected YuNet"):
        FaceDetector(path)


def test_another_model(tmp_path):
    onnx = pytest.importorskip("onnx")
    info = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1, 3, 32, 32]) for n in ("a", "b")]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["a"], ["b"])], "g", [info[0]], [info[1]])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "relu.onnx"
    onnx.save(model, path)
    with pytest.raises(CheckpointError, match="lacks the outputs cls_8"):
        FaceDetector(path)
