"""Damaged inputs made from a seed, kind by kind: each right, or refused in one line, in bounded time and memory.

A module here is a kind: `COUNT` cases a full run, `QUICK` in the suite, and `prepare(folder)`, which opens what all
cases share and returns the function that runs the case of a seed and raises AssertionError on a wrong result.
"""

import random

KINDS: tuple[str, ...] = ("archives", "checkpoints", "pictures", "requests", "tables", "videos")


def mutated(data: bytes, rng: random.Random, changes: int = 8) -> bytes:
    """The bytes with up to so many flips, cuts, repeats, zeroed or random runs at random places."""
    out = bytearray(data)
    for _ in range(rng.randint(1, changes)):
        at, length = rng.randrange(len(out) + 1), min(rng.choice((1, 2, 4, 16, 256)), len(out))
        match rng.randrange(5):
            case 0 if out:
                out[at % len(out)] ^= 1 << rng.randrange(8)
            case 1:
                out[at : at + length] = bytes(length)
            case 2:
                out[at : at + length] = rng.randbytes(length)
            case 3:
                del out[at : at + length]
            case 4:
                out[at:at] = out[max(0, at - length) : at]
    return bytes(out)
