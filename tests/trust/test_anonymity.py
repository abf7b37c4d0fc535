"""With `[anonymize]` no frame shows a face that recognition takes for the filmed one."""

from __future__ import annotations

from pathlib import Path

import face_clips
import numpy as np
import pytest
from runs import decode, preset

from fapvideo.config.presets import load_preset
from fapvideo.errors import WeightsError
from fapvideo.structs import Bytes
from fapvideo.swapper import VideoSwapper
from fapvideo.track.finder import FaceFinder
from fapvideo.trust import recognition
from fapvideo.trust.recognition import IdentityEmbedding, available, recognised_apart

installed = pytest.mark.skipif(not available(), reason="needs the extra identity")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return face_clips.face_clip(folder, "one_face", frames=3)


def distances(before: Bytes, after: Bytes) -> list[float]:
    """Return how far each frame's face is from the filmed one, looked at where it was filmed."""
    finder, embed = FaceFinder(), IdentityEmbedding()
    found = []
    for filmed, shown in zip(before, after, strict=True):
        landmarks = finder(filmed)[0].landmarks
        found.append(recognised_apart(embed(filmed, landmarks), embed(shown, landmarks)))
    return found


@pytest.mark.slow
@installed
@pytest.mark.parametrize("opacity", [1.0, 0.0])
def test_who_can_still_be_recognised_is_blurred(
    source: Path, tmp_path: Path, opacity: float
) -> None:
    """A swapped mouth is not enough, and no swap at all even less."""
    wanted = preset(
        anonymize={"distance": 0.6}, composite={"max_size": 64, "opacity": opacity, "check": False}
    )
    output = tmp_path / "o.mkv"
    with VideoSwapper(wanted, "cpu") as swapper:
        report = swapper.run(source, output)
    said = report.anonymity
    assert (said["faces"], said["blurred"], said["unmeasured"]) == (3, 3, 0)
    assert [(span["first"], span["last"]) for span in said["spans"]] == [(0, 2)]
    assert said["nearest"] >= 0.6
    before, after = decode(source), decode(output)
    assert min(distances(before.rgb, after.rgb)) > 0.55, "seen with another mesh's landmarks"
    for old, new in zip(before.frames, after.frames, strict=True):
        changed = old.planes[0] != new.planes[0]
        assert 0.05 < changed.mean() < 0.4
        assert not changed[:, :80].any(), "far from the face nothing changes"


@pytest.mark.slow
@installed
def test_what_is_far_enough_stays_as_it_was_painted(source: Path, tmp_path: Path) -> None:
    with VideoSwapper(preset(anonymize={"distance": 0.01}), "cpu") as swapper:
        report = swapper.run(source, tmp_path / "a.mkv")
    with VideoSwapper(preset(), "cpu") as swapper:
        assert swapper.run(source, tmp_path / "b.mkv").anonymity == {}
    assert (report.anonymity["blurred"], report.anonymity["faces"]) == (0, 3)
    assert np.array_equal(decode(tmp_path / "a.mkv").rgb, decode(tmp_path / "b.mkv").rgb)


def test_without_the_extra_it_is_told_before_the_work(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recognition, "available", lambda: False)
    stages = []
    with (
        VideoSwapper(preset(anonymize={"distance": 0.6}), "cpu") as swapper,
        pytest.raises(WeightsError, match="identity"),
    ):
        swapper.run(source, tmp_path / "o.mkv", progress=lambda now: stages.append(now.stage))
    assert "analyse" not in stages
    assert load_preset("anonymize").anonymize.distance == 0.6
