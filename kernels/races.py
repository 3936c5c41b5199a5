"""Finds shared memory that a pipelined loop refills while wgmma may still read it. For `aot.py`.

Triton's pipeliner (seen in 3.6 and 3.9) keeps as many buffers of a load as there are steps between a copy and its use,
and one more where only wgmma uses the load. Where something else uses it too, such as a sum of squares beside a
product, this one more is missing: wgmma of step i is still running while the copy of step i + n goes into its buffer.
The result is then wrong now and then, on a GPU only, and no test on a CPU can see it. The cure: let only wgmma use the
load, or change the value (`tl.where`) so that wgmma takes it from registers.
"""

import re
from collections import Counter

_ALLOC = re.compile(r"(%[\w$.-]+) = ttg\.local_alloc : \(\) -> !ttg\.memdesc<(\d+)x")
_VIEW = re.compile(r"(%[\w$.-]+) = ttg\.memdesc_\w+ (%[\w$.-]+)")
_COPY = re.compile(r"async_(?:tma_)?copy_global_to_local (.*?) :")
_DOT = re.compile(r"ttng\.warp_group_dot (%[\w$.-]+), (%[\w$.-]+),.*isAsync = true")
_WAIT = re.compile(r"ttng\.warp_group_dot_wait .*pendings = (\d+)")


def refilled_operands(ttgir: str) -> list[str]:
    """Find allocations that asynchronous wgmmas may read while they are refilled, by their names in Triton's dialect.

    A loop that copies n steps ahead starts with n copies before it. wgmma of the step before has ended when the next
    copy begins, that of this step has not: n + 1 buffers are needed.
    """
    lines = ttgir.splitlines()
    buffers: dict[str, int] = {}
    root: dict[str, str] = {}
    ahead: Counter[tuple[str, int]] = Counter()
    depth, refilled = 0, []
    for number, line in enumerate(lines):
        if line.lstrip().startswith("}"):
            depth -= 1
        if match := _ALLOC.search(line):
            buffers[match[1]] = int(match[2])
            root[match[1]] = match[1]
        elif (match := _VIEW.search(line)) and match[2] in root:
            root[match[1]] = root[match[2]]
        elif match := _COPY.search(line):
            ahead.update((root[name], depth) for name in re.findall(r"%[\w$.-]+", match[1]) if name in root)
        elif match := _DOT.search(line):
            pending = next((int(w[1]) for later in lines[number:] if (w := _WAIT.search(later))), 0)
            for name in {root[operand] for operand in match.groups() if operand in root}:
                copies = max((n for (copied, at), n in ahead.items() if copied == name and at < depth), default=0)
                if pending and copies >= buffers[name]:
                    refilled.append(name)
        if line.rstrip().endswith("{") or re.search(r"\{ loc\(.*\)$", line):
            depth += 1
    return sorted(set(refilled))
