"""The visible label: legible at any size, in every frame, and nothing beside it changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import face_clips
import numpy as np
import pytest
from runs import decode, preset

from fapvideo.composite.planes import FrameCanvas, changed_outside, displayed, read_rgb
from fapvideo.run.sources import FrameSource
from fapvideo.structs import ColorTags
from fapvideo.swapper import VideoSwapper
from fapvideo.trust.credentials import read_credentials
from fapvideo.trust.label import LEGIBLE, draw_label
from fapvideo.video.reader import VideoReader


@pytest.mark.parametrize(
    "name",
    ["plain", "ten_bit", "rotated_90", "sar", "odd_size", "gray", "gbrp10", "ffv1_alpha"],
)
def test_every_format_shows_it_and_changes_nothing_else(
    clip: Callable[[str], Path], name: str
) -> None:
    with VideoReader(clip(name)) as reader:
        info, frame = reader.info, next(iter(reader.batches(1))).frames[0]
    label = draw_label("modified", "top_right", info)
    assert label is not None
    canvas = FrameCanvas(frame, info)
    canvas.blend(label.rgb, label.alpha, label.box)
    after = canvas.frame()
    assert changed_outside(frame, after, info, [(label.box, label.alpha)]) == 0
    seen = read_rgb(after, info, label.box).mean(axis=2)
    wanted = label.rgb[..., 0] * label.alpha
    assert np.corrcoef(seen.ravel(), wanted.ravel())[0, 1] > 0.95, "the plate, the right way up"
    light, dark = wanted > 0.9, wanted < 0.1
    assert seen[light].mean() - seen[dark].mean() > 0.6, "letters and ground are far apart"


@pytest.mark.parametrize("kind", ["basic", "modified", "generated"])
@pytest.mark.parametrize("size", [(16, 16), (48, 32), (96, 64), (360, 640), (1920, 1080)])
def test_it_fits_every_size_and_says_as_much_as_is_legible(
    size: tuple[int, int], kind: Any
) -> None:
    info = FrameSource(np.zeros((1, size[1], size[0], 3), np.uint8), 1).info
    label = draw_label(kind, "bottom_left", info)
    assert label is not None
    x0, y0, x1, y1 = label.box
    assert x0 >= 0
    assert y0 >= 0
    assert x1 <= size[0]
    assert y1 <= size[1]
    assert label.rgb.shape == (y1 - y0, x1 - x0, 3)
    assert (label.alpha > 0).all()
    assert label.text.startswith("AI")
    if min(size) > 90:
        assert label.text == {"basic": "AI"}.get(kind, f"AI {kind.upper()}")
        assert y1 - y0 >= max(LEGIBLE, 0.03 * min(size)), "small, not tiny"
        assert (x1 - x0) * (y1 - y0) < 0.02 * size[0] * size[1], "and not large"
        assert x0 < size[0] / 2 < y1, "in its corner"


def test_white_is_a_captions_white_in_hdr() -> None:
    info = FrameSource(np.zeros((1, 240, 320, 3), np.uint8), 1).info
    label = draw_label("basic", "top_left", replace(info, color=ColorTags(9, 9, 16)))
    assert label is not None
    assert label.rgb.max() == pytest.approx(0.58, abs=0.01)


def test_every_frame_of_a_run_has_it_and_the_count_stays_right(tmp_path: Path) -> None:
    """Frames in which the face is turned away, too; stills and previews show the same."""
    folder = tmp_path / "source"
    folder.mkdir()
    source = face_clips.face_clip(folder, "one_face", frames=4)
    asked = {"mask": {"max_yaw_deg": 0.01}, "provenance": {"label": "modified"}}
    output = tmp_path / "o.mp4"
    lossless = {"codec": "h264", "crf": 0, "speed": "ultrafast"}
    with VideoSwapper(preset(video=lossless, **asked), "cpu") as swapper:
        report = swapper.run(source, output)
        with swapper.open(source) as opened:
            still = opened.still(0.05)
        sheet = swapper.preview(source, [0.05])
    said = report.provenance["label"]
    assert said["kind"] == "modified"
    assert said["text"] == "AI MODIFIED"
    assert report.frames["swapped"] == 0, "not one face was painted plainly"
    assert report.outside_changed_samples == 0
    x0, y0, x1, y1 = said["box"]
    before, after = decode(source), decode(output)
    label = draw_label("modified", "top_right", before.info)
    assert label is not None
    for old, new in zip(before.rgb, after.rgb, strict=True):
        plate = new[y0:y1, x0:x1].mean(axis=2)
        assert np.corrcoef(plate.ravel(), (label.rgb[..., 0] * label.alpha).ravel())[0, 1] > 0.98
        beyond = np.ones(old.shape[:2], bool)
        beyond[y0 - 1 : y1 + 1, x0 - 1 : x1 + 1] = False
        beyond[:, : old.shape[1] // 2] = False
        assert np.abs(old.astype(int) - new)[:y1][beyond[:y1]].max() <= 1
    assert np.array_equal(still, displayed(after.frames[1], after.info))
    bottom = sheet[-320:]
    assert bottom[10:60, -160:].max() > 250 > sheet[10:60, -160:].max(), "result, not source"
    found = read_credentials(output)
    assert found is not None
    assert found.whole
    assert found.run["label"]["text"] == "AI MODIFIED"
    assert [one["action"] for one in found.actions][-1] == "c2pa.addedText"


def test_nobody_swapped_nothing_said(clip: Callable[[str], Path], tmp_path: Path) -> None:
    """On a clip without a face the label would be untrue."""
    with VideoSwapper(preset(provenance={"label": "basic"}), "cpu") as swapper:
        report = swapper.run(clip("plain"), tmp_path / "o.mkv")
    assert report.provenance["label"] == {}
    before, after = decode(clip("plain")), decode(tmp_path / "o.mkv")
    assert all(before.same_samples(after, i) for i in range(len(before.frames)))
