"""A plan on disk: the same after reading, nothing else's, nothing half-written."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from small_plan import small_plan

from fapvideo.errors import VideoReadError
from fapvideo.mask.occlusion import TrackOcclusion
from fapvideo.mask.open_set import TrackBoxes
from fapvideo.mask.policy import TrackPlan
from fapvideo.plan.store import read_plan, write_plan
from fapvideo.plan.targets import Plan, Target
from fapvideo.structs import Reference, Track


@pytest.fixture
def plan() -> Plan:
    return small_plan()


def assert_same(one: object, other: object) -> None:
    """Compare field by field; whether a reference came from the cache does not count."""
    if isinstance(one, Plan | Target | Track | Reference | TrackPlan | TrackBoxes | TrackOcclusion):
        assert type(one) is type(other)
        for field in fields(one):
            if field.name != "cached":
                assert_same(getattr(one, field.name), getattr(other, field.name))
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            assert_same(left, right)
    else:
        assert one == other


def test_what_is_read_is_what_was_written(plan: Plan, tmp_path: Path) -> None:
    write_plan(plan, tmp_path / "plan", {"input": "abc"})
    again = read_plan(tmp_path / "plan", {"input": "abc"})
    assert_same(plan, again)
    assert isinstance(again.tracks[0].landmarks, np.memmap)
    assert again.targets[0].track is again.tracks[0]
    assert again.placements(31)[0][1].state == "held"


def test_targets_that_share_references_share_them_again(plan: Plan, tmp_path: Path) -> None:
    """Painters group faces by their references."""
    both = replace(plan, targets=(plan.targets[0], replace(plan.targets[0], seed=1)))
    write_plan(both, tmp_path / "plan", {})
    first, second = read_plan(tmp_path / "plan", {}).targets
    assert first.references is second.references


def test_a_photo_is_written_once_however_often_it_is_asked_for(plan: Plan, tmp_path: Path) -> None:
    """A preset may name one photo a hundred times; its crop is most of a small plan."""
    first = plan.targets[0]
    crop = np.zeros((64, 64, 3), np.float32)
    one = replace(first.references["mouth"][0], crop=crop)
    many = {"mouth": tuple(replace(one, weight=1.0 + n) for n in range(50))}
    chosen = {"mouth": [0] * 5}
    one_of_them, all_of_them = (
        replace(plan, targets=(replace(first, references=given, chosen=chosen),), cast={})
        for given in ({"mouth": (one,)}, many)
    )
    sizes = []
    for each in (one_of_them, all_of_them):
        write_plan(each, tmp_path / "plan", {})
        assert_same(read_plan(tmp_path / "plan", {}), each)
        sizes.append((tmp_path / "plan" / "arrays.safetensors").stat().st_size)
    assert sizes[1] - sizes[0] < crop.nbytes


def test_a_plan_of_something_else_is_none(plan: Plan, tmp_path: Path) -> None:
    assert read_plan(tmp_path / "plan", {}) is None
    write_plan(plan, tmp_path / "plan", {"input": "abc"})
    assert read_plan(tmp_path / "plan", {"input": "abd"}) is None
    write_plan(replace(plan, targets=()), tmp_path / "plan", {"input": "abd"})
    assert read_plan(tmp_path / "plan", {"input": "abd"}).targets == ()
    assert [path.name for path in tmp_path.iterdir()] == ["plan"]


@pytest.mark.parametrize("name", ["plan.json", "arrays.safetensors", "track-3.npy"])
def test_a_damaged_plan_is_said(plan: Plan, tmp_path: Path, name: str) -> None:
    write_plan(plan, tmp_path / "plan", {})
    file = tmp_path / "plan" / name
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(VideoReadError, match="damaged") as caught:
        read_plan(tmp_path / "plan", {})
    assert "remove" in caught.value.hint


def test_numbers_that_cannot_be_are_said(plan: Plan, tmp_path: Path) -> None:
    """Whoever wrote them: shapes, types, finiteness, frames of the clip."""
    first = plan.targets[0]
    odd = first.track.landmarks.copy()
    odd[2, 7] = np.nan
    far = replace(first, frames=replace(first.frames, source=np.full(5, 9)))
    last = plan.targets[1]
    cut = replace(last.occlusion, packed=last.occlusion.packed[:-1])
    wrong = (
        replace(plan, times_s=np.full(50, np.inf)),
        replace(plan, times_s=plan.times_s[:3]),
        replace(plan, targets=(replace(first, track=replace(first.track, landmarks=odd)),),
                tracks=(replace(first.track, landmarks=odd),)),
        replace(plan, targets=(far,)),
        replace(plan, targets=(replace(last, occlusion=cut),)),
    )  # fmt: skip
    for number, one in enumerate(wrong):
        write_plan(one, tmp_path / "plan", {})
        with pytest.raises(VideoReadError, match="damaged"):
            read_plan(tmp_path / "plan", {})
            pytest.fail(str(number))


def test_a_changed_number_is_noticed(plan: Plan, tmp_path: Path) -> None:
    write_plan(plan, tmp_path / "plan", {})
    for name in ("plan.json", "arrays.safetensors", "track-3.npy"):
        file = tmp_path / "plan" / name
        before = file.read_bytes()
        at = before.index(b'"seed": 7') + 8 if name == "plan.json" else len(before) - 3
        file.write_bytes(before[:at] + bytes([before[at] ^ 1]) + before[at + 1 :])
        with pytest.raises(VideoReadError, match=f"{name} has changed"):
            read_plan(tmp_path / "plan", {})
        file.write_bytes(before)
    assert read_plan(tmp_path / "plan", {}) is not None
