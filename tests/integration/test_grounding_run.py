"""Masks from Grounding DINO in whole runs: a scripted detector, and tiny real networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tiny_grounding_dino as tiny
import torch
from clips import Clip, write_clip
from portrait import astronaut

from fapvideo.config.presets import ASSETS, load_preset
from fapvideo.config.schema import RunPreset
from fapvideo.errors import Cancelled, PresetError, WeightsError
from fapvideo.mask.boxes import Detection
from fapvideo.paint import guided
from fapvideo.paint.painter import FaceJob
from fapvideo.pipeline import PaintedBatch, Pipeline, SwappedBatch
from fapvideo.plan import search
from fapvideo.progress import Progress
from fapvideo.run import engine
from fapvideo.structs import Bytes, FrameBatch
from fapvideo.swapper import VideoSwapper

torch.set_num_threads(1)

FRAMES = 6
BRAND = str(ASSETS / "brand_face.png")
FOUND = {
    "eyes": (0.22, 0.27, 0.78, 0.43),
    "nose": (0.4, 0.42, 0.6, 0.62),
    "mouth": (0.34, 0.66, 0.66, 0.8),
    "glasses": (0.2, 0.26, 0.5, 0.46),
}
"""x0, y0, x1, y1 as shares of the crop."""


class Scripted:
    """Finds the same boxes in every crop, except those that `absent` names for a call."""

    def __init__(self, found: dict[str, tuple[float, ...]] = FOUND) -> None:
        self.found, self.calls = found, 0
        self.absent: Callable[[int], Sequence[str]] = lambda call: ()
        self.loads: list[tuple[str, Path]] = []

    def load(self, backend: str, folder: Path, device: object) -> Scripted:
        self.loads.append((backend, folder))
        return self

    def detect(
        self, rgb: Bytes, prompts: Sequence[str], threshold: float, max_overlap: float = 0.5
    ) -> list[Detection]:
        assert rgb.dtype == np.uint8
        assert rgb.shape[0] == rgb.shape[1] >= 64
        gone, size = self.absent(self.calls), rgb.shape[0]
        self.calls += 1
        return [
            Detection(name, 0.9, tuple(edge * size for edge in self.found[name]))
            for name in prompts
            if name in self.found and name not in gone
        ]


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    detector = Scripted()
    monkeypatch.setattr(search, "load_detector", detector.load)
    return detector


class Recorder(Pipeline):
    """Keeps what every batch did."""

    batches: list[tuple[FrameBatch, SwappedBatch]]

    def composite(self, painted: PaintedBatch) -> SwappedBatch:
        done = super().composite(painted)
        self.batches.append((painted.prepared.batch, done))
        return done


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[FrameBatch, SwappedBatch]]:
    batches: list[tuple[FrameBatch, SwappedBatch]] = []
    monkeypatch.setattr(Recorder, "batches", batches, raising=False)
    monkeypatch.setattr(engine, "Pipeline", Recorder)
    return batches


@pytest.fixture(scope="session")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real face that drifts by a pixel or two a frame."""

    def paint(index: int) -> np.ndarray:
        shift = np.array([[1, 0, -60 - 2 * index], [0, 1, -index]], np.float32)
        return cv2.warpAffine(astronaut(), shift, (320, 240))

    path = tmp_path_factory.mktemp("talk") / "talk.mkv"
    write_clip(path, Clip(size=(320, 240), frames=FRAMES, codec="ffv1", suffix=".mkv"), paint)
    return path


