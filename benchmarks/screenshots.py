"""Draws the pages that docs/ shows, in headless Chromium (`apt-get install chromium`), into build/screenshots.

    python -m benchmarks.screenshots [--chromium PROGRAM]

The pictures are the demo's portraits, the weights untrained, from a seed and of two layers. `make docs` shows what is
drawn (benchmarks/site.py). Nothing of it is committed.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import av
import numpy as np
from PIL import Image

from benchmarks.pictures import write_portraits

TARGET = Path(__file__).parents[1] / "build" / "screenshots"
# Of the page of pictures its head and its cards, not what lies between.
CARDS_ALONE = "main > section:not(:last-of-type), .summary { display: none; }"
WIDTH, HEIGHT, PORT, PATIENCE = 1200, 900, 18_765, 120.0


def shot(chromium: str, url: str, path: Path, width: int, height: int) -> None:
    """A PNG of a page as a window of that size shows it, once its scripts have run."""
    browser = [
        chromium,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--virtual-time-budget=5000",
    ]
    with tempfile.TemporaryDirectory() as profile:
        own = [f"--user-data-dir={profile}", f"--screenshot={path}", f"--window-size={width},{height}"]
        subprocess.run([*browser, *own, url], check=True, capture_output=True)


def emonet(folder: Path, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "emonet_fast", *arguments], cwd=folder, check=True)


def clip(portraits: list[Path], path: Path) -> None:
    """Twelve seconds that go from one portrait to the next, four frames a second."""
    faces = [np.asarray(Image.open(p).convert("RGB").resize((320, 320)), np.float32) for p in portraits]
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=4)
        stream.width = stream.height = 320
        stream.pix_fmt = "yuv420p"
        for t in np.linspace(0, len(faces) - 1.001, 48):
            first, part = int(t), t % 1
            mixed = (1 - part) * faces[first] + part * faces[first + 1]
            out.mux(stream.encode(av.VideoFrame.from_ndarray(mixed.astype(np.uint8), format="rgb24")))
        out.mux(stream.encode(None))


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """The address of a server of these weights."""
    arguments = ["serve", "-c", "checkpoint", "--port", str(PORT)]
    process = subprocess.Popen([sys.executable, "-m", "emonet_fast", *arguments], cwd=folder)
    url, end = f"http://127.0.0.1:{PORT}/", time.monotonic() + PATIENCE
    try:
        while time.monotonic() < end and process.poll() is None:
            try:
                urlopen(f"{url}readyz").close()  # noqa: S310 - our own address
                break
            except URLError:
                time.sleep(0.5)
        yield url
    finally:
        process.terminate()
        process.wait()


def draw(folder: Path, chromium: str) -> None:
    emonet(folder, "synthetic", "checkpoint", "--layers", "2", "--heads", "small")
    portraits = write_portraits(folder / "portraits")
    clip(portraits, folder / "talk.mp4")
    weights = ("-c", "checkpoint")
    emonet(folder, "score", "portraits", *weights, "--report", "pictures.html")
    emonet(folder, "video", "talk.mp4", *weights, "--faces", "none", "-o", "video.parquet", "--report", "video.html")
    emonet(folder, "bulk", "portraits", *weights, "-o", "scores", "--devices", "cpu")
    emonet(folder, "report", "scores")
    whole = folder / "pictures.html"
    whole.write_text(whole.read_text("utf-8").replace("</head>", f"<style>{CARDS_ALONE}</style></head>"), "utf-8")
    pages = {"pictures": "pictures.html", "video": "video.html", "bulk": "scores/report.html"}
    with server(folder) as url:
        for name, address in ({n: (folder / p).as_uri() for n, p in pages.items()} | {"server": url}).items():
            picture = folder / f"{name}.png"
            shot(chromium, address, picture, WIDTH, HEIGHT)
            with Image.open(picture) as image:
                image.convert("RGB").save(TARGET / f"{name}.webp", quality=80, method=6)
            print(f"drew {TARGET / name}.webp")


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw the pages that docs/ shows into build/screenshots.")
    parser.add_argument("--chromium", default="chromium", help="The browser.")
    options = parser.parse_args()
    TARGET.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder), options.chromium)


if __name__ == "__main__":
    main()
