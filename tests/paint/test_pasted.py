"""Pasting and Poisson cloning: the part changes, nothing else does, and times stay."""

from __future__ import annotations

from pathlib import Path

import face_clips
import numpy as np
import pytest
import runs
from portrait import astronaut, finder

from fapvideo.config.schema import RunPreset
from fapvideo.errors import Cancelled, NoFaceFound
from fapvideo.mask.parts import part_masks
from fapvideo.ops import mesh
from fapvideo.ops.geometry import transform, warp
from fapvideo.ops.pose import CROP_INTEROCULAR, crop_matrix, head_pose
from fapvideo.paint.pasted import Blend, PastedPainter, _clone
from fapvideo.structs import Bytes
from fapvideo.swapper import VideoSwapper

BLENDS: tuple[Blend, ...] = ("paste", "poisson")
PRESET = runs.preset()


def pasting(blend: Blend, preset: RunPreset = PRESET) -> VideoSwapper:
    return VideoSwapper(preset, "cpu", painter=PastedPainter(preset, blend))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight frames of uneven length, so that times mean something."""
    return face_clips.face_clip(tmp_path_factory.mktemp("clips"), "vfr", frames=8, suffix=".mkv")


@pytest.mark.slow
@pytest.mark.parametrize("blend", BLENDS)
def test_a_video_changes_in_the_mouth_only_and_keeps_its_times(
    blend: Blend, clip: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.mkv"
    with pasting(blend) as swap:
        report = swap.run(clip, output)
    before, after = runs.decode(clip), runs.decode(output)
    assert report.timings["wall_s"] > 0
    assert report.outside_changed_samples == 0
    assert [round(float(t), 3) for t in after.times] == [round(float(t), 3) for t in before.times]
    shapes = [face.landmarks for rgb in before.rgb for face in finder()(rgb)]
    assert len(shapes) == len(before.rgb)
    for index, shape in enumerate(shapes):
        planes = zip(before.frames[index].planes, after.frames[index].planes, strict=True)
        luma, *chroma = [np.abs(new.astype(int) - old) for old, new in planes]
        doubled = [plane.repeat(2, axis=0).repeat(2, axis=1) for plane in chroma]
        changed = np.maximum.reduce([luma, *doubled])
        lips = shape[list(mesh.LIPS_OUTER), :2]
        inside = lips.mean(axis=0).astype(int)
        around = changed[inside[1] - 2 : inside[1] + 3, inside[0] - 2 : inside[0] + 3]
        assert around.max() > 8
        reach = 0.3 * mesh.interocular(shape[:, :2])
        ys, xs = np.nonzero(changed)
        assert xs.min() > lips[:, 0].min() - reach
        assert xs.max() < lips[:, 0].max() + reach
        assert ys.min() > lips[:, 1].min() - reach
        assert ys.max() < lips[:, 1].max() + reach


@pytest.mark.slow
@pytest.mark.parametrize("blend", BLENDS)
def test_a_face_pasted_onto_itself_stays_what_it_was(blend: Blend) -> None:
    """Checks the place to a fraction of a pixel: a shift would show as double edges."""
    photo = face_clips.read_rgb(face_clips.BRAND)
    faces = dict.fromkeys(("eyes", "brows", "nose", "mouth"), face_clips.BRAND)
    result = pasting(blend, runs.preset(composite={"max_size": 512})).swap_image(photo, faces)
    error = np.abs(result.astype(float) - photo)
    assert error[error > 0].size > 1000, "nothing was pasted"
    assert error.mean(axis=-1)[error.max(axis=-1) > 0].mean() < 2.5


@pytest.mark.slow
def test_poisson_takes_the_colour_of_its_surroundings_and_pasting_does_not() -> None:
    dim = (astronaut() * 0.8).astype(np.uint8)
    results = [pasting(blend).swap_image(dim, {"nose": face_clips.BRAND}) for blend in BLENDS]
    nose = _patch(dim)
    away = [float(np.abs(_patch(result).mean() - nose.mean())) for result in results]
    assert away[1] < away[0] / 2


def _patch(rgb: Bytes) -> Bytes:
    """Return the skin of the nose of a picture of the astronaut."""
    matrix = crop_matrix(head_pose(finder()(astronaut())[0].landmarks), 128)
    shape = transform(matrix, finder()(astronaut())[0].landmarks)
    mask = part_masks([shape], ["nose"], PRESET.mask, 128, CROP_INTEROCULAR * 128).parts["nose"]
    return warp(rgb, matrix, (128, 128))[mask > 0.9]


def test_both_eyes_are_fitted_by_themselves_and_one_can_be_left_out() -> None:
    left = runs.preset(mask={"eye_side": "left"})
    result = pasting("paste", left).swap_image(astronaut(), {"eyes": face_clips.BRAND})
    changed = np.abs(result.astype(int) - astronaut()).max(axis=-1) > 0
    right, own_left = mesh.eye_centres(finder()(astronaut())[0].landmarks[:, :2]).astype(int)
    assert changed[own_left[1], own_left[0]]
    assert not changed[right[1], right[0]]


@pytest.mark.parametrize("corner", [(0, 0), (0, 40), (40, 0), (44, 44)])
def test_cloning_is_exactly_in_place_at_the_border_too(corner: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(40, 200, (64, 64, 3), np.uint8)
    mask = np.zeros((64, 64), bool)
    mask[corner[0] : corner[0] + 20, corner[1] : corner[1] + 19] = True
    cloned = _clone(picture, picture, mask)
    assert np.abs(cloned.astype(int) - picture).max() <= 2, "a picture cloned into itself changes"


def test_a_picture_without_a_face_is_an_error_and_a_stop_leaves_nothing(
    clip: Path, tmp_path: Path
) -> None:
    with pasting("paste") as swap:
        with pytest.raises(NoFaceFound):
            swap.swap_image(np.full((64, 64, 3), 90, np.uint8), {"nose": face_clips.BRAND})
        with pytest.raises(Cancelled):
            swap.run(clip, tmp_path / "o.mkv", {"nose": face_clips.BRAND}, cancel=lambda: True)
    assert list(tmp_path.iterdir()) == []
