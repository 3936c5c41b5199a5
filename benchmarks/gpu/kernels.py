"""Each kernel beside what PyTorch has for the same work, with its error, so that a fast wrong one is seen."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from benchmarks.gpu import heads, products, rows
from benchmarks.gpu.context import Context, describe

Found = dict[str, Any]


def once(context: Context) -> Found:
    """All but attention once at their real shapes against float64, untimed."""
    return each(replace(context, timed=False), rows=lambda c: rows.measure(c, (64,)), heads=heads.largest)


def small(context: Context) -> Found:
    """Every kernel on little data: what a checker of memory can follow."""
    plain = replace(context, timed=False)
    return each(plain, rows=lambda c: rows.measure(c, (1,)), heads=heads.smallest, attention=products.smallest)


def timed(context: Context) -> Found:
    """The kernels of one row at a time, for one image and for 64."""
    return each(context, rows=rows.measure)


def tables(context: Context) -> Found:
    """The model's products."""
    return each(context, gemm=products.gemms)


def each(context: Context, **files: Callable[[Context], Any]) -> Found:
    """A file that fails loses its own rows only."""
    for name, part in files.items():
        try:
            part(context)
            context.free()
        except Exception as error:
            context.row({"what": name, "shape": "", "side": "all", "failed": describe(error)})
    return {}