@pytest.fixture(scope="session")
def late(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three black frames, then a face of which one frame shows nothing."""

    def paint(index: int) -> np.ndarray:
        if index < 3:
            return np.zeros((240, 320, 3), np.uint8)
        frame = np.ascontiguousarray(astronaut()[:240, 60:380])
        if index == 6:
            frame[60:190, 100:230] = (200, 190, 180)
        return frame

    path = tmp_path_factory.mktemp("late") / "late.mkv"
    write_clip(path, Clip(size=(320, 240), frames=10, codec="ffv1", suffix=".mkv"), paint)
    return path


def preset(parts: Sequence[str] = ("eyes", "nose", "mouth"), **tables: Any) -> RunPreset:
    return RunPreset.model_validate(
        {
            "name": "test",
            "bundle": "tiny",
            "references": dict.fromkeys(parts, BRAND),
            "denoise": {"mode": "off"},
            "reference": {"cache": False},
            **tables,
        }
    )


def boxes(**changes: Any) -> dict[str, Any]:
    return {"backend": "grounding_dino", "detector": Path("detector"), **changes}


def jobs_of(batches: list[tuple[FrameBatch, SwappedBatch]]) -> list[FaceJob]:
    return [job for _, done in batches for group in done.jobs for job in group]


def stream(path: Path, wanted: RunPreset) -> Bytes:
    with VideoSwapper(wanted, "cpu") as swap:
        return np.concatenate([batch.rgb for batch in swap.stream(path)])


# ------------------------------------------------------------------- a scripted detector


@pytest.mark.slow
def test_only_what_lies_in_the_boxes_changes(
    talk: Path, tmp_path: Path, scripted: Scripted, recorded: list[Any]
) -> None:
    seen: list[Progress] = []
    with VideoSwapper(preset(["nose"], mask=boxes()), "cpu") as swap:
        report = swap.run(talk, tmp_path / "out.mkv", progress=seen.append)
    assert report.frames["swapped"] == FRAMES
    assert report.outside_changed_samples == 0
    assert list(report.warnings) == []
    assert scripted.calls == FRAMES
    assert scripted.loads == [("grounding_dino", Path("detector"))]
    for job in jobs_of(recorded):
        y0, x0, y1, x1 = job.boxes["nose"]
        # Chained: the seams lie half way to the eyes and the mouth.
        assert (y0, y1) == pytest.approx((0.425, 0.64), abs=0.02)
        size, reach = job.masks.hole.shape[0], 0.1 * 0.34
        rows, columns = np.nonzero(job.masks.hole)
        assert rows.min() >= (y0 - reach) * size - 1
        assert rows.max() <= (y1 + reach) * size
        assert columns.min() >= (x0 - reach) * size - 1
        assert columns.max() <= (x1 + reach) * size
        assert (job.masks.hole > 0.99).sum() > 0.8 * (y1 - y0) * (x1 - x0) * size**2
    detecting = [tick.done for tick in seen if tick.stage == "detect"]
    assert detecting == list(range(FRAMES + 1))


@pytest.mark.slow
def test_a_missed_frame_is_drawn_through(
    talk: Path, scripted: Scripted, recorded: list[Any]
) -> None:
    scripted.absent = lambda call: FOUND if call in (2, 3) else ()
    whole = preset(mask=boxes(), track={"smooth_s": 0.0})
    stream(talk, whole)
    missed = [job.boxes["eyes"] for job in jobs_of(recorded)]
    assert missed == pytest.approx(np.tile(missed[0], (FRAMES, 1)), abs=0.01)


@pytest.mark.slow
def test_a_part_that_is_never_found_is_drawn_from_the_mesh(
    talk: Path, tmp_path: Path, scripted: Scripted, recorded: list[Any]
) -> None:
    scripted.absent = lambda call: ["mouth"]
    config = boxes(keep_out=["hat"])
    with VideoSwapper(preset(["eyes", "mouth"], mask=config), "cpu") as swap:
        report = swap.run(talk, tmp_path / "out.mkv")
        on_boxes = jobs_of(recorded)
        recorded.clear()
    warnings = "\n".join(report.warnings)
    assert "track 0: the detector found no mouth; the mesh's outline is used" in warnings
    assert "mask.keep_out: 'hat' was not found in any frame" in warnings
    assert "eyes" not in warnings
    assert "nose" not in warnings
    stream(talk, preset(["eyes", "mouth"], mask={"leftovers": False}))
    for job, drawn in zip(on_boxes, jobs_of(recorded), strict=True):
        assert set(job.boxes) == {"eyes"}
        difference = job.masks.parts["mouth"] - drawn.masks.parts["mouth"]
        assert np.abs(difference).max() < 1e-5
        assert np.abs(job.masks.parts["eyes"] - drawn.masks.parts["eyes"]).max() > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["landmarks", "grounding_dino"])
def test_what_is_kept_out_is_not_painted(
    talk: Path, scripted: Scripted, recorded: list[Any], backend: str
) -> None:
    config = boxes(backend=backend, keep_out=["Glasses"])
    out = stream(talk, preset(["eyes"], mask=config))
    assert scripted.calls == FRAMES
    source = np.concatenate([batch.rgb for batch, _ in recorded])
    left, top, right, bottom = FOUND["glasses"]
    kept = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    for job, before, after in zip(jobs_of(recorded), source, out, strict=True):
        inverse = pipeline_inverse(job)
        corners = cv2.transform((kept * job.face.picture.shape[0])[None], inverse)[0]
        inside = np.zeros(before.shape[:2], np.uint8)
        cv2.fillConvexPoly(inside, np.round(corners).astype(np.int32), 1)
        changed = np.abs(before.astype(int) - after).max(axis=-1) > 12
        assert changed.sum() > 50  # the other eye
        assert changed[cv2.erode(inside, np.ones((5, 5))) > 0].sum() == 0
        assert job.boxes.keys() == ({"eyes"} if backend == "grounding_dino" else set())


def pipeline_inverse(job: FaceJob) -> np.ndarray:
    """Return the transform from the job's crop into the frame."""
    return cv2.invertAffineTransform(job.face.matrix)


@pytest.mark.slow
def test_tokens_go_where_the_boxes_are(
    talk: Path, scripted: Scripted, recorded: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []
    real = guided.fuse_fractional

    def spy(face: Any, parts: Any, targets: Any, masks: Any) -> Any:
        given.append((targets.numpy().copy(), masks.numpy().copy()))
        return real(face, parts, targets, masks)

    monkeypatch.setattr(guided, "fuse_fractional", spy)
    scripted.absent = lambda call: ["mouth"]
    stream(talk, preset(["nose", "mouth"], mask=boxes(), denoise={"mode": "guided"}))
    stream(talk, preset(["nose", "mouth"], denoise={"mode": "guided"}))
    jobs = jobs_of(recorded)[:FRAMES]
    half = len(given) // 2
    boxed, drawn = (np.concatenate([t for t, _ in run]) for run in (given[:half], given[half:]))
    np.testing.assert_allclose(boxed[:, 0], [job.boxes["nose"] for job in jobs], atol=1e-6)
    assert np.abs(boxed[:, 0] - drawn[:, 0]).max() > 0.05
    np.testing.assert_array_equal(boxed[:, 1], drawn[:, 1])
    covered = given[0][1][:, 0] > 0.9
    assert covered.sum(axis=(1, 2)).min() >= 4


def test_the_detector_sees_the_crops_that_are_painted(
    late: Path, scripted: Scripted, recorded: list[Any]
) -> None:
    """A late track, a hidden face that is held: boxes come from the frame of the geometry."""
    crops = []
    detect = scripted.detect

    def drift(rgb: Bytes, *rest: Any) -> list[Detection]:
        scripted.found = {"nose": (0.4, 0.42 + 0.01 * len(crops), 0.6, 0.62 + 0.01 * len(crops))}
        crops.append(rgb)
        return detect(rgb, *rest)

    scripted.detect = drift  # type: ignore[method-assign]
    mask = boxes(policy="hold", max_jump=9.0)
    stream(late, preset(["nose"], mask=mask, track={"smooth_s": 0.0}))
    jobs = {
        frame.index: group[0]
        for batch, done in recorded
        for frame, group in zip(batch.frames, done.jobs, strict=True)
        if group
    }
    assert sorted(jobs) == list(range(3, 10))
    assert jobs[6].face.placement.state == "held"
    seen = [jobs[index] for index in (3, 4, 5, 7, 8, 9)]
    for crop, job in zip(crops, seen, strict=True):
        assert np.abs(crop / 255 - job.face.picture).mean() < 0.01
    tops = [job.boxes["nose"][0] for job in seen]
    assert np.diff(tops) == pytest.approx(0.01, abs=2e-3)
    assert jobs[6].boxes["nose"][0] == pytest.approx(tops[2], abs=2e-3)


@pytest.mark.slow
def test_frames_do_not_depend_on_the_batch(talk: Path, scripted: Scripted) -> None:
    scripted.absent = lambda call: ["nose"] if call % FRAMES == 2 else ()
    one, all_at_once = (
        stream(talk, preset(mask=boxes(), denoise={"mode": "off", "batch_size": size}))
        for size in (1, FRAMES)
    )
    np.testing.assert_array_equal(one, all_at_once)


@pytest.mark.slow
def test_detection_may_skip_frames(talk: Path, scripted: Scripted, recorded: list[Any]) -> None:
    config = boxes(detector_every=3, keep_out=["glasses"])
    stream(talk, preset(["eyes"], mask=config))
    assert scripted.calls == 2
    jobs = jobs_of(recorded)
    assert [set(job.boxes) for job in jobs] == [{"eyes"}] * FRAMES
    left, top, right, bottom = (
        round(edge * jobs[0].face.picture.shape[0]) for edge in FOUND["glasses"]
    )
    for job in jobs:
        assert job.masks.hole[top + 1 : bottom - 1, left + 1 : right - 1].max() == 0.0


@pytest.mark.slow
def test_the_detector_is_loaded_once_and_only_where_needed(
    talk: Path, tmp_path: Path, scripted: Scripted
) -> None:
    with VideoSwapper(preset(["nose"], mask=boxes(backend="grounding_dino_py")), "cpu") as swap:
        assert scripted.loads == []
        swap.inspect(talk)
        assert scripted.loads == []
        swap.swap_image(astronaut())
        swap.preview(talk, [0.1])
        swap.swap_image(astronaut())
    assert scripted.loads == [("grounding_dino_py", Path("detector"))]
    assert scripted.calls == 2 + FRAMES
    scripted.loads.clear()
    plain, beside = preset(["nose"]), preset(["nose"], mask={"detector": Path("detector")})
    np.testing.assert_array_equal(stream(talk, plain), stream(talk, beside))
    assert scripted.loads == []


def test_a_preview_says_what_was_not_found(
    talk: Path, scripted: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    scripted.absent = lambda call: ["mouth"]
    with VideoSwapper(preset(["mouth"], mask=boxes()), "cpu") as swap:
        swap.preview(talk, [0.1])
    assert "track 0: the detector found no mouth" in caplog.text


def test_a_run_can_be_stopped_while_it_detects(
    talk: Path, tmp_path: Path, scripted: Scripted
) -> None:
    with (
        VideoSwapper(preset(["nose"], mask=boxes()), "cpu") as swap,
        pytest.raises(Cancelled),
    ):
        swap.run(talk, tmp_path / "out.mkv", cancel=lambda: scripted.calls >= 2)
    assert scripted.calls == 2
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------- presets


def test_the_detectors_folder_starts_at_the_preset(tmp_path: Path) -> None:
    (tmp_path / "dino").mkdir()
    (tmp_path / "face.png").touch()
    path = tmp_path / "mine.toml"
    path.write_text(
        '[references]\neyes = "face.png"\n[mask]\nbackend = "grounding_dino"\n'
        'detector = "dino"\nkeep_out = [" Glasses", "a red hat"]\n',
        "utf-8",
    )
    mask = load_preset(path).mask
    assert mask.detector == tmp_path / "dino"
    assert mask.keep_out == ("glasses", "a red hat")
    (tmp_path / "dino").rmdir()
    with pytest.raises(PresetError, match=r"mask\.detector: folder not found: .*dino"):
        load_preset(path)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"mask.backend": "grounding_dino"}, '"grounding_dino" needs mask.detector'),
        ({"mask.backend": "grounding_dino_py"}, '"grounding_dino_py" needs mask.detector'),
        ({"mask.keep_out": ["hat"]}, "keep_out needs mask.detector"),
        ({"mask.keep_out": ["a. hat"], "mask.detector": "/"}, "mask.keep_out.0"),
        ({"mask.keep_out": ["  "], "mask.detector": "/"}, "mask.keep_out.0"),
    ],
)
def test_presets_that_cannot_work(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(PresetError, match=message) as caught:
        load_preset("mouth_only", overrides)
    assert caught.value.hint


def test_a_folder_without_a_model_is_named_before_the_video_is_read(
    talk: Path, tmp_path: Path
) -> None:
    wanted = preset(["nose"], mask=boxes(detector=tmp_path))
    seen: list[Progress] = []
    with VideoSwapper(wanted, "cpu") as swap, pytest.raises(WeightsError, match="is no Grounding"):
        swap.run(talk, tmp_path / "out.mkv", progress=seen.append)
    assert {tick.stage for tick in seen} == {"references"}
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------- tiny real networks


@pytest.fixture(scope="module")
def grounding_dino(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_hf_folder(tmp_path_factory.mktemp("hf") / "model")


@pytest.fixture(scope="module")
def grounding_dino_py(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    pytest.importorskip("groundingdino")  # of the extra `groundingdino`
    folder = tmp_path_factory.mktemp("py")
    with tiny.small_swin():
        model = tiny.py_model(folder / "bert")
        yield tiny.write_py_folder(folder / "model", model, folder / "bert")


@pytest.mark.slow
@pytest.mark.parametrize(
    "backend", ["grounding_dino", pytest.param("grounding_dino_py", marks=pytest.mark.slow)]
)
def test_a_real_network_runs_end_to_end(
    talk: Path,
    tmp_path: Path,
    recorded: list[Any],
    backend: str,
    request: pytest.FixtureRequest,
) -> None:
    folder = request.getfixturevalue(backend)
    config = {"backend": backend, "detector": folder, "detector_score": 0.0, "keep_out": ["hat"]}
    unseen = {"check": False}  # random networks paint no faces
    wanted = preset(mask=config, denoise={"mode": "guided"}, composite=unseen)
    with VideoSwapper(wanted, "cpu") as swap:
        report = swap.run(talk, tmp_path / "out.mkv")
    assert report.frames == {"total": FRAMES, "swapped": FRAMES, "held": 0, "faded": 0, "left": 0}
    assert report.outside_changed_samples == 0
    assert report.preset["mask"]["detector"] == str(folder)
    jobs = jobs_of(recorded)
    # Random weights find something somewhere: the same kinds of thing in every frame, and steadily.
    found = {tuple(job.boxes) for job in jobs}
    assert len(found) == 1
    assert set().union(*found)
    missing = {"eyes", "nose", "mouth"} - set().union(*found)
    said = [text for text in report.warnings if "the detector found no" in text]
    assert len(said) == len(missing)
    for part in set().union(*found):
        track = np.array([job.boxes[part] for job in jobs])
        assert (track[:, :2] < track[:, 2:]).all()
