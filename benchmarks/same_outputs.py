"""Whether two versions of the package write the same files: run before and after a change that must not be seen.

    python benchmarks/same_outputs.py inputs DIR [--detector yunet.onnx]
    python benchmarks/same_outputs.py run DIR OUT_1 --command path/to/emonet-fast
    python benchmarks/same_outputs.py run DIR OUT_2 --command other/path/to/emonet-fast
    python benchmarks/same_outputs.py compare OUT_1 OUT_2

Runs score, bulk, report, video, pack, evaluate and Python on fixed inputs with a shallow synthetic checkpoint, on one
thread in float32. What differs from run to run (times of day, seconds, versions of engines) is taken out before files
are compared; see `without_times`. Needs the extras `video`, `demo`, `dali`, `eval`; the detector's cases need its file.
"""

import argparse
import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

SIZES = ((96, 120), (384, 384), (700, 300), (31, 47))


# Inputs


def noise(seed: int, width: int, height: int) -> Image.Image:
    """A gradient with noise."""
    y, x = np.mgrid[0:height, 0:width]
    ramps = np.stack([x * 255 / width, y * 255 / height, (x + y) * 255 / (width + height)], -1)
    noisy = ramps + np.random.default_rng(seed).normal(0, 20, ramps.shape)
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def encoded(picture: Image.Image, kind: str, **settings: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **settings)
    return buffer.getvalue()


def make_pictures(folder: Path) -> None:
    """Good pictures of several kinds, turned ones, and files that cannot be read."""
    from skimage import data

    folder.mkdir()
    for i, (width, height) in enumerate(SIZES):
        (folder / f"noise{i}.jpg").write_bytes(encoded(noise(i, width, height), "JPEG", quality=90))
        (folder / f"noise{i}.png").write_bytes(encoded(noise(10 + i, width, height), "PNG"))
    first = noise(20, 200, 150)
    exif = Image.Exif()
    exif[0x0112] = 6
    (folder / "turned.jpg").write_bytes(encoded(first, "JPEG", exif=exif))
    (folder / "cmyk.jpg").write_bytes(encoded(first.convert("CMYK"), "JPEG"))
    (folder / "grey.png").write_bytes(encoded(first.convert("L"), "PNG"))
    (folder / "palette.gif").write_bytes(encoded(first.convert("P"), "GIF"))
    (folder / "alpha.webp").write_bytes(encoded(first.convert("RGBA"), "WEBP", lossless=True))
    (folder / "astronaut.png").write_bytes(encoded(Image.fromarray(data.astronaut()), "PNG"))
    (folder / "coffee.jpg").write_bytes(encoded(Image.fromarray(data.coffee()), "JPEG", quality=92))
    whole = encoded(first, "JPEG")
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.png").write_bytes(b"this is no picture")
    (folder / "ünïcode name.jpg").write_bytes(encoded(noise(30, 64, 64), "JPEG"))


