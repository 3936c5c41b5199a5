"""Results of one run to Markdown: the bars of the project beside what was measured, then every figure.

Needs the standard library only: the README's table is made from it on machines without PyTorch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Parts = dict[str, Any]


@dataclass(frozen=True)
class Bar:
    """One row of what the engine must reach. value: from the parts of a run, None where it was not measured."""

    what: str
    unit: str
    bar: float
    goal: float | None
    value: Callable[[Parts], float | None]
    higher: bool = True

    def verdict(self, parts: Parts) -> tuple[float | None, str]:
        try:
            value = self.value(parts)
        except (KeyError, TypeError, ValueError, IndexError, StopIteration):
            value = None
        if isinstance(value, str):  # "nan", "inf": measured, and no number
            return None, "missed"
        if not isinstance(value, (int, float)):
            return None, "unmeasured"
        better = (lambda a, b: a >= b) if self.higher else (lambda a, b: a <= b)
        if self.goal is not None and better(value, self.goal):
            return value, "goal met"
        return value, "met" if better(value, self.bar) else "missed"


def _speed(precision: str) -> Callable[[Parts], float | None]:
    """Of the default engine (attention by SDPA) at batch 256. FP8 as its certificate has it, where there is one."""

    def value(parts: Parts) -> float | None:
        rows = parts.get("certified", {}).get("rows", []) if precision == "fp8" else []
        found = [r for r in (*rows, *parts[precision]["rows"]) if r["shape"] == "batch 256"]
        return None if found[0].get("wrong") else found[0].get("images_per_second")

    return value


def _compiled(precision: str) -> Callable[[Parts], float | None]:
    """The smallest factor over the batch sizes measured."""
    return lambda parts: min(found[f"ours {precision}"] for found in parts["compiled"]["factors"].values())


def _bf16_error(parts: Parts) -> float:
    ours, theirs = parts["accuracy"]["bf16"], parts["accuracy"]["torch_bf16"]
    return max(ours[name] / theirs[name] for name in ("rms_error", "max_error"))


def _memory(parts: Parts) -> float:
    """The driver's figure, which holds CUDA's context too; torch's own where there is none."""
    found = parts["memory"]
    return float(found.get("driver_mb") or found["torch_peak_mb"]) / 1000


BARS = (
    Bar("backbone + heads, bf16, batch 256", "img/s", 1000, 1150, _speed("bf16")),
    Bar("backbone + heads, FP8, batch 256", "img/s", 1400, 1700, _speed("fp8")),
    Bar("bf16 against torch.compile max-autotune, same run", "x", 1.2, 1.5, _compiled("bf16")),
    Bar("FP8 against torch.compile max-autotune, same run", "x", 1.8, 2.2, _compiled("fp8")),
    Bar("bf16 against the published pipeline, same run", "x", 20, 50, lambda p: p["baselines"]["factor_published"]),
    Bar("batch 1, p50 of device work, bf16", "ms", 2.5, 1.2,
        lambda p: p["bf16"]["latency"]["p50"], higher=False),
    Bar("bf16 error / PyTorch's own bf16 error", "x", 2.0, None, _bf16_error, higher=False),
    Bar("FP8 embedding cosine, lowest of 64", "", 0.999, 0.9995, lambda p: p["accuracy"]["fp8"]["cosine_min"]),
    Bar("FP8 Spearman, lowest head", "", 0.995, 0.999, lambda p: p["accuracy"]["fp8"]["spearman_min"]),
    Bar("JPEG bytes to scores by DALI, of the backbone's rate", "x", 0.9, None,
        lambda p: p["decoding"]["share_of_backbone"]),
    Bar("GPU memory, bf16, batch 64", "GB", 3.0, 2.0, _memory, higher=False),
)  # fmt: skip


def bars_table(parts: Parts, *, dry: bool = False) -> list[str]:
    lines = ["| what | measured | bar | goal | |", "|---|---|---|---|---|"]
    for bar in BARS:
        value, verdict = bar.verdict(parts)
        verdict = "dry run" if dry else verdict
        shown = "" if value is None else number(value)
        goal = "" if bar.goal is None else number(bar.goal)
        sign = "" if bar.higher else "at most "
        lines.append(f"| {bar.what} | {shown} {bar.unit} | {sign}{number(bar.bar)} | {goal} | {verdict} |")
    return [line.replace("|  ", "| ").replace("  |", " |") for line in lines]


