"""A part is one row of a table: a made-up one is swapped like the others."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import face_clips
import numpy as np
import pytest
from portrait import headshot

from fapvideo.config.guide import GuideShape
from fapvideo.config.presets import load_preset
from fapvideo.errors import PresetError
from fapvideo.guide.shape import shape_weights
from fapvideo.parts import PARTS, TRAINED

CHIN = (201, 200, 421, 262, 369, 396, 175, 171, 140, 32)
PRESET = """
bundle = "tiny"
[references]
chin = ["{brand}", "{brand}"]
[guide.shape]
chin = 0.4
"""


@pytest.fixture
def house() -> Iterator[Any]:
    """Return an importer of a package whose table has a chin, too, as if it stood in the file."""
    before = {name: module for name, module in sys.modules.items() if _ours(name)}
    for name in before:
        del sys.modules[name]
    try:
        table = import_module("fapvideo.parts")
        table.PARTS["chin"] = table.FacePart((CHIN,), "chin", (10, 200, 30), shape=0.3)
        yield import_module
    finally:
        for name in [name for name in sys.modules if _ours(name)]:
            del sys.modules[name]
        sys.modules.update(before)


def _ours(name: str) -> bool:
    return name.partition(".")[0] == "fapvideo"


@pytest.mark.slow
def test_a_part_that_is_only_in_the_table_is_swapped(
    house: Any, tmp_path: Path, checkout: Path
) -> None:
    path = tmp_path / "chin.toml"
    path.write_text(PRESET.format(brand=face_clips.BRAND), "utf-8")
    overrides = house("fapvideo.cli.options").collect_overrides(["guide.shape.chin=0.5"])
    preset = house("fapvideo.config.presets").load_preset(path, overrides)
    assert preset.guide.shape.chin == 0.5
    assert list(preset.model_dump()["guide"]["shape"]) == [*PARTS, "chin"]
    picture = headshot(160)
    with house("fapvideo.swapper").VideoSwapper(preset, "cpu") as swapper:
        result = swapper.swap_image(picture)
        sheet = swapper.preview(checkout / "examples" / "talking_portrait.mp4", [0.2])
    (face,) = house("fapvideo.track.finder").FaceFinder()(picture)
    signed_distance = house("fapvideo.ops.image").signed_distance
    distance = signed_distance([face.landmarks[list(CHIN), :2]], 160)
    interocular = house("fapvideo.ops.mesh").interocular(face.landmarks)
    changed = (result != picture).any(axis=2)
    assert changed[distance < -2].mean() > 0.9, "the chin is another one"
    assert distance[changed].max() < 0.35 * interocular, "and nothing else"
    masks = sheet[sheet.shape[0] // 4 : sheet.shape[0] // 2].astype(int)
    green = masks[..., 1] - masks.max(axis=2, initial=0, where=[True, False, True])
    assert (green > 40).sum() > 100, "previews show it in its colour"


@pytest.mark.slow
def test_detectors_and_help_know_it_and_fitted_statistics_do_not(house: Any) -> None:
    config = house("fapvideo.config.schema").MaskConfig(backend="grounding_dino", detector="any")
    assert "chin" in house("fapvideo.mask.open_set").parts_to_find(config, {"chin"})
    (option,) = house("fapvideo.cli.options").References.__metadata__
    assert "chin" in option.help
    assert "chin" not in house("fapvideo.evaluation.metrics.features").MEASURED
    weights = house("fapvideo.guide.shape").shape_weights
    shape = house("fapvideo.config.schema").GuideShape(nose=0.6)
    own = shape_weights(GuideShape(nose=0.6), TRAINED)
    np.testing.assert_array_equal(weights(shape, TRAINED), own)
    assert weights(shape, (*TRAINED, "chin"))[175] > own[175]


def test_an_unknown_part_is_named_with_the_known_ones() -> None:
    with pytest.raises(PresetError) as caught:
        load_preset("mouth_only", {"references.chin": [str(face_clips.BRAND)]})
    assert str(caught.value).startswith(
        "preset mouth_only: references.chin: should be 'eyes', 'brows', 'nose', 'mouth' or 'face'"
        " (got 'chin')"
    )
    with pytest.raises(PresetError, match=r"guide\.shape\.chin: unknown key"):
        load_preset("mouth_only", {"guide.shape.chin": 0.5})
    with pytest.raises(PresetError, match=r"guide\.shape\.eye: .*did you mean guide\.shape\.eyes"):
        load_preset("mouth_only", {"guide.shape.eye": 0.5})


def test_what_was_trained_on_four_parts_stays_with_them() -> None:
    assert TRAINED == ("eyes", "brows", "nose", "mouth")
    assert list(GuideShape.model_fields) == list(PARTS) == [*TRAINED, "face"]
    assert [name for name, part in PARTS.items() if part.paired] == ["eyes", "brows"]
