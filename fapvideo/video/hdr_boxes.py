"""HDR10 metadata of a QuickTime file whose codec has no place for it: `mdcv` and `clli`.

PyAV can set no side data of an output but the display matrix, so the two boxes (ISO/IEC 14496-12,
12.1.6 and 12.1.7; QuickTime has the same) go into the video's sample description when a file is
finished. FFmpeg writes its index last, so that nothing else in the file moves.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from fapvideo.structs import HdrMetadata
from fapvideo.video.color import light_levels, mastering_numbers

_ENTRY_FIELDS = 8 + 78
"""Bytes of a visual sample entry before its boxes."""
_WAY = (b"mdia", b"minf", b"stbl", b"stsd")


def write_hdr_boxes(path: Path, hdr: HdrMetadata) -> None:
    """Put static HDR10 metadata into a finished file.

    Raises:
        OSError: it cannot be read or written.
        ValueError: its structure is not that of FFmpeg's QuickTime files.
    """
    added = _boxes(hdr)
    if not added:
        return
    with path.open("r+b") as file:
        start = _last_box(file, file.seek(0, 2))
        file.seek(start)
        index = bytearray(file.read())
        entry, around = _video_entry(index)
        for at in (*around, entry):
            (size,) = struct.unpack_from(">I", index, at)
            struct.pack_into(">I", index, at, size + len(added))
        place = entry + _ENTRY_FIELDS
        index[place:place] = added
        file.seek(start)
        file.write(index)


def _boxes(hdr: HdrMetadata) -> bytes:
    """Return both boxes, as far as there is something to tell."""
    mastering, light = mastering_numbers(hdr), light_levels(hdr)
    out = struct.pack(">I4s8H2I", 32, b"mdcv", *mastering) if mastering else b""
    return out + (struct.pack(">I4s2H", 12, b"clli", *light) if light else b"")


def _last_box(file: BinaryIO, whole: int) -> int:
    """Return where the index begins, which is the last box."""
    at, kind, size = 0, b"", 0
    while at < whole:
        file.seek(at)
        size, kind = struct.unpack(">I4s", file.read(8))
        if size == 1:
            (size,) = struct.unpack(">Q", file.read(8))
        if size < 8 or at + size > whole:
            break
        at += size
    if at != whole or kind != b"moov":
        raise ValueError("its index is not at its end")
    return whole - size


def _video_entry(index: bytearray) -> tuple[int, list[int]]:
    """Return where the video's sample entry begins, and the boxes around it."""
    for track in _inside(index, 0, b"trak"):
        around, at = [0, track], track
        for kind in _WAY:
            at = next(_inside(index, at, kind), -1)
            if at < 0:
                break
            around.append(at)
        handler = next(_inside(index, around[2], b"hdlr"), -1) if len(around) > 2 else -1
        if at >= 0 and index[handler + 16 : handler + 20] == b"vide":
            return at + 16, around  # behind size, kind, version and the count of entries
    raise ValueError("it has no video track")


def _inside(index: bytearray, outer: int, kind: bytes) -> Iterator[int]:
    """Yield where the boxes of a kind begin that lie in another one."""
    end, at = outer + struct.unpack_from(">I", index, outer)[0], outer + 8
    while at + 8 <= end:
        size, found = struct.unpack_from(">I4s", index, at)
        if found == kind:
            yield at
        if size < 8:
            return
        at += size
