"""What stands in front of a face is seen, stays as it was filmed, and nothing else is kept."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import face_clips
import numpy as np
import pytest
import runs
from portrait import astronaut, astronaut_face

from fapvideo.config.schema import DenoiseConfig
from fapvideo.mask.covered import shown_over_time
from fapvideo.mask.occlusion import (
    LEVELS,
    Occluders,
    OcclusionSearch,
    from_outside,
    guided_filter,
    kept_at_size,
)
from fapvideo.nets.occlusion import SIZE
from fapvideo.ops.geometry import invert, transform, warp
from fapvideo.ops.pose import crop_matrix, head_pose
from fapvideo.run.sources import FrameSource
from fapvideo.structs import Bytes, Floats
from fapvideo.training.samples.drawing import scene_of
from fapvideo.training.samples.eyewear import eyewear

PARTS = dict.fromkeys(("eyes", "brows", "nose", "mouth"), runs.BRAND)
FRAMES = 6


@pytest.fixture(scope="module")
def see() -> Occluders:
    return Occluders(DenoiseConfig())


def aligned() -> tuple[Bytes, Floats]:
    matrix = crop_matrix(head_pose(astronaut_face().landmarks), SIZE)
    return warp(astronaut(), matrix, (SIZE, SIZE)), transform(matrix, astronaut_face().landmarks)


def with_card(crop: Bytes) -> tuple[Bytes, Floats]:
    """Put a blue card over the mouth and a cheek."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    cv2.fillPoly(mask, [np.array([[48, 78], [104, 70], [110, 112], [54, 120]])], 1)
    return np.where(mask[..., None] > 0, np.array([40, 70, 170], np.uint8), crop), mask > 0


def test_a_card_is_seen_and_a_bare_face_is_bare(see: Occluders) -> None:
    crop, points = aligned()
    covered, truth = with_card(crop)
    said = see(covered, points)[0] > 0.5
    assert (said & truth).sum() / (said | truth).sum() > 0.85
    assert (see(crop, points)[0] > 0.5).mean() < 0.002


def test_frames_of_glasses_are_told_from_the_rest(see: Occluders) -> None:
    crop, points = aligned()
    image = crop.astype(np.float32) / 255
    worn = eyewear(np.random.default_rng(4), scene_of(np.random.default_rng(0), image, points))
    shown = np.rint(worn.thing.over(image) * 255).astype(np.uint8)
    eyes = slice(25, 70)
    assert (see(shown, points)[1, eyes] > 0.5).sum() > 60
    assert (see(crop, points)[1, eyes] > 0.5).sum() < 10
    covered, _ = with_card(crop)
    assert (see(covered, points)[1, eyes] > 0.5).sum() < 10


class Told:
    """Says what it is told to, instead of the net."""

    def __init__(self, maps: list[Floats]) -> None:
        self._maps = iter(maps)

    def __call__(self, crop: Bytes, landmarks: Floats) -> Floats:
        chance = next(self._maps)
        return np.stack([chance, chance])


def test_maps_are_steadied_and_a_fast_hand_drags_no_shadow() -> None:
    """One frame's doubt is settled by its neighbours; what is certain stays certain."""
    crop, points = aligned()
    sure, doubt, none = (np.zeros((SIZE, SIZE), np.float32) for _ in range(3))
    sure[60:80, 50:70], doubt[60:80, 50:70] = 0.95, 0.4
    maps = [sure, sure, doubt, sure, sure, none, none, none]
    search = OcclusionSearch(Told(maps), len(maps))  # type: ignore[arg-type]
    for index in range(len(maps)):
        search.look(index, crop, points)
    found = search.finish(np.arange(len(maps)) / 25, 0.1)
    assert found.at(2) is not None
    assert found.at(2)[70, 60] > 0.5
    assert found.at(4)[70, 60] > 0.5
    assert found.at(5) is None or found.at(5)[70, 60] < 0.22
    assert found.at(7) is None
    assert float(found.at(0).max()) <= 1.0
    assert LEVELS == 15


def test_a_part_goes_before_it_is_covered_and_comes_back_after() -> None:
    times = np.arange(30) / 30
    share = np.zeros(30, np.float32)
    share[12:18], share[18:20] = 0.9, 0.5  # half covered is still left: hysteresis
    shown = shown_over_time(share, times)
    assert shown[0] == shown[29] == 1.0
    assert (shown[12:20] == 0).all()
    assert (np.diff(shown[6:12]) < 0).all()
    assert (np.diff(shown[20:25]) > 0).all()
    assert (shown_over_time(np.full(30, 0.5, np.float32), times) == 1).all()


