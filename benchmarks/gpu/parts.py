"""The parts of a run, in the order of their worth, with the seconds that they may take. Standard library only."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """One function of worker.MEASURES.

    Args:
        name: of it.
        by: seconds of a first run at which it should have ended.
        cost: seconds that must be left to begin it.
        limit: seconds after which it is stopped.
        after: what must have ended in the background, if that was begun.
        alone: in a process of its own, which it may lose.
        under: a program that its process runs under.
    """

    name: str
    by: float
    cost: float
    limit: float
    after: str = ""
    alone: bool = False
    under: tuple[str, ...] = ()


MEMCHECK = ("compute-sanitizer", "--tool", "memcheck", "--error-exitcode", "99", "--log-file", "../memcheck.report")
PARTS = (
    Part("kernels", 50, 10, 120),
    Part("bf16", 100, 15, 120),
    Part("fp8", 130, 15, 90),
    Part("heads", 150, 10, 60),
    Part("compiled", 240, 40, 150, after="fill"),
    Part("accuracy", 330, 45, 240, after="checkpoint"),
    Part("certified", 350, 10, 60, after="checkpoint"),
    Part("tests", 480, 30, 180, alone=True),
    Part("attention", 530, 15, 90, alone=True),
    Part("ceilings", 550, 5, 40),
    Part("memory", 570, 15, 60, after="checkpoint", alone=True),
    Part("gemm", 620, 15, 90),
    Part("memcheck", 660, 20, 120, alone=True, under=MEMCHECK),
    Part("interop", 680, 10, 60, after="checkpoint", alone=True),
    Part("rows", 710, 10, 90),
    Part("host", 730, 10, 60, after="checkpoint"),
    Part("baselines", 760, 15, 90),
    Part("decoding", 800, 20, 90, after="checkpoint", alone=True),
)
BACKGROUND = ("checkpoint", "fill")
