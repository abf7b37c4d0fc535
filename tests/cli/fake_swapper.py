"""A VideoSwapper that does no swapping, for tests of the command line around it.

As a program (`python fake_swapper.py run in.mp4 ...`) it is the whole command line on the fake.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from fapvideo.config.schema import RunPreset
from fapvideo.errors import Cancelled, NoFaceFound
from fapvideo.ops.files import write_atomically
from fapvideo.progress import Progress
from fapvideo.structs import RunReport


class FakeSwapper:
    """Records how it was called; its frames take `frame_s` each."""

    opened: list[FakeSwapper]
    frames = 4
    frame_s = 0.0
    load_s = 0.0
    failure: BaseException | None = None

    def __init__(self, preset: RunPreset, device: str) -> None:
        self.preset, self.device, self.calls, self.closed = preset, device, [], False

    @classmethod
    def from_preset(
        cls, preset: RunPreset, *, device: str = "auto", overrides: Mapping[str, Any] = {}
    ) -> FakeSwapper:
        if cls.load_s:
            sys.stderr.write("loading\n")
            sys.stderr.flush()
            time.sleep(cls.load_s)
        swapper = cls(preset, device)
        cls.opened.append(swapper)
        return swapper

    def with_preset(self, preset: RunPreset) -> FakeSwapper:
        other = type(self)(preset, self.device)
        self.opened.append(other)
        return other

    def __enter__(self) -> FakeSwapper:
        return self

    def close(self) -> None:
        self.closed = True

    def __exit__(self, *_: object) -> None:
        self.closed = True

    def run(
        self,
        input: Path,
        output: Path | None = None,
        references: Any = None,
        *,
        overwrite: bool = False,
        require_face: bool = False,
        resume: bool = True,
        keep_work: bool = False,
        layers: Path | None = None,
        plan: Path | None = None,
        progress: Callable[[Progress], None] | None = None,
        cancel: Callable[[], bool] | None = None,
    ) -> RunReport:
        self.calls.append((input, output, overwrite, require_face))
        self.layers = layers
        if self.failure is not None:
            raise self.failure
        if require_face:
            raise NoFaceFound(f"no face in {input}", hint="leave out --require-face")
        output = output or input.with_name(f"{input.stem}.swapped{input.suffix}")
        with write_atomically(output) as fresh:
            fresh.write_bytes(b"half")
            for stage in ("analyse", "references", "swap", "finish"):
                for done in range(self.frames):
                    progress(Progress(stage, done + 1, self.frames if done else 0, 12.5))
                    time.sleep(self.frame_s)
                    if cancel():
                        raise Cancelled(f"stopped; {output} was not written")
        return report(input, output, self.preset)

    def preview(self, input: Path, times_s: Sequence[float], references: Any = None) -> Any:
        self.calls.append((input, times_s))
        return np.full((8, 6, 3), 200, np.uint8)

    def inspect(self, input: Path, *, sheet: Path | None = None) -> dict[str, Any]:
        return {
            "video": {"width": 64, "codec": "h264", "streams": [{"index": 0, "kind": "video"}]},
            "faces": [{"track": 1, "size_px": 40}],
            "tracks": [],
            "warnings": ["the face is small"],
        }


def span(track: int, first: int, last: int, state: str, reason: str) -> dict[str, Any]:
    """Return a row of a report's log, at 25 frames per second from 1.2 s on."""
    times = {"start_s": 1.2 + first / 25, "end_s": 1.2 + (last + 1) / 25}
    return {"first": first, "last": last, **times, "track": track, "state": state, "reason": reason}


INPUT: dict[str, Any] = {}
"""What the report says of the input beside its name."""
LOG = [span(1, 2, 2, "left", "profile")]
"""What fell back."""


def report(input: Path, output: Path, preset: RunPreset) -> RunReport:
    """Return the report of a run that went well."""
    return RunReport(
        input={"path": str(input), "frames": 4, **INPUT},
        output={"path": str(output), "frames": 4},
        preset=preset.model_dump(mode="json"),
        seed=preset.seed,
        bundle={"name": preset.bundle, "files": []},
        references=[{"part": "eyes", "path": "a.png", "sha256": "0", "cached": True}],
        tracks=[
            {"id": 1, "first_frame": 0, "last_frame": 3, "frames": 4, "swapped": True},
            {"id": 2, "first_frame": 0, "last_frame": 3, "frames": 4, "swapped": False},
        ],
        frames={"total": 4, "swapped": 4 - len(LOG), "held": 0, "faded": 0, "left": len(LOG)},
        outside_changed_samples=0,
        timings={"wall_s": 1.5, "fps": 2.67},
        peak_rss_bytes=300 * 2**20,
        warnings=["the brand's face [it] is small"],
        versions={},
        frame_log=[*LOG, span(2, 0, 3, "left", "not_cast")],
    )


if __name__ == "__main__":
    FakeSwapper.opened, FakeSwapper.frames = [], int(os.environ.get("FAKE_FRAMES", "2000"))
    FakeSwapper.frame_s = float(os.environ.get("FAKE_FRAME_S", "0.02"))
    FakeSwapper.load_s = float(os.environ.get("FAKE_LOAD_S", "0"))
    sys.modules["fapvideo.swapper"] = SimpleNamespace(VideoSwapper=FakeSwapper)
    from fapvideo.cli.main import main

    main()