def test_edges_follow_the_picture() -> None:
    """A coarse map of a disc comes out with the disc's own edge."""
    y, x = np.mgrid[0:384, 0:384] + 0.5
    disc = (np.hypot(x - 190, y - 200) < 60).astype(np.float32)
    picture = np.repeat((0.7 - 0.5 * disc)[..., None], 3, axis=-1).astype(np.float32)
    coarse = cv2.resize(disc, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    coarse = cv2.GaussianBlur(coarse, (0, 0), 0.8)
    kept = kept_at_size(coarse, picture, np.array([[3.0, 0, 0], [0, 3.0, 0]]))
    assert (kept[disc > 0] > 0.99).mean() > 0.995
    assert (kept[disc == 0] > 0.5).sum() < 0.04 * disc.sum()
    flat = guided_filter(np.full((40, 40), 0.5, np.float32), np.eye(40, dtype=np.float32), 3, 1e-3)
    assert np.isfinite(flat).all()


def staged() -> Iterator[tuple[Bytes, Floats]]:
    """Yield frames of a talking face behind glasses that it wears and a bar that moves."""
    portrait = face_clips.animated_astronaut((320, 240))
    for number in range(FRAMES):
        rgb, shape = face_clips.rendered(portrait, face_clips.START + number / 25)
        matrix = crop_matrix(head_pose(shape), 256)
        image = warp(rgb, matrix, (256, 256)).astype(np.float32) / 255
        points = transform(matrix, shape)
        scene = scene_of(np.random.default_rng(0), image, points)
        worn = eyewear(np.random.default_rng(4), scene)
        size = (rgb.shape[1], rgb.shape[0])
        alpha = warp(worn.thing.alpha, invert(matrix), size, border=cv2.BORDER_CONSTANT)
        kept = warp(worn.kept, invert(matrix), size, border=cv2.BORDER_CONSTANT)
        colour = warp(worn.thing.colour, invert(matrix), size) * 255
        shown = rgb + alpha[..., None] * (colour - rgb)
        mouth = shape[14, :2] + [2.5 * number - 6, 0]
        bar = np.zeros(rgb.shape[:2], np.uint8)
        cv2.line(
            bar,
            tuple(np.int32(mouth - [4, 6])),
            tuple(np.int32(mouth + np.array([12, 90]))),
            255,
            9,
        )
        shown = np.where(bar[..., None] > 0, np.array([35, 90, 60]), shown)
        yield np.rint(shown).astype(np.uint8), np.maximum(kept, bar / 255)


@pytest.mark.slow
def test_what_moves_before_a_face_keeps_its_samples_unless_it_is_told_off() -> None:
    frames = list(staged())
    pictures = [picture for picture, _ in frames]
    with (
        runs.swapper(references=PARTS, composite={"max_size": 256, "check": False}) as swapper,
        swapper.open(FrameSource(pictures)) as clip,
    ):
        end = float(clip.plan.times_s[-1]) + 0.04
        kept = clip.strip(0.0, end)
        painted = clip.strip(0.0, end, settings={"mask.occluders": "off"})
        hidden = [mask > 0.98 for _, mask in frames]
    over = [(painted[i] != pictures[i]) & hidden[i][..., None] for i in range(FRAMES)]
    assert sum(map(np.sum, over)) > 500  # without it glasses and bar are painted over
    spared = np.concatenate([(kept[i] == pictures[i])[over[i]] for i in range(FRAMES)])
    assert spared.mean() > 0.75
    whole = np.concatenate([(kept[i] == pictures[i])[hidden[i]] for i in range(FRAMES)])
    assert whole.mean() > 0.92
    changed = [(kept[i] != pictures[i]).any(axis=-1).sum() for i in range(FRAMES)]
    assert min(changed) > 0.5 * max((painted[0] != pictures[0]).any(axis=-1).sum(), 1)


def test_small_areas_within_the_face_are_no_things() -> None:
    """Pursed lips were kept as if somebody held something before them."""
    face = np.array([[30, 20], [98, 20], [98, 110], [30, 110]], np.int32)
    lips, hand, cup = (np.zeros((SIZE, SIZE), np.float32) for _ in range(3))
    lips[80:92, 60:72] = hand[90:118, 60:70] = cup[60:95, 45:85] = 0.9
    assert not from_outside(lips, face).any()
    for thing in (hand, cup):
        np.testing.assert_array_equal(
            from_outside(np.maximum(thing, lips), face)[thing > 0], np.float32(0.9)
        )
