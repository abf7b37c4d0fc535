"""One clip through the whole pipeline with a network: what is written, said and left alone."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import face_clips
import numpy as np
import pytest
from runs import BRAND, FAST, Decoded, decode, preset, swapper

from fapvideo.ops import mesh
from fapvideo.progress import Progress
from fapvideo.structs import RunReport

FRAMES = 10
PARTS = ("eyes", "mouth")
NETWORK = {"mode": "guided", "precision": "fp32", "steps": 2}

REPORT = {
    "schema_version", "input", "output", "preset", "seed", "bundle", "references", "tracks",
    "frames", "outside_changed_samples", "timings", "peak_rss_bytes", "warnings", "versions",
    "provenance", "anonymity",
}  # fmt: skip
"""The issue's list."""


@dataclass(frozen=True)
class Run:
    """A finished run."""

    source: Path
    output: Path
    cache: Path
    report: RunReport
    ticks: list[Progress]
    before: Decoded
    after: Decoded
    inputs: list[tuple[bytes, int]]
    """Content and time of the last change of clip and photo before the run."""


def tables(cache: Path, batch_size: int = 4, **more: object) -> dict[str, object]:
    return {
        "references": dict.fromkeys(PARTS, BRAND),
        "reference": {"cache_dir": cache},
        "denoise": {**NETWORK, "batch_size": batch_size},
        "composite": {"max_size": 128},
        **more,
    }


