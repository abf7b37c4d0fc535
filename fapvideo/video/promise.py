"""What a file promises of itself: how many frames, and how many bytes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from fapvideo.video.timeline import Timeline

_CLOCK = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")
_SLACK_S = 1.0
"""A container's duration is that of its longest stream, and rounded."""
_STATED = ("matroska", "flv", "asf")
"""Demuxers whose duration is read from a header, not estimated from what is there."""
_EBML_SEGMENT = b"\x18\x53\x80\x67"
_UNKNOWN_RIFF = 0xFFFFFF00
"""What is written in place of a size by those who cannot go back."""
_MAX_BOXES = 100_000


def promised_frames(container: Any, stream: Any, timeline: Timeline) -> int:
    """Return how many frames to show the header or the index promises; 0 where it does not say."""
    count = int(stream.frames or 0)
    if container.format.name == "avi" and timeline.end > timeline.start:
        # It counts frames that were dropped when it was recorded, which have no packet.
        count = 0 if count <= timeline.end - timeline.start else count
    tags = {key.upper(): value for key, value in stream.metadata.items()}
    for key, value in tags.items():
        if key.startswith("NUMBER_OF_FRAMES") and value.isdecimal():
            count = count or int(value)
    if count:
        return max(0, count - timeline.discarded)
    return _by_duration(container, stream, timeline, tags)


def _by_duration(container: Any, stream: Any, timeline: Timeline, tags: dict[str, str]) -> int:
    """Scale what is there by how long it should be."""
    begin_s = float(timeline.start * stream.time_base) if stream.time_base else 0.0
    held_s = float(timeline.end * stream.time_base) - begin_s if stream.time_base else 0.0
    stated = _CLOCK.match(tags.get("DURATION", ""))
    due_s = 0.0
    if stated:
        hours, minutes, seconds = stated.groups()
        due_s = int(hours) * 3600 + int(minutes) * 60 + float(seconds) - begin_s
    elif container.format.name.startswith(_STATED) and container.duration:
        longer = any(one.type in ("subtitle", "data") for one in container.streams)
        if not longer and timeline.last_s + _SLACK_S < container.duration / 1e6:
            due_s = container.duration / 1e6 - begin_s
    if held_s <= 0 or due_s <= held_s + _SLACK_S:
        return 0
    return round(timeline.frames * due_s / held_s)


def is_cut(path: Path, container: str) -> bool:
    """Tell whether a file ends before the size that its outermost structures state."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if "mp4" in container:
            return _boxes_end(file, size) > size
        head = file.read(64)
        if container == "avi" and head[:4] == b"RIFF":
            length = int.from_bytes(head[4:8], "little")
            return length < _UNKNOWN_RIFF and 8 + length > size
        at = head.find(_EBML_SEGMENT)
        if container.startswith("matroska") and 0 <= at < 48:
            return _segment_end(head, at + 4) > size
    return False


def _boxes_end(file: Any, size: int) -> int:
    """Return where the last of an MP4's outermost boxes ends."""
    at = 0
    for _ in range(_MAX_BOXES):
        file.seek(at)
        head = file.read(16)
        if len(head) < 8 or not head[4:8].isalnum():
            break
        length = int.from_bytes(head[:4], "big")
        if length == 1 and len(head) == 16:
            length = int.from_bytes(head[8:], "big")
        if length < 8:  # 0: up to the end
            break
        at += length
        if at >= size:
            break
    return at


def _segment_end(head: bytes, at: int) -> int:
    """Return where a Matroska segment ends; 0 where its size is not known."""
    first = head[at]
    length = 9 - first.bit_length()
    if not 1 <= length <= 8:
        return 0
    value = int.from_bytes(head[at : at + length], "big") & ((1 << 7 * length) - 1)
    unknown = value == (1 << 7 * length) - 1
    return 0 if unknown else at + length + value
