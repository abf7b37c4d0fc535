"""Writes the layers of consecutive frames into a folder: all of a clip, or one segment of it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from fapvideo.config.layers import LayersConfig
from fapvideo.config.schema import VideoConfig
from fapvideo.layers.frame import Mattes, layers_of
from fapvideo.layers.images import ImageWriter, image_writer
from fapvideo.layers.movie import movie_frame, movie_info
from fapvideo.layers.numbers import Numbers
from fapvideo.ops.files import remove
from fapvideo.pipeline import SwappedBatch
from fapvideo.structs import FrameBatch, VideoInfo
from fapvideo.video.coding import PictureEncoder
from fapvideo.video.encoder import Encoding, choose_encoding
from fapvideo.video.packets import PacketFile, PacketTable
from fapvideo.video.writer import explained

PACKETS = "swap.packets"
"""The movie's pictures, encoded, until they are put into a file."""


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """What is the same for all frames of a clip's layers."""

    config: LayersConfig
    video: VideoConfig
    info: VideoInfo
    """Of the source."""
    numbers: Numbers
    mattes: Mattes

    @property
    def movie(self) -> VideoInfo:
        """What the movie is like."""
        return movie_info(self.info, self.numbers)

    @property
    def movie_config(self) -> VideoConfig:
        """How the movie is written."""
        changed = {"codec": "prores", "compatible": False, "deinterlace": self.video.deinterlace}
        return self.video.model_copy(update=changed)

    @property
    def encoding(self) -> Encoding:
        """How the movie's pictures are encoded.

        Raises:
            VideoWriteError: they cannot be.
        """
        return choose_encoding(self.movie, self.movie_config, ".mov")

    def images(self) -> ImageWriter | None:
        """Return what writes the images; None where none are asked for.

        Raises:
            VideoWriteError: an extra is missing.
        """
        if self.config.images == "off":
            return None
        return image_writer(self.config.images, self.config.contents, self.info, self.numbers)


@dataclass(frozen=True, slots=True)
class LayerOutcome:
    """What a folder of layers holds when it is whole."""

    files: int
    size: int
    """Bytes of all of them."""
    packets: PacketTable
    """Of the movie; empty where there is none."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON types."""
        return {"files": self.files, "size": self.size, "packets": self.packets.to_dict()}

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """Return the outcome that `to_dict` wrote.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        return cls(
            int(values["files"]), int(values["size"]), PacketTable.from_dict(values["packets"])
        )

    def describes(self, folder: Path) -> bool:
        """Tell whether a folder holds just this."""
        return _content(folder) == (self.files, self.size)


class LayerSpool(AbstractContextManager["LayerSpool"]):
    """Takes batches in order inside a `with` block; after an exception its folder is gone."""

    def __init__(self, plan: LayerPlan, folder: Path) -> None:
        """Make the folder.

        Raises:
            VideoWriteError: it cannot be made, or an extra is missing.
        """
        self.plan, self.folder = plan, folder
        self._images = plan.images()
        self.warnings: list[str] = []
        self._movie = plan.movie
        self._encoding = plan.encoding
        with self._explained():
            folder.mkdir()
            self._encoder = PictureEncoder(self._movie, self._encoding, self.warnings.append)
            self._packets = PacketFile(folder / PACKETS) if plan.config.movie else None

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close the files; after an exception remove them."""
        if self._packets is not None:
            with suppress(OSError):
                self._packets.close()
        if kind is not None:
            remove(self.folder)

    def write(self, batch: FrameBatch, swapped: SwappedBatch) -> None:
        """Write the layers of a batch whose strokes were recorded.

        Raises:
            VideoWriteError: the disk is full, or the encoder fails.
        """
        layered = layers_of(batch, swapped, self.plan.info, self.plan.mattes)
        with self._explained():
            for frame, layers in zip(batch.frames, layered, strict=True):
                if self._images is not None:
                    self._images.write(layers, self.folder)
                if self._packets is not None:
                    picture = movie_frame(frame, layers, self._movie)
                    self._packets.write(self._encoder.encode(picture))

    def finish(self) -> LayerOutcome:
        """Write what is left; return what there is.

        Raises:
            VideoWriteError: the disk is full, or the encoder fails.
        """
        table = PacketTable()
        with self._explained():
            if self._packets is not None:
                self._packets.write(self._encoder.finish())
                self._packets.close()
                table = self._packets.table
                table.extradata = self._encoder.extradata.hex()
            return LayerOutcome(*_content(self.folder), table)

    def _explained(self) -> AbstractContextManager[None]:
        return explained(f"{self.folder}: writing layers failed", self._encoding)


def _content(folder: Path) -> tuple[int, int]:
    """Return how many files are in a folder, and how large they are together."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return len(sizes), sum(sizes)


def image_files(folder: Path) -> Sequence[Path]:
    """Return the images of a spool's folder, relative to it."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in found if path.name != PACKETS)
