"""What a painter is: the part of the second pass between a crop and a finished crop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from fapvideo.mask.boxes import PartBox
from fapvideo.ops.geometry import Matrix
from fapvideo.ops.pose import HeadPose
from fapvideo.plan.references import ReferenceEncoder
from fapvideo.plan.targets import Target
from fapvideo.structs import Floats, PartMasks, Placement
from fapvideo.weights.bundle import Bundle


@dataclass(frozen=True, slots=True)
class FaceCrop:
    """One face of one frame, cut out."""

    target: Target
    placement: Placement
    pose: HeadPose
    matrix: Matrix
    """Frame of square pixels, in which faces are followed -> crop."""
    raster: Matrix
    """Frame as displayed, in its own pixels -> crop."""
    landmarks: Floats
    """[478, 3] in the crop."""
    picture: Floats
    """[S, S, 3] RGB in [0, 1]."""


@dataclass(frozen=True, slots=True)
class FaceJob:
    """A crop that is ready to be painted."""

    face: FaceCrop
    masks: PartMasks
    """`hole` says where and how strongly the finished crop is pasted."""
    guide: Floats
    """[S, S, 3] what the painter starts from."""
    boxes: Mapping[str, PartBox]
    """Part -> its box, for parts whose mask is not the mesh's outline."""
    wanted: Mapping[str, Floats] = field(default_factory=dict)
    """Part -> [478, 3] where in the crop the points of its outline are meant to come to lie."""


class Painter(ReferenceEncoder, Protocol):
    """Paints the parts of faces; holds networks until `close`.

    Results must not depend on what else is in a batch, but for rounding.
    """

    warnings: list[str]
    """What the run's report should say; emptied by whoever has told it."""

    @property
    def bundle(self) -> Bundle | None:
        """Its networks; None where it has none."""

    @property
    def resolution(self) -> int:
        """Crops are at least this large, pixels."""

    def searched(self, parts: Sequence[str]) -> tuple[str, ...]:
        """Return the parts whose boxes a run needs that swaps `parts`, if a detector is used."""

    def framed(self, matrix: Matrix, size: int) -> Matrix:
        """Return frame -> crop of `size` px as it likes it, from frame -> aligned crop."""

    def prepare(self, face: FaceCrop) -> FaceJob:
        """Mask the parts and build what it starts from."""

    def paint(self, jobs: Sequence[FaceJob]) -> list[Floats]:
        """Return the finished crops, each of its job's size."""

    def close(self) -> None:
        """Leave the networks as they were."""
