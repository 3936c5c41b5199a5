"""`emonet-fast serve`: pictures by HTTP, frames by WebSocket."""

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import OptionError
from ..options import FaceOptions, Options, ServeOptions
from . import engines
from . import options as opt

if TYPE_CHECKING:
    from ..baseline import Baseline

_serve_options = opt.together(
    "settings",
    ServeOptions,
    ServeOptions(),
    host=opt.SERVER("--host ADDRESS", "Listen at this address; another one than this machine's own needs a token."),
    port=opt.SERVER("--port N", "Listen at this port; 0 takes a free one.", type=int),
    workers_per_device=opt.SERVER("--workers-per-device N", "Open so many engines.", type=int),
    max_batch=opt.SERVER(
        "--max-batch auto|N",
        "Put at most so many rows into one call of the engine; auto takes its batch size.",
        type=opt.number_or_word,
    ),
    max_wait_ms=opt.SERVER("--max-wait-ms X", "Let a row wait so long for others, while a batch is not full."),
    max_queue=opt.SERVER("--max-queue N", "Let so many pictures wait; refuse more for now.", type=int),
    max_body=opt.SERVER("--max-body N", "Refuse requests and frames of more bytes.", type=int),
    max_held=opt.SERVER("--max-held N", "Hold so many bytes of all requests; refuse more for now.", type=int),
    max_files=opt.SERVER("--max-files N", "Refuse requests of more pictures.", type=int),
    max_connections=opt.SERVER("--max-connections N", "Refuse more connections at once.", type=int),
    max_streams=opt.SERVER("--max-streams N", "Refuse more streams of frames at once.", type=int),
    deadline=opt.SERVER("--deadline SECONDS", "Give a request up after this time.", type=float),
    patience=opt.SERVER("--patience SECONDS", "Close connections whose request takes longer to come.", type=float),
)


@opt.command(
    ("A server for this machine's own programs, at http://127.0.0.1:8000:", "-c small --faces detect"),
    ("One for others, who need the token in a file:", "-c large --host 0.0.0.0 --token-file token.txt"),
)
@engines.checkpoint
@engines.face_options(known=False)
@engines.engine_options("decoder")
@_serve_options
@opt.SERVER(
    "--token-file F", "Ask clients for the secret in this file.", type=opt.PATH, show_default="$EMONET_FAST_TOKEN"
)
@opt.SERVER(
    "--cors ORIGIN", "Let web pages of this origin ask (https://example.org); may be given again.", multiple=True
)
@opt.SERVER(
    "--baseline NAME=F.json", "Let requests rank by this baseline, by its name; may be given again.", multiple=True
)
def serve(
    checkpoint: str,
    faces: FaceOptions,
    options: Options,
    settings: ServeOptions,
    token_file: Path | None,
    cors: tuple[str, ...],
    baseline: tuple[str, ...],
) -> None:
    """Score pictures that come by HTTP, and frames by WebSocket.

    POST /v1/score takes pictures, /v1/stream frames; / is a page to try it, /openapi.json describes everything. Rows
    of all requests share the engine's batches. Ctrl-C and SIGTERM finish what was taken. The extra `serve` is needed.
    """
    from ..optional import require
    from ..options import token_of

    for package in ("starlette", "uvicorn", "websockets", "python_multipart", "prometheus_client", "scipy"):
        require(package, "emonet-fast serve")
    from ..serve.limits import Access
    from ..serve.run import serve as run
    from ..serve.service import Service

    access = Access(token_of(token_file), cors)
    service = Service(checkpoint, options, faces, settings, access, dict(map(_named, baseline)))
    run(service, lambda url: opt.say(f"listening at {url}"))
    opt.say("stopped: everything that was taken is answered")


def _named(text: str) -> "tuple[str, Baseline]":
    from ..baseline import Baseline

    name, mark, path = text.partition("=")
    if not (name and mark and path):
        raise OptionError(f"--baseline {text} came; expected NAME=F.json")
    return name, Baseline.read(Path(path))
