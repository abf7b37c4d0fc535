"""Photos that do not fit as references: seen, named, left out, on two faces with things on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from portrait import finder, headshot

import fapvideo
from fapvideo.config.schema import ReferenceConfig, RunPreset
from fapvideo.plan.references import asked_references, load_references
from fapvideo.reference.fitness import Judge, Judgement
from fapvideo.reference.images import AlignedFace, align_picture, read_image
from fapvideo.structs import Bytes, Floats

PARTS = ("eyes", "brows", "nose", "mouth")
GREEN, NIGHT = (20, 150, 40), (30, 30, 35)
POINTS: Mapping[str, tuple[int, ...]] = {"mouth": (13, 14), "eyes": (33, 133)}


def faces() -> dict[str, Bytes]:
    with resources.as_file(resources.files("fapvideo") / "assets/brand_face.png") as path:
        return {"brand": read_image(path)[0], "astronaut": headshot(500)}


def with_disc(rgb: Bytes, part: str, colour: tuple[int, int, int] | None, size: float) -> Bytes:
    """Return it with a disc of a colour, or of the cheek's, over a part; `size` in eye gaps."""
    points = finder()(rgb)[0].landmarks
    x, y = points[50, :2].astype(int)
    tone = tuple(int(v) for v in rgb[y, x]) if colour is None else colour
    at = tuple(int(v) for v in points[list(POINTS[part]), :2].mean(axis=0))
    radius = int(size * np.linalg.norm(points[468] - points[473]))
    return cv2.circle(rgb.copy(), at, radius, tone, -1, cv2.LINE_AA)


def judge(rgb: Bytes) -> Mapping[str, Judgement]:
    config = ReferenceConfig()
    return Judge(config)(align_picture(rgb, "", "a.png", finder(), config), PARTS)


def test_good_photos_fit_and_covered_parts_do_not() -> None:
    for name, rgb in faces().items():
        assert [one.unfit for one in judge(rgb).values()] == [{}] * 4, name
        for colour in (GREEN, NIGHT, None):
            mouth = judge(with_disc(rgb, "mouth", colour, 0.45))["mouth"]
            assert "covers the mouth" in mouth.unfit["covered"], (name, colour)
            assert mouth.score < 0.3
        eyes = judge(with_disc(rgb, "eyes", (220, 200, 60), 0.3))
        assert "covered" in eyes["eyes"].unfit, name
        assert "covered" not in eyes["mouth"].unfit, name


@pytest.mark.slow
def test_dark_burnt_and_blurred_photos_do_not_fit() -> None:
    for name, rgb in faces().items():
        for spoilt, term in (
            ((rgb * 0.12).astype(np.uint8), "exposure"),
            (np.clip(rgb.astype(np.float32) * 3.5, 0, 255).astype(np.uint8), "exposure"),
            (cv2.GaussianBlur(rgb, (0, 0), 7), "sharpness"),
        ):
            assert term in judge(spoilt)["nose"].unfit, (name, term)


@dataclass(frozen=True)
class NoTokens:
    """The painter's side, without a network."""

    identity: str = ""

    def takes(self, wanted: Mapping[str, object]) -> Mapping[str, object]:
        return wanted

    def encode(self, face: AlignedFace, part: str) -> Floats:
        return np.zeros((0, 0), np.float32)

    def box(self, face: AlignedFace, part: str) -> Floats:
        return np.zeros(4, np.float32)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    astronaut = headshot(500)
    for name, rgb in (
        ("good", astronaut),
        ("covered", with_disc(astronaut, "mouth", GREEN, 0.45)),
        ("wall", np.full((200, 200, 3), 90, np.uint8)),
    ):
        Image.fromarray(rgb).save(folder / f"{name}.png")
    return folder


