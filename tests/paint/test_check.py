"""What was painted is looked at: a part off its place, colours from nowhere, no numbers."""

from __future__ import annotations

from pathlib import Path

import face_clips
import numpy as np
import pytest
import runs

from fapvideo.ops.pose import CROP_INTEROCULAR
from fapvideo.structs import Floats

PARTS = dict.fromkeys(("eyes", "brows", "nose", "mouth"), runs.BRAND)
BROKEN = 1
"""The frame whose painting goes wrong."""


def shifted(picture: Floats) -> Floats:
    """Move what was painted by 0.1 inter-ocular distances."""
    return np.roll(picture, round(0.1 * CROP_INTEROCULAR * len(picture)), axis=1)


def poisoned(picture: Floats) -> Floats:
    """Leave a green face, as half-precision weights that overflowed do."""
    return np.stack([0.1 * picture[..., 0], picture[..., 1], 0.1 * picture[..., 2]], axis=-1)


def no_numbers(picture: Floats) -> Floats:
    out = picture.copy()
    out[20:24, 30:40] = np.nan
    return out


def no_face(picture: Floats) -> Floats:
    return np.full_like(picture, picture.mean())


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return face_clips.face_clip(tmp_path_factory.mktemp("clips"), "one_face", frames=4)


def test_what_looks_wrong_is_not_shown_and_said(clip: Path, tmp_path: Path) -> None:
    """The frame stays as it was filmed; its neighbours are swapped all the same."""
    before = runs.decode(clip)
    with runs.swapper(
        references=PARTS, composite={"max_size": 256}, denoise={"mode": "off", "batch_size": 1}
    ) as swap:
        paint = swap._bench.painter.paint
        for damage, reason in (
            (shifted, "looks_wrong"),
            (poisoned, "looks_wrong"),
            (no_face, "looks_wrong"),
            (no_numbers, "numeric"),
        ):
            calls = iter(range(len(before.frames)))
            swap._bench.painter.paint = lambda jobs, damage=damage, calls=calls: [  # type: ignore[method-assign]
                damage(picture) if next(calls) == BROKEN else picture for picture in paint(jobs)
            ]
            output = tmp_path / f"{damage.__name__}.mkv"
            report = swap.run(clip, output)
            runs.audit(report, output)
            after = runs.decode(output)
            kept = [i for i in range(len(after.frames)) if before.same_samples(after, i)]
            assert kept == [BROKEN], damage.__name__
            (span,) = report.frame_log
            assert (span["first"], span["last"]) == (BROKEN, BROKEN)
            assert (span["state"], span["reason"]) == ("left", reason), damage.__name__


@pytest.mark.slow
def test_nothing_is_refused_for_the_usual_reasons(clip: Path, tmp_path: Path) -> None:
    """Open mouths, blinks, turns, a weak colour match: all that a swap is made of is shown."""
    with runs.swapper(
        references=PARTS, composite={"max_size": 256}, guide={"colour": 0.3, "light": 0.0}
    ) as swap:
        report = swap.run(clip, tmp_path / "o.mkv")
    assert report.faces["swapped"] == report.faces["total"] == 4
