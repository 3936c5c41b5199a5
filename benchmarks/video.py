"""Video on the CPU: speed of decode + sample + detect, our own Python's part, memory over half an hour, the detector
beside OpenCV's.

    python -m benchmarks.video --model YUNET.onnx

`python -m benchmarks.pages` puts the figures into docs/video.md.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from fractions import Fraction
from functools import cache, partial
from pathlib import Path
from typing import Any

from benchmarks import measurements
from benchmarks.pictures import face, photograph

ROOT = Path(__file__).parents[1]
WIDTH, HEIGHT, RATE, FPS = 1280, 720, 30, 2.0
SECONDS = 30  # of the clip for speed
LONG_RATE, LONG_PART = 10, 30
ROUNDS = 5


def scene(number: int, count: int) -> Any:
    """A photograph that pans by a pixel a frame, with grain, and two faces that walk over it."""
    import numpy as np

    wide, head, grain = parts()
    shift = number % 256
    picture = np.clip(wide[:, shift : shift + WIDTH].astype(np.int16) + np.roll(grain, 7 * number), 0, 255)
    x = int((WIDTH - 250) * number / count)
    picture[30:280, x : x + 250] = head
    picture[440:690, WIDTH - 250 - x : WIDTH - x] = head[:, ::-1]
    return picture.astype(np.uint8)


@cache
def parts() -> tuple[Any, Any, Any]:
    """A wide photograph, a face, and a camera's noise."""
    import numpy as np

    wide = np.asarray(photograph(WIDTH + 256, HEIGHT, 3, noise=0))
    grain = np.random.default_rng(0).normal(0, 3, (HEIGHT, WIDTH, 1)).astype(np.int16)
    return wide, np.asarray(face().resize((250, 250))), grain


