"""`denoise.mode = "published"` in whole runs, against the published rules computed here anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from clips import Clip, write_clip
from PIL import Image
from portrait import astronaut
from torch import Tensor
from toy_files import shrink, write_published_files

from fapvideo.config.presets import ASSETS, load_preset
from fapvideo.config.schema import RunPreset
from fapvideo.denoise.denoiser import Denoiser
from fapvideo.errors import PresetError, WeightsError
from fapvideo.fuse.tokens import fuse_parity
from fapvideo.mask.boxes import Detection, chain_boxes
from fapvideo.nets.clip import pil_pixels
from fapvideo.paint import guided, published
from fapvideo.paint.painter import FaceJob
from fapvideo.pipeline import PaintedBatch, Pipeline, SwappedBatch
from fapvideo.plan import decide, search
from fapvideo.run import engine
from fapvideo.structs import Bytes
from fapvideo.swapper import VideoSwapper
from fapvideo.weights.bundle import load_bundle
from fapvideo.weights.importer import import_bundle

torch.set_num_threads(1)

FRAMES = 3
PARTS = ("eyes", "nose", "mouth")
BRAND = str(ASSETS / "brand_face.png")
FILL = (245, 223, 209)


@dataclass
class Seen:
    """What the stages were given."""

    jobs: list[FaceJob] = field(default_factory=list)
    fused: list[tuple[Tensor, Sequence[Tensor], Tensor]] = field(default_factory=list)
    denoised: list[tuple[Tensor, ...]] = field(default_factory=list)
    painted: list[Tensor] = field(default_factory=list)
    source: list[Bytes] = field(default_factory=list)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    notes = Seen()

    def fuse(face: Tensor, parts: Sequence[Tensor], boxes: Tensor) -> Tensor:
        notes.fused.append((face, parts, boxes))
        return fuse_parity(face, parts, boxes)

    class Recorder(Pipeline):
        def composite(self, painted: PaintedBatch) -> SwappedBatch:
            done = super().composite(painted)
            notes.jobs += [job for group in done.jobs for job in group]
            notes.source.append(painted.prepared.batch.rgb)
            return done

    class Recording(Denoiser):
        def __call__(self, *given: Tensor) -> Tensor:
            notes.denoised.append(given)
            notes.painted.append(super().__call__(*given))
            return notes.painted[-1]

    def no_guide(*_: Any) -> Any:
        raise AssertionError("a guide is built")

    monkeypatch.setattr(published, "fuse_parity", fuse)
    monkeypatch.setattr(guided, "build_guide", no_guide)
    monkeypatch.setattr(engine, "Pipeline", Recorder)
    monkeypatch.setattr(published, "Denoiser", Recording)
    return notes


@pytest.fixture(scope="session")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real face that drifts by a pixel or two a frame."""

    def paint(index: int) -> np.ndarray:
        shift = np.array([[1, 0, -60 - 2 * index], [0, 1, -index]], np.float32)
        return cv2.warpAffine(astronaut(), shift, (320, 240))

    path = tmp_path_factory.mktemp("talk") / "talk.mkv"
    write_clip(path, Clip(size=(320, 240), frames=FRAMES, codec="ffv1", suffix=".mkv"), paint)
    return path


def preset(parts: Sequence[str] = PARTS, **tables: Any) -> RunPreset:
    denoise = {"mode": "published", "steps": 2, "precision": "fp32", **tables.pop("denoise", {})}
    return RunPreset.model_validate(
        {
            "name": "test",
            "bundle": "tiny_sd15",
            "references": dict.fromkeys(parts, BRAND),
            "denoise": denoise,
            "reference": {"cache": False},
            **tables,
            "composite": {**tables.get("composite", {}), "check": False},  # random networks
        }
    )


def stream(path: Path, wanted: RunPreset) -> Bytes:
    with VideoSwapper(wanted, "cpu") as swap:
        return np.concatenate([batch.rgb for batch in swap.stream(path)])


def hole_of(boxes: Sequence[Sequence[float]], size: int) -> np.ndarray:
    """tests/goldens/PARITY.md, 7, by hand."""
    canvas = np.zeros((1024, 1024), np.float32)
    for box in boxes:
        y0, x0, y1, x1 = (int(np.float32(edge) * np.float32(1024)) for edge in box)
        canvas[y0:y1, x0:x1] = 1
    index = np.arange(size) * 1024 // size
    return canvas[np.ix_(index, index)]


def tokens_of(pictures: Sequence[np.ndarray]) -> Tensor:
    """Tokens of [S, S, 3] pictures in [0, 1] as the published program makes them."""
    images = [Image.fromarray((picture * 255).round().astype(np.uint8)) for picture in pictures]
    with torch.no_grad():
        return image_tower()(pil_pixels(images, 64))


