"""Each kernel beside what PyTorch has for the same work, with its error, so that a fast wrong one is seen."""

from typing import Any

from benchmarks.gpu import heads, products, rows
from benchmarks.gpu.context import Context, describe, rates

FILES = {"heads": heads.measure, "rows": rows.measure, "gemm": products.gemms, "attention": products.attentions}


def measure(context: Context) -> dict[str, Any]:
    """A file that fails loses its own rows only."""
    found: list[dict[str, Any]] = []
    for name, part in FILES.items():
        try:
            found += part(context)
        except Exception as error:
            found.append({"what": name, "shape": "", "side": "all", "failed": describe(error)})
        context.free()
    return {"rows": rates(context, found)}
