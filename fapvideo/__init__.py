"""Swap facial parts in a video, each part from its own reference images.

Importing this package does no work: every name is resolved at first use, so that neither torch nor
OpenCV nor PyAV is loaded before something needs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from fapvideo.config.presets import list_presets, load_preset
    from fapvideo.config.schema import RunPreset
    from fapvideo.errors import (
        BatchError,
        Cancelled,
        ConsentError,
        DeviceError,
        FapVideoError,
        NoCredentials,
        NoFaceFound,
        PresetError,
        ProvenanceError,
        QualityError,
        ReferenceImageError,
        VideoReadError,
        VideoWriteError,
        WeightsError,
    )
    from fapvideo.plan.people import Person
    from fapvideo.progress import Progress
    from fapvideo.run.pieces import join_job
    from fapvideo.run.ranking import rank_references
    from fapvideo.run.session import Session
    from fapvideo.run.sources import FrameSource
    from fapvideo.structs import FrameBatch, PartMasks, Reference, RunReport, Track
    from fapvideo.swapper import VideoSwapper
    from fapvideo.video.stream import stream_info

__version__ = "0.1.0"

__all__ = [
    "BatchError",
    "Cancelled",
    "ConsentError",
    "DeviceError",
    "FapVideoError",
    "FrameBatch",
    "FrameSource",
    "NoCredentials",
    "NoFaceFound",
    "PartMasks",
    "Person",
    "PresetError",
    "Progress",
    "ProvenanceError",
    "QualityError",
    "Reference",
    "ReferenceImageError",
    "RunPreset",
    "RunReport",
    "Session",
    "Track",
    "VideoReadError",
    "VideoSwapper",
    "VideoWriteError",
    "WeightsError",
    "__version__",
    "join_job",
    "list_presets",
    "load_preset",
    "rank_references",
    "stream_info",
]

_HOMES: Final = {
    "FrameBatch": "fapvideo.structs",
    "FrameSource": "fapvideo.run.sources",
    "PartMasks": "fapvideo.structs",
    "Person": "fapvideo.plan.people",
    "Progress": "fapvideo.progress",
    "Reference": "fapvideo.structs",
    "RunPreset": "fapvideo.config.schema",
    "RunReport": "fapvideo.structs",
    "Session": "fapvideo.run.session",
    "Track": "fapvideo.structs",
    "VideoSwapper": "fapvideo.swapper",
    "join_job": "fapvideo.run.pieces",
    "list_presets": "fapvideo.config.presets",
    "load_preset": "fapvideo.config.presets",
    "rank_references": "fapvideo.run.ranking",
    "stream_info": "fapvideo.video.stream",
}
"""Where the public names live that are not errors."""


def __getattr__(name: str) -> Any:
    """Import a public name at first use."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES.get(name, "fapvideo.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return list(__all__)