def make_archives(folder: Path) -> None:
    """A WebDataset shard, and a table with a struct column and labels."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with tarfile.open(folder / "shard-000.tar", "w") as tar:
        for i in range(5):
            for ending, data in (("jpg", encoded(noise(40 + i, 80, 60), "JPEG")), ("json", b"{}")):
                member = tarfile.TarInfo(f"sample{i}.{ending}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    structs = [{"bytes": encoded(noise(50 + i, 80, 60), "PNG"), "path": f"t{i}.png"} for i in range(6)]
    structs[3] = {"bytes": b"", "path": "t3.png"}
    table = pa.table({"image": structs, "emotion": [f"class{i % 2}" for i in range(6)], "age": list(range(6))})
    pq.write_table(table, folder / "table.parquet", row_group_size=4)


def make_boxes(folder: Path) -> None:
    lines = ["key,x,y,width,height,score"]
    lines += [f"{name},{x},10,40,44,0.9" for name in ("noise0.jpg", "noise1.png", "turned.jpg") for x in (5, 30)]
    lines += ["astronaut.png,160,60,120,130,0.95", "grey.png,-20,-20,90,80,0.8", "coffee.jpg,300,200,900,900,0.7"]
    (folder / "boxes.csv").write_text("\n".join(lines) + "\n")
    rows = ["frame,x,y,width,height,track"] + [f"{i},{60 + 2 * i},30,120,120,1" for i in range(0, 60)]
    (folder / "video-boxes.csv").write_text("\n".join(rows) + "\n")


def make_video(path: Path) -> None:
    """Two seconds of a moving face, 30 frames a second with B-frames."""
    import av
    from skimage import data

    face = data.astronaut()[0:240, 100:340]
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=30, options={"bf": "3", "crf": "20", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for i in range(60):
            frame = np.full((360, 640, 3), 90, np.uint8)
            left = 60 + 2 * i
            frame[60:300, left : left + 240] = face
            for packet in stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")):
                out.mux(packet)
        for packet in stream.encode():
            out.mux(packet)


def make_ratings(folder: Path) -> None:
    """Annotations for `evaluate hq`: twelve images, three people and a model, every emotion."""
    from emonet_fast.taxonomy import EMOTIONS

    random = np.random.default_rng(7)
    with (folder / "hq.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "annotator", "annotations", "human"])
        for image in range(12):
            for who in ("anna", "bert", "cleo", "model"):
                ratings = {emotion.name: int(random.integers(0, 8)) for emotion in EMOTIONS}
                table.writerow([f"i{image}.jpg", who, repr(ratings), who != "model"])
    with (folder / "predictions.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["key", "status", *(f"raw_{emotion.slug}" for emotion in EMOTIONS)])
        table.writerows([f"i{image}.jpg", "ok", *random.normal(2, 1, 40).round(6)] for image in range(12))


def make_inputs(folder: Path, detector: Path | None) -> None:
    """All inputs below `folder`. detector: YuNet's ONNX file, for the cases that find faces."""
    folder.mkdir(parents=True)
    make_pictures(folder / "pictures")
    make_archives(folder)
    make_boxes(folder)
    make_video(folder / "talk.mp4")
    make_ratings(folder)
    if detector is not None:
        shutil.copy(detector, folder / "yunet.onnx")


# Runs


