"""The painters by name: which one `denoise.mode` means."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fapvideo.config.schema import RunPreset
from fapvideo.paint.guided import GuidedPainter
from fapvideo.paint.painter import Painter
from fapvideo.paint.published import PublishedPainter
from fapvideo.weights.bundle import Bundle

PAINTERS: Mapping[str, Callable[[RunPreset, Bundle], Painter]] = {
    "guided": GuidedPainter,
    "off": GuidedPainter,
    "published": PublishedPainter,
}
"""By `denoise.mode`."""


def painter_for(preset: RunPreset, bundle: Bundle) -> Painter:
    """Return what paints as a preset says, with the networks of a bundle."""
    return PAINTERS[preset.denoise.mode](preset, bundle)
