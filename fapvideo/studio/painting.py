"""Stills and strips: one thread that owns the networks, where a newer wish replaces an older one.

A swapper serves one thread at a time, so this one is its only user. Renders are processes of their
own (`renders`): however long one is, stills go on.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from fapvideo.config.presets import load_preset
from fapvideo.config.schema import DenoiseConfig, RunPreset
from fapvideo.errors import FapVideoError, VideoReadError
from fapvideo.run.clip import WEIGHTS, Clip, Look
from fapvideo.studio.following import Following, everybody
from fapvideo.studio.library import FIRST_PRESET, Project, problem
from fapvideo.studio.pictures import Shown, difference, resized
from fapvideo.studio.words import say
from fapvideo.swapper import VideoSwapper
from fapvideo.video.probe import probe
from fapvideo.video.reader import VideoReader

log = logging.getLogger(__name__)

Kind = Literal["still", "strip"]
STRIP_S = 2.0
AROUND_S = 0.3
"""Of a clip that is not followed yet so much is, before and after the time of a still."""
STILL_PX, STRIP_PX = 1600, 960
"""Longest sides of what pages show."""


@dataclass
class Wish:
    """A still or a strip that a page asked for."""

    project: Project
    kind: Kind
    time_s: float
    state: Literal["waiting", "working", "done", "replaced", "failed"] = "waiting"
    frames: list[dict[str, Any]] = field(default_factory=list)
    """Of what is painted so far: index, time and names of pictures."""
    problem: Mapping[str, str] = field(default_factory=dict)
    given_up: bool = False

    def give_up(self) -> None:
        """Say that nobody waits for it any more."""
        self.given_up = True


class Painting(threading.Thread):
    """Paints what pages ask for; of each kind the newest wish only."""

    def __init__(
        self, following: Following, shown: Shown, first: str = FIRST_PRESET, device: str = "auto"
    ) -> None:
        """Paint clips of `following` on `device`, and put pictures into `shown`.

        The networks of the preset `first` are loaded before anybody asks.
        """
        self._first = first
        super().__init__(name="painting", daemon=True)
        self._following, self._shown, self._device = following, shown, device
        self._change = threading.Condition()
        self._wishes: dict[tuple[Kind, str], Wish] = {}
        self._closing = False
        self._networks: VideoSwapper | None = None
        self._open: tuple[tuple[Any, ...], Clip] | None = None

    def ask(self, project: Project, kind: Kind, time_s: float, tab: str = "") -> Wish:
        """Return a wish, which is worked on soon; an older one of its kind and tab is replaced."""
        wish = Wish(project, kind, time_s)
        with self._change:
            older = self._wishes.pop((kind, tab), None)
            if older is not None:
                older.give_up()
                if older.state == "waiting":
                    older.state = "replaced"
            self._wishes[kind, tab] = wish  # the last of those that wait
            self._change.notify()
        return wish

    def close(self) -> None:
        """Stop soon."""
        with self._change:
            self._closing = True
            for wish in self._wishes.values():
                wish.give_up()
            self._change.notify()

    def run(self) -> None:
        """Load the networks of the first preset, then paint until `close`."""
        try:
            self._swapper(load_preset(self._first))
        except Exception:  # whoever asks for a still is told
            log.debug("networks are not loaded", exc_info=True)
        self._following.begin()
        while True:
            with self._change:
                self._change.wait_for(lambda: self._closing or self._next() is not None)
                if self._closing:
                    break
                wish = self._next()
                assert wish is not None
                wish.state = "working"
            try:
                self._paint(wish)
            except Exception as error:
                log.debug("%s of %s", wish.kind, wish.project.source, exc_info=True)
                wish.problem, wish.state = problem(error), "failed"
        self._let_go()
        if self._networks is not None:
            self._networks.close()

    def _let_go(self) -> None:
        """Close the clip that is open here."""
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def _next(self) -> Wish | None:
        """Return what waits; stills come before strips."""
        for key, wish in list(self._wishes.items()):
            if wish.state == "waiting" and wish.given_up:
                wish.state = "replaced"
            if wish.state not in ("waiting", "working"):
                del self._wishes[key]
        waiting = [wish for wish in self._wishes.values() if wish.state == "waiting"]
        return min(waiting, key=lambda wish: wish.kind != "still", default=None)

    def _paint(self, wish: Wish) -> None:
        for look in self._looks(wish):
            wish.frames.append(self._pictures(look, wish.kind))
            if wish.given_up or self._waiting_still(wish):
                wish.state = "replaced"
                return
        wish.state = "done"

    def _waiting_still(self, wish: Wish) -> bool:
        """Tell whether a still is asked for while a strip is painted."""
        others = list(self._wishes.values())
        stills = [one for one in others if one.kind == "still" and one.state == "waiting"]
        return wish.kind == "strip" and bool(stills)

    def _pictures(self, look: Look, kind: Kind) -> dict[str, Any]:
        """Put what is to be seen of a frame into `shown`."""
        most = STILL_PX if kind == "still" else STRIP_PX
        views = {"before": look.before, "after": look.after}
        if kind == "still":
            views |= {"difference": difference(look.before, look.after), "masks": look.masks}
        names = {name: self._shown.add(resized(view, most, most)) for name, view in views.items()}
        return {"index": look.index, "time_s": round(look.time_s, 4), **names}

    def _looks(self, wish: Wish) -> Iterator[Look]:
        preset = wish.project.preset()
        base = base_of(preset)
        settings = differences(base, preset)
        seconds = STRIP_S if wish.kind == "strip" else 0.0
        clip = self._clip(wish, preset, base)
        return clip.looks(wish.time_s, seconds, settings=settings)

    def _clip(self, wish: Wish, preset: RunPreset, base: RunPreset) -> Clip:
        """Return the clip that is looked at, or of one not followed yet a stretch."""
        known = self._following.of(wish.project)
        followed = known.clip
        key: tuple[Any, ...] = (base.model_dump_json(), id(followed))
        if followed is None:
            if known.problem:
                raise FapVideoError(known.problem["message"], hint=known.problem["hint"])
            if preset.people or wish.kind == "strip":
                raise FapVideoError(say("look.following"), hint=say("look.following_hint"))
            key = (*key, wish.project.id, wish.time_s)
        if self._open is not None and self._open[0] == key:
            return self._open[1]
        self._let_go()
        swapper = self._swapper(base)
        if followed is None:
            reader = VideoReader(probe(wish.project.source), base.video)
            stretch = max(0.0, wish.time_s - AROUND_S), wish.time_s + AROUND_S
            clip = swapper.open(reader.cut(*stretch))
        else:
            clip = swapper.open(followed)
        self._open = key, clip
        return clip

    def _swapper(self, preset: RunPreset) -> VideoSwapper:
        """Return a swapper for a preset, on the networks that are there if they fit."""
        older = self._networks
        if older is None:
            swapper = VideoSwapper(preset, self._device)
        elif older.preset == preset:
            return older
        else:
            self._let_go()
            swapper = older.with_preset(preset)
            older.close()
        self._networks = swapper
        return swapper


def base_of(preset: RunPreset) -> RunPreset:
    """Return the preset that a clip is opened with: what it has been read for stays known under
    all settings that need neither other networks nor another first pass."""
    options = preset.denoise.model_dump(include=set(WEIGHTS))
    return everybody(
        RunPreset(bundle=preset.bundle, video=preset.video, track=preset.track,
                  denoise=DenoiseConfig(**options))
    )  # fmt: skip


def differences(base: RunPreset, preset: RunPreset) -> dict[str, Any]:
    """Return the dotted keys in which a preset is another than `base`, as overrides of it."""
    before, after = _flat(base), _flat(preset)
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    changed = {key: after.get(key) for key in keys}
    for table in ("references", "people", "spans"):
        changed.pop(table, None)
    if preset.people:
        changed["people"] = [
            one.model_dump(mode="json", exclude_none=True) for one in preset.people
        ]
        changed["references"] = _references(preset) or _references(base)
        if all(one.keep or one.references for one in preset.people):
            del changed["references"]
    elif preset.references:
        changed["references"] = _references(preset)
    else:
        raise VideoReadError(say("look.nothing"), hint=say("look.nothing_hint"))
    if preset.spans:
        changed["spans"] = [one.model_dump(mode="json", by_alias=True) for one in preset.spans]
    return changed


def _references(preset: RunPreset) -> dict[str, Any]:
    return {
        str(part): [one.model_dump(mode="json") for one in given]
        for part, given in preset.references.items()
    }


def _flat(preset: RunPreset) -> dict[str, Any]:
    """Return dotted keys and their values; lists are values."""
    flat: dict[str, Any] = {}

    def add(prefix: str, value: Any) -> None:
        if isinstance(value, Mapping) and prefix not in ("references", "consent"):
            for name, inner in value.items():
                add(f"{prefix}.{name}" if prefix else name, inner)
        else:
            flat[prefix] = value

    add("", preset.model_dump(mode="json"))
    return {key: value for key, value in flat.items() if key not in ("name", "description")}
