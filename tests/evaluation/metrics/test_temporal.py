"""Temporal metrics against results that are unsteady in one known way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from broken_results import BAD, Curves, drawn, motion, nothing, painted, pairs, run, worst

from fapvideo.composite.paste import place
from fapvideo.errors import WeightsError
from fapvideo.evaluation.metrics.optical_flow import SourceFlow
from fapvideo.evaluation.metrics.temporal import Temporal, load_perceptual
from fapvideo.evaluation.views import SIDE, Bools, FaceView, FramePair
from fapvideo.nets.perceptual import PerceptualDistance
from fapvideo.structs import Bytes, Floats
from fapvideo.training.faces.sets import set_folder

Result = tuple[Mapping[str, float], Curves]


@pytest.fixture(autouse=True, scope="module")
def flow_measured_once() -> Iterator[None]:
    """Measure the flow of two frames once: the breaks change the result, the flow is the source's.

    It is half of the work of a clip.
    """
    between = SourceFlow.between
    known: dict[tuple[bytes, bytes], tuple[Floats, Bools]] = {}

    def remembered(self: SourceFlow, before: Bytes, now: Bytes) -> tuple[Floats, Bools]:
        frames = before.tobytes(), now.tobytes()
        if frames not in known:
            known[frames] = between(self, before, now)
        where, trusted = known[frames]
        return where, trusted.copy()  # it is written on

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SourceFlow, "between", remembered)
        yield


def brighter_once(index: int, rgb: Bytes, face: FaceView) -> Floats | Bytes:
    """Flicker: one frame's part is 6 of 255 brighter."""
    return painted(rgb, face, face.hole, 6.0) if index == BAD else rgb


def redder_once(index: int, rgb: Bytes, face: FaceView) -> Floats | Bytes:
    return painted(rgb, face, face.hole, np.array([4.0, 0.0, -8.0])) if index == BAD else rgb


def trembling(index: int, rgb: Bytes, face: FaceView) -> Floats:
    """Shift the part by a pixel in every other frame."""
    alpha = place(face.hole, face.matrix, face.frame_size)[..., None]
    return rgb + alpha * (np.roll(rgb, index % 2, axis=1).astype(np.float32) - rgb)


def noisy(index: int, rgb: Bytes, face: FaceView) -> Floats:
    """Paint noise anew in every frame."""
    noise = np.random.default_rng(index).normal(0, 8, (*rgb.shape[:2], 1))
    return painted(rgb, face, face.hole, noise)


