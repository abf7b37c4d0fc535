"""The books of a run: every face of every frame has one end, and a code that is documented."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import face_clips
import numpy as np
import pytest
from portrait import astronaut, posed
from runs import BRAND, audit, decode, read_tracks, swapper

from fapvideo.config.schema import MaskConfig
from fapvideo.mask.policy import plan_track
from fapvideo.ops import mesh
from fapvideo.paint.guided import GuidedPainter
from fapvideo.paint.painter import FaceCrop, FaceJob
from fapvideo.plan.follow import follow
from fapvideo.plan.targets import Plan, Target
from fapvideo.run import engine
from fapvideo.run.books import Books, Fate, describe_face, spans_of
from fapvideo.run.report import tracks_path
from fapvideo.run.sources import FrameSource
from fapvideo.structs import REASONS, STATES, RunReport, Track

FRAMES, RATE = 40, 25.0
CAST = {
    "mouth": tuple(SimpleNamespace(path=f"{name}.png", sha256=name) for name in "ab"),
    "eyes": (SimpleNamespace(path="a.png", sha256="a"),),
}


def track(number: int, first: int, count: int, **poor: int) -> Track:
    """Return a track; at `lost` it was not measured, at `broken` it is not finite."""
    landmarks = np.repeat(posed()[None], count, axis=0)
    presence = np.ones(count, np.float32)
    presence[[at for name, at in poor.items() if name == "lost"]] = 0
    landmarks[[at for name, at in poor.items() if name == "broken"], 3] = np.nan
    return Track(number, first, landmarks, presence, np.zeros(count, np.float32), mesh.canonical())


@pytest.fixture
def plan() -> Plan:
    """Two who are swapped and one who is not; times that are not even."""
    tracks = (track(0, 0, 40, lost=20), track(3, 5, 30, broken=10), track(4, 8, 12))
    targets = []
    for one in tracks[:2]:
        seconds = np.arange(len(one)) / RATE
        fate = plan_track(one, MaskConfig(policy="keep"), seconds, fade_in=False, fade_out=False)
        chosen = {"mouth": [0] * 15 + [1] * (len(one) - 15), "eyes": [0] * len(one)}
        targets.append(Target(one, CAST, fate, 128, chosen, 0))  # type: ignore[arg-type]
    times = np.arange(FRAMES) / RATE + np.where(np.arange(FRAMES) > 20, 0.5, 0.0)
    return Plan(times, (), tracks, tuple(targets))


def batches(plan: Plan, size: int = 7) -> Any:
    """Yield the frames in batches."""
    for first in range(0, plan.frames, size):
        numbers = range(first, min(first + size, plan.frames))
        yield SimpleNamespace(
            frames=[SimpleNamespace(index=i, time_s=float(plan.times_s[i])) for i in numbers]
        )


INFO: Any = SimpleNamespace(frame_rate=Fraction(25), pixel_shape=(1.0, 1.0))


def test_every_face_has_one_end(plan: Plan, tmp_path: Path) -> None:
    """What was refused while it was painted is left; nobody counts twice."""
    refused = {(30, 0): "looks_wrong", (31, 0): "looks_wrong", (31, 3): "numeric"}
    with Books(plan, INFO, tmp_path / "spool") as books:
        for batch in batches(plan):
            swapped = SimpleNamespace(
                outside_changed=2, refused=refused, cut_off={(6, 3): 0.25}, apart={}
            )
            books.add(batch, swapped)
    assert books.faces == {"total": 82, "swapped": 65, "held": 0, "faded": 0, "left": 17}
    assert books.frames == {"total": 40, "swapped": 39, "held": 0, "faded": 0, "left": 1}
    assert books.reasons == {"not_measured": 1, "looks_wrong": 2, "numeric": 2, "not_cast": 12}
    assert books.outside == 12
    spans = [(s["first"], s["last"], s["track"], s["state"], s["reason"]) for s in books.spans()]
    assert spans == [
        (20, 20, 0, "left", "not_measured"), (30, 31, 0, "left", "looks_wrong"),
        (15, 15, 3, "left", "numeric"), (31, 31, 3, "left", "numeric"),
        (8, 19, 4, "left", "not_cast"),
    ]  # fmt: skip
    times = [(s["start_s"], s["end_s"]) for s in books.spans()]
    assert times[0] == (0.8, 1.34), "until the next frame comes"
    assert books.tracks[3] == {"swapped": 28, "left": 2, "cut_off": 1}


def test_a_line_per_frame(plan: Plan, tmp_path: Path) -> None:
    with Books(plan, INFO, tracks_path(tmp_path / "o.mkv")) as books:
        for batch in batches(plan):
            swapped = SimpleNamespace(
                outside_changed=0, refused={}, cut_off={(6, 3): 0.25}, apart={}
            )
            books.add(batch, swapped)
    rows = read_tracks(tmp_path / "o.mkv")
    assert [row["frame"] for row in rows] == list(range(FRAMES))
    assert [row["time_s"] for row in rows] == pytest.approx(plan.times_s.tolist())
    assert [len(row["faces"]) for row in rows] == [1] * 5 + [2] * 3 + [3] * 12 + [2] * 15 + [1] * 5
    first, second = rows[6]["faces"]
    found = [first[name] for name in ("track", "state", "reason", "weight")]
    assert found == [0, "swapped", "", 1]
    assert (first["cut_off"], second["cut_off"]) == (0, 0.25)
    shape = posed()[:468, :2]
    assert first["box"] == pytest.approx([*shape.min(axis=0), *shape.max(axis=0)], abs=0.06)
    assert abs(first["yaw_deg"]) < 1
    broken = rows[15]["faces"][1]
    assert (broken["reason"], broken["weight"], broken["box"], broken["yaw_deg"]) == (
        "numeric", 0, None, None,
    )  # fmt: skip


def test_which_reference_served_when(plan: Plan) -> None:
    books = Books(plan, INFO)
    for batch in batches(plan):
        books.add(batch, SimpleNamespace(outside_changed=0, refused={}, cut_off={}, apart={}))
    served = books.served()
    mouth, eyes = (served[0][part] for part in ("mouth", "eyes"))
    assert [(one["path"], one["frames"], one["spans"]) for one in mouth] == [
        ("a.png", 15, [[0, 14]]), ("b.png", 24, [[15, 19], [21, 39]]),
    ]  # fmt: skip
    assert [one["spans"] for one in eyes] == [[[0, 19], [21, 39]]], "not where it was left"
    assert served[4] == {}


def test_inspect_knows_the_plans_share_of_it(plan: Plan) -> None:
    codes = [(span["track"], span["reason"]) for span in spans_of(plan, INFO)]
    assert codes == [(0, "not_measured"), (3, "numeric"), (4, "not_cast")]


# ------------------------------------------------------------------------------- whole runs


def sinking(frames: int, start: int, step: int) -> FrameSource:
    """Return a portrait that sinks out of the picture, so many pixels from frame to frame."""
    picture = astronaut()[:236]
    shots = np.full((frames, *picture.shape), 118, np.uint8)
    for index, shot in enumerate(shots):
        down = start + step * index
        shot[down:] = picture[: len(picture) - down]
    return FrameSource(shots, 25)


@pytest.mark.slow
def test_a_mouth_that_leaves_the_picture(tmp_path: Path) -> None:
    """In part outside it is swapped, and how far is said; when it is gone the face is left."""
    source = sinking(14, 54, 5)
    with swapper(mask={"occluders": "off"}) as one:  # what is outside is no thing in front
        report = one.run(source, tmp_path / "o.mkv")
    rows = audit(report, tmp_path / "o.mkv")
    faces = [row["faces"][0] for row in rows]
    assert faces[0]["state"] == "swapped"
    assert faces[0]["cut_off"] == 0
    halves = [face for face in faces if 0 < face["cut_off"] < 1]
    assert len(halves) > 3
    assert {(face["state"], face["reason"]) for face in halves} == {("swapped", "")}
    gone = [row["frame"] for row, face in zip(rows, faces, strict=True) if face["cut_off"] == 1]
    assert gone == list(range(gone[0], 14))
    assert {(faces[at]["state"], faces[at]["reason"]) for at in gone} == {("left", "leaves_frame")}
    assert report.reasons == {"leaves_frame": len(gone)}
    assert report.tracks[0]["faces"]["cut_off"] == len(halves) + len(gone)
    after, before = decode(tmp_path / "o.mkv"), [batch.rgb[0] for batch in source.batches(1)]
    for at in gone:
        np.testing.assert_array_equal(after.rgb[at], before[at])


@pytest.mark.slow
def test_numbers_that_are_not_finite_end_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two references, so that one has to be chosen by the expression of every frame."""

    def spoilt(*arguments: Any, **named: Any) -> Plan:
        plan = follow(*arguments, **named)
        plan.tracks[0].landmarks[2:4, 50] = np.nan
        return plan

    monkeypatch.setattr(engine, "follow", spoilt)
    with swapper(references={"mouth": [BRAND, BRAND]}, mask={"policy": "keep"}) as one:
        report = one.run(sinking(6, 0, 1), tmp_path / "o.mkv")
        found = one.inspect(face_clips.face_clip(tmp_path, "one_face", frames=6))
    audit(report, tmp_path / "o.mkv")
    assert report.reasons == {"numeric": 2}
    assert report.faces["swapped"] == 4
    assert found["frame_log"][0]["reason"] == "numeric"
    assert found["faces"][0]["interocular_px"] > 10


