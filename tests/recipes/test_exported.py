"""The exported model in C++, Node.js and a browser, as docs/recipes.md tells."""

import os
import shutil
import subprocess
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread

import pytest

from .conftest import ROOT, same


@pytest.fixture(scope="module")
def runtime_in_cpp():
    """Folder of the headers, and the library. They come before a model is exported, which takes seconds.

    EMONET_FAST_ONNXRUNTIME: a folder with include/ and lib/, where Debian's libonnxruntime-dev is not installed.
    """
    place = Path(os.environ.get("EMONET_FAST_ONNXRUNTIME", "/usr"))
    headers = [one.parent for one in (place / "include").rglob("onnxruntime_cxx_api.h")]
    libraries = [*(place / "lib").rglob("libonnxruntime.so*")]
    if not headers or not libraries or shutil.which("c++") is None:
        pytest.skip("no C++ compiler, or no headers and library of ONNX Runtime (EMONET_FAST_ONNXRUNTIME, or /usr)")
    return headers[0], libraries[0]


def test_scores_in_cpp(runtime_in_cpp, exported, tmp_path):
    (headers, library), (folder, scores) = runtime_in_cpp, exported
    command = ["c++", "-std=c++17", "-Wall", "-Werror", ROOT / "examples" / "onnx_scores.cpp", f"-I{headers}"]
    command += [library, f"-Wl,-rpath,{library.parent}", "-o", tmp_path / "onnx_scores"]
    subprocess.run(command, check=True)
    told = subprocess.run(
        [tmp_path / "onnx_scores", "emonet.onnx", "face.ppm"], cwd=folder, capture_output=True, check=True
    )
    same(told.stdout.decode(), scores)


@pytest.fixture(scope="module")
def runtime_in_javascript():
    """EMONET_FAST_NODE: a folder in which `npm install onnxruntime-node` was run."""
    place = os.environ.get("EMONET_FAST_NODE")
    if place is None or shutil.which("node") is None:
        pytest.skip("no Node.js, or EMONET_FAST_NODE names no folder with onnxruntime-node")
    return place


def test_scores_in_javascript(runtime_in_javascript, exported):
    folder, scores = exported
    files = [folder / name for name in ("emonet.onnx", "face.ppm", "labels.txt")]
    command = ["node", ROOT / "examples" / "onnx_scores.mjs", *files]
    same(subprocess.run(command, cwd=runtime_in_javascript, capture_output=True, check=True).stdout.decode(), scores)


@pytest.fixture(scope="module")
def browser():
    """Chromium, and a folder in which `npm install onnxruntime-web` was run."""
    chromium, place = shutil.which("chromium"), os.environ.get("EMONET_FAST_NODE")
    if chromium is None or place is None or not (Path(place) / "node_modules" / "onnxruntime-web").is_dir():
        pytest.skip("no Chromium, or EMONET_FAST_NODE names no folder with onnxruntime-web")
    return chromium, Path(place)


# Sends what the page shows once it is no longer what stands in it.
TELLS = """
<script>
  new MutationObserver(() => fetch("told", { method: "POST", body: document.getElementById("scores").textContent }))
    .observe(document.getElementById("scores"), { childList: true });
</script>
"""


class Site(SimpleHTTPRequestHandler):
    """The files of a folder, and what pages send."""

    told: Queue[str] = Queue()

    def do_POST(self):
        self.told.put(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.send_response(204)
        self.end_headers()

    def log_message(self, *words):
        """Nothing."""


@contextmanager
def served(folder):
    """The address of a server of these files."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Site, directory=folder)) as server:
        Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


def test_scores_in_a_browser(browser, exported, tmp_path):
    (chromium, place), (folder, scores) = browser, exported
    site = tmp_path / "site"
    site.mkdir()
    for path in (place / "node_modules", *folder.glob("[!.]*")):
        (site / path.name).symlink_to(path)
    (site / "page.html").write_text((ROOT / "examples" / "onnx_scores.html").read_text("utf-8") + TELLS, "utf-8")
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    with served(site) as url, subprocess.Popen([*command, f"{url}/page.html"], stderr=subprocess.DEVNULL) as process:
        try:
            same(Site.told.get(timeout=120), scores)
        finally:
            process.terminate()
