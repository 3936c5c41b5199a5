"""How many streams share the cores, and OpenVINO's options for them."""

from typing import Any

from ...process import available_cores

# Threads of a stream, by the model in docs/scaling.md.
THREADS_A_STREAM = 4
# The last batches of a run leave streams idle: that costs half a batch for each stream, so fewer gain nothing.
BATCHES_A_STREAM = 16


def auto_streams(threads: int | None, batches: int | None) -> int:
    """How many streams pay for so many batches; batches None is unknown, and many. threads None is all cores."""
    streams = max(1, (threads or available_cores()) // THREADS_A_STREAM)
    return streams if batches is None or batches >= BATCHES_A_STREAM * streams else 1


def share_of_cores(streams: int, threads: int | None) -> dict[str, Any]:
    """OpenVINO's options for `streams` on so many threads; None is all cores.

    Threads are bound to cores only where the engine has all of them. A part of the cores may be the share of one of
    several processes, and OpenVINO would bind each of them to the same first cores.
    """
    options: dict[str, Any] = {"NUM_STREAMS": streams}
    if streams > 1:
        options["PERFORMANCE_HINT"] = "THROUGHPUT"
    if threads is not None:
        options |= {"INFERENCE_NUM_THREADS": threads, "ENABLE_CPU_PINNING": threads >= available_cores()}
    return options