@cache
def image_tower() -> Any:
    return load_bundle("tiny_sd15").encoder.module.tower


def small(crop: np.ndarray) -> np.ndarray:
    return cv2.resize(crop, (128, 128), interpolation=cv2.INTER_AREA)


# ------------------------------------------------------------------------- on the mesh


@pytest.mark.slow
def test_the_networks_get_what_the_published_program_gives_them(talk: Path, seen: Seen) -> None:
    stream(talk, preset())
    ((face, parts, boxes),) = seen.fused
    ((target, _, hole, tokens, noise),) = seen.denoised
    assert len(seen.jobs) == FRAMES
    for number, job in enumerate(seen.jobs):
        own = [job.boxes[part] for part in PARTS]
        assert own[0][2] == own[1][0]  # chained
        assert own[1][2] == own[2][0]
        assert boxes[number, :3].tolist() == [list(box) for box in own]
        wanted = hole_of(own, 128)
        np.testing.assert_array_equal(hole[number, 0], wanted)
        crop = small(job.face.picture)
        holed = np.where(wanted[..., None] > 0, np.array(FILL, np.float32) / 255, crop)
        assert torch.allclose(face[number], tokens_of([holed])[0], atol=1e-4)
        np.testing.assert_allclose(target[number].permute(1, 2, 0), crop * 2 - 1, atol=1e-6)
    assert boxes.dtype == torch.float32
    for part in parts:
        assert (part == part[:1]).all()  # one still picture for the whole clip
    assert torch.equal(tokens, fuse_parity(face, parts, boxes))
    assert noise.shape == (FRAMES, 8, 16, 16)  # start, and the hole's own
    assert (noise == noise[:1]).all()


def test_references_are_parts_in_their_boxes_on_black(talk: Path, seen: Seen) -> None:
    with VideoSwapper(preset(), "cpu") as swap:
        loaded = swap.encode_reference(dict.fromkeys(PARTS, BRAND))
    rows = {item.part: item.box for item in loaded}
    assert rows["eyes"][2] == rows["nose"][0]
    assert rows["nose"][2] == rows["mouth"][0]
    scale = 0.246 / 0.34
    matrix = np.array([[scale / 2, 0, 128 * (0.5 - scale * 0.5)],
                       [0, scale / 2, 128 * (0.469 - scale * 0.34)]])  # fmt: skip
    matrix[:, 2] += scale / 4 - 0.5  # cv2 counts from the middle of the first pixel
    for item in loaded:
        half = cv2.resize(item.crop, (256, 256), interpolation=cv2.INTER_AREA)
        framed = cv2.warpAffine(half, matrix, (128, 128))
        alone = framed * hole_of([item.box], 128)[..., None]
        wanted = tokens_of([alone.clip(0, 1)])[0, 1:].numpy()
        black = tokens_of([np.zeros_like(alone)])[0, 1:].numpy()
        assert item.tokens.shape == wanted.shape
        close = np.abs(item.tokens - wanted).mean()
        assert close < 0.15 * np.abs(black - wanted).mean()


def test_boxes_lie_where_the_published_examples_have_them(seen: Seen) -> None:
    """Means of the four published examples at 512 px (docs/fuseanypart.md, 2)."""
    with VideoSwapper(preset(), "cpu") as swap:
        swap.swap_image(astronaut())
    examples = {
        "eyes": (201, 160.5, 260, 358),
        "nose": (260, 222, 351, 291),
        "mouth": (351, 203, 391, 303),
    }
    (job,) = seen.jobs
    for part, box in examples.items():
        found = np.array(job.boxes[part]) * 512
        assert np.abs(found - box).max() < 25, (part, found)


def test_nothing_outside_the_boxes_changes(talk: Path, tmp_path: Path, seen: Seen) -> None:
    with VideoSwapper(preset(mask={"feather": 0.0}), "cpu") as swap:
        report = swap.run(talk, tmp_path / "out.mkv")
    assert report.frames["swapped"] == FRAMES
    assert report.outside_changed_samples == 0
    assert report.bundle["name"] == "tiny_sd15"
    for job in seen.jobs:
        size = job.masks.hole.shape[0]
        rows, columns = (np.arange(size) + 0.5) / size, (np.arange(size) + 0.5) / size
        inside = np.zeros((size, size), bool)
        reach = 1.0 / size
        for y0, x0, y1, x1 in job.boxes.values():
            near = (rows > y0 - reach) & (rows < y1 + reach)
            inside |= near[:, None] & ((columns > x0 - reach) & (columns < x1 + reach))
        assert job.masks.hole[~inside].max() == 0.0
        assert job.masks.hole.mean() > 0.05


