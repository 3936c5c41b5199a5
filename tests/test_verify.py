"""verify: both sides in one run, and a gate that fails when it must."""

import json

import numpy as np
import pytest
from PIL import Image

from emonet_fast.options import Options
from emonet_fast.verify import run as verify
from emonet_fast.verify.worker import Order

pytest.importorskip("torch", reason="the reference (extra reference) is not installed")


@pytest.fixture(scope="module")
def report(published_small, small, photos, cache_dir):
    return verify.run(
        str(published_small),
        photos[:4],
        verify.precisions_for(Options(device="cpu")),
        Options(device="cpu", backend="openvino", cache_dir=cache_dir),
        names=small.names,
        checkpoint_hash=small.weights_hash,
    )


def test_compares_every_precision_with_the_reference(report):
    names = [row.name for row in report.rows]
    assert names[0] == "reference fp32"
    assert "engine fp32" in names
    fp32 = report.rows[names.index("engine fp32")]
    assert 0 < fp32.fidelity.max_error <= 1e-4
    assert fp32.gate.passed
    assert report.passed
    assert report.rows[0].factor == 1.0
    assert all(row.seconds > 0 for row in report.rows)
    assert all(row.memory["peak"] >= row.memory["now"] > 100 for row in report.rows if row.memory)


def test_text_and_json_say_the_same(report):
    body = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert body["passed"] is True
    text = report.text()
    for row in body["rows"]:
        assert row["name"] in text
        assert f"{row['seconds']:.3f}" in text
    if "engine bf16" in text:
        assert "needs 64 pictures, had 4" in text


def test_a_wrong_engine_fails(report):
    from dataclasses import replace

    from emonet_fast.engines.fidelity import gate_fp32

    names = [row.name for row in report.rows]
    row = report.rows[names.index("engine fp32")]
    wrong = replace(row.fidelity, max_error=0.05)
    failing = replace(report, rows=(replace(row, fidelity=wrong, gate=gate_fp32(wrong)),))
    assert not failing.passed
    assert "FAILS: max score error 5.00e-02 is above 1e-3" in failing.text()


def test_pictures_of_a_folder(tmp_path, photos):
    for i, rgb in enumerate(photos[:3]):
        Image.fromarray(rgb).save(tmp_path / f"{i}.png")
    (tmp_path / "1.png").write_bytes(b"broken")
    found = verify.pictures_for(tmp_path, 64, Options())
    assert len(found) == 2
    np.testing.assert_array_equal(found[1], photos[2])
    assert len(verify.pictures_for(tmp_path, 1, Options())) == 1


def test_default_pictures_are_all_different():
    found = verify.pictures_for(None, 64, Options())
    assert len({picture.tobytes() for picture in found}) == 64


def test_an_order_reaches_its_process_whole(tmp_path):
    options = Options(cache_dir=tmp_path, precision="int8", recipe=tmp_path / "r.safetensors", accept_fidelity=True)
    order = Order("engine", "large", options, tmp_path / "pictures")
    assert Order.from_json(json.loads(json.dumps(order.as_json()))) == order


def test_what_goes_with_int8_alone_stays_there(tmp_path):
    options = Options(cache_dir=tmp_path, precision="int8", recipe=tmp_path / "r.safetensors", accept_fidelity=True)
    assert verify._at(options, "int8") == options
    plain = verify._at(options, "fp32")
    assert (plain.precision, plain.recipe, plain.accept_fidelity) == ("fp32", None, False)