def markdown(doc: dict[str, Any]) -> str:
    """The whole run."""
    parts = doc["parts"]
    lines = [f"# GPU check, {doc['date']}", ""]
    if doc["dry"]:
        lines += ["**Dry run on CPU tensors with a tiny model: it proves the scripts, no figure means anything.**", ""]
    seconds = " and ".join(f"{run['seconds']:.0f}" for run in doc["runs"])
    lines += [facts_line(parts), ""]
    lines += [f"Commit {doc['commit']}; {seconds} s. Written by `make gpu-check`; never edited by hand.", ""]
    lines += ["## Bars", "", *bars_table(parts, dry=doc["dry"]), "", "## Parts", ""]
    lines += ["| part | status | s | |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {part['status']} | {part['seconds']:.1f} | {part_note(part)} |" for name, part in parts.items()
    ]
    for name, part in parts.items():
        if part.get("rows"):
            lines += ["", f"## {name.capitalize()}", "", *rows_table(part["rows"], parts.get("ceilings", {}))]
        if part.get("latency"):
            found = part["latency"]
            lines += ["", f"Batch 1, device work: p50 {found['p50']:.3f} ms, p95 {found['p95']:.3f} ms."]
        if name == "host" and "ms" in part:
            lines += ["", f"Host batches of {part['batch']}, pipelined: {part['images_per_second']:.0f} img/s."]
        if name == "decoding" and part.get("levels"):
            lines += ["", "## Decoding", "", *decoding_lines(part)]
        if name == "accuracy" and part.get("torch_bf16"):
            lines += ["", "## Accuracy", "", *accuracy_table(part)]
    return "\n".join(lines) + "\n"


def part_note(part: dict[str, Any]) -> str:
    """Why a part is not there, or what pytest said."""
    return str(part.get("note") or part.get("error") or part.get("summary") or "").replace("|", "/")


def facts_line(parts: Parts) -> str:
    found = parts.get("facts", {})
    packages = found.get("packages", {})
    named = [f"{name} {packages[name]}" for name in ("torch", "triton", "transformers") if packages.get(name)]
    pieces = [found.get("card", "unknown card"), f"Python {found.get('python')}", *named]
    if found.get("cuda"):
        pieces += [f"CUDA {found['cuda']}", f"driver {found.get('driver_version', 'unknown')}"]
        pieces += [f"capability {found.get('capability')}", f"SM clock at most {found.get('clocks_max_sm', '?')} MHz"]
    ceilings = parts.get("ceilings", {})
    limits = {"bf16_gemm_tflops": "TFLOP/s bf16", "fp8_gemm_tflops": "TFLOP/s FP8", "copy_gbs": "GB/s copy"}
    reached = [f"{number(ceilings[key])} {unit}" for key, unit in limits.items() if ceilings.get(key)]
    return ", ".join(pieces) + (f". Measured ceilings: {', '.join(reached)}." if reached else ".")


