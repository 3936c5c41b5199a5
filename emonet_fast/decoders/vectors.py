"""The decoder of stored embeddings: what comes is what the heads take."""

from collections.abc import Iterable, Iterator

from ..records import Decoded, Picture
from .base import FaceLocator, Prepared, Row, grouped


class VectorDecoder:
    """Batches of Pictures whose data are embeddings [width] float32; see Decoder. They have no pixels to keep."""

    name, reads_ahead = "embeddings", False

    def batches(
        self, pictures: Iterable[Picture], batch_size: int, *, keep_rgb: bool, faces: FaceLocator | None = None
    ) -> Iterator[Prepared]:
        """See Decoder.batches."""
        del keep_rgb, faces

        def rows() -> Iterator[Row]:
            for one in pictures:
                yield Decoded(one.key, None, one.status, one.reason, origin=one.origin), one.data

        return grouped(rows(), batch_size)

    def note(self) -> str:
        """See Decoder.note."""
        return ""

    def close(self) -> None:
        """See Decoder.close: nothing is kept."""
