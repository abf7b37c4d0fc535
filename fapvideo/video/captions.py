"""CEA-608/708 captions in coded pictures: H.264 and H.265 carry them as SEI messages.

PyAV 18 can read a frame's side data and cannot set it (`Frame.side_data` is read-only, `SideData`
cannot be made), so that x264's own way (`a53cc`) gets nothing: the message is put into the packet.
"""

from __future__ import annotations

import re
from typing import Any, Final, Literal

import av

CARRIERS: Final[dict[str, Literal["h264", "hevc"]]] = {
    "libx264": "h264",
    "libx264rgb": "h264",
    "libx265": "hevc",
}
"""Encoders whose pictures can carry captions -> their bitstream."""

_START = b"\0\0\0\1"
_UNITS = re.compile(rb"\x00\x00\x01")
_GA94 = b"GA94\3"
"""ATSC's mark of `cc_data()`."""
_HEAD = 4096
"""Messages come before the slices of a picture."""
_MAX_TRIPLETS = 31
_LONGEST = 3 * _MAX_TRIPLETS + 3


def captions_of(packet: Any) -> bytes:
    """Return the captions in a packet as it was read, as `A53_CC` triplets; empty if none.

    Looking at every frame's side data instead would tie each frame to itself (`side_data` refers
    back) and keep it in memory until the garbage collector comes by.
    """
    head = bytes(memoryview(packet)[:_HEAD])
    at = head.find(_GA94)
    if at < 0:
        return b""
    # H.264 and H.265 put a 3 into what would look like a start code.
    message = head[at + len(_GA94) : at + 2 * _LONGEST].replace(b"\0\0\3", b"\0\0")
    count = message[0] & 0x1F if message else 0
    return message[2 : 2 + 3 * count]


def with_captions(packet: Any, cc_data: bytes, bitstream: Literal["h264", "hevc"]) -> Any:
    """Return a packet (Annex B) with captions before its first slice.

    `cc_data` are the triplets of `A53_CC` side data; of more than 31 the first ones are kept.
    """
    data = bytes(packet)
    at = _first_slice(data, bitstream)
    fresh = av.Packet(data[:at] + _sei(cc_data, bitstream) + data[at:])
    fresh.time_base = packet.time_base
    fresh.pts, fresh.dts, fresh.duration = packet.pts, packet.dts, packet.duration
    fresh.is_keyframe = packet.is_keyframe
    return fresh


def _first_slice(data: bytes, bitstream: str) -> int:
    """Return where the start code of the first coded slice begins."""
    for found in _UNITS.finditer(data):
        header = data[found.end()] if found.end() < len(data) else 0
        kind = header & 0x1F if bitstream == "h264" else header >> 1 & 0x3F
        if kind in (1, 2, 5) or (bitstream == "hevc" and kind < 32):
            at = found.start()
            return at - 1 if at and data[at - 1] == 0 else at
    return 0


def _sei(cc_data: bytes, bitstream: str) -> bytes:
    """Return the unit of one message: ITU-T T.35, ATSC `GA94`, `cc_data()` (A/53 part 4)."""
    count = min(len(cc_data) // 3, _MAX_TRIPLETS)
    message = b"\xb5\0\x31" + _GA94 + bytes([0x40 | count, 0xFF]) + cc_data[: 3 * count] + b"\xff"
    payload = b"\4" + bytes([len(message)]) + message + b"\x80"
    header = b"\6" if bitstream == "h264" else b"\x4e\1"
    # No start code may appear inside a unit.
    escaped = re.sub(rb"\x00\x00(?=[\x00-\x03])", b"\x00\x00\x03", payload)
    return _START + header + escaped
