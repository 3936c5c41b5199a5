"""Servers on free ports of this machine, each in a thread of the test's process."""

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from emonet_fast.baseline import Baseline
from emonet_fast.options import FaceOptions, Options, ServeOptions
from emonet_fast.serve.limits import Access
from emonet_fast.serve.run import Server, listen, url_of
from emonet_fast.serve.service import Service

_SETTINGS, _FACES = ServeOptions(port=0), FaceOptions()
TOKEN = "0123456789abcdef" * 2


class Running:
    """A server that listens at `url` and has opened its engine."""

    def __init__(self, service: Service, server: Server, url: str, client: httpx.Client) -> None:
        self.service, self.server, self.url, self.client = service, server, url, client


def until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until something is true; fail after the seconds."""
    if not true():
        waiting = threading.Event()
        for _ in range(int(seconds / 0.01)):
            waiting.wait(0.01)
            if true():
                return
        pytest.fail(f"not true after {seconds} s")


@contextmanager
def running(
    checkpoint: Path,
    settings: ServeOptions = _SETTINGS,
    *,
    options: Options | None = None,
    faces: FaceOptions = _FACES,
    token: str | None = None,
    origins: tuple[str, ...] = (),
    baselines: dict[str, Baseline] | None = None,
) -> Iterator[Running]:
    access = Access(token, origins)
    service = Service(str(checkpoint), options or Options(precision="fp32"), faces, settings, access, baselines or {})
    with listen(settings, token) as listener:
        server = Server(service, listener)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        try:
            with httpx.Client(base_url=url_of(listener), headers=headers, timeout=60) as client:
                until(lambda: service.batcher is not None or service.failure is not None)
                assert service.failure is None, service.failure
                until(lambda: server.started)
                yield Running(service, server, url_of(listener), client)
        finally:
            server.stop()
            thread.join(60)
            assert not thread.is_alive()


@pytest.fixture(scope="module")
def served(tiny_folder: Path) -> Iterator[Running]:
    """A server with the settings of the command, but for its port."""
    with running(tiny_folder) as server:
        yield server


@pytest.fixture(scope="session")
def pictures() -> list[bytes]:
    """12 different JPEGs of different sizes, and what is in them."""
    rng = np.random.default_rng(5)
    made = []
    for i in range(12):
        small = rng.integers(0, 256, (5 + i, 7, 3), np.uint8)
        file = io.BytesIO()
        Image.fromarray(small).resize((40 + 9 * i, 60), Image.Resampling.BICUBIC).save(file, "JPEG")
        made.append(file.getvalue())
    return made
