"""Five nodes: load a preset, references per person, swap, preview, report.

A VIDEO goes through as a file, not as a tensor of all its frames: sound, subtitles, frame times and
colours stay what they were. Without a preset of your
own the brand face of the package is used.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import folder_paths
import numpy as np
import torch
from comfy_api.input_impl import VideoFromFile
from comfy_api.latest import ComfyExtension, io

from fapvideo import Person, VideoSwapper, list_presets

PARTS = ("eyes", "brows", "nose", "mouth")
CATEGORY = "video/fapvideo"
Swapper = io.Custom("FAPVIDEO_SWAPPER")
People = io.Custom("FAPVIDEO_PEOPLE")


class FapvideoPreset(io.ComfyNode):
    """Loads a preset and its networks, once."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        names = [preset.name for preset in list_presets()]
        return io.Schema(
            node_id="FapvideoPreset",
            display_name="fapvideo: load preset",
            category=CATEGORY,
            inputs=[
                io.Combo.Input("preset", options=names, default="brand_avatar"),
                io.String.Input("file", default="", optional=True, tooltip="a preset of your own"),
                io.String.Input(
                    "settings",
                    default="",
                    multiline=True,
                    optional=True,
                    tooltip="one per line: denoise.steps=4",
                ),
                io.String.Input("device", default="auto", optional=True),
            ],
            outputs=[Swapper.Output(display_name="swapper")],
        )

    @classmethod
    def execute(
        cls, preset: str, file: str = "", settings: str = "", device: str = "auto"
    ) -> io.NodeOutput:
        """Load it."""
        from fapvideo.config.overrides import parse_overrides

        lines = [line.strip() for line in settings.splitlines() if line.strip()]
        overrides = parse_overrides(lines)
        swapper = VideoSwapper.from_preset(file or preset, device=device, overrides=overrides)
        return io.NodeOutput(swapper)


class FapvideoReferences(io.ComfyNode):
    """Says who gets which parts from which images; chained for several people."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="FapvideoReferences",
            display_name="fapvideo: references of a person",
            category=CATEGORY,
            inputs=[
                io.String.Input(
                    "who",
                    default="largest",
                    tooltip="largest, everyone_else, left=1, track=3, or a photo's path",
                ),
                *(io.Image.Input(part, optional=True) for part in PARTS),
                io.Float.Input("strength", default=1.0, min=0.0, max=1.0, step=0.05, optional=True),
                io.Boolean.Input("keep", default=False, optional=True, tooltip="leave them alone"),
                People.Input("others", optional=True, tooltip="people who come before this one"),
            ],
            outputs=[People.Output(display_name="people")],
        )

    @classmethod
    def execute(
        cls,
        who: str,
        strength: float = 1.0,
        keep: bool = False,
        others: list[Person] | None = None,
        **images: torch.Tensor | None,
    ) -> io.NodeOutput:
        """Put a person behind the others."""
        references = {
            part: [_picture(one) for one in images[part]]
            for part in PARTS
            if images.get(part) is not None
        }
        person = Person(_who(who), references, strength=strength, keep=keep)
        return io.NodeOutput([*(others or []), person])


class FapvideoSwap(io.ComfyNode):
    """Swaps a video: file in, file out, frame by frame."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="FapvideoSwap",
            display_name="fapvideo: swap",
            category=CATEGORY,
            inputs=[
                Swapper.Input("swapper"),
                io.Video.Input("video"),
                People.Input("people", optional=True),
            ],
            outputs=[
                io.Video.Output(display_name="video"),
                io.String.Output(display_name="report"),
            ],
        )

    @classmethod
    def execute(
        cls, swapper: VideoSwapper, video: Any, people: list[Person] | None = None
    ) -> io.NodeOutput:
        """Swap it into ComfyUI's temporary folder, where `Save Video` takes it from."""
        source, swapper = _file_of(video), _within(swapper, video)
        suffix = source.suffix if source.suffix in (".mp4", ".mov", ".mkv") else ".mp4"
        output = _temporary(suffix)
        report = swapper.run(source, output, people=people)
        return io.NodeOutput(VideoFromFile(str(output)), json.dumps(report.to_dict(), default=str))