def loaded(photos: Path, names: list[str], unfit: str = "leave_out") -> tuple[list[str], str]:
    """Return the references of the mouth that are used, and the warnings in one text."""
    preset = RunPreset.model_validate({"reference": {"unfit": unfit, "cache": False}})
    asked = asked_references({"mouth": [photos / f"{name}.png" for name in names]}, preset)
    cast, warnings = load_references(asked, NoTokens(), preset.reference)  # type: ignore[arg-type]
    return [Path(one.path).stem for one in cast["mouth"]], "\n".join(warnings)


def test_a_covered_mouth_in_a_set_is_left_out_and_named(photos: Path) -> None:
    used, said = loaded(photos, ["covered", "good", "wall"])
    assert used == ["good"]
    assert "covered.png: left out of 'mouth': something covers the mouth" in said
    assert "wall.png: no face found: left out of 'mouth'" in said
    used, said = loaded(photos, ["covered", "good"], unfit="use")
    assert used == ["covered", "good"]
    assert "something covers the mouth" in said


def test_the_only_photo_is_used_and_its_fault_is_said(photos: Path) -> None:
    used, said = loaded(photos, ["covered"])
    assert used == ["covered"]
    assert "covered.png: something covers the mouth" in said
    assert "none of" not in said
    used, said = loaded(photos, ["covered", "covered"])
    assert used == ["covered", "covered"]


def with_glasses(rgb: Bytes) -> Bytes:
    """Return it with dark frames around both eyes."""
    out, points = rgb.copy(), finder()(rgb)[0].landmarks
    eyes = [points[list(ring), :2].mean(axis=0) for ring in ((33, 133), (263, 362))]
    gap = float(np.linalg.norm(eyes[0] - eyes[1]))
    axes, thick = (int(0.38 * gap), int(0.3 * gap)), max(2, int(0.045 * gap))
    middles = [(int(x), int(y + 0.08 * gap)) for x, y in eyes]
    for middle in middles:
        cv2.ellipse(out, middle, axes, 0, 0, 360, (25, 22, 24), thick, cv2.LINE_AA)
    inner = [(x + side * axes[0], y) for (x, y), side in zip(middles, (1, -1), strict=True)]
    return cv2.line(out, *inner, (25, 22, 24), thick, cv2.LINE_AA)


def test_the_only_photo_wears_glasses_and_is_used_without_their_frame(tmp_path: Path) -> None:
    plain = headshot(500)
    worn = with_glasses(plain)
    Image.fromarray(worn).save(tmp_path / "worn.png")
    preset = RunPreset.model_validate({"reference": {"cache": False}})
    asked = asked_references({"eyes": [tmp_path / "worn.png"]}, preset)
    cast, (warning,) = load_references(asked, NoTokens(), preset.reference)  # type: ignore[arg-type]
    assert "glasses" in warning
    (reference,) = cast["eyes"]
    config = preset.reference
    before, wanted = (
        align_picture(rgb, "", "a.png", finder(), config).crop for rgb in (worn, plain)
    )
    frame = np.abs(before - wanted).mean(axis=-1) > 0.15
    assert frame.sum() > 500
    left = np.abs(reference.crop - wanted)[frame].mean() / np.abs(before - wanted)[frame].mean()
    assert left < 0.5


@pytest.mark.slow
def test_ranking_names_the_best_photo_and_what_is_wrong_with_the_others(photos: Path) -> None:
    ranking = fapvideo.rank_references(photos)
    assert [Path(row.path).stem for row in ranking.parts["mouth"]] == ["good", "covered"]
    good, covered = ranking.parts["mouth"]
    assert good.fits
    assert not covered.fits
    assert good.score > covered.score
    assert "something covers the mouth" in covered.reasons[0]
    assert "no face found" in ranking.unusable[str(photos / "wall.png")]
    clip = fapvideo.FrameSource([headshot(300)] * 4)
    ranking = fapvideo.rank_references([photos / "good.png"], clip, parts=["eyes"])
    (row,) = ranking.parts["eyes"]
    assert row.fits
    assert row.terms["angle"] == row.terms["tone"] == row.terms["light"] == 1.0
    assert "same person" in ranking.notes[0]