def test_what_is_pasted_is_the_networks_picture_alone(talk: Path, seen: Seen) -> None:
    """Neither the target's inner mouth nor texture of a guide comes back."""
    out = stream(talk, preset(mask={"keep_inner_mouth": True}, composite={"detail": 1.0}))
    for frame, job, painted in zip(out, seen.jobs, seen.painted[0], strict=True):
        result = cv2.resize(painted.permute(1, 2, 0).numpy() / 2 + 0.5, job.face.picture.shape[:2])
        there = cv2.warpAffine(
            frame.astype(np.float32) / 255, job.face.matrix, job.face.picture.shape[:2]
        )
        y0, x0, y1, x1 = (round(edge * len(result)) for edge in job.boxes["mouth"])
        inner = np.s_[y0 + 4 : y1 - 4, x0 + 4 : x1 - 4]
        assert np.abs(there[inner] - result[inner]).mean() < 0.06  # 4:2:0 chroma
        assert np.abs(job.face.picture[inner] - result[inner]).mean() > 0.1


def test_one_part_is_pasted_alone_though_all_three_are_painted(talk: Path, seen: Seen) -> None:
    out = stream(talk, preset(["mouth"]))
    ((_, parts, boxes),) = seen.fused
    hole = seen.denoised[0][2]
    for number, job in enumerate(seen.jobs):
        np.testing.assert_array_equal(hole[number, 0], hole_of(list(job.boxes.values()), 128))
        eyes = small(job.face.picture) * hole_of([job.boxes["eyes"]], 128)[..., None]
        assert torch.allclose(parts[0][number], tokens_of([eyes])[0][1:], atol=1e-4)
        assert boxes[number, 3].tolist() == boxes[number, 0].tolist()
        size = len(job.face.picture)
        top = round(job.boxes["mouth"][0] * size - 0.1 * 0.246 * size) - 1
        assert job.masks.hole[:top].max() == 0.0
    changed = (np.concatenate(seen.source) != out).any(axis=(0, 3))
    assert changed.any()


def test_settings_are_the_published_ones_whatever_the_bundle_recommends() -> None:
    wanted = load_preset("published", {"bundle": "tiny_sd15"})
    with VideoSwapper(wanted, "cpu") as swap:
        plan = swap._bench.painter.denoiser.sampling
    assert (plan.kind, plan.steps, plan.guidance, plan.strength) == ("ddim", 50, 7.5, 1.0)
    assert wanted.fuse.mode is None
    recommended = load_preset("sd15", {"bundle": "tiny_sd15"})
    with VideoSwapper(recommended, "cpu") as swap:
        assert not swap._bench.painter.denoiser.sampling.from_noise


@pytest.mark.slow
def test_frames_do_not_depend_on_the_batch(talk: Path) -> None:
    made = []
    for size in (1, FRAMES):
        with VideoSwapper(preset(denoise={"batch_size": size}), "cpu") as swap:
            frames = [frame for batch in swap.stream(talk) for frame in batch.frames]
        made.append([plane.astype(int) for frame in frames for plane in frame.planes])
    apart = [np.abs(one - other).max() for one, other in zip(*made, strict=True)]
    assert max(apart) <= 1, "rounding of single samples"


