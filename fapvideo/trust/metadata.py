"""Tags that say AI had a hand in a file: XMP in MP4 and MOV, tags in every container.

The names are IPTC's (Video Metadata Hub 1.7: Digital Source Type, AI System Used, AI System Version
Used); XMP lies in MP4 and MOV in a `uuid` box at the top level (XMP specification part 3, 1.1.4).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from uuid import UUID
from xml.sax.saxutils import escape

from fapvideo.structs import VideoInfo

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""IPTC's term for what was filmed, with parts from a trained model in it."""
SYSTEM = "fapvideo"
XMP_BOX = UUID("be7acfcb-97a9-42e8-9c71-999491e3afac").bytes
ISO_MEDIA = frozenset({".mp4", ".mov"})
LONGEST_XMP = 1 << 20
"""Bytes of XMP that are looked at."""

_PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    Iptc4xmpExt:DigitalSourceType="{source}"
    Iptc4xmpExt:AISystemUsed="{system}"
    Iptc4xmpExt:AISystemVersionUsed="{version}"
    xmp:CreatorTool="{system} {version}"/>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>"""
_XMP_VALUES = {
    "source_type": re.compile(r"DigitalSourceType(?:=\"|>)\s*([^\"<]+)"),
    "system": re.compile(r"AISystemUsed(?:=\"|>)\s*([^\"<]+)"),
    "version": re.compile(r"AISystemVersionUsed(?:=\"|>)\s*([^\"<]+)"),
}
_TAGS = {
    "source_type": "DIGITAL_SOURCE_TYPE",
    "system": "AI_SYSTEM_USED",
    "version": "AI_SYSTEM_VERSION_USED",
}


def marked(info: VideoInfo, suffix: str, version: str) -> VideoInfo:
    """Return `info` with the container's tags for an output that ends in `suffix`.

    Matroska takes tags of any name. MP4 and MOV get a comment unless they have one (tags of other
    names would change how players find the usual ones); the rest stands in their XMP.
    """
    values = {"source_type": SOURCE_TYPE, "system": SYSTEM, "version": version}
    tags = dict(info.metadata)
    if suffix.lower() not in ISO_MEDIA:
        tags |= {_TAGS[name]: value for name, value in values.items()}
    elif not any(key.lower() == "comment" for key in tags):
        tags["comment"] = f"Facial parts changed with AI by {SYSTEM} {version} ({SOURCE_TYPE})"
    return replace(info, metadata=tags)


def append_xmp(path: Path, version: str) -> None:
    """Put an XMP packet at the end of a finished MP4 or MOV.

    Raises:
        OSError: it cannot be written.
    """
    values = {"source": SOURCE_TYPE, "system": SYSTEM, "version": version}
    quoted = {name: escape(value, {'"': "&quot;"}) for name, value in values.items()}
    packet = _PACKET.format(**quoted).encode()
    with path.open("ab") as file:
        file.write(struct.pack(">I4s16s", 24 + len(packet), b"uuid", XMP_BOX) + packet)


def stated(path: Path, metadata: Mapping[str, str]) -> dict[str, str]:
    """Return what a file says of AI: `source_type`, `system`, `version`, as far as it does.

    Args:
        path: the file, for its XMP.
        metadata: its container's tags.

    Raises:
        OSError: it cannot be read.
    """
    lower = {key.lower(): value for key, value in metadata.items()}
    found = {name: lower[tag.lower()] for name, tag in _TAGS.items() if tag.lower() in lower}
    packet = read_xmp(path)
    for name, pattern in _XMP_VALUES.items():
        match = pattern.search(packet)
        if match is not None:
            found.setdefault(name, match[1].strip())
    return found


def read_xmp(path: Path) -> str:
    """Return the XMP packet of an MP4 or MOV; empty where there is none.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        for kind, start, size in top_level_boxes(path):
            if kind == b"uuid" and 16 < size <= LONGEST_XMP:
                file.seek(start)
                if file.read(16) == XMP_BOX:
                    return file.read(size - 16).decode("utf-8", "replace")
    return ""


def has_uuid_box(path: Path, name: bytes) -> bool:
    """Tell whether there is a `uuid` box of this name [16] at the top level of ISO media.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        for kind, start, _ in top_level_boxes(path):
            file.seek(start)
            if kind == b"uuid" and file.read(16) == name:
                return True
    return False


def top_level_boxes(path: Path) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start and length of the content of the boxes at the top level of ISO media."""
    end = path.stat().st_size
    with path.open("rb") as file:
        at = 0
        while at + 8 <= end:
            file.seek(at)
            size, kind = struct.unpack(">I4s", file.read(8))
            head = 8
            if at == 0 and kind not in (b"ftyp", b"wide", b"moov", b"mdat", b"free", b"skip"):
                return  # another format
            if size == 1:
                size, head = struct.unpack(">Q", file.read(8).ljust(8, b"\0"))[0], 16
            elif size == 0:
                size = end - at
            if size < head:
                return
            yield kind, at + head, size - head
            at += size
