"""Memory that ends while one picture is decoded, cropped or resized is that picture's row; the others are scored."""

import subprocess
import sys
from pathlib import Path

import pytest

resource = pytest.importorskip("resource", reason="limits of a process are Unix's")

CHILD = """
import resource
import numpy as np
from emonet_fast.records import Box, Picture
from tests.decoders.making import encoded, pillow, rows

small = encoded(np.zeros((50, 60, 3), np.uint8))
large = encoded(np.zeros((7000, 7000), np.uint8), "PNG", compress_level=1)
array = np.zeros((7000, 7000, 3), np.uint8)
pictures = [
    Picture("first", small),
    Picture("decode", large),
    Picture("crop", small, boxes=(Box(-6000, -6000, 6000, 6000), Box(0, 0, 9, 9))),
    Picture("resize", array),
    Picture("last", small),
]
rows(pillow(), pictures[:1])
used = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmSize")) * 1024
resource.setrlimit(resource.RLIMIT_AS, (used + 140_000_000, used + 140_000_000))
for row, pixels in rows(pillow(), pictures, 2):
    print(row.key, row.status, row.reason, sep="|")
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the memory in use is Linux's to tell")
def test_other_rows_are_there_when_memory_ends():
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, cwd=root, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    got = [line.split("|") for line in done.stdout.splitlines()]
    assert [(key, status) for key, status, _ in got] == [
        ("first", "ok"),
        ("decode", "too_large"),
        ("crop::box0", "too_large"),
        ("crop::box1", "ok"),
        ("resize", "too_large"),
        ("last", "ok"),
    ]
    assert [reason for _, _, reason in got if reason] == [
        "not enough memory to decode it",
        "not enough memory to crop it",
        "not enough memory to resize it",
    ]
