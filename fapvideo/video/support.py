"""What this build of FFmpeg can write."""

from __future__ import annotations

from typing import Final

import av

ENCODERS: Final = {"h264": "libx264", "hevc": "libx265", "prores": "prores_ks", "ffv1": "ffv1"}
"""`video.codec` -> FFmpeg's encoder."""


def missing_encoders() -> tuple[str, ...]:
    """Return the encoders a preset can ask for that this build does not have."""
    return tuple(name for name in ENCODERS.values() if name not in av.codecs_available)


def ffmpeg_versions() -> dict[str, str]:
    """Return the versions of the libraries PyAV was built with: `libavcodec` -> `62.28.102`."""
    return {name: ".".join(map(str, version)) for name, version in av.library_versions.items()}
