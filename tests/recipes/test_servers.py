"""The request of docs/recipes.md, answered by KServe's and NVIDIA Triton's servers; Ray Serve of docs/serving.md.

The servers are in environments of their own, as they bring other versions of what is here: EMONET_FAST_KSERVE and
EMONET_FAST_TRITON name the Python of one with `kserve onnxruntime`, or with `nvidia-pytriton onnxruntime`.
"""

import os
import socket
import subprocess
from contextlib import contextmanager

import httpx
import numpy as np
import pytest

from emonet_fast import Scorer

from ..serve.conftest import until
from .conftest import ROOT, block

# pytriton's wheel has Triton with its Python backend alone, so ONNX Runtime runs inside that.
TRITON = """
import sys

import numpy as np
import onnxruntime
from pytriton.decorators import batch
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

model, *ports = sys.argv[1:]
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
outputs = [Tensor(name=one.name, dtype=np.float32, shape=(one.shape[1],)) for one in session.get_outputs()]


@batch
def infer(pixels):
    return dict(zip([one.name for one in outputs], session.run(None, {"pixels": pixels})))


http, grpc, metrics = map(int, ports)
places = dict.fromkeys(["http_address", "grpc_address", "metrics_address"], "127.0.0.1")
with Triton(config=TritonConfig(http_port=http, grpc_port=grpc, metrics_port=metrics, **places)) as triton:
    inputs = [Tensor(name="pixels", dtype=np.uint8, shape=(32, 32, 3))]
    triton.bind("emonet", infer, inputs, outputs, config=ModelConfig(max_batch_size=8))
    triton.serve()
"""


def environment_of(name, packages):
    python = os.environ.get(name)
    if python is None:
        pytest.skip(f"{name} names no Python with {packages}")
    return python


def free_ports(count):
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in taken]
    for one in taken:
        one.close()
    return ports


@contextmanager
def ready(command, url, log):
    """A server of the model `emonet`, once it says that it is ready."""
    with log.open("wb") as said, subprocess.Popen(command, stdout=said, stderr=said) as process:

        def answers():
            assert process.poll() is None, log.read_text()
            try:
                return httpx.get(f"{url}/v2/models/emonet/ready").status_code == 200
            except httpx.TransportError:
                return False

        try:
            until(answers, 240)
            yield
        finally:
            process.terminate()
            process.wait(60)


def asked(url, folder, monkeypatch):
    """The scores that the page's request gets."""
    monkeypatch.chdir(folder)
    names = {}
    code = block("Inference-Header-Content-Length")
    for old, new in (("http://127.0.0.1:8000", url), ("face.jpg", "face.png"), ("(384, 384)", "(32, 32)")):
        assert old in code
        code = code.replace(old, new)
    exec(code, names)  # noqa: S102 - our own page
    return names["scores"]


def test_the_request_by_kserve(exported, tmp_path, monkeypatch):
    python = environment_of("EMONET_FAST_KSERVE", "kserve and onnxruntime")
    folder, scores = exported
    (port,) = free_ports(1)
    command = [python, ROOT / "examples" / "kserve_model.py", folder / "emonet.onnx", "--model_name", "emonet"]
    url = f"http://127.0.0.1:{port}"
    with ready([*command, f"--http_port={port}", "--enable_grpc=false"], url, tmp_path / "log"):
        got = asked(url, folder, monkeypatch)
    np.testing.assert_allclose(got, list(scores.values()), atol=1e-4)


def test_the_request_by_triton(exported, tmp_path, monkeypatch):
    python = environment_of("EMONET_FAST_TRITON", "nvidia-pytriton and onnxruntime")
    folder, scores = exported
    (tmp_path / "server.py").write_text(TRITON)
    ports = free_ports(3)
    url = f"http://127.0.0.1:{ports[0]}"
    command = [python, tmp_path / "server.py", folder / "emonet.onnx", *map(str, ports)]
    with ready(command, url, tmp_path / "log"):
        got = asked(url, folder, monkeypatch)
    np.testing.assert_allclose(got, list(scores.values()), atol=1e-4)


def test_ray_serve_scores_pictures(exported, tiny_folder, cache_dir, monkeypatch):
    ray = pytest.importorskip("ray", reason="extra `ray` is not installed")
    serve = pytest.importorskip("ray.serve", reason='Ray Serve (pip install "ray[serve]") is not installed')
    folder, scores = exported
    monkeypatch.setenv("EMONET_FAST_CACHE", str(cache_dir))
    code = block("@serve.deployment", "serving.md")
    for old, new in (
        ('ef.Scorer("large")', f'ef.Scorer({str(tiny_folder)!r}, device="cpu", precision="fp32")'),
        ('num_replicas=4, ray_actor_options={"num_gpus": 1}', "num_replicas=1"),
    ):
        assert old in code
        code = code.replace(old, new)
    names = {"__name__": "__main__"}  # what lies there is sent to the replicas whole
    exec(code, names)  # noqa: S102 - our own page
    (port,) = free_ports(1)
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100 << 20)
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        serve.run(names["app"])
        answer = httpx.post(f"http://127.0.0.1:{port}/", content=(folder / "face.png").read_bytes(), timeout=120)
        got = answer.raise_for_status().json()
    finally:
        serve.shutdown()
        ray.shutdown()
    with Scorer(tiny_folder, device="cpu", precision="fp32", cache_dir=cache_dir) as scorer:
        want = scorer([folder / "face.png"]).to_dicts()[0]
    assert got["status"] == "ok"
    assert set(scores) <= {name.removeprefix("score_") for name in want}
    for name, value in want.items():
        if isinstance(value, float):
            assert abs(got[name] - value) < 1e-4, name
