"""What has to look at whole clips: scan, first pass, pictures of people, ranking of photos.

In a thread of its own, one clip after the other, so that stills are painted meanwhile. Its swapper
paints nothing and so has no networks: following needs none.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from fapvideo.config.presets import ASSETS, load_preset
from fapvideo.config.schema import RunPreset
from fapvideo.errors import Cancelled, ConsentError, ReferenceImageError
from fapvideo.paint.pasted import PastedPainter
from fapvideo.parts import TRAINED
from fapvideo.plan.people import Person
from fapvideo.plan.targets import Plan
from fapvideo.progress import Progress
from fapvideo.reference.images import read_image
from fapvideo.run.clip import Clip
from fapvideo.run.people_sheet import Card, describe_people, portraits
from fapvideo.run.ranking import rank_references, wanted_of
from fapvideo.run.scan import in_words, scan, stride
from fapvideo.run.sources import open_source
from fapvideo.studio.board import Board
from fapvideo.studio.library import Library, Photo, Project, problem
from fapvideo.studio.pictures import jpeg, resized
from fapvideo.swapper import VideoSwapper
from fapvideo.trust.protected import found_among

log = logging.getLogger(__name__)

Task = tuple[Project, Literal["open", "rank"]]
FACE_PX = 160


def everybody(preset: RunPreset, **more: Any) -> RunPreset:
    """Return a preset that swaps all trained parts of everybody, as the base of what is looked at.

    What is known of all, a still of some of it needs not be looked for again.
    """
    face = [str(ASSETS / "brand_face.png")]
    changes = {
        "people": [],
        "spans": [],
        "references": dict.fromkeys(TRAINED, face),
        "track.faces": "all",
        "protected": "leave",
        "require_licence": "any",
        **more,
    }
    return load_preset(preset, changes)


@dataclass
class Followed:
    """What is known of one clip in this process."""

    clip: Clip | None = None
    stage: str = ""
    """What is being done, as `Progress` has it; empty: nothing."""
    done: int = 0
    total: int = 0
    problem: Mapping[str, str] = field(default_factory=dict)


class Following(threading.Thread):
    """Works through clips that were opened."""

    def __init__(self, library: Library, board: Board) -> None:
        """Find things in `library`, and tell `board` what is new."""
        super().__init__(name="following", daemon=True)
        self._library, self._board = library, board
        self._tasks: deque[Task] = deque()
        self._change = threading.Condition()
        self._known: dict[str, Followed] = {}
        self._swappers: dict[str, VideoSwapper] = {}
        self._closing = self._begun = self._stopping = False

    def begin(self) -> None:
        """Work from now on: before, the networks of the first still are loaded."""
        with self._change:
            self._begun = True
            self._change.notify()

    @property
    def begun(self) -> bool:
        """Whether it works yet."""
        return self._begun

    def of(self, project: Project) -> Followed:
        """Return what is known of a clip; ask for it where it is not."""
        with self._change:
            if project.id not in self._known:
                self._known[project.id] = Followed(stage="waiting")
                self._ask((project, "open"))
            return self._known[project.id]

    def retry(self, project: Project) -> None:
        """Follow a clip again that could not be followed: its page is opened anew."""
        if self.of(project).problem:
            self.again(project)

    def is_over(self, project: Project) -> bool:
        """Tell whether it is known who is in a clip, or that it cannot be; ask for it if not."""
        known = self.of(project)
        return known.clip is not None or bool(known.problem)

    def again(self, project: Project) -> None:
        """Follow a clip anew: its stretch or what `[track]` says is another one."""
        with self._change:
            self._known[project.id] = Followed(stage="waiting")
            self._ask((project, "open"))

    def rank(self, project: Project) -> None:
        """Rank the photos anew: there are others."""
        with self._change:
            self._ask((project, "rank"))

    def stop(self) -> None:
        """Begin nothing new, and break off what is at work; clips stay open until `close`."""
        self._stopping = True

    def close(self) -> None:
        """Stop soon, and close all clips."""
        with self._change:
            self._stopping = self._closing = True
            self._change.notify()

    def _ask(self, task: Task) -> None:
        if all((p.id, what) != (task[0].id, task[1]) for p, what in self._tasks):
            self._tasks.append(task)
        self._change.notify()

    def run(self) -> None:
        """Work until `close`."""
        try:
            self._work()
        finally:
            for known in self._known.values():
                if known.clip is not None:
                    known.clip.close()
            for swapper in self._swappers.values():
                swapper.close()

    def _work(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._closing or (self._begun and self._tasks))
                if self._closing:
                    return
                project, what = self._tasks.popleft()
                known = self._known.setdefault(project.id, Followed())
                known.problem = {}
            try:
                if what == "open":
                    self._open(project, known)
                self._rank(project, known)
            except Cancelled:  # the next task is broken off as well
                continue
            except Exception as error:
                log.debug("following %s", project.source, exc_info=True)
                known.problem = problem(error)
            known.stage = ""
            self._board.changed(project.id)

    def _tell(self, project: Project, known: Followed, now: Progress) -> None:
        known.stage, known.done, known.total = now.stage, now.done, now.total
        self._board.changed(project.id)

    def _open(self, project: Project, known: Followed) -> None:
        """Scan the clip, follow everybody in it, and make their pictures."""

        def tell(now: Progress) -> None:
            self._tell(project, known, now)

        preset = project.preset()
        base = RunPreset(video=preset.video, track=preset.track)
        if project.read("scan.json") is None:
            source, done = open_source(project.source, preset.video), 0
            looks = -(-source.expected // stride(source))

            def advance(count: int) -> None:
                nonlocal done
                done += count
                tell(Progress("scan", done, looks))
                if self._stopping:
                    raise Cancelled("the studio was closed")

            tell(Progress("scan", 0, looks))
            watched = load_preset(base, {"track.faces": "all"})
            found = scan(source, watched, advance).to_dict()
            for span in found["spans"]:
                span["words"] = in_words(span["codes"])
            project.write("scan.json", found)
        tell(Progress("analyse", 0, 0))
        known.clip = self._followed(base, project, tell)
        self._people(project, known.clip)

    def _followed(self, base: RunPreset, project: Project, tell: Any) -> Clip:
        key = base.model_dump_json()
        if key not in self._swappers:
            preset = everybody(base)
            self._swappers[key] = VideoSwapper(preset, painter=PastedPainter(preset, "paste"))
        swapper, folder = self._swappers[key], project.folder / "plan"
        calls: dict[str, Any] = {"progress": tell, "cancel": lambda: self._stopping}
        try:
            return swapper.open(project.source, folder=folder, **calls)
        except ConsentError:
            # Looking at who is there needs no consent; what is painted is asked again.
            nobody = [Person({"everyone_else": True}, keep=True)]
            return swapper.open(project.source, people=nobody, folder=folder, **calls)

    def _people(self, project: Project, clip: Clip) -> None:
        """Write who is there, with their pictures."""
        plan, cards = clip.plan, describe_people(clip.plan)
        people = {track.id: plan.people.get(track.id, track.id) for track in plan.tracks}
        protected = found_among(plan.looks, people, plan.faces)
        rows = [_row(number, card, plan, protected) for number, card in enumerate(cards, 1)]
        wanted = [_picture(project, name) for row in rows for name in row["pictures"]]
        if project.read("people.json") != rows or not all(path.is_file() for path in wanted):
            (project.folder / "people").mkdir(exist_ok=True)
            for (frame, track), crop in portraits(clip.source, cards).items():
                face = resized(crop, FACE_PX, FACE_PX)
                _picture(project, f"{frame}-{track}").write_bytes(jpeg(face))
            project.write("people.json", rows)
        self._board.changed(project.id)

    def _rank(self, project: Project, known: Followed) -> None:
        """Rank the shelf for everybody; what was ranked of the same photos stays."""
        people = project.read("people.json") or []
        photos = self._library.photos(project)
        if known.clip is None or not photos or not people:
            return
        key = {photo.id: Path(photo.path).stat().st_mtime for photo in photos.values()}
        kept = project.read("ranking.json") or {}
        ranked: dict[str, Any] = kept["people"] if kept.get("photos") == key else {}
        unreadable = _unreadable(photos.values())
        for person in people:
            if str(person["id"]) in ranked or person["protected"]:
                continue
            if self._stopping:
                raise Cancelled("the studio was closed")
            self._tell(project, known, Progress("rank", len(ranked), len(people)))
            ranked[str(person["id"])] = self._ranking(known.clip, person, photos, unreadable)
            project.write("ranking.json", {"photos": key, "people": ranked})
            self._board.changed(project.id)

    def _ranking(
        self,
        clip: Clip,
        person: Mapping[str, Any],
        photos: Mapping[str, Photo],
        unreadable: Mapping[str, str],
    ) -> dict[str, Any]:
        preset = RunPreset()
        tracks = [t for t in clip.plan.tracks if t.id in person["tracks"]]
        wanted = wanted_of(clip.source, clip.plan, tracks, preset.denoise.batch_size)
        ids = {one.path: one.id for one in photos.values() if one.id not in unreadable}
        if not ids:
            return {"parts": {}, "unusable": dict(unreadable)}
        found = rank_references(list(ids), wanted, parts=TRAINED, preset=preset, one_person=False)
        parts = {
            part: [{**asdict(row), "photo": ids[row.path]} for row in rows]
            for part, rows in found.parts.items()
        }
        unusable = {ids[p]: why for p, why in found.unusable.items()}
        return {"parts": parts, "unusable": {**unreadable, **unusable}}


def _unreadable(photos: Iterable[Photo]) -> dict[str, str]:
    """Return id -> why a photo cannot be read: one that is damaged is no trouble to the others."""
    found = {}
    for photo in photos:
        try:
            read_image(Path(photo.path))
        except ReferenceImageError as error:
            found[photo.id] = str(error).removeprefix(f"{photo.path}: ")
    return found


def _picture(project: Project, name: str) -> Path:
    return project.folder / "people" / f"{name}.jpg"


def _row(number: int, card: Card, plan: Plan, protected: Mapping[int, str]) -> dict[str, Any]:
    """Return a person as the page shows them."""
    times, tracks = plan.times_s, card.tracks
    spans = [(times[track.first_frame], times[track.last_frame]) for track in tracks]
    return {
        "id": card.person,
        "number": number,
        "tracks": [track.id for track in tracks],
        "spans": [[round(float(start), 3), round(float(end), 3)] for start, end in spans],
        "facts": list(card.lines[2:]),
        "against": list(card.against),
        "pictures": [f"{frame}-{track.id}" for frame, track in card.shots],
        "times": [round(float(times[frame]), 3) for frame, _ in card.shots],
        "protected": next((protected[t.id] for t in tracks if t.id in protected), ""),
    }
