"""docs/video.md's figures of benchmarks/video.py, beside their bars, and those of benchmarks/tracks.py."""

from benchmarks.measurements import Suite
from benchmarks.tables import table


def figures(suite: Suite) -> str:
    """Speed, our own Python's part, memory, and the detector beside OpenCV's."""
    fast, long, own, detect = (suite.values[case] for case in ("speed", "memory", "own_python", "detector"))
    cores = suite.machine.partition(" of ")[0]
    rows = [
        (
            f"decode, look for cuts, sample, detect, track; {fast['clip']}; {fast['fps']:g} sampled frames/s; {cores}",
            "4 times real time",
            f"{fast['times_real_time']:.1f} times by the clock; "
            f"a second of one core does {fast['times_real_time_a_cpu_second']:.1f} s of video",
        ),
        ("our own Python's part of that CPU time without cuts", "under 10%", f"{own['share']:.1%}"),
        ("the same with cuts", "", f"{own['share_with_cuts']:.1%}"),
        (
            f"memory over {long['clip']}, {long['frames']} frames and {long['faces']} faces scored: its last third "
            "against its first sixth",
            "under 5% more",
            f"{long['growth']:+.1%} ({long['first_sixth_mb']:.0f} MB, {long['last_third_mb']:.0f} MB)",
        ),
        ("temporary files in that run", "none", str(len(long["temporary_files"]))),
        (f"detection, {detect['frame']}", "", f"{detect['ms_a_frame']:.0f} ms a frame"),
    ]
    if "opencv" in detect:
        cv = detect["opencv"]
        count = "same" if cv["same_number"] else "another"
        rows.append(
            (
                f"detector against OpenCV {cv['version']} on {cv['faces']} faces",
                "IoU 0.98, score 0.01, same number",
                f"IoU {cv['iou_min']:.4f}, score {cv['score_difference_max']:.1e}, {count} number",
            )
        )
    return "\n".join(table(["what", "bar", "measured"], rows))


def tracks(suite: Suite) -> str:
    """How often one number was two people's, by scene and sampling; a cell has the speeds in rising order."""
    found: dict[str, dict[float, list[str]]] = {}
    for row in suite.values["tracks"]:
        cells = found.setdefault(row["scene"], {})
        cells.setdefault(row["sampling"], []).append(f"{row['mistaken']:.0%} ({row['split']:.1f})")
    samplings = sorted({sampling for cells in found.values() for sampling in cells})
    head = [
        "scenes with one number for two people (new numbers a scene)",
        *(f"{sampling:g} samples/s" for sampling in samplings),
    ]
    return "\n".join(table(head, [[name, *(", ".join(cells[s]) for s in samplings)] for name, cells in found.items()]))
