"""What a server counts, for Prometheus."""

from ..optional import need

# Seconds: a shallow model's row to a full queue's.
_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """The figures of one server, in a registry of its own.

    Attributes:
        requests: by route and status.
        rows: by their status.
        queue: pictures and rows that were taken and are not done.
        latency: seconds from a request's head to its answer, by route.
        decoding: seconds of decoding a picture, faces, crop and resize with it.
        dropped: frames of streams that gave way to newer ones.
        streams: streams that are open.
    """

    def __init__(self) -> None:
        client = need("prometheus_client", "emonet-fast serve")
        self._client, self._registry = client, client.CollectorRegistry()
        of = {"namespace": "emonet_fast", "registry": self._registry}
        self.requests = client.Counter("requests", "Requests by route and status", ["route", "status"], **of)
        self.rows = client.Counter("rows", "Rows by status", ["status"], **of)
        self.queue = client.Gauge("queue", "Pictures and rows that were taken and are not done", **of)
        self.latency = client.Histogram(
            "request_seconds", "Seconds from head to answer", ["route"], buckets=_SECONDS, **of
        )
        self.decoding = client.Histogram("decode_seconds", "Seconds of decoding a picture", buckets=_SECONDS, **of)
        self.dropped = client.Counter("dropped_frames", "Frames of streams that gave way to newer ones", **of)
        self.streams = client.Gauge("streams", "Open streams", **of)
        self._batches = client.Histogram("batch_rows", "Rows of a batch", buckets=_ROWS, **of)
        self._engine = client.Counter("engine_seconds", "Seconds in the engine", **of)

    def batch(self, rows: int, seconds: float) -> None:
        """Count a batch and its seconds in the engine."""
        self._batches.observe(rows)
        self._engine.inc(seconds)

    def text(self) -> tuple[bytes, str]:
        """The figures in Prometheus' text format, and its content type."""
        return self._client.generate_latest(self._registry), self._client.CONTENT_TYPE_LATEST
