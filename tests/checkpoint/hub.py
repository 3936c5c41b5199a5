"""A hub of our own: a server on this machine that speaks as much of the hub's protocol as downloads need."""

import hashlib
import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

ENCODER = "google/siglip2-so400m-patch16-384"
HEADS = {v: f"laion/Empathic-Insight-Face-{v.title()}" for v in ("large", "small")}


class Hub:
    """Serves folders as repositories. requested: paths of files that were downloaded.

    `publish` makes a commit; `main` is the last one. Commits stay available, as on the hub.
    """

    def __init__(self) -> None:
        self.commits: dict[tuple[str, str], Path] = {}
        self.main: dict[str, str] = {}
        self.requested: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def publish(self, repository: str, folder: Path, commit: str) -> None:
        self.commits[repository, commit] = folder
        self.main[repository] = commit

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str, with_body: bool) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body for a path such as /api/models/o/n/tree/main or /o/n/resolve/REV/file.

        Data sets have /api/datasets/... and /datasets/o/n/resolve/...
        """
        parts = [unquote(p) for p in urlsplit(path).path.strip("/").split("/")]
        api = parts[:1] == ["api"]
        parts = parts[2:] if api else parts[1:] if parts[:1] == ["datasets"] else parts
        repository, (verb, revision, *rest) = "/".join(parts[:2]), [*parts[2:], "revision", "main"][:2] + parts[4:]
        commit = self.main.get(repository) if revision == "main" else revision
        folder = self.commits.get((repository, commit or ""))
        if folder is None:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        if api:
            return 200, {"Content-Type": "application/json"}, self._listing(repository, commit or "", folder, verb)
        content = (folder / "/".join(rest)).read_bytes()
        if with_body:
            self.requested.append("/".join(rest))
        return 200, {"X-Repo-Commit": commit or "", "ETag": f'"{_etag(content)}"'}, content

    def _listing(self, repository: str, commit: str, folder: Path, verb: str) -> bytes:
        files = sorted(p for p in folder.iterdir() if p.is_file())
        if verb == "tree":
            tree = [
                {"type": "file", "path": p.name, "size": p.stat().st_size, "oid": _etag(p.read_bytes())} for p in files
            ]
            return json.dumps(tree).encode()
        siblings = [{"rfilename": p.name} for p in files]
        return json.dumps({"id": repository, "modelId": repository, "sha": commit, "siblings": siblings}).encode()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self._reply(with_body=False)

            def do_GET(self) -> None:
                self._reply(with_body=True)

            def _reply(self, with_body: bool) -> None:
                status, headers, body = hub.answer(self.path, with_body)
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(body))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                if with_body:
                    self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler


def _etag(content: bytes) -> str:
    """git's name of a blob, as the hub gives it."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()  # noqa: S324 - git's choice


def hub_cache(root: Path, published: Path, variant: str, commits: tuple[str, str]) -> Path:
    """The hub's cache folder as a finished download leaves it: blobs, refs, snapshots of links."""
    for repository, part, commit in ((ENCODER, "encoder", commits[0]), (HEADS[variant], "heads", commits[1])):
        base = root / f"models--{repository.replace('/', '--')}"
        snapshot = base / "snapshots" / commit
        for folder in (snapshot, base / "blobs", base / "refs"):
            folder.mkdir(parents=True, exist_ok=True)
        (base / "refs" / "main").write_text(commit)
        for file in (published / part).iterdir():
            blob = base / "blobs" / _etag(file.read_bytes())
            shutil.copy(file, blob)
            (snapshot / file.name).symlink_to(Path("../../blobs") / blob.name)
    return root
