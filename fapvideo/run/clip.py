"""A clip that was followed once, on which single frames and stretches are quickly painted."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from fapvideo.composite.planes import displayed
from fapvideo.config.schema import RunPreset
from fapvideo.errors import PresetError, VideoReadError, VideoWriteError
from fapvideo.paint.painter import FaceJob
from fapvideo.plan.decide import Memory
from fapvideo.plan.people import Cast
from fapvideo.plan.references import References
from fapvideo.plan.store import read_plan, write_plan
from fapvideo.plan.targets import Plan
from fapvideo.progress import Ticker
from fapvideo.run.engine import Engine
from fapvideo.run.permission import check_permission
from fapvideo.run.preview import masked
from fapvideo.run.segments import Segment, frames_of
from fapvideo.run.sources import Source
from fapvideo.structs import Bytes, VideoInfo

WEIGHTS = ("precision", "runtime", "compile", "resolution", "codec_file", "lora_file")
"""Keys of `[denoise]` that decide about networks."""
Settings = Mapping[str, Any]
"""Dotted keys of a preset and other values for them: `{"mask.feather": 0.2}`."""
Change = Callable[
    ["Clip", Settings, References | None], AbstractContextManager[tuple[Engine, Plan]]
]
"""Gives the engine and the plan for changed settings; the swapper's side of a `Clip`."""


@dataclass(frozen=True, slots=True)
class Look:
    """One frame of an open clip."""

    index: int
    time_s: float
    before: Bytes
    """[H, W, 3] as filmed, as displayed."""
    after: Bytes
    """[H, W, 3] swapped."""
    jobs: Sequence[FaceJob]
    """What was painted."""

    @property
    def masks(self) -> Bytes:
        """[H, W, 3]: the frame as filmed with the masks of the parts, each in its colour."""
        return masked(self.before, self.jobs)


class Clip:
    """What `VideoSwapper.open` returns. Use it as a context manager; it ends with its swapper."""

    def __init__(
        self,
        source: Source,
        plan: Plan,
        cast: Cast,
        change: Change,
        scratch: tempfile.TemporaryDirectory[str] | None,
    ) -> None:
        """Keep the plan, whose landmarks lie in `scratch` unless they are kept elsewhere."""
        self.source, self.plan, self.cast = source, plan, cast
        self._change, self._scratch = change, scratch
        self.memory = Memory()
        """For `decide`: a still under other settings costs the same however long the clip is."""

    def __enter__(self) -> Self:
        """Return the clip."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Forget the plan; one that is kept in a folder stays there."""
        if self._scratch is not None:
            self._scratch.cleanup()

    @property
    def info(self) -> VideoInfo:
        """What is known of the video."""
        return self.source.info

    def still(
        self,
        time_s: float,
        *,
        settings: Settings | None = None,
        references: References | None = None,
    ) -> Bytes:
        """Return uint8 [H, W, 3], the swapped frame on display at `time_s`.

        Args:
            time_s: seconds since the video's first frame.
            settings: what is to be another way. Nobody is followed again, so the stretch of
                `[video]` and all of `[track]` but `faces` stay as they are.
            references: part -> references, instead of the preset's; the people that the clip was
                opened with stay who they are.

        Raises:
            VideoReadError: there is no such time in the clip.
            PresetError: a setting that would need another bundle or another first pass.
        """
        return self.strip(time_s, 0.0, settings=settings, references=references)[0]

    def strip(
        self,
        time_s: float,
        seconds: float,
        *,
        settings: Settings | None = None,
        references: References | None = None,
    ) -> Bytes:
        """Return uint8 [N, H, W, 3], the swapped frames on display for `seconds` from `time_s`.

        See `still` for the rest.
        """
        looks = self.looks(time_s, seconds, settings=settings, references=references)
        return np.stack([look.after for look in looks])

    def looks(
        self,
        time_s: float,
        seconds: float = 0.0,
        *,
        settings: Settings | None = None,
        references: References | None = None,
    ) -> Iterator[Look]:
        """Yield the frames on display for `seconds` from `time_s`, each before and after.

        See `still` for the rest. The swapper is busy until the last one is taken.
        """
        first, count = self._frames(time_s, seconds)
        stretch = (Segment(0, first, count),)
        with self._change(self, settings or {}, references) as (engine, plan):
            pipeline = engine.pipeline(self.info)
            size = engine.batch(self.info)
            for batch in frames_of(self.source, self.plan, stretch, size):
                swapped = pipeline.swap(batch, plan)
                for i, frame in enumerate(swapped.frames):
                    after = displayed(frame, self.info)
                    yield Look(frame.index, frame.time_s, batch.rgb[i], after, swapped.jobs[i])

    def _frames(self, time_s: float, seconds: float) -> tuple[int, int]:
        """Return the first frame on display in a stretch, and how many are."""
        times = self.plan.times_s
        step = float(1 / self.info.frame_rate)
        if not times[0] - step < time_s < times[-1] + 2 * step or seconds < 0:
            raise VideoReadError(
                f"there is no frame at {time_s:g} s: the clip goes from {times[0]:.3f} s "
                f"to {times[-1]:.3f} s"
            )
        first = max(0, int(np.searchsorted(times, time_s + 1e-5, side="right")) - 1)
        last = int(np.searchsorted(times, time_s + seconds - 1e-5, side="left"))
        return first, max(1, last - first)


