"""What a swapper works with: networks, a painter, a detector, a reader of references."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from fapvideo.config.presets import load_preset
from fapvideo.config.schema import RunPreset
from fapvideo.errors import FapVideoError
from fapvideo.ops.precision import resolve_device
from fapvideo.paint.check import PaintCheck
from fapvideo.paint.painter import Painter
from fapvideo.paint.painters import painter_for
from fapvideo.plan.people import Cast, CastReader, Person, asked_roles
from fapvideo.plan.references import References
from fapvideo.plan.search import BoxFinder
from fapvideo.plan.targets import Plan
from fapvideo.run.clip import Clip, Settings, check_kept
from fapvideo.run.engine import Engine
from fapvideo.run.networks import Networks, Shelf

Given = tuple[References | None, Sequence[Person] | None]
"""References and people, each instead of the preset's."""


class Workbench:
    """Holds what one preset needs, for one call at a time, until it is closed."""

    def __init__(
        self, preset: RunPreset, device: str, painter: Painter | None, shelf: Shelf | None
    ) -> None:
        """Load the preset's bundle, or take it from `shelf`; with `painter` that one paints.

        Raises:
            DeviceError: no such device here.
            WeightsError: the bundle is missing or damaged.
        """
        self.preset = preset
        self.device = resolve_device(device)
        self.shelf, self._closed = shelf or Shelf(), False
        self.painter: Painter
        if painter is None:
            self._networks, self.painter = self.shelf.take(preset, self.device)
        else:
            self._networks, self.painter = Networks(painter.bundle, self.device), painter
        self._boxes = BoxFinder(preset, self.device)
        self.reader = CastReader()
        self._checks: PaintCheck | None = None

    def close(self) -> None:
        """Leave the networks as they were unless others use them; forget the references.

        Raises:
            FapVideoError: another call is running.
        """
        if self._closed:
            return
        self._networks.check_idle(self)
        self._closed = True
        if self.shelf.give_back(self._networks):
            self.painter.close()
        self._boxes.close()
        self.reader.clear()

    def check_open(self) -> None:
        """See that it is open.

        Raises:
            FapVideoError: it is closed.
        """
        if self._closed:
            raise FapVideoError("this swapper is closed", hint="make a new one")

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Hold it for one call.

        Raises:
            FapVideoError: it is closed, or busy with another call.
        """
        self.check_open()
        with self._networks.used_by(self):
            yield

    def engine(self, preset: RunPreset | None = None) -> Engine:
        """Return what runs; for another preset with a painter of its own on the same networks."""
        bundle, used = self.painter.bundle, preset or self.preset
        if bundle is None:
            return Engine(used, self.painter, self._boxes)
        spans = [painter_for(used.within(span), bundle) for span in used.spans]
        if preset is None:
            return Engine(used, self.painter, self._boxes, spans, self._check)
        boxes = BoxFinder(used, self.device)
        return Engine(used, painter_for(used, bundle), boxes, spans, self._check)

    def _check(self) -> PaintCheck:
        """Return what looks at finished crops: one for all engines."""
        self._checks = self._checks or PaintCheck()
        return self._checks

    def cast(
        self, references: References | None, people: Sequence[Person] | None
    ) -> tuple[Cast, tuple[str, ...]]:
        """Return what is given, or the preset's, and warnings about its pictures."""
        roles = asked_roles(references, people, self.preset)
        return self.reader.cast(roles, self.painter, self.preset)

    @contextmanager
    def changed(
        self, clip: Clip, settings: Settings, wanted: References | None, given: Given
    ) -> Iterator[tuple[Engine, Plan]]:
        """Yield the engine and the plan of an open clip under other settings or references.

        Args:
            clip: the clip.
            settings: what is to be another way.
            wanted: other references.
            given: what the clip was opened with.
        """
        with self.in_use():
            if not settings and wanted is None:
                yield self.engine(), clip.plan
                return
            preset = load_preset(self.preset, settings)
            check_kept(self.preset, preset)
            engine = self.engine(preset)
            references, people = given
            if preset.people != self.preset.people:
                people = None
            if wanted is not None or preset.references != self.preset.references:
                references = wanted
            roles = asked_roles(references, people, preset)
            cast, _ = self.reader.cast(roles, engine.painter, preset)
            yield engine, engine.decide(clip.plan, clip.source, cast, clip.memory)