class FapvideoPreview(io.ComfyNode):
    """Shows source, masks, guide and result at some times."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="FapvideoPreview",
            display_name="fapvideo: preview",
            category=CATEGORY,
            inputs=[
                Swapper.Input("swapper"),
                io.Video.Input("video"),
                io.String.Input("times", default="1.0", tooltip="seconds: 0.5, 2, 4"),
                People.Input("people", optional=True),
            ],
            outputs=[io.Image.Output(display_name="sheet")],
        )

    @classmethod
    def execute(
        cls, swapper: VideoSwapper, video: Any, times: str, people: list[Person] | None = None
    ) -> io.NodeOutput:
        """Make the sheet."""
        seconds = [float(text) for text in times.split(",")]
        sheet = swapper.preview(_file_of(video), seconds, people=people)
        return io.NodeOutput(torch.from_numpy(sheet.astype(np.float32) / 255)[None])


class FapvideoReport(io.ComfyNode):
    """Says in a few lines what became of the frames."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="FapvideoReport",
            display_name="fapvideo: report",
            category=CATEGORY,
            is_output_node=True,
            inputs=[io.String.Input("report", force_input=True)],
            outputs=[io.String.Output(display_name="summary")],
        )

    @classmethod
    def execute(cls, report: str) -> io.NodeOutput:
        """Sum it up."""
        told = json.loads(report)
        frames = ", ".join(f"{count} {state}" for state, count in told["frames"].items())
        lines = [
            f"frames: {frames}",
            f"samples changed outside the parts: {told['outside_changed_samples']}",
            *(f"{code}: {count} faces" for code, count in told["reasons"].items()),
            *(f"warning: {text}" for text in told["warnings"]),
        ]
        return io.NodeOutput("\n".join(lines), ui={"text": ["\n".join(lines)]})


class FapvideoExtension(ComfyExtension):
    """The nodes of this folder."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Return them."""
        return [FapvideoPreset, FapvideoReferences, FapvideoSwap, FapvideoPreview, FapvideoReport]


async def comfy_entrypoint() -> FapvideoExtension:
    """Return what ComfyUI loads."""
    return FapvideoExtension()


def _picture(image: torch.Tensor) -> np.ndarray[Any, Any]:
    """Return an image of a batch [H, W, C] in [0, 1] as uint8 RGB."""
    return np.round(image[..., :3].clamp(0, 1).cpu().numpy() * 255).astype(np.uint8)


def _who(text: str) -> Any:
    name, equals, value = text.strip().partition("=")
    if name in ("largest", "everyone_else"):
        return {name: True}
    if equals and name in ("left", "track"):
        return {name: int(value)}
    return text.strip()


def _temporary(suffix: str) -> Path:
    """Return a new name in ComfyUI's temporary folder, which it empties when it starts."""
    folder = Path(folder_paths.get_temp_directory())
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"fapvideo-{uuid.uuid4().hex}{suffix}"


def _file_of(video: Any) -> Path:
    """Return the file of a VIDEO; one that lies in memory is written first."""
    source = video.get_stream_source()
    if isinstance(source, str | Path):
        return Path(source)
    path = _temporary(".mp4")
    video.save_to(str(path))
    return path


def _within(swapper: VideoSwapper, video: Any) -> VideoSwapper:
    """Return a swapper for the part of a file that a trimmed VIDEO shows."""
    window = getattr(video, "get_active_trim_window", lambda: (0.0, 0.0))()
    start_s, duration_s = (float(seconds or 0.0) for seconds in window)
    if start_s <= 0 and duration_s <= 0:
        return swapper
    times = {"video.start_s": start_s}
    if duration_s > 0:
        times["video.end_s"] = start_s + duration_s
    return swapper.with_preset(swapper.preset, overrides=times)