def planned(
    engine: Engine, source: Source, cast: Cast, folder: Path | None, ticker: Ticker | None = None
) -> tuple[Plan, tempfile.TemporaryDirectory[str] | None]:
    """Return the plan of a clip, and the folder that goes with it unless it is kept in `folder`.

    Raises:
        VideoReadError: the plan in `folder` is damaged, or the clip is no file.
        VideoWriteError: it cannot be written there.
    """
    made_from: dict[str, Any] = {}
    if folder is not None:
        if not source.info.container:
            raise VideoReadError("the plan of frames that come from no file cannot be kept")
        if not folder.parent.is_dir():  # before the faces are followed, not after
            raise VideoWriteError(f"the plan cannot be kept in {folder}: no folder {folder.parent}")
        made_from = {
            "fapvideo": metadata.version("fapvideo"),
            **engine.decided_by(source, cast),
        }
        known = read_plan(folder, made_from)
        if known is not None:
            check_permission(engine.preset, engine.painter.bundle, cast, source.info)
            return known, None
    scratch = tempfile.TemporaryDirectory(prefix="fapvideo-")
    try:
        plan = engine.plan(source, cast, Path(scratch.name), ticker=ticker, any_cast=True)
        if folder is not None:
            write_plan(plan, folder, made_from)
    except OSError as error:
        scratch.cleanup()
        raise VideoWriteError(f"the plan cannot be kept in {folder}: {error.strerror}") from error
    except BaseException:
        scratch.cleanup()
        raise
    return plan, scratch


def check_kept(old: RunPreset, new: RunPreset) -> None:
    """See that a change of settings needs neither other weights nor another first pass.

    Raises:
        PresetError: it does; names the key.
    """
    before, after = _fixed(old), _fixed(new)
    changed = [key for key in before if before[key] != after[key]]
    if changed:
        raise PresetError(
            f"{changed[0]} cannot be changed on an open clip",
            hint="make a swapper with it, and open the clip there",
        )


def _fixed(preset: RunPreset) -> dict[str, Any]:
    """Return what decides the weights and the first pass, by dotted key."""
    tables: dict[str, dict[str, Any]] = {
        "video": preset.video.model_dump(include={"start_s", "end_s"}),
        "track": preset.track.model_dump(exclude={"faces"}),
        "denoise": preset.denoise.model_dump(include=set(WEIGHTS)),
    }
    dotted = {f"{name}.{key}": table[key] for name, table in tables.items() for key in table}
    return {"bundle": preset.bundle, **dotted}
