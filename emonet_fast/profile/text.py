"""A profile as text for people."""

from .run import ADVICE, Profile

KERNELS_SHOWN = 15


def text(measured: Profile) -> str:
    """The table of rooms, the kernels of a GPU, and as the last line the bottleneck."""
    lines = [
        f"opened in {measured.open_seconds:.2f} s (not part of what follows)",
        "",
        f"{'room':<12}{'s':>9}{'share':>8}",
    ]
    for room, seconds in measured.seconds.items():
        lines.append(f"{room:<12}{seconds:>9.3f}{_share(seconds, measured.total):>8}")
    lines.append(f"{'all':<12}{measured.total:>9.3f}")
    if measured.kernels:
        device = sum(kernel.seconds for kernel in measured.kernels)
        lines += ["", f"{'ms on the GPU':>14}{'share':>8}{'calls':>8}  kernel"]
        for kernel in measured.kernels[:KERNELS_SHOWN]:
            share = _share(kernel.seconds, device)
            lines.append(f"{kernel.seconds * 1e3:>14.2f}{share:>8}{kernel.calls:>8}  {kernel.name[:90]}")
        hidden = measured.kernels[KERNELS_SHOWN:]
        if hidden:
            rest = sum(kernel.seconds for kernel in hidden)
            lines.append(f"{rest * 1e3:>14.2f}{_share(rest, device):>8}          {len(hidden)} more")
    speed = f", {measured.total / measured.scored:.3f} s each" if measured.scored else ""
    peak = f", {measured.memory_mb['peak']:.0f} MB at most" if "peak" in measured.memory_mb else ""
    lines += ["", f"{measured.pictures} pictures, {measured.scored} of {measured.rows} rows scored{speed}{peak}"]
    lines.append(f"engine {measured.engine}; decoder {measured.decoder}")
    share = _share(measured.seconds[measured.bottleneck], measured.total)
    lines.append(f"bottleneck: {measured.bottleneck}, {share} of the time; {ADVICE[measured.bottleneck]}")
    return "\n".join(lines)


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole > 0 else ""