def same_noise(index: int, rgb: Bytes, face: FaceView) -> Floats:
    """Paint one texture that moves with the face."""
    texture = np.random.default_rng(0).normal(0, 12, (SIDE // 8, SIDE // 8)).astype(np.float32)
    texture = np.kron(texture, np.ones((8, 8), np.float32))
    return painted(rgb, face, face.hole * texture, 1.0)


def two_looks(index: int, rgb: Bytes, face: FaceView) -> Floats:
    """Blotches in every other frame, none in the others; brightness stays."""
    return same_noise(index, rgb, face) if index % 2 else 1.0 * rgb


def ring_flickers(index: int, rgb: Bytes, face: FaceView) -> Floats:
    return painted(rgb, face, face.ring, 4.0 * (index % 2))


def all_flickers(index: int, rgb: Bytes, face: FaceView) -> Floats:
    return rgb + 4.0 * (index % 2)


def frozen_mouth(index: int, rgb: Bytes, face: FaceView) -> Bytes:
    return drawn(replace(motion(index), mouth_open=0.05, smile=0.0))[0]


@cache
def measured(damage: object) -> Result:
    return run(Temporal(), pairs(damage))  # type: ignore[arg-type]


@pytest.mark.slow
def test_doing_nothing_is_exactly_as_steady_as_the_source() -> None:
    values, curves = measured(nothing)
    assert {key.split(".")[1] for key in values} == {
        "warp", "luma", "chroma", "pixels", "landmarks",
    }  # fmt: skip
    assert set(values.values()) == {1.0}
    assert all(set(curve.values()) == {1.0} for curve in curves.values())


@pytest.mark.slow
def test_every_value_and_curve_is_defined() -> None:
    frames = pairs()[:BAD]
    values, curves = run(Temporal(PerceptualDistance(), embed, joins=(6,)), frames)
    definitions = Temporal.definitions
    assert {one.key for one in definitions} == set(values)
    assert {one.key for one in definitions if one.curve} == set(curves)
    assert {one.better for one in definitions} == {"one"}


def test_one_brighter_frame_is_brightness_flicker_at_that_frame() -> None:
    values, curves = measured(brighter_once)
    assert values["temporal.luma.mask"] > 2
    assert worst(curves["temporal.luma.mask"]) == BAD
    assert curves["temporal.warp.mask"][BAD] > 2 < curves["temporal.warp.mask"][BAD + 1]
    assert values["temporal.luma.outside"] == pytest.approx(1, abs=0.01)
    assert values["temporal.warp.outside"] == pytest.approx(1, abs=0.01)


def test_one_redder_frame_is_colour_flicker_more_than_brightness_flicker() -> None:
    values, curves = measured(redder_once)
    assert values["temporal.chroma.mask"] > 2 > values["temporal.luma.mask"]
    assert worst(curves["temporal.chroma.mask"]) == BAD


def test_a_part_shifted_by_a_pixel_in_every_other_frame_is_unsteady() -> None:
    values, _ = measured(trembling)
    assert values["temporal.warp.mask"] > 2
    assert values["temporal.landmarks"] > 1.8
    assert values["temporal.pixels.mask"] > 1.5
    assert values["temporal.warp.outside"] == pytest.approx(1, abs=0.01)


@pytest.mark.slow
def test_new_noise_in_every_frame_is_unsteady_and_a_texture_that_moves_along_is_not() -> None:
    anew, along = (measured(b)[0]["temporal.warp.mask"] for b in (noisy, same_noise))
    assert anew > 2.5
    assert along < 1.6


def test_a_flickering_ring_shows_in_the_ring() -> None:
    values, _ = measured(ring_flickers)
    assert values["temporal.warp.ring"] > 2
    assert values["temporal.luma.ring"] > 4
    assert values["temporal.warp.outside"] < 1.05


def test_flicker_of_the_whole_picture_shows_outside() -> None:
    values, _ = measured(all_flickers)
    assert values["temporal.warp.outside"] > 2
    assert values["temporal.luma.outside"] > 4


@pytest.mark.slow
def test_a_frozen_mouth_moves_less_than_the_source() -> None:
    assert measured(frozen_mouth)[0]["temporal.landmarks"] < 0.85


# ---------------------------------------------------------------- sources that stand still


def still(change: float) -> list[FramePair]:
    """Return one frame again and again, the result's mask brighter in every other."""
    pair = pairs()[4]
    out = []
    for index in range(8):
        (face,) = pair.faces
        brighter = np.rint(face.source + (change * (index % 2) * face.hole)[..., None])
        result = np.clip(brighter, 0, 255).astype(np.uint8)
        view = replace(face, result=result)
        out.append(replace(pair, index=index, faces=(view,), first_of_shot=index == 0))
    return out


def test_a_source_that_stands_still_does_not_make_ratios_explode() -> None:
    assert set(run(Temporal(), still(0.0))[0].values()) == {1.0}
    values, _ = run(Temporal(), still(1.0))
    assert 1.2 < values["temporal.warp.mask"] < 4
    assert 2 < values["temporal.luma.mask"] < 12
    stronger, _ = run(Temporal(), still(3.0))
    assert all(stronger[key] >= values[key] for key in values)
    assert stronger["temporal.warp.mask"] > 2 * values["temporal.warp.mask"] - 1.5


def test_nothing_is_compared_across_a_cut() -> None:
    frames = [replace(p, first_of_shot=p.index in (0, BAD)) for p in pairs(brighter_once)]
    _, curves = run(Temporal(), frames)
    assert BAD not in curves["temporal.warp.mask"]
    assert not {BAD - 1, BAD} & set(curves["temporal.luma.mask"])


def test_no_face_means_no_values() -> None:
    assert run(Temporal(), [replace(pair, faces=()) for pair in pairs()]) == ({}, {})


# ---------------------------------------------------------------- joins, embeddings, LPIPS


def test_a_jump_at_a_join_is_told_from_one_elsewhere() -> None:
    frames = pairs(brighter_once)
    assert run(Temporal(joins=(BAD,)), frames)[0]["temporal.joins"] > 2
    assert run(Temporal(joins=(6, 18)), frames)[0]["temporal.joins"] == pytest.approx(1, abs=0.05)
    assert run(Temporal(joins=(6, 18)), pairs())[0]["temporal.joins"] == 1


def embed(crop: Bytes, landmarks: Floats, part: str) -> Floats:
    """Return a stand-in for features: the picture's coarse colours, length 1."""
    coarse = crop.reshape(8, SIDE // 8, 8, SIDE // 8, 3).mean(axis=(1, 3)).ravel()
    return coarse / np.linalg.norm(coarse)


def slowly_darker(index: int, rgb: Bytes, face: FaceView) -> Floats:
    return painted(rgb, face, face.hole, -4.0 * index)


def test_a_part_whose_look_drifts_has_a_larger_spread() -> None:
    assert run(Temporal(embed=embed), pairs())[0]["temporal.embedding"] == pytest.approx(1)
    drifting = run(Temporal(embed=embed), pairs(slowly_darker))[0]
    assert drifting["temporal.embedding"] > 1.5
    assert drifting["temporal.luma.mask"] < 1.2


@cache
def perceptual() -> PerceptualDistance:
    """Return the network with random weights, those of the differences positive as they must be."""
    torch.manual_seed(0)
    network = PerceptualDistance()
    for name, weights in network.named_parameters():
        if name.startswith("lin"):
            weights.abs_()
    return network


def test_the_perceptual_distance_notices_two_looks_that_alternate() -> None:
    few = slice(4, 6)  # the pair that ends with frame 5 is looked at
    assert run(Temporal(perceptual()), pairs()[few])[0]["temporal.lpips.mask"] == 1
    assert run(Temporal(perceptual()), pairs(two_looks)[few])[0]["temporal.lpips.mask"] > 1.5


def test_perceptual_weights_are_used_when_they_are_there(tmp_path: Path) -> None:
    assert load_perceptual(tmp_path) is None
    assert "temporal.lpips left out" in Temporal().notes()[0]
    place = set_folder("perceptual", tmp_path)
    place.mkdir()
    torch.save(perceptual().state_dict(), place / "alex.pth")
    loaded = load_perceptual(tmp_path)
    assert loaded is not None
    assert not Temporal(loaded).notes()
    (place / "alex.pth").write_bytes(b"broken")
    with pytest.raises(WeightsError, match="cannot be read"):
        load_perceptual(tmp_path)