def write_clip(path: Path, seconds: int, rate: int, *, repeats: int = 1) -> None:
    """H.264 with B-frames, as cameras and editors write it; repeats: its packets so many times in a row."""
    import av

    count, packets = seconds * rate, []
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=rate, options={"preset": "veryfast", "crf": "23", "g": "60"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for i in range(count):
            frame = av.VideoFrame.from_ndarray(scene(i, count), format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, rate)
            packets += stream.encode(frame)
        packets += stream.encode(None)
        times = [(p.pts, p.dts) for p in packets]
        step = round(count * Fraction(1, rate) / packets[0].time_base)
        for turn in range(repeats):
            for packet, (pts, dts) in zip(packets, times, strict=True):
                packet.pts, packet.dts, packet.stream = pts + turn * step, dts + turn * step, stream
                packet.time_base = Fraction(1, rate)
                out.mux(packet)


def speed(clip: Path, model: Path) -> dict[str, Any]:
    """Decode on its thread, sampling, detection and tracking, without scoring: times real time, medians."""
    from emonet_fast.faces import FaceDetector
    from emonet_fast.faces.looks import looks_of
    from emonet_fast.faces.track import GapLimit, Tracker
    from emonet_fast.sources.video.ahead import Ahead
    from emonet_fast.sources.video.av import AvSource
    from emonet_fast.sources.video.frames import Frame, Sampling

    detector = FaceDetector(model, threads=2)
    walls, cpu, faces, frames = [], [], 0, 0
    for _ in range(ROUNDS + 1):
        tracker, faces, frames = Tracker(GapLimit(1.0)), 0, 0
        began, cpu_began = time.perf_counter(), time.process_time()
        ahead = Ahead(AvSource(str(clip), Sampling(FPS), cuts=True, threads=2))
        waiting: list[Any] = []

        def work(group: list[Any], tracker: Any = tracker) -> int:
            faces_of_group = detector.detect([rgb for _, rgb in group])
            return sum(
                len(tracker.update(frame.seconds, faces, None, frame.scene, looks_of(rgb, faces)))
                for (frame, rgb), faces in zip(group, faces_of_group, strict=True)
            )

        for item in ahead:
            if isinstance(item, Frame):
                waiting.append((item, item.rgb()))
                frames += 1
            if len(waiting) == 4:
                faces += work(waiting)
                waiting = []
        faces += work(waiting)
        ahead.close()
        walls.append(time.perf_counter() - began)
        cpu.append(time.process_time() - cpu_began)
    wall = statistics.median(walls[1:])  # the first one compiles the detector
    rate = clip.stat().st_size * 8 / SECONDS / 1e6
    return {
        "clip": f"{WIDTH} x {HEIGHT}, {RATE} frames/s, H.264, {SECONDS} s, {rate:.1f} Mbit/s",
        "fps": FPS,
        "frames": frames,
        "faces": faces,
        "times_real_time": SECONDS / wall,
        "rounds": [SECONDS / w for w in walls[1:]],
        "times_real_time_a_cpu_second": SECONDS / statistics.median(cpu[1:]),
    }


def own_share(clip: Path, model: Path) -> dict[str, Any]:
    """CPU time of the same work on one thread of Python, by our code and by the libraries' calls alone.

    With cuts our code is also what looks for them, mostly in numpy.
    """
    import numpy as np
    from PIL import Image

    from emonet_fast.faces import FaceDetector
    from emonet_fast.faces.letterbox import plan
    from emonet_fast.faces.looks import looks_of
    from emonet_fast.faces.track import GapLimit, Tracker
    from emonet_fast.sources.video.av import AvSource
    from emonet_fast.sources.video.frames import Frame, Sampling

    detector = FaceDetector(model, threads=1)

    def ours(*, cuts: bool) -> list[int]:
        tracker, taken = Tracker(GapLimit(1.0)), []
        source = AvSource(str(clip), Sampling(FPS), cuts=cuts, threads=1)
        for item in source:
            if isinstance(item, Frame):
                rgb = item.rgb()
                faces = detector.detect([rgb])[0]
                tracker.update(item.seconds, faces, None, item.scene, looks_of(rgb, faces))
                taken.append(item.index)
        source.close()
        return taken

    taken = set(ours(cuts=False))

    def libraries() -> None:
        """PyAV's decoding and conversion, Pillow's resize, the copy to float32 and OpenVINO's run, and nothing else."""
        import av

        with av.open(str(clip)) as container:
            stream = container.streams.video[0]
            stream.thread_type, stream.codec_context.thread_count = "AUTO", 1
            for index, frame in enumerate(container.decode(stream)):
                if index not in taken:
                    continue
                rgb = frame.to_ndarray(format="rgb24", width=WIDTH, height=HEIGHT)
                for scale in (480, 960):
                    f = plan(WIDTH, HEIGHT, scale)
                    image = Image.fromarray(rgb).resize(
                        (f.inner_width, f.inner_height), Image.Resampling.BILINEAR, reducing_gap=2.0
                    )
                    pixels = np.zeros((1, 3, f.height, f.width), np.float32)
                    pixels[0, :, : f.inner_height] = np.asarray(image)[..., ::-1].transpose(2, 0, 1)
                    request = detector._network._request(1, f.height, f.width)
                    request.infer({0: pixels}, share_inputs=True)

    libraries()
    ways = {"share": partial(ours, cuts=False), "share_with_cuts": partial(ours, cuts=True), "": libraries}
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(2 * ROUNDS):  # single runs differ by a fifth and more where other machines share the processor
        for name, way in ways.items():
            began = time.process_time()
            way()
            spent[name].append(time.process_time() - began)
    theirs = np.array(spent.pop(""))
    return {name: max(0.0, float(np.median(1 - theirs / seconds))) for name, seconds in spent.items()}


def memory(clip: Path, model: Path, folder: Path, minutes: int) -> dict[str, Any]:
    """Resident anonymous memory of `emonet-fast video` (table, JSON, report; two shallow layers) over the long clip."""
    from emonet_fast.options import FaceOptions, VideoOptions
    from emonet_fast.process import memory_mb
    from emonet_fast.scorer import Scorer
    from emonet_fast.video.job import VideoOutputs, VideoRun
    from emonet_fast.video.summary import VideoSummary

    scratch = folder / "scratch"
    scratch.mkdir()
    tempfile.tempdir = str(scratch)
    # In a process of its own, as PyTorch writes it, which is no part of what is measured.
    checkpoint = folder / "tiny"
    code = f"from pathlib import Path; from tests.tiny import write_tiny; write_tiny(Path({str(checkpoint)!r}))"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
    outputs = VideoOutputs((folder / "o.parquet", folder / "o.json"), None, folder / "o.html")
    options = VideoOptions(fps=FPS, faces=FaceOptions(faces="detect", model=model))
    at, samples, litter = [0.0], [], set()
    done = threading.Event()

    def sample() -> None:
        while not done.wait(0.5):
            samples.append((at[0], memory_mb()["anonymous"]))
            litter.update(p.name for p in scratch.iterdir())

    def progress(now: VideoSummary) -> None:
        at[0] = now.at

    with Scorer(checkpoint, precision="fp32", cache_dir=folder / "cache", threads=2) as scorer:
        scorer.open()
        run = VideoRun(scorer, [str(clip)], options, outputs)
        run.check()
        watcher = threading.Thread(target=sample)
        watcher.start()
        summary = run.run(progress)
        done.set()
        watcher.join()
    early = [mb for second, mb in samples if minutes < second <= minutes * 10]
    late = [mb for second, mb in samples if second > minutes * 40]
    return {
        "clip": f"{WIDTH} x {HEIGHT}, {LONG_RATE} frames/s, H.264, {minutes} min",
        "frames": summary.frames,
        "faces": summary.faces,
        "tracks": summary.tracks,
        "first_sixth_mb": statistics.median(early),
        "last_third_mb": statistics.median(late),
        "growth": statistics.median(late) / statistics.median(early) - 1,
        "samples": [len(early), len(late)],
        "temporary_files": sorted(litter),
        "output_mb": {p.suffix[1:]: p.stat().st_size / 1e6 for p in (*outputs.tables, outputs.report) if p},
        "work": {k: round(v, 3) for k, v in summary.shares().items()},
    }


def detector(model: Path) -> dict[str, Any]:
    """Our detector and OpenCV's on the same pixels; milliseconds a frame at both scales."""
    import numpy as np
    from PIL import Image

    from emonet_fast.faces.detector import FaceDetector
    from emonet_fast.faces.geometry import boxes_of, overlaps

    frames = [scene(i, 40) for i in range(0, 40, 2)]
    full = FaceDetector(model, threads=2)
    full.detect(frames[:4])
    times = []
    for start in range(0, 20, 4):
        began = time.perf_counter()
        full.detect(frames[start : start + 4])
        times.append((time.perf_counter() - began) / 4 * 1000)
    figures: dict[str, Any] = {
        "ms_a_frame": statistics.median(times),
        "frame": f"{WIDTH} x {HEIGHT}, scales 480 and 960",
    }
    try:
        import cv2
    except ImportError:
        return figures
    ours = FaceDetector(model, scales=(480,), min_score=0.6, min_face=0)
    overlap, difference, count, same = [], [], 0, True
    for frame in frames:
        small = np.asarray(Image.fromarray(frame).resize((480, 288)))
        mine = ours.detect([small])[0]
        theirs = cv2.FaceDetectorYN.create(str(model), "", (480, 288), 0.6, 0.3, 5000).detect(
            np.ascontiguousarray(small[..., ::-1])
        )[1]
        theirs = np.empty((0, 15)) if theirs is None else theirs
        same &= len(mine) == len(theirs)
        if len(mine) and len(theirs):
            table = overlaps(boxes_of(mine), theirs[:, :4].astype(float))
            overlap.append(float(table.max(axis=1).min()))
            near = theirs[table.argmax(axis=1), 14]
            difference.append(float(np.abs(near - [f.score for f in mine]).max()))
            count += len(mine)
    figures["opencv"] = {
        "version": cv2.__version__,
        "faces": count,
        "same_number": same,
        "iou_min": min(overlap),
        "score_difference_max": max(difference),
    }
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="YuNet's ONNX file")
    parser.add_argument("--only", choices=["speed", "memory"], help="Measure a part and keep the rest of the results.")
    parser.add_argument("--minutes", type=int, default=30, help="Of the clip for memory; the bar is for 30.")
    options = parser.parse_args()
    from emonet_fast.checkpoint.fetch import snapshot
    from emonet_fast.faces.finder import FILE, REPOSITORY, REVISION
    from emonet_fast.options import default_cache_dir

    model = options.model or snapshot(REPOSITORY, REVISION, default_cache_dir()) / FILE
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        clip, long_clip = folder / "clip.mp4", folder / "long.mp4"
        if options.only != "memory":
            write_clip(clip, SECONDS, RATE)
            keep({"speed": speed(clip, model), "own_python": own_share(clip, model), "detector": detector(model)})
        if options.only != "speed":
            write_clip(long_clip, LONG_PART, LONG_RATE, repeats=options.minutes * 60 // LONG_PART)
            keep({"memory": memory(long_clip, model, folder, options.minutes)})


def keep(figures: dict[str, Any]) -> None:
    """Show the figures and put them into the table of results."""
    print(json.dumps(figures, indent=1), flush=True)
    measurements.keep("video", figures)


if __name__ == "__main__":
    main()
