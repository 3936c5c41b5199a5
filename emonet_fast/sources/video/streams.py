"""Which stream of a container is its video: what players take, never a cover picture, or the one that is asked for."""

from typing import Any

from ...errors import InputError

# Pixels of a frame: 8K and what is a little larger. A damaged number of 80 megapixels took 1.4 GB.
MAX_FRAME = 8192 * 4352


def video_stream(container: Any, name: str, wanted: int | None) -> tuple[Any, str]:
    """PyAV's stream, and a note where there were others to choose from, "" where not.

    wanted: the stream's number within the container, as ffprobe says it; None takes FFmpeg's best, which is the one
    marked as default. Raises InputError when there is none that can be decoded.
    """
    moving = [stream for stream in container.streams.video if not stream.disposition & _cover(stream)]
    if not moving:
        kinds = sorted({stream.type for stream in container.streams} - {"video"})
        kinds += ["a cover picture"] if container.streams.video else []
        raise InputError(f"{name} has no video stream, only {', '.join(kinds) or 'nothing'}; expected a video")
    decoded = [stream for stream in moving if stream.codec_context is not None]
    listed = ", ".join(map(_described, moving))
    if wanted is not None:
        chosen = next((stream for stream in moving if stream.index == wanted), None)
        if chosen is None:
            raise InputError(f"{name} has no video stream {wanted}; expected one of {listed}")
    else:
        best = container.streams.best("video")
        chosen = best if best in decoded else (decoded or moving)[0]
    if chosen.codec_context is None:
        raise InputError(f"{name}: FFmpeg has no decoder for video stream {_described(chosen)}")
    if chosen.codec_context.width * chosen.codec_context.height > MAX_FRAME:
        raise InputError(f"{name}: video stream {_described(chosen)} is too large; at most 8192 x 4352 pixels are read")
    if wanted is not None or len(moving) == 1:
        return chosen, ""
    return chosen, f"it has video streams {listed}; stream {chosen.index} was taken (choose another by --stream)"


def _cover(stream: Any) -> Any:
    return type(stream.disposition).attached_pic  # a flag in PyAV 16, a number in 18


def _described(stream: Any) -> str:
    context = stream.codec_context
    if context is None:
        return f"{stream.index} (of an unknown codec)"
    return f"{stream.index} ({context.codec.canonical_name} {context.width} x {context.height})"


def described(container: Any, video: Any, audio: Any) -> tuple[str, ...]:
    """What a container holds, for people: its format, the video's codec and size, and the audio."""
    context = video.codec_context
    sound = "no audio"
    if audio is not None:
        known = audio.codec_context
        sound = "audio of an unknown codec" if known is None else f"audio {known.name} {known.sample_rate} Hz"
    size = f"{context.codec.canonical_name} {context.width} x {context.height}"
    return container.format.long_name.partition(" / ")[0], size, sound
