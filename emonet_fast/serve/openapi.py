"""What the server takes and gives, in OpenAPI's words, with examples."""

from collections.abc import Mapping
from typing import Any

from .._version import __version__
from ..arithmetic import EMOTIONS
from ..options import ServeOptions
from ..records import Status
from .answers import ARROW, FIELDS, MOST_TOP
from .stream import FOLLOWING

_ERRORS = {
    401: "No token, or another one.",
    403: "A foreign web page, or a foreign name of this machine.",
    408: "The body did not come in time.",
    413: "Too many bytes or pictures.",
    415: "Content of another type.",
    422: "A parameter or a body that cannot be understood.",
    429: "Too much waits; Retry-After says when to try again.",
    500: "The server has failed.",
    503: "The server is starting or stopping; Retry-After says when to try again.",
    504: "The rows were not there by the deadline.",
}
_MESSAGE = (
    "Messages of the client: seconds (float64), width and height (uint32), little-endian, then a picture file "
    "(width 0) or width x height x 3 bytes of RGB. The first answer has `metadata` and `notes`, every other one a "
    "frame: `frame`, `seconds`, `status`, `reason`, `dropped` (frames that gave way to this one), `waited_ms`, "
    "`worked_ms`, and `rows` as of /v1/score with `track`, `reused` and `smooth`."
)
# Of a stream alone; docs/video.md tells what each does.
_STREAM = [
    {"name": name, "in": "query", "schema": {"type": "number" if kind is float else "integer"}}
    for name, kind in FOLLOWING.items()
]
_EXAMPLE = {
    "rows": [
        {
            "key": "a.jpg",
            "status": "ok",
            "reason": "",
            "softmax": {"amusement": 0.61, "elation": 0.12},
            "top": [{"emotion": "amusement", "value": 0.61}],
        },
        {
            "key": "b.txt",
            "status": "not_an_image",
            "reason": "no image; looks like text: 'hello'",
            "softmax": None,
            "top": [],
        },
    ],
    "value_kind": "softmax",
    "notes": [],
    "metadata": {"checkpoint": "large", "precision": "bf16", "backend": "openvino", "batch_size": "1"},
}


def document(settings: ServeOptions, baselines: Mapping[str, object]) -> dict[str, Any]:
    """The document of a server with these settings and baselines."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    files = {"type": "array", "items": binary["schema"], "maxItems": settings.max_files}
    data = {"type": "string", "format": "byte", "description": "base64"}
    keyed = {"type": "object", "required": ["data"], "properties": {"key": {"type": "string"}, "data": data}}
    pictures = {"type": "array", "maxItems": settings.max_files, "items": {"oneOf": [data, keyed]}}
    content = {
        "multipart/form-data": {"schema": {"type": "object", "properties": {"pictures": files}}},
        "application/octet-stream": binary,
        "image/*": binary,
        "application/json": {
            "schema": {"type": "object", "required": ["pictures"], "properties": {"pictures": pictures}},
            "example": {"pictures": [{"key": "a.jpg", "data": "/9j/4AAQSkZJRg=="}]},
        },
    }
    rows = {"application/json": {"schema": _answer(), "example": _EXAMPLE}, ARROW: binary}
    score = {
        "summary": "Score pictures: one row per picture or face, in the order sent.",
        "parameters": _parameters(list(baselines)),
        "requestBody": {"required": True, "content": content},
        "responses": {"200": {"description": "The rows.", "content": rows}} | _refusals(*_ERRORS),
    }
    paths: dict[str, Any] = {
        "/v1/score": {"post": score},
        "/v1/stream": {"get": {
            "summary": "Score frames over a WebSocket.",
            "description": _MESSAGE,
            "parameters": [*_parameters(list(baselines))[:-1], *_STREAM],
            "responses": {"101": {"description": "The stream is open."}} | _refusals(401, 403, 422, 503),
        }},
        "/v1/taxonomy": _read("The 40 emotions, their groups and how far experts agree on them."),
        "/v1/codebook": _read("What every column means."),
        "/healthz": _read("Whether the process lives.", {"status": "alive"}, refusals=()),
        "/readyz": _read(
            "Whether it takes pictures: 503 while it starts and stops.", {"status": "ready"}, refusals=(503,)
        ),
        "/metrics": _read("Figures for Prometheus.", kind="text/plain"),
        "/openapi.json": _read("This document."),
        "/": _read("A page to try the server.", kind="text/html"),
    }  # fmt: skip
    return {
        "openapi": "3.1.0",
        "info": {"title": "emonet-fast", "version": __version__, "license": {"name": "MIT", "identifier": "MIT"}},
        "paths": paths,
        "components": {"securitySchemes": {one: {"type": "http", "scheme": one} for one in ("bearer", "basic")}},
        "security": [{"bearer": []}, {"basic": []}, {}],
    }


def _parameters(baselines: list[str]) -> list[dict[str, Any]]:
    schemas: dict[str, tuple[dict[str, Any], str]] = {
        "faces": (
            {"enum": ["none", "detect"]},
            "Whole pictures, or a row for each face; as the server was told.",
        ),
        "top": ({"type": "integer", "minimum": 0, "maximum": MOST_TOP}, "So many strongest emotions of each row."),
        "fields": ({"type": "string", "examples": ["softmax,embedding"]}, f"Some of {', '.join(FIELDS)}."),
        "baseline": ({"enum": baselines} if baselines else {"type": "string"}, "The population of z, by its name."),
        "deadline": ({"type": "number", "exclusiveMinimum": 0}, "Seconds until the answer at most."),
    }
    return [{"name": n, "in": "query", "schema": s, "description": text} for n, (s, text) in schemas.items()]


def _answer() -> dict[str, Any]:
    numbers = {"type": ["object", "null"], "additionalProperties": {"type": ["number", "null"]}}
    kinds = {kind: numbers for kind in FIELDS if kind != "embedding"}
    strongest = {"type": "object", "properties": {"emotion": {"enum": list(EMOTIONS)}, "value": {"type": "number"}}}
    row = {
        "key": {"type": "string", "description": "The file's name; #0, #1 without one; ::box0, ::box1 of faces."},
        "status": {"enum": [str(one) for one in Status]},
        "reason": {"type": "string"},
        "face": {"type": ["object", "null"], "description": "Box, sharpness, brightness and turn of the face."},
        **kinds,
        "embedding": {"type": ["array", "null"], "items": {"type": "number"}},
        "top": {"type": "array", "items": strongest},
    }
    rows = {"type": "array", "items": {"type": "object", "required": ["key", "status", "reason"], "properties": row}}
    texts = {"type": "array", "items": {"type": "string"}}
    facts = {"type": "object", "additionalProperties": {"type": "string"}}
    properties = {"rows": rows, "value_kind": {"type": "string"}, "notes": texts, "metadata": facts}
    return {"type": "object", "required": list(properties), "properties": properties}


def _refusals(*statuses: int) -> dict[str, Any]:
    schema = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
    of = {422: {"example": {"error": "top: 99 came; expected 0 to 40"}}}
    return {
        str(one): {"description": _ERRORS[one], "content": {"application/json": {"schema": schema, **of.get(one, {})}}}
        for one in statuses
    }


def _read(
    summary: str, example: object = None, kind: str = "application/json", refusals: tuple[int, ...] = (401, 403)
) -> dict[str, Any]:
    content: dict[str, Any] = {} if example is None else {"example": example}
    answer = {"200": {"description": "It.", "content": {kind: content}}}
    return {"get": {"summary": summary, "responses": answer | _refusals(*refusals)}}
