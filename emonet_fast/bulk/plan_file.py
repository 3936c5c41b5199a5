"""plan.json to a plan. It may come from a stranger, so every value is looked at before it is believed."""

import json
from pathlib import Path
from typing import Any

from ..errors import DataError
from .plan import FORMAT, VERSION, Plan, Source, Span


def plan_of(text: str, where: Path) -> Plan:
    """The plan in the text of plan.json. Raises DataError when it is none, or of a newer version."""
    try:
        facts = json.loads(text)
        if facts["format"] != FORMAT or facts["version"] not in range(1, VERSION + 1):
            raise DataError(
                f"{where} is of the format {facts['format']!r:.40} {facts['version']!r:.10}; expected {FORMAT} up to "
                f"{VERSION}: go on with the version of emonet-fast that wrote it"
            )
        return _plan(facts)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{where} is no plan of a bulk run ({type(error).__name__}: {str(error)[:100]!r}); choose another "
            "output folder, or remove what is in it"
        ) from None


def _plan(facts: dict[str, Any]) -> Plan:
    """The plan of plan.json's content. Raises what a content of the wrong form leads to."""
    plan = Plan(
        inputs=tuple(facts["inputs"]),
        shard_size=facts["shard_size"],
        image_column=facts["image_column"],
        sources=tuple(Source(*s) for s in facts["sources"]),
        shards=tuple(tuple(Span(*s) for s in spans) for spans in facts["shards"]),
        keep=facts["keep"],
        keep_names=tuple(facts["keep_names"]),
        files_hash=facts["files_hash"],
        fingerprint=dict(facts["fingerprint"]),
        version=facts["version"],
        skipped=dict(facts.get("skipped", {})),
    )
    texts = [*plan.inputs, *plan.keep_names, *plan.fingerprint, *plan.fingerprint.values(), plan.keep, plan.files_hash]
    texts += [*plan.skipped]
    texts += [text for s in plan.sources for text in (s.kind, s.path, s.key, s.column, s.digest)]
    numbers = [
        plan.shard_size,
        *plan.skipped.values(),
        *(n for s in plan.sources for n in (s.rows or 0, s.size, s.mtime_ns)),
    ]
    spans = [span for shard in plan.shards for span in shard]
    numbers += [n for span in spans for n in (span.source, span.start, span.stop or 0)]
    if not all(isinstance(text, str) for text in texts) or not all(type(n) is int and n >= 0 for n in numbers):
        raise ValueError("texts and numbers are mixed up")
    if plan.image_column is not None and not isinstance(plan.image_column, str):
        raise ValueError("the image column is no text")
    if plan.shard_size < 1 or not plan.shards or any(span.source >= len(plan.sources) for span in spans):
        raise ValueError("a shard is of no source")
    return plan
