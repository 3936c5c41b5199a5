"""Draws docs/demo-report.png, the README's picture: the page that `make demo` writes, in headless Chromium.

python -m benchmarks.demo_report --checkpoint CHECKPOINT [--chromium PROGRAM]
"""

import argparse
import io
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

from benchmarks import screenshots
from benchmarks.pictures import write_portraits

PICTURE = Path(__file__).parents[1] / "docs" / "demo-report.png"
WIDTH, COLOURS, MOST_BYTES = 1400, 256, 200_000


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw docs/demo-report.png.")
    parser.add_argument("--checkpoint", required=True, help="As of `emonet-fast score`.")
    parser.add_argument("--chromium", default="chromium", help="The browser.")
    parser.add_argument("--height", type=int, default=1030, help="Of the page in pixels that is shown.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        write_portraits(folder / "portraits")
        checkpoint = Path(options.checkpoint).absolute()
        command = ["emonet-fast", "score", "portraits", "-c", checkpoint, "--report", "demo.html"]
        subprocess.run(command, cwd=folder, check=True)
        shot, whole = folder / "shot.png", folder / "demo.html"
        whole.write_text(
            whole.read_text("utf-8").replace("</head>", f"<style>{screenshots.CARDS_ALONE}</style></head>"), "utf-8"
        )
        screenshots.shot(options.chromium, whole.as_uri(), shot, WIDTH, options.height)
        with Image.open(shot) as image:
            small = image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    out = io.BytesIO()
    small.save(out, "PNG", optimize=True)
    if len(out.getvalue()) > MOST_BYTES:
        raise SystemExit(f"the picture has {len(out.getvalue())} bytes; expected at most {MOST_BYTES}: lower --height")
    PICTURE.write_bytes(out.getvalue())
    print(f"wrote {PICTURE}: {len(out.getvalue())} bytes")


if __name__ == "__main__":
    main()
