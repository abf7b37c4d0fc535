"""The table of a preset that says what `fapvideo run --layers DIR` writes."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import model_validator

from fapvideo.config.section import Section

LayerImage = Literal["swap", "parts", "inner_mouth", "occluders", "people", "guide", "st"]


class LayersConfig(Section):
    """`[layers]`: what lies in the folder of `--layers` (docs/recipes/compositing.md)."""

    movie: bool = True
    """Write `swap.mov`, the change alone: ProRes 4444 with straight alpha. Its 10 bits rebuild
    8-bit sources within one code value."""
    images: Literal["off", "png", "exr"] = "png"
    """Write every frame as images: PNG of 16 bits, a file for each layer, or one OpenEXR with all
    of them (extra `layers`); these rebuild every source within one code value."""
    contents: tuple[LayerImage, ...] = get_args(LayerImage)
    """What the images hold: the change (`swap`), a matte for each part, the inner mouth, what
    stands in front, the same mattes for each person alone where several are swapped (`people`),
    what the painter started from, where in the face a pixel lies (`st`)."""

    @model_validator(mode="after")
    def _something(self) -> LayersConfig:
        images = self.images != "off" and set(self.contents) - {"people"}
        if not self.movie and not images:
            raise ValueError("nothing would be written: set layers.movie, or layers.images")
        return self