def rows_table(rows: list[dict[str, Any]], ceilings: dict[str, Any]) -> list[str]:
    """Medians with quartiles; what each reaches, as a share of this run's own ceilings; its error."""
    lines = ["| what | shape | side | ms (quartiles) | img/s | TFLOP/s | GB/s | share | error |"]
    lines.append("|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        ms = row.get("ms")
        shown = f"{ms['median']:.4g} ({ms['q1']:.4g}..{ms['q3']:.4g})" if ms else remark(row)
        cells = [row["what"], row["shape"], row["side"], shown]
        cells += [number(row[key]) if key in row else "" for key in ("images_per_second", "tflops", "gbs")]
        cells += [share(row, ceilings), error(row)]
        lines.append("| " + " | ".join(str(cell).replace("|", "/") for cell in cells) + " |")
    return lines


def row_line(row: dict[str, Any]) -> str:
    """One row as it is shown while the run goes on."""
    figures = [f"{row['ms']['median']:.4g} ms"] if "ms" in row else []
    units = {"images_per_second": "img/s", "tflops": "TFLOP/s", "gbs": "GB/s"}
    figures += [f"{number(row[key])} {unit}" for key, unit in units.items() if key in row]
    figures += [f"error {error(row)}"] if "error" in row else []
    return ", ".join([row["what"], row["shape"], row["side"], *figures, *filter(None, [remark(row)])])


def remark(row: dict[str, Any]) -> str:
    """Why there is no figure."""
    return f"failed: {row['failed']}" if "failed" in row else str(row.get("skipped", ""))


def share(row: dict[str, Any], ceilings: dict[str, Any]) -> str:
    """Of this run's ceiling: the unit that bounds the row."""
    product = ceilings.get("fp8_gemm_tflops" if "fp8" in row["side"] else "bf16_gemm_tflops")
    limits = {"GEMM": ("tflops", product), "copy": ("gbs", ceilings.get("copy_gbs"))}
    known = {name: row[key] / limit for name, (key, limit) in limits.items() if key in row and limit}
    if not known:
        return ""
    name = max(known, key=lambda key: known[key])
    return f"{known[name]:.0%} of {name}"


def error(row: dict[str, Any]) -> str:
    if "error" not in row:
        return ""
    shown = f"{row['error']:.1e}" if isinstance(row["error"], float) else str(row["error"])
    return f"WRONG {shown}" if row.get("wrong") else shown


def decoding_lines(part: dict[str, Any]) -> list[str]:
    levels = part["levels"]
    lines = [f"DALI beside Pillow: at most {number(levels['max'])} levels, {number(levels['mean'])} in the mean."]
    if "scores_per_second" in part:
        lines.append(
            f"JPEG bytes to the network's input {number(part['pixels_per_second'])} img/s, to scores "
            f"{number(part['scores_per_second'])} img/s, batch {part['batch']}."
        )
    return lines


def accuracy_table(part: dict[str, Any]) -> list[str]:
    kept = part.get("fp8", {}).get("keep", [])
    lines = [f"{part['pictures']} pictures against transformers in float32 on this card.", ""]
    lines += [f"FP8: {len(kept)} layers kept in bf16{': ' + ', '.join(kept) if kept else ''}.", ""]
    lines += [
        "| side | cosine min | score error max / RMS | Spearman min | top-1 | gate |",
        "|---|---|---|---|---|---|",
    ]
    for name in ("torch_bf16", "fp32", "bf16", "fp8"):
        found = part.get(name, {})
        if "cosine_min" not in found:
            lines.append(f"| {name} | failed: {found.get('failed', 'not run')} | | | | |")
            continue
        gate = {True: "passed", False: "; ".join(found.get("failures", []))}.get(found.get("passed"), "")
        lines.append(
            f"| {name} | {fixed(found['cosine_min'], '.7f')} | {fixed(found['max_error'], '.1e')} / "
            f"{fixed(found['rms_error'], '.1e')} | {fixed(found['spearman_min'], '.5f')} | "
            f"{fixed(found['top1_agreement'], '.3f')} | {gate} |"
        )
    return lines


def fixed(value: Any, form: str) -> str:
    """A number in this form; what is none as it is."""
    return format(value, form) if isinstance(value, (int, float)) else str(value)


def readme_table(doc: dict[str, Any] | None) -> str:
    """What the README says: the card, and the bars."""
    if doc is None:
        return "Not measured yet: no results of `make gpu-check` on a GPU are in `benchmarks/results/`."
    return "\n".join([f"{facts_line(doc['parts'])} {doc['date']}, `make gpu-check`.", "", *bars_table(doc["parts"])])


def number(value: Any) -> str:
    """Three to five digits, as far as they mean something."""
    if not isinstance(value, (int, float)):
        return str(value)
    if value >= 100:
        return f"{value:.0f}"
    if 0.9 < value < 1:
        return f"{value:.5f}".rstrip("0")
    return f"{value:.3g}"
