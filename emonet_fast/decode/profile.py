"""The name of an ICC profile, for a note: Pillow, and so the published pipeline, applies none."""

import struct

_SRGB = ("srgb", "61966-2", "c2")  # c2: the small sRGB of several web sites


def profile_note(profile: object) -> list[str]:
    """A note where pixels belong to another profile than sRGB; no note without a profile."""
    if not isinstance(profile, bytes) or not profile:
        return []
    name = _description(profile)
    if any(mark in name.lower() for mark in _SRGB):
        return []
    shown = " ".join("".join(c for c in name if c.isprintable()).split())[:60]
    return [f"colour profile {shown + ' ' if shown else ''}not applied, as published"]


def _description(profile: bytes) -> str:
    """The tag `desc`: ASCII in profiles of version 2, UTF-16 in version 4; "" where it cannot be read."""
    try:
        (count,) = struct.unpack_from(">L", profile, 128)
        for i in range(min(count, 100)):
            name, at = struct.unpack_from(">4sL", profile, 132 + 12 * i)
            if name != b"desc":
                continue
            kind = profile[at : at + 4]
            if kind == b"desc":
                (length,) = struct.unpack_from(">L", profile, at + 8)
                return profile[at + 12 : at + 12 + min(length, 200)].split(b"\0")[0].decode("latin-1")
            if kind == b"mluc":
                length, place = struct.unpack_from(">LL", profile, at + 20)
                return profile[at + place : at + place + min(length, 200)].decode("utf-16-be", "replace")
    except struct.error:
        pass
    return ""