@pytest.mark.slow
def test_what_covers_the_parts_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hole of which nothing is left, as behind something that is kept out, is no swap."""
    prepare = GuidedPainter.prepare

    def covered(self: GuidedPainter, face: FaceCrop) -> FaceJob:
        job = prepare(self, face)
        empty = job.masks.hole * (face.placement.index != 3)
        return replace(job, masks=replace(job.masks, hole=empty))

    monkeypatch.setattr(GuidedPainter, "prepare", covered)
    with swapper() as one:
        report = one.run(sinking(6, 0, 1), tmp_path / "o.mkv")
    audit(report, tmp_path / "o.mkv")
    assert report.reasons == {"covered": 1}
    assert [(s["first"], s["last"]) for s in report.frame_log] == [(3, 3)]


def test_the_page_has_every_code_and_key(checkout: Path) -> None:
    """Its table of reasons is the program's, in its order."""
    page = (checkout / "docs" / "report.md").read_text("utf-8")
    ends, files = page.split("## `OUT.report.json`")
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| ([^|]+?) \|", ends, re.MULTILINE))
    assert list(rows) == [*STATES, *REASONS]
    assert {code: rows[code] for code in REASONS} == REASONS
    named = set(re.findall(r"`([a-z_]+)`", files))
    assert {field.name for field in fields(RunReport)} - {"schema_version"} <= named
    assert {"frame", "time_s", "faces", *face_keys()} <= named


def face_keys() -> set[str]:
    fate = Fate(track(0, 0, 1), None, 0, "left", "not_cast")
    return set(describe_face(fate, 0.0))
