"""Where a run from file to file writes: a finished video, a folder of layers, or both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fapvideo.config.schema import RunPreset
from fapvideo.run.job import job_folder
from fapvideo.run.layering import check_layers, check_name
from fapvideo.structs import VideoInfo
from fapvideo.video.writer import link_target, output_place


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run writes: a finished video, a folder of layers, or both."""

    output: Path | None
    layers: Path | None

    @classmethod
    def of(cls, output: Path | None, layers: Path | None) -> Place:
        """Return the place; one of the two is given.

        Raises:
            VideoWriteError: the folder of layers has no name of its own.
        """
        assert output is not None or layers is not None
        if layers is not None:
            check_name(layers, output)
        return cls(output, layers)

    @property
    def target(self) -> Path:
        """What report and work are named after."""
        target = self.output or self.layers
        assert target is not None
        return target

    @property
    def container(self) -> str:
        """Suffix of the finished video, or of the layers' movie."""
        return self.output.suffix.lower() if self.output is not None else ".mov"

    @property
    def layering(self) -> str:
        """See `Job.layers`."""
        if self.layers is None:
            return "none"
        return "only" if self.output is None else "beside"

    def work(self, info: VideoInfo) -> Path:
        """Return the job's folder.

        Raises:
            VideoWriteError: the output cannot be written there, or not under that name.
        """
        if self.output is not None:
            return job_folder(output_place(self.output, info, overwrite=True))
        return job_folder(link_target(self.target))

    def check(self, preset: RunPreset, info: VideoInfo, *, overwrite: bool, of: str) -> None:
        """Refuse what is bound to fail; `of` is the work that layers which are there may be of.

        Raises:
            VideoWriteError: it cannot be written.
        """
        if self.output is not None:
            output_place(self.output, info, overwrite=overwrite)
        if self.layers is not None:
            check_layers(self.layers, preset, info, overwrite=overwrite, of=of)