def test_several_pictures_of_a_part_are_chosen_by_expression(
    talk: Path, tmp_path: Path, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    darker = tmp_path / "darker.png"
    cv2.imwrite(str(darker), cv2.imread(BRAND) // 2)
    monkeypatch.setattr(decide, "choose_references", lambda _p, frames, *_: [0, 1, 1])
    wanted = preset(["mouth"]).model_dump(mode="json", exclude_none=True)
    wanted["references"] = {"mouth": [BRAND, str(darker)]}
    stream(talk, RunPreset.model_validate(wanted))
    mouth = seen.fused[0][1][2]
    assert torch.equal(mouth[1], mouth[2])
    assert not torch.allclose(mouth[0], mouth[1], atol=1e-3)


# ------------------------------------------------------------------- Grounding DINO's boxes


FOUND = {
    "eyes": (0.22, 0.22, 0.78, 0.4),
    "nose": (0.4, 0.42, 0.6, 0.62),
    "mouth": (0.34, 0.66, 0.66, 0.8),
    "glasses": (0.2, 0.2, 0.5, 0.42),
}
"""x0, y0, x1, y1 as shares of the crop."""


class Scripted:
    """Finds the same boxes in every crop."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.absent: tuple[str, ...] = ()

    def detect(
        self, rgb: Bytes, prompts: Sequence[str], threshold: float, max_overlap: float = 0.5
    ) -> list[Detection]:
        self.asked.append(tuple(prompts))
        found = [name for name in prompts if name in FOUND and name not in self.absent]
        return [
            Detection(name, 0.9, tuple(edge * len(rgb) for edge in FOUND[name])) for name in found
        ]


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    detector = Scripted()
    monkeypatch.setattr(search, "load_detector", lambda *_: detector)
    return detector


def found_boxes() -> dict[str, np.ndarray]:
    """FOUND as y0, x0, y1, x1 in the published framing, chained."""
    scale = 0.246 / 0.34
    shift = np.array([0.469 - scale * 0.34, 0.5 - scale * 0.5] * 2)
    rows = {part: np.array(FOUND[part])[[1, 0, 3, 2]] * scale + shift for part in PARTS}
    return {part: np.array(box) for part, box in chain_boxes(rows).items()}


@pytest.mark.slow
@pytest.mark.parametrize("parts", [PARTS, ("mouth",)])
def test_detected_boxes_make_the_hole(
    talk: Path, seen: Seen, scripted: Scripted, parts: tuple[str, ...]
) -> None:
    config = {"backend": "grounding_dino", "detector": "detector"}
    stream(talk, preset(parts, mask=config))
    assert set(scripted.asked) == {PARTS}
    hole = seen.denoised[0][2]
    for number, job in enumerate(seen.jobs):
        for part, box in found_boxes().items():
            np.testing.assert_allclose(job.boxes[part], box, atol=1e-3)
        np.testing.assert_array_equal(hole[number, 0], hole_of(list(job.boxes.values()), 128))
        assert set(job.masks.parts) == set(parts)


def test_a_part_that_is_not_found_is_the_meshs_and_things_to_keep_are_kept(
    talk: Path, seen: Seen, scripted: Scripted
) -> None:
    scripted.absent = ("nose",)
    config = {"backend": "grounding_dino", "detector": "detector", "keep_out": ["glasses"]}
    stream(talk, preset(mask=config))
    for job in seen.jobs:
        np.testing.assert_allclose(job.boxes["eyes"][:2], found_boxes()["eyes"][:2], atol=1e-3)
        assert job.boxes["eyes"][2] == job.boxes["nose"][0] < job.boxes["nose"][2]
        y0, _, y1, x1 = job.boxes["eyes"]
        row, size = (y0 + y1) / 2, len(job.face.picture)
        assert job.masks.hole[round(row * size), round((x1 - 0.02) * size)] > 0.99
        assert job.masks.hole[round(row * size), round(0.4 * size)] == 0.0  # under the glasses


# --------------------------------------------------------------------- what cannot work


def test_brows_come_with_the_eyes(talk: Path, seen: Seen) -> None:
    wanted = load_preset(
        "brand_avatar",
        {"bundle": "tiny_sd15", "denoise.mode": "published", "denoise.steps": 1},
    )
    stream(talk, wanted)
    assert set(seen.jobs[0].masks.parts) == set(PARTS)


@pytest.mark.parametrize(
    ("references", "message"),
    [
        ({"face": [BRAND]}, "has no part 'face'"),
        ({"brows": [BRAND]}, "brows with the eyes"),
        ({"brows": ["other.png"], "eyes": [BRAND]}, "brows with the eyes"),
    ],
)
def test_parts_the_published_method_does_not_have(
    talk: Path, references: dict[str, list[str]], message: str
) -> None:
    with (
        VideoSwapper(preset(), "cpu") as swap,
        pytest.raises(PresetError, match=message) as caught,
    ):
        swap.encode_reference(references)
    assert caught.value.hint


def test_fractional_fusion_and_bundles_that_need_a_guide_are_refused() -> None:
    with pytest.raises(PresetError, match="fuses whole tokens"):
        load_preset("published", {"fuse.mode": "fractional"})
    with pytest.raises(PresetError, match="does not fit bundle tiny"):
        VideoSwapper(load_preset("published", {"bundle": "tiny"}), "cpu")


# ------------------------------------------------------------- from the published files


@pytest.mark.slow
def test_imported_files_run_and_the_report_holds_their_licences(
    talk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fap.bin, VAE and tower in toy size, as their publishers would name them."""
    shrink(monkeypatch, tmp_path / "store")
    wanted = load_preset(
        "published", {"denoise.steps": 1, "reference.cache": False, "composite.check": False}
    )
    with pytest.raises(WeightsError, match="not on this machine") as caught:
        VideoSwapper(wanted, "cpu")
    assert "fapvideo weights fetch sd15" in caught.value.hint
    assert "fapvideo weights import sd15 PATH" in caught.value.hint
    write_published_files(tmp_path / "source")
    import_bundle("sd15", tmp_path / "source")
    with VideoSwapper(wanted, "cpu") as swap:
        report = swap.run(talk, tmp_path / "out.mkv")
    assert report.frames["swapped"] == FRAMES
    assert report.outside_changed_samples == 0
    files = {file["name"]: file for file in report.bundle["files"]}
    assert "openrail" in files["codec.safetensors"]["licence"]
    assert "none stated" in files["unet.safetensors"]["licence"]
    assert all(len(file["sha256"]) == 64 for file in files.values())
