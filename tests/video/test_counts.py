"""What a run says of its rows, frames, drops and reused scores is what its files hold, whatever goes wrong."""

import csv
import json
import threading
from contextlib import closing, nullcontext
from pathlib import Path

import pyarrow.parquet as pq

from emonet_fast.options import FaceOptions, VideoOptions
from emonet_fast.video.job import VideoOutputs, VideoRun
from emonet_fast.video.summary import VideoSummary

from ..sinks.test_table_files import full_disk
from .making import write_clip

FRAMES = 60


def wait_for_the_decoder(summary: VideoSummary) -> None:
    """Score no further frame until all are decoded: of a live source all but the newest one are dropped."""
    for thread in threading.enumerate():
        if thread.name == "emonet-fast-decode":
            thread.join()


def finished(scorer, folder: Path, *, live: bool, room: int | None = None) -> tuple[VideoSummary, list[Path]]:
    """The summary and the tables of a run over FRAMES frames, each with a box, every second of which is scored."""
    folder.mkdir()
    clip = write_clip(folder / "a.mp4", range(0, 40 * FRAMES, 40))
    boxes = folder / "boxes.csv"
    boxes.write_text("frame,x,y,width,height\n" + "".join(f"{i},8,8,32,32\n" for i in range(FRAMES)))
    tables = [folder / f"a.{kind}" for kind in ("parquet", "csv", "jsonl")]
    options = VideoOptions(fps=None, live=live, score_every=2, cuts=False, faces=FaceOptions(f"boxes:{boxes}"))
    with closing(VideoRun(scorer, [str(clip)], options, VideoOutputs(tuple(tables)))) as run:
        assert run.check()
        with nullcontext() if room is None else full_disk(room):
            return run.run(wait_for_the_decoder if live else lambda summary: None), tables


def rows_of(path: Path) -> list[dict]:
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    with path.open(newline="") as file:
        return list(csv.DictReader(file)) if path.suffix == ".csv" else [json.loads(line) for line in file]


def check(summary: VideoSummary, table: Path) -> None:
    rows = rows_of(table)
    assert len(rows) == summary.counts.total() == summary.faces
    assert len({int(row["frame"]) for row in rows}) == len(rows) == summary.frames
    assert sum(str(row["reused"]).lower() == "true" for row in rows) == summary.reused
    assert f"{len(rows)} rows: {len(rows)} scored; frames {len(rows)} sampled" in summary.line()


def test_dropped_frames_are_those_that_no_row_is_of(scorer, tmp_path):
    summary, tables = finished(scorer, tmp_path / "live", live=True)
    assert summary.frames + summary.faults.dropped == FRAMES
    assert summary.faults.dropped > 0
    assert f"dropped {summary.faults.dropped} frames" in summary.line()
    for table in tables:
        check(summary, table)


def test_an_output_that_fails_takes_no_row_from_the_others(scorer, tmp_path):
    """JSON lines take the most room: they end early, with the rows that the message names; the others have all."""
    whole, tables = finished(scorer, tmp_path / "whole", live=False)
    sizes = sorted((path.stat().st_size, path.suffix) for path in tables)
    assert [suffix for _, suffix in sizes[1:]] == [".csv", ".jsonl"]
    summary, tables = finished(scorer, tmp_path / "full", live=False, room=(sizes[1][0] + sizes[2][0]) // 2)
    assert (whole.frames, whole.reused, whole.lost) == (summary.frames, summary.reused, False)
    assert summary.frames == FRAMES
    assert summary.lost
    for table in tables[:2]:
        check(summary, table)
    kept = rows_of(tables[2])
    assert 0 < len(kept) < FRAMES
    assert any(f"{len(kept)} rows" in message for message in summary.messages), summary.messages