def cases(folder: Path, old_video: bool) -> Iterator[tuple[str, list[str]]]:
    """Name of a case, and the arguments after the program's name; {out} is the case's folder."""
    engine = ["--checkpoint", "checkpoint", "--precision", "fp32", "--threads", "1"]
    pillow, dali = [*engine, "--decoder", "pillow"], [*engine, "--decoder", "dali"]
    tables = ("parquet", "csv", "jsonl")
    inputs = ["pictures", "shard-000.tar", "table.parquet"]
    yield "synthetic", ["synthetic", "{out}/again", "--layers", "1", "--heads", "small", "--seed", "3"]
    yield "pack", ["pack", "--checkpoint", "checkpoint", "-o", "{out}/packed.safetensors"]
    for suffix in tables:
        page = ["--report", "{out}/report.html"] if suffix == "csv" else []
        yield f"score-{suffix}", ["score", *inputs, *pillow, "--embeddings", "-o", f"{{out}}/s.{suffix}", *page]
    yield "score-plain", ["score", *inputs, *pillow, "-o", "{out}/s.parquet", "--no-exif", "--batch-size", "3"]
    yield "score-laion", ["score", *inputs, *pillow, "-o", "{out}/s.jsonl", "--format", "laion"]
    yield "score-dali", ["score", *inputs, *dali, "-o", "{out}/s.parquet", "--report", "{out}/r.html"]
    boxes = ["--faces", "boxes:boxes.csv"]
    for suffix in tables:
        page = ["--report", "{out}/report.html"] if suffix == "csv" else []
        yield f"boxes-{suffix}", ["score", "pictures", *pillow, *boxes, "-o", f"{{out}}/s.{suffix}", *page]
    yield "boxes-dali", ["score", "pictures", *dali, *boxes, "-o", "{out}/s.parquet"]
    found = ["--faces", "detect", "--detector-model", "yunet.onnx"]
    detector = (folder / "yunet.onnx").exists()
    bulk = ["bulk", *inputs, *pillow, "-o", "{out}/bulk", "--shard-size", "8", "--devices", "cpu"]
    yield "bulk", [*bulk, "--keep", "emotion,age", "--embeddings", "fp16"]
    yield "bulk-report", ["report", "{all}/bulk/bulk", "-o", "{out}/page.html"]
    if detector:
        yield "faces", ["score", "pictures", *pillow, *found, "-o", "{out}/s.parquet", "--report", "{out}/r.html"]
        yield "faces-dali", ["score", "pictures", *dali, *found, "-o", "{out}/s.parquet"]
        yield "bulk-faces", [*bulk, *found]
    faces = "--detector" if old_video else "--faces"
    # Before there was the option, DALI was taken where it is installed.
    video = ["video", "talk.mp4", *(engine if old_video else dali)]
    lines = [word for suffix in (*tables, "json", "vtt") for word in ("-o", f"{{out}}/v.{suffix}")]
    page = ["--overlay", "{out}/v.mp4", "--report", "{out}/v.html"]
    yield "video-boxes", [*video, faces, "boxes:video-boxes.csv", "--fps", "10", *lines, *page, "--embeddings"]
    yield "video-none", [*video, faces, "none", "--fps", "5", *lines]
    if detector:
        asked = ["yunet" if old_video else "detect", "--detector-model", "yunet.onnx"]
        yield "video-found", [*video, faces, *asked, "--fps", "10", *lines, "--score-every", "3"]
    ratings = ["--predictions", "predictions.csv", "--annotations", "hq.csv", "--bootstraps", "50"]
    yield "hq", ["evaluate", "hq", *ratings, "--json", "{out}/hq.json", "--report", "{out}/hq.html"]


