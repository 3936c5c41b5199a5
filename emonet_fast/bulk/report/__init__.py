"""One HTML page on a bulk run's folder: what came of it, and what its scores look like. Needs nothing else to be seen.

folder -> collect (one pass, bounded memory) -> pictures (of the most typical rows) -> view -> page.html
"""

from importlib import resources
from pathlib import Path

from ...errors import DataError
from ...files import write_whole
from ...options import Options
from ..folder import Folder, State
from .collect import Collected, collect
from .pictures import thumbnails
from .view import page


def write_report(where: Path, output: Path, *, pictures: bool = True) -> Collected:
    """Write the page on the folder `where` to `output`, whole or not at all. pictures: read the most typical ones.

    A run that is not finished is reported as far as it is.

    Raises:
        DataError: the folder has no plan, or no shard is done. OptionError: the output cannot be written.
    """
    if not (where / "plan.json").is_file():
        raise DataError(f"{where} has no plan.json; expected the output folder of `emonet-fast bulk`")
    folder = Folder(where)
    plan = folder.read_plan()
    assert plan is not None  # noqa: S101 - its file is there
    found = folder.look(plan, range(len(plan.shards)), hashes=False)
    done = [shard for shard, what in found.items() if what.state == State.DONE]
    if not done:
        raise DataError(f"{where} has no finished shard yet; run `emonet-fast bulk` first")
    collected = collect(folder, plan, done)
    collected.shards = len(plan.shards)
    collected.failed = {s: str((f.marker or {}).get("failed")) for s, f in found.items() if f.state == State.FAILED}
    shown = thumbnails(folder, plan, collected, Options()) if pictures else {}
    write_whole(output, _render(collected, shown, str(where)).encode())
    return collected


def _render(collected: Collected, shown: dict[str, str], title: str) -> str:
    import jinja2

    env = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = env.from_string(resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8"))
    return template.render(page(collected, shown, title))
