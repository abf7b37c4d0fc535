"""Five nodes: load a preset, references per person, swap, preview, report.

A VIDEO goes through as a file, not as a tensor of all its frames: sound, subtitles, frame times and
colours stay what they were. Without a preset of your
own the brand face of the package is used.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import folder_paths
import numpy as np
import torch
from comfy import model_management
from comfy.utils import ProgressBar
from comfy_api.input_impl import VideoFromFile
from comfy_api.latest import ComfyExtension, io

from fapvideo import FapVideoError, Person, VideoSwapper, list_presets
from fapvideo.errors import Cancelled
from fapvideo.progress import Progress

PARTS = ("eyes", "brows", "nose", "mouth")
SHARES = {"analyse": (0, 30), "swap": (30, 70)}
"""Stage of a run -> where the bar stands at its beginning, and how far it goes, per cent."""
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
        folder = _temporary()
        try:
            source, swapper = _file_of(video, folder), _within(swapper, video)
            suffix = source.suffix if source.suffix in (".mp4", ".mov", ".mkv") else ".mp4"
            output = folder / f"{source.stem}.swapped{suffix}"
            stop = model_management.processing_interrupted
            report = swapper.run(source, output, people=people, progress=_on_bar(), cancel=stop)
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, Cancelled):
                model_management.throw_exception_if_processing_interrupted()
            raise
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
        begins_s, _ = _window(video)
        seconds = [begins_s + time_s for time_s in _times(times)]
        folder = _temporary()
        try:
            sheet = swapper.preview(_file_of(video, folder), seconds, people=people)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
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
        try:
            return {name: int(value)}
        except ValueError:
            hint = f"for example: {name}=1"
            raise FapVideoError(f"{text.strip()!r} is nobody", hint=hint) from None
    return text.strip()


def _times(text: str) -> list[float]:
    """Read `0.5, 2, 4`."""
    try:
        return [float(part) for part in text.split(",") if part.strip()] or [0.0]
    except ValueError:
        raise FapVideoError(
            f"times {text!r} are no seconds", hint="for example: 0.5, 2, 4"
        ) from None


def _on_bar() -> Any:
    """Return what shows the progress of a run on the node."""
    bar = ProgressBar(100)

    def show(now: Progress) -> None:
        if now.stage in SHARES and now.total:
            begins, length = SHARES[now.stage]
            bar.update_absolute(begins + round(length * min(1.0, now.done / now.total)))

    return show


def _temporary() -> Path:
    """Return a new folder in ComfyUI's temporary one, which it empties when it starts."""
    folder = Path(folder_paths.get_temp_directory())
    folder.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="fapvideo-", dir=folder))


def _file_of(video: Any, folder: Path) -> Path:
    """Return the file of a VIDEO; of one that lies in memory, after it is written as it is."""
    source = video.get_stream_source()
    if isinstance(source, str | Path):
        return Path(source)
    path = folder / "video.mp4"  # what it is, is seen by its content
    path.write_bytes(source.getbuffer())
    return path


def _window(video: Any) -> tuple[float, float]:
    """Return (start, duration) in seconds of what a trimmed VIDEO shows of its file; 0: the end."""
    start_s, duration_s = getattr(video, "get_active_trim_window", lambda: (0.0, 0.0))()
    return float(start_s or 0.0), float(duration_s or 0.0)


def _within(swapper: VideoSwapper, video: Any) -> VideoSwapper:
    """Return a swapper for the part of a file that a trimmed VIDEO shows."""
    start_s, duration_s = _window(video)
    if start_s <= 0 and duration_s <= 0:
        return swapper
    times = {"video.start_s": start_s}
    if duration_s > 0:
        times["video.end_s"] = start_s + duration_s
    return swapper.with_preset(swapper.preset, overrides=times)