@pytest.fixture(scope="module")
def run(clip, tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("run")
    source, output, cache = clip("one_face", frames=FRAMES), folder / "out.mkv", folder / "cache"
    ticks: list[Progress] = []
    inputs = [as_it_is(source), as_it_is(Path(BRAND))]
    with swapper(**tables(cache)) as swap:
        report = swap.run(source, output, progress=ticks.append)
    return Run(source, output, cache, report, ticks, decode(source), decode(output), inputs)


def as_it_is(path: Path) -> tuple[bytes, int]:
    return path.read_bytes(), path.stat().st_mtime_ns


# --------------------------------------------------------------------------------- the file


def test_every_frame_is_there_at_its_time(run):
    assert len(run.after.frames) == len(run.before.frames) == FRAMES
    assert run.after.times == run.before.times


def packets(path, kind):
    """Return (time, duration, SHA-256) of every packet of one kind."""
    with av.open(path) as container:
        (stream,) = [s for s in container.streams if s.type == kind]
        return [
            (packet.pts * packet.time_base, hashlib.sha256(bytes(packet)).hexdigest())
            for packet in container.demux(stream)
            if packet.size
        ]


def test_sound_and_title_are_copied(run):
    before, after = packets(run.source, "audio"), packets(run.output, "audio")
    assert len(before) > 10
    assert [digest for _, digest in after] == [digest for _, digest in before]
    gaps = np.array([float(b - a) for (a, _), (b, _) in zip(before, after, strict=True)])
    assert np.abs(gaps).max() < 0.001  # Matroska counts milliseconds
    assert run.after.info.metadata["title"] == "One face"


def test_no_sample_changes_outside_the_parts(run):
    """Counted here from the two files and the clip's true landmarks, not from the run's masks."""
    reach = {"eyes": 0.32, "mouth": 0.3}  # growth, feather, the reference's own shape; in eye gaps
    for index, (old, new) in enumerate(zip(run.before.frames, run.after.frames, strict=True)):
        truth = face_clips.one_face(index)[1]
        unit = mesh.interocular(truth)
        allowed = np.zeros(old.planes[0].shape, np.uint8)
        for part in PARTS:
            for ring in mesh.outlines(part):
                hull = cv2.convexHull(truth[list(ring), :2].astype(np.float32))
                drawn = np.zeros_like(allowed)
                cv2.fillConvexPoly(drawn, np.round(hull).astype(np.int32), 1)
                radius = round(reach[part] * unit)
                kernel = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
                allowed |= cv2.dilate(drawn, kernel)
        assert allowed.mean() < 0.12
        for old_plane, new_plane in zip(old.planes, new.planes, strict=True):
            size = (old_plane.shape[1], old_plane.shape[0])
            cells = cv2.resize(allowed, size, interpolation=cv2.INTER_AREA) > 0
            cells = cv2.dilate(cells.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
            assert np.array_equal(old_plane[~cells], new_plane[~cells])


def test_something_changes_in_every_part_of_every_frame(run):
    for index, (old, new) in enumerate(zip(run.before.rgb, run.after.rgb, strict=True)):
        truth = face_clips.one_face(index)[1]
        for point in (145, 374, 17):
            x, y = truth[point, :2].astype(int)
            patch = (slice(y - 2, y + 3), slice(x - 2, x + 3))
            assert np.abs(old[patch].astype(int) - new[patch]).max() > 8


def test_the_input_is_not_touched(run):
    assert [as_it_is(run.source), as_it_is(Path(BRAND))] == run.inputs


def test_nothing_is_left_over_beside_the_output(run):
    names = sorted(path.name for path in run.output.parent.iterdir())
    assert names == ["cache", "out.c2pa", "out.mkv", "out.mkv.report.json", "out.mkv.tracks.jsonl"]


# ------------------------------------------------------------------------------- the report


def test_the_report_has_the_promised_keys(run):
    found = run.report.to_dict()
    assert set(found) - {"frame_log", "faces", "reasons"} == REPORT
    assert set(found["input"]) == {
        "path", "sha256", "frames", "duration_s", "width", "height", "rotation", "vfr",
        "bit_depth", "field_order", "promised_frames", "held_frames", "short",
    }  # fmt: skip
    assert set(found["output"]) == {"path", "sha256", "frames"}
    assert set(found["bundle"]) == {"name", "files", "runtime"}
    for reference in found["references"]:
        assert set(reference) == {"part", "path", "sha256", "licence", "cached", "cast"}
    for track in found["tracks"]:
        assert {"id", "first_frame", "last_frame", "frames"} <= set(track)
    assert set(found["frames"]) == {"total", "swapped", "held", "faded", "left"}
    assert {
        "decode_s", "track_s", "reference_s", "denoise_s", "composite_s", "encode_s", "wall_s",
        "fps",
    } <= set(found["timings"])  # fmt: skip
    assert {"python", "fapvideo", "torch", "av"} <= set(found["versions"])


def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_the_report_tells_the_truth(run):
    report = run.report
    assert report.input["sha256"] == sha256(run.source)
    assert report.output["sha256"] == sha256(run.output)
    assert report.input["path"] == str(run.source)
    assert report.output["path"] == str(run.output)
    assert report.input["frames"] == report.output["frames"] == FRAMES
    assert report.input["duration_s"] == pytest.approx(FRAMES / 25, abs=0.03)
    assert (report.input["width"], report.input["height"]) == face_clips.SIZE
    assert (report.input["bit_depth"], report.input["vfr"], report.input["rotation"]) == (8, 0, 0)
    assert report.frames == {"total": FRAMES, "swapped": FRAMES, "held": 0, "faded": 0, "left": 0}
    assert [(t["id"], t["first_frame"], t["last_frame"], t["frames"]) for t in report.tracks] == [
        (0, 0, FRAMES - 1, FRAMES)
    ]
    assert [(r["part"], r["path"], r["cached"]) for r in report.references] == [
        ("eyes", BRAND, False),
        ("mouth", BRAND, False),
    ]
    assert {r["sha256"] for r in report.references} == {sha256(BRAND)}
    assert report.outside_changed_samples == 0
    assert report.bundle["name"] == "tiny"
    assert report.seed == 0
    assert list(report.warnings) == []
    assert report.peak_rss_bytes > 50e6
    spent = dict(report.timings)
    assert spent.pop("fps") == pytest.approx(FRAMES / spent["wall_s"], rel=0.02)
    assert all(0 <= seconds <= spent["wall_s"] for seconds in spent.values())
    assert spent["denoise_s"] > 0 < spent["track_s"]


def test_the_report_beside_the_output_is_the_one_returned(run):
    written = json.loads(run.output.with_name("out.mkv.report.json").read_text("utf-8"))
    assert written == json.loads(json.dumps(run.report.to_dict(), default=str))


def test_the_preset_in_the_report_can_be_run_again(run):
    again = type(preset()).model_validate(run.report.to_dict()["preset"])
    assert again == preset(**tables(run.cache))


# --------------------------------------------------------------------------------- progress


def test_progress_goes_forward_stage_by_stage(run):
    stages = list(dict.fromkeys(tick.stage for tick in run.ticks))
    assert stages == ["references", "analyse", "detect", "swap", "finish"]
    for stage in ("analyse", "swap"):
        ticks = [tick for tick in run.ticks if tick.stage == stage]
        done = [tick.done for tick in ticks]
        assert done == sorted(done)
        assert (done[0], done[-1]) == (0, FRAMES)
        assert len(done) > 2
        assert {tick.total for tick in ticks} == {FRAMES}
        assert ticks[0].fps == 0 < ticks[-1].fps


# ----------------------------------------------------------------------------- again, elsewise


@pytest.fixture(scope="module")
def streamed(run):
    """The same clip through another swapper, frame by frame, the features from the cache."""
    with swapper(**tables(run.cache, batch_size=1)) as swap:
        references = swap.encode_reference({part: [BRAND] for part in PARTS})
        return references, list(swap.stream(run.source))


def test_frames_do_not_depend_on_batches_and_stream_is_run(run, streamed):
    """Batches of 4 into a file, batches of 1 from `stream`, another swapper.

    A network rounds a batch of four otherwise than four of one: single samples, by one level.
    """
    _, batches = streamed
    frames = [frame for batch in batches for frame in batch.frames]
    assert [len(batch) for batch in batches] == [1] * FRAMES
    for one, written in zip(frames, run.after.frames, strict=True):
        apart = [np.abs(a.astype(int) - b) for a, b in zip(one.planes, written.planes, strict=True)]
        assert max(plane.max() for plane in apart) <= 1
        assert sum(np.count_nonzero(plane) for plane in apart) <= 5
    assert [frame.pts for frame in frames] == [frame.pts for frame in run.before.frames]
    shown = np.concatenate([batch.rgb for batch in batches])
    assert shown.shape == run.after.rgb.shape
    assert np.abs(shown.astype(int) - run.after.rgb).mean() < 1.5  # chroma is enlarged elsewise


def test_the_second_time_features_come_from_the_cache(run, streamed):
    references, _ = streamed
    assert [reference.cached for reference in references] == [True, True]
    with swapper(**tables(run.cache, reference={"cache": False})) as swap:
        fresh = swap.encode_reference({part: [BRAND] for part in PARTS})
    assert [reference.cached for reference in fresh] == [False, False]
    for a, b in zip(references, fresh, strict=True):
        np.testing.assert_array_equal(a.tokens, b.tokens)
        np.testing.assert_array_equal(a.box, b.box)


def test_a_second_run_of_one_swapper_computes_no_features(clip, tmp_path):
    source = clip("one_face", frames=FRAMES)
    video = {**FAST, "end_s": 0.08}
    with swapper(reference={"cache_dir": tmp_path / "c"}, video=video) as swap:
        reports = [swap.run(source, tmp_path / f"{n}.mkv") for n in range(2)]
    assert [r["cached"] for report in reports for r in report.references] == [False, True]
    first, second = decode(tmp_path / "0.mkv"), decode(tmp_path / "1.mkv")
    assert len(first.frames) == 2
    assert all(first.same_samples(second, index) for index in range(2))


def test_the_seed_decides(run):
    """Another seed, other noise, another picture; within the parts."""

    def first(seed):
        video = {**FAST, "end_s": 0.06}
        with swapper(**tables(run.cache, seed=seed, video=video)) as swap:
            return next(iter(swap.stream(run.source))).frames[0].planes[0]

    same, again, other = first(0), first(0), first(1)
    assert np.array_equal(same, again)
    changed = same != other
    assert changed.sum() > 100
    assert (changed <= (same != run.before.frames[0].planes[0]) | (
        other != run.before.frames[0].planes[0])).all()  # fmt: skip
