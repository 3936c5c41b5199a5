"""Video: a file in, the time line of its frames out, beside a loop of one's own over PyAV's frames.

Whole frames, without the face detector, whose weights come from the hub: `benchmarks/video.py` measures faces. Both
sides decode every frame and score each.
"""

import importlib.util
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import emonet_fast
from benchmarks import fairness
from benchmarks.harness import Case, Run
from benchmarks.pictures import photograph
from benchmarks.workshop import Workshop

# On the 0..7 scale: gate_fp32's bar for scores; it is the same engine.
SCORE = 1e-3
FEW, MANY = 2, 24
WIDTH, HEIGHT, FPS = 1280, 720, 10


def cases(shop: Workshop) -> Iterator[Case]:
    if any(importlib.util.find_spec(name) is None for name in ("emonet_fast.video", "av")):
        return
    heads = next(iter(shop.checkpoints))
    backend, precision = shop.engines()[-1]
    count = FEW if shop.deep(heads) else MANY // (4 if shop.quick else 1)
    yield Case(
        group=f"video: {heads}, {count} frames of {WIDTH} x {HEIGHT}",
        inputs=lambda: [film(shop, count)],
        sides={
            f"a loop over frames, {precision}": lambda: loop(shop, heads, backend, precision),
            f"emonet_fast.stream, {precision}": lambda: stream(shop, heads, backend, precision),
        },
        judge=lambda outputs: fairness.values(outputs, SCORE, "scores"),
        images=count,
        check=1,
        rounds=3 if shop.deep(heads) else None,
        info={"heads": heads},
    )


def test_video(side: Any) -> None:
    side()


def film(shop: Workshop, count: int) -> Path:
    """MPEG-4 of a slowly moving photograph."""
    import av

    path = Path(tempfile.mkdtemp(prefix="emonet-fast-bench-")) / "film.mp4"
    picture = np.asarray(photograph(WIDTH + count, HEIGHT, 0, noise=0))
    with av.open(str(path), "w") as container:
        out = container.add_stream("mpeg4", rate=FPS)
        out.width, out.height, out.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for i in range(count):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:, i : i + WIDTH]), format="rgb24")
            container.mux(out.encode(frame))
        container.mux(out.encode())
    return path


def loop(shop: Workshop, heads: str, backend: str, precision: str) -> Run:
    import av

    scorer = shop.scorer(heads, backend, precision)

    def run(path: Path) -> Any:
        with av.open(str(path)) as container:
            # As players read untagged video of this size; PyAV alone would take BT.601.
            frames = (f.to_ndarray(format="rgb24", src_colorspace="ITU709") for f in container.decode(video=0))
            return np.concatenate([scorer([rgb]).raw for rgb in frames])

    return run


def stream(shop: Workshop, heads: str, backend: str, precision: str) -> Run:
    from emonet_fast.options import FaceOptions, VideoOptions

    scorer = shop.scorer(heads, backend, precision)
    options = VideoOptions(fps=None, faces=FaceOptions(faces="none"), track=False, smooth=0.0)
    return lambda path: np.concatenate([part.scores.raw for part in emonet_fast.stream(scorer, str(path), options)])
