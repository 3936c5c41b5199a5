"""A profile for people."""

from .run import ADVICE, Profile

KERNELS_SHOWN = 15


def text(found: Profile) -> str:
    """The table of rooms, the kernels of a GPU, and as the last line the bottleneck."""
    lines = [
        f"opened in {found.open_seconds:.2f} s (not part of what follows)",
        "",
        f"{'room':<12}{'s':>9}{'share':>8}",
    ]
    for room, seconds in found.seconds.items():
        lines.append(f"{room:<12}{seconds:>9.3f}{_share(seconds, found.total):>8}")
    lines.append(f"{'all':<12}{found.total:>9.3f}")
    if found.kernels:
        device = sum(kernel.seconds for kernel in found.kernels)
        lines += ["", f"{'ms on the GPU':>14}{'share':>8}{'calls':>8}  kernel"]
        for kernel in found.kernels[:KERNELS_SHOWN]:
            share = _share(kernel.seconds, device)
            lines.append(f"{kernel.seconds * 1e3:>14.2f}{share:>8}{kernel.calls:>8}  {kernel.name[:90]}")
        hidden = found.kernels[KERNELS_SHOWN:]
        if hidden:
            rest = sum(kernel.seconds for kernel in hidden)
            lines.append(f"{rest * 1e3:>14.2f}{_share(rest, device):>8}          {len(hidden)} more")
    speed = f", {found.total / found.scored:.3f} s each" if found.scored else ""
    peak = f", {found.memory_mb['peak']:.0f} MB at most" if "peak" in found.memory_mb else ""
    lines += ["", f"{found.pictures} pictures, {found.scored} of {found.rows} rows scored{speed}{peak}"]
    lines.append(f"engine {found.engine}; decoder {found.decoder}")
    share = _share(found.seconds[found.bottleneck], found.total)
    lines.append(f"bottleneck: {found.bottleneck}, {share} of the time; {ADVICE[found.bottleneck]}")
    return "\n".join(lines)


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole > 0 else ""
