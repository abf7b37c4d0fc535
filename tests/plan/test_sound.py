"""What a kept plan says of a target can be painted, or is an error that names it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from small_plan import small_plan

from fapvideo.plan.sound import FAR, check_target
from fapvideo.plan.targets import Target


def with_reference(target: Target, **changes: Any) -> Target:
    (reference,) = target.references["mouth"]
    return replace(target, references={"mouth": (replace(reference, **changes),)})


def test_what_the_first_pass_makes_is_sound() -> None:
    for target in small_plan().targets:
        check_target(target)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop_size": 64000}, "a crop of 64000 pixels"),
        ({"crop_size": True}, "a crop of True"),
        ({"seed": -1}, "seed -1"),
        ({"strength": None}, "track 3: "),
        ({"strength": float("nan")}, "strength nan"),
        ({"strengths": {"mouth": 1.5}}, "strengths 1.5 of 'mouth'"),
        ({"expression": {"nose": 1.0}}, "expression 1.0 of 'nose'"),
        ({"references": {}}, "references of"),
        ({"references": {"ears": ()}}, "references of"),
        ({"chosen": {}}, "other parts are chosen"),
        ({"chosen": {"mouth": [0, 0]}}, "mouth does not choose a reference for each frame"),
        ({"chosen": {"mouth": [0, 0, 1, 0]}}, "mouth does not choose"),
    ],
)
def test_numbers_and_choices(changes: dict[str, Any], message: str) -> None:
    target = small_plan().targets[1]
    with pytest.raises(ValueError, match=message):
        check_target(replace(target, **changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"part": "eyes"}, "is of 'eyes', not mouth"),
        ({"crop": np.zeros((4, 8, 3), np.float32)}, r"a crop of \[4, 8, 3\]"),
        ({"crop": np.full((4, 4, 3), 1e9, np.float32)}, "colours outside"),
        ({"shape": np.zeros((239, 3), np.float32)}, r"shape is \[239, 3\]"),
        ({"landmarks": np.full((478, 3), 2 * FAR, np.float32)}, "landmarks: not within"),
    ],
)
def test_references(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_target(with_reference(small_plan().targets[1], **changes))


def test_frames_and_boxes() -> None:
    target = small_plan().targets[1]
    assert target.boxes is not None
    short = replace(target, frames=replace(target.frames, state=("swapped",) * 3))
    heavy = replace(target, frames=replace(target.frames, weight=target.frames.weight + 1))
    boxes = replace(target.boxes, strength={})
    for wrong, message in (
        (short, "state does not say one for each frame"),
        (heavy, "a weight outside"),
        (replace(target, boxes=boxes), "boxes of"),
    ):
        with pytest.raises(ValueError, match=message):
            check_target(wrong)
