"""docs/scaling.md's table of benchmarks/streams.py, and what its model expects of larger machines."""

from typing import Any

from benchmarks.measurements import Suite
from benchmarks.tables import number, table
from emonet_fast.backends.openvino.streams import auto_streams

NOT_MEASURED = "Not measured yet: `python -m benchmarks.streams` measures it."
CORES = (8, 32, 96)


def measured(suite: Suite | None) -> str:
    """Pictures a second and memory, by precision and number of streams."""
    if suite is None:
        return NOT_MEASURED
    rows = []
    for one in suite.values.values():
        for side in one["sides"]:
            faster, memory = side["ratio"], side["memory_mb"]
            rows.append(
                [
                    f"{one['precision']}, {one['layers']} layers",
                    f"{side['streams']} of {one['cores'] // side['streams']}",
                    number(side["seconds_a_picture"]),
                    f"{faster['value']:.3f} ({faster['low']:.3f}..{faster['high']:.3f})",
                    f"{memory['now']:.0f}, {memory['peak']:.0f}" if memory else "",
                ]
            )
    head = ["engine", "streams of threads", "s a picture", "of the first one's speed (95%)", "memory, its peak, MB"]
    return "\n".join([f"{suite.machine}, {suite.date}.", "", *table(head, rows)])


def expected(suite: Suite | None) -> str:
    """How many times as fast `auto` is as one stream, by the model, for each precision that was measured."""
    found = {} if suite is None else {one["precision"]: alone(one) for one in suite.values.values()}
    known = {precision: share for precision, share in found.items() if share is not None}
    if not known:
        return NOT_MEASURED
    rows = []
    for cores in CORES:
        streams = auto_streams(cores, None)
        times = (f"{gain(share, cores, streams):.2f}" for share in known.values())
        rows.append([str(cores), f"{streams} of {cores // streams}", *times])
    head = ["cores", "streams of threads", *(f"{name}, s = {share:.1%}" for name, share in known.items())]
    return "\n".join(table(head, rows))


def alone(one: dict[str, Any]) -> float | None:
    """The part s of a picture's work that more threads do not share, of one stream against streams of one thread."""
    cores = one["cores"]
    whole = [side["ratio"]["value"] for side in one["sides"] if side["streams"] == cores]
    if one["sides"][0]["streams"] != 1 or cores < 2 or not whole:
        return None
    return max(0.0, (whole[0] - 1) / (cores - 1))


def gain(share: float, cores: int, streams: int) -> float:
    """Speed of streams against one stream: (1 + (c - 1) s) / (1 + (c/n - 1) s), Amdahl's law on either side."""
    return (1 + (cores - 1) * share) / (1 + (cores / streams - 1) * share)