def run(folder: Path, out: Path, command: Path, wanted: list[str]) -> None:
    """Run `cases`, or those wanted, each into out/<case>/ with its standard output and exit status."""
    environment = os.environ | {
        "EMONET_FAST_CACHE": str(out.absolute() / "cache"),
        "CI": "true",
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "160",
    }

    def call(arguments: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run([command, *arguments], cwd=folder, env=environment, capture_output=True, text=True)

    out.mkdir(parents=True)
    if not (folder / "checkpoint").exists():
        call(["synthetic", "checkpoint", "--layers", "2", "--heads", "small"]).check_returncode()
    old_video = "--detector " in call(["video", "--help"]).stdout
    for name, arguments in cases(folder, old_video):
        if wanted and name not in wanted:
            continue
        place = out.absolute() / name
        place.mkdir()
        filled = [a.replace("{out}", str(place)).replace("{all}", str(out.absolute())) for a in arguments]
        done = call(filled)
        text = done.stdout.replace(str(out.absolute()), "OUT")
        (place / "stdout.txt").write_text(f"{text}exit status {done.returncode}\n")
        print(f"{name}: {done.returncode}", done.stderr.strip()[-300:] if done.returncode not in (0, 2) else "")


# Comparison

SECONDS = re.compile(
    r'"?([a-z_]*(seconds|time|created|started|finished|written)[a-z_]*|rows_per_second|[a-z]+_for_[a-z]+)"?'
    r'\s*[:=]\s*"?[^",}\n]*"?'
)
RATES = re.compile(
    r"[\d.]+ (s|ms|a second|images/s|img/s|rows/s|MB/s|s an image|MB|GB)\b"
    r"|\b\d+%|\bin \d+:\d\d\b|\d{4}-\d\d-\d\dT[\d:.+Z-]*"
)


def without_times(text: str, out: Path) -> str:
    """The text without paths of the run, times of day, seconds and rates."""
    return RATES.sub("#", SECONDS.sub("#", text.replace(str(out.absolute()), "OUT")))


def content(path: Path, out: Path) -> object:
    """What must be the same of a file: a table's columns and metadata; a text without times; else the bytes."""
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        table = pq.read_table(path)
        kept = {k: without_times(v.decode(), out) for k, v in (table.schema.metadata or {}).items()}
        groups = [
            pq.ParquetFile(path).metadata.row_group(i).num_rows for i in range(pq.ParquetFile(path).num_row_groups)
        ]
        return table.schema.remove_metadata().to_string(), kept, groups, pickled(table)
    data = path.read_bytes()
    if path.suffix == ".mp4":
        return frames(path)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return data
    if path.suffix == ".json":
        return without_times(json.dumps(json.loads(text), indent=0), out)
    return without_times(text, out)


def pickled(table: object) -> str:
    """A table's values, NaN equal to NaN."""
    return repr(table.to_pylist())  # type: ignore[attr-defined]


def cells(text: str) -> list[list[object]]:
    """The rows of a CSV text by their values, whatever its dialect: numbers as floats, lists as float32."""
    return [[_cell(field) for field in row] for row in csv.reader(io.StringIO(text, newline=""))]


def _cell(field: str) -> object:
    try:
        if field.startswith("["):
            return np.array(json.loads(field), np.float32).tolist()
        return float(field)
    except ValueError:
        return field


def frames(path: Path) -> list[tuple[int, int]]:
    """Time and checksum of a video's frames."""
    import zlib

    import av

    with av.open(str(path)) as video:
        return [(f.pts, zlib.crc32(f.to_ndarray(format="rgb24").tobytes())) for f in video.decode(video=0)]


def files(out: Path) -> set[str]:
    found = (path.relative_to(out) for path in out.rglob("*") if path.is_file())
    return {str(name) for name in found if name.parts[0] != "cache" and name.name != "lock"}


def compare(first: Path, second: Path, show: int) -> int:
    """Prints each file that differs, and the counts. Returns how many do."""
    names = sorted(files(first) | files(second))
    different = 0
    for name in names:
        one, two = first / name, second / name
        if not (one.exists() and two.exists()):
            print(f"only in {'the first' if one.exists() else 'the second'}: {name}")
            different += 1
            continue
        a, b = content(one, first), content(two, second)
        if a == b:
            continue
        different += 1
        texts = isinstance(a, str) and isinstance(b, str)
        alone = ""
        if texts and a.replace("\r\n", "\n") == b.replace("\r\n", "\n"):
            alone = " in line ends alone"
        elif texts and one.suffix == ".csv" and cells(a) == cells(b):
            alone = " in the dialect alone"
        print(f"different{alone}: {name}")
        if texts and not alone:
            pairs = [(x, y) for x, y in zip(a.split("\n"), b.split("\n"), strict=False) if x != y]
            for x, y in pairs[:show]:
                print(f"  - {x[:300]}\n  + {y[:300]}")
    print(f"{len(names)} files, {different} different")
    return different


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    inputs = verbs.add_parser("inputs")
    inputs.add_argument("folder", type=Path)
    inputs.add_argument("--detector", type=Path, help="YuNet's ONNX file")
    runs = verbs.add_parser("run")
    runs.add_argument("folder", type=Path)
    runs.add_argument("out", type=Path)
    runs.add_argument("--command", type=Path, default=Path(sys.executable).with_name("emonet-fast"))
    runs.add_argument("--case", action="append", default=[], help="only this one; may be given again")
    compared = verbs.add_parser("compare")
    compared.add_argument("first", type=Path)
    compared.add_argument("second", type=Path)
    compared.add_argument("--show", type=int, default=3, help="lines of a text that differ")
    asked = parser.parse_args()
    if asked.verb == "inputs":
        make_inputs(asked.folder, asked.detector)
    elif asked.verb == "run":
        run(asked.folder, asked.out, asked.command.absolute(), asked.case)
    else:
        sys.exit(1 if compare(asked.first, asked.second, asked.show) else 0)


if __name__ == "__main__":
    main()
