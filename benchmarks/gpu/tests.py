"""The GPU's tests by pytest, in this process: each test's outcome is told as soon as it is known."""

import os
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu.context import Context, without_paths

ROOT = Path(__file__).parents[2]
# Packages that a machine for this check need not have: a test file that imports one is left out, and named.
_MISSING = re.compile(r"No module named '(hypothesis|PIL|skimage|pandas|openvino|onnx|pyarrow|click|tqdm|jinja2)")


def measure(context: Context) -> dict[str, Any]:
    reports = Reports(context)
    folder = Path.cwd()
    os.chdir(ROOT)  # tests start programs that find the package there
    try:
        status = pytest.main(
            ["-q", "-p", "no:cacheprovider", "--continue-on-collection-errors", *context.tests], [reports]
        )
    finally:
        os.chdir(folder)
    if not reports.counts["passed"] and not reports.bad:
        reports.bad.append(f"pytest ran no test and ended with {status!r}")
    return reports.figures() | ({"status": "failed"} if reports.bad else {})


class Reports:
    """A plugin of pytest. A file that cannot be collected for want of a package is named and loses only itself."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.counts = {"passed": 0, "failed": 0, "skipped": 0}
        self.bad: list[str] = []
        self.left_out: list[str] = []

    def figures(self) -> dict[str, Any]:
        text = ", ".join(f"{count} {name}" for name, count in self.counts.items())
        if self.left_out:
            text += f"; left out: {', '.join(self.left_out)}"
        return {**self.counts, "bad": self.bad, "left_out": self.left_out, "summary": text}

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            missing = _MISSING.search(report.longreprtext)
            if missing:
                self.left_out.append(f"{report.nodeid} (no {missing[1]})")
            else:
                self.add(report.nodeid, report)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self.add(f"{report.nodeid}, {report.when}", report)
        elif report.when == "call" or report.skipped:
            self.counts[report.outcome] += 1
            self.context.tell(self.figures())

    def add(self, name: str, report: Any) -> None:
        self.counts["failed"] += 1
        crash = getattr(report.longrepr, "reprcrash", None)  # none where a file cannot be collected
        lines = (crash.message if crash else report.longreprtext).strip().splitlines() or [""]
        said = without_paths(lines[0 if crash else -1])[:300]
        self.bad.append(f"{name}: {said}")
        self.context.row({"what": "test", "shape": "", "side": name, "failed": said})
        self.context.tell(self.figures())
