"""The timecode of a file's first frame, wherever its container keeps it."""

from __future__ import annotations

import av
import av.error

from fapvideo.structs import VideoInfo


def start_timecode(info: VideoInfo) -> str:
    """Return `01:00:00:00` (`;` before the frames: drop frame); empty where the file has none."""
    if not info.container:
        return ""
    try:
        with av.open(f"file:{info.path}") as container:
            video = container.streams[info.video_stream]
            for tags in (
                video.metadata,
                container.metadata,
                *(s.metadata for s in container.streams),
            ):
                found = {key.lower(): value for key, value in tags.items()}.get("timecode", "")
                if found:
                    return found
    except (av.error.FFmpegError, OSError, IndexError):
        pass  # what cannot be opened any more is told by whoever reads its pictures
    return ""
