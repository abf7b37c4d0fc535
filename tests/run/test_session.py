"""A stream that is swapped while it comes, against the same frames as a clip."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import face_clips
import numpy as np
import pytest
from runs import Decoded, decode, swapper

from fapvideo import FrameSource, stream_info
from fapvideo.errors import ConsentError, VideoReadError
from fapvideo.structs import Bytes
from fapvideo.swapper import VideoSwapper
from fapvideo.track.finder import FaceFinder
from fapvideo.trust import protected
from fapvideo.trust.label import draw_label
from fapvideo.trust.protected import Looker, Protected, write_protected
from fapvideo.trust.recognition import available


@pytest.fixture(scope="module")
def face(tmp_path_factory: pytest.TempPathFactory) -> Decoded:
    folder = tmp_path_factory.mktemp("clips")
    clip = face_clips.face_clip(
        folder, "one_face", frames=16, suffix=".mkv", codec="ffv1", options={}
    )
    return decode(clip)


@pytest.fixture(scope="module")
def plain() -> Any:
    with swapper() as opened:
        yield opened


def through(opened: VideoSwapper, pictures: Bytes, lookahead_s: float = 0.5) -> Bytes:
    height, width = pictures.shape[1:3]
    session = opened.session(stream_info(width, height, face_clips.FPS), lookahead_s)
    return np.stack(list(session.stream(pictures)))


def test_a_stream_becomes_what_the_clip_becomes(plain: VideoSwapper, face: Decoded) -> None:
    clip = np.concatenate([batch.rgb for batch in plain.stream(FrameSource(face.rgb))])
    stream = through(plain, face.rgb)
    changed = (clip != face.rgb).any(axis=-1)
    assert changed.any(axis=(1, 2)).all()
    # The neutral shape is learned on the way; all else is what the window shows in time.
    assert np.abs(stream.astype(int) - clip)[changed].mean() < 2.0
    far = ~np.stack([grown(mask) for mask in changed])
    np.testing.assert_array_equal(stream[far], face.rgb[far])


def grown(mask: np.ndarray) -> np.ndarray:
    import cv2

    return cv2.dilate(mask.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)


@pytest.mark.slow
def test_a_windows_border_does_not_show(face: Decoded) -> None:
    done = []
    for size in (2, 4):
        with swapper(denoise={"mode": "off", "batch_size": size}) as opened:
            done.append(through(opened, face.rgb))
    few, many = (one.astype(int) for one in done)
    inside = (few != face.rgb).any(axis=-1)
    assert np.abs(few - many)[inside].mean() < 1.0


@pytest.mark.slow
def test_frames_come_out_in_time_and_all_of_them(plain: VideoSwapper, face: Decoded) -> None:
    session = plain.session(stream_info(320, 240, 25), 0.2)
    came = np.cumsum([len(session.push(picture)) for picture in face.rgb])
    held = np.arange(1, len(face.rgb) + 1) - came
    assert held.max() <= 5 + 4 + 1, "the lookahead and a batch"
    assert len(session.flush()) == held[-1]
    report = session.report()
    assert report["frames"]["total"] == len(face.rgb)
    assert report["outside_changed_samples"] == 0
    assert "say so" in report["warnings"][0]


def test_av_frames_come_back_as_what_they_were(plain: VideoSwapper, tmp_path: Path) -> None:
    clip = face_clips.face_clip(tmp_path, "one_face", frames=10)
    with av.open(str(clip)) as container:
        given = list(container.decode(video=0))
    session = plain.session(stream_info(320, 240, 25, "yuv420p"), 0.2)
    done = list(session.stream(given))
    assert [frame.pts for frame in done] == [frame.pts for frame in given]
    assert all(out.time_base == frame.time_base for out, frame in zip(done, given, strict=True))
    assert all(frame.format.name == "yuv420p" for frame in done)
    assert any(out is not frame for out, frame in zip(done, given, strict=True))


def test_a_frame_in_which_nothing_is_painted_is_the_same_object(plain: VideoSwapper) -> None:
    pictures = [np.full((120, 160, 3), 90 + i, np.uint8) for i in range(4)]
    session = plain.session(stream_info(160, 120, Fraction(25)), 0.0)
    done = list(session.stream(pictures))
    assert all(out is picture for out, picture in zip(done, pictures, strict=True))
    assert session.report()["frames"] == {
        "total": 4, "swapped": 0, "held": 0, "faded": 0, "left": 4,
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("extra", [True, False])
def test_who_is_protected_is_left_by_either_network(
    face: Decoded, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, extra: bool
) -> None:
    if extra and not available():
        pytest.skip("needs the extra identity")
    monkeypatch.setenv("FAPVIDEO_PROTECT", str(tmp_path))
    monkeypatch.setattr(protected, "available", lambda: extra)
    points = FaceFinder()(face.rgb[0])[0].landmarks
    seen = Looker()(face.rgb[0] / np.float32(255), points)
    assert (seen.face is not None) == extra
    if extra:  # the packaged network alone would not know this face
        seen = replace(seen, looks=-seen.looks)
    write_protected([Protected("Somebody", (seen,))])
    with swapper() as opened:
        session = opened.session(stream_info(320, 240, 25), 0.1)
        done = list(session.stream(face.rgb[:6]))
        np.testing.assert_array_equal(done, face.rgb[:6])
        assert session.report()["protected"] == ["Somebody"]
        assert session.report()["reasons"] == {"protected": 6}
    with swapper(protected="refuse") as opened, pytest.raises(ConsentError, match="Somebody"):
        list(opened.session(stream_info(320, 240, 25), 0.1).stream(face.rgb[:6]))


@pytest.mark.slow
def test_a_label_comes_with_the_first_swap_and_stays(face: Decoded) -> None:
    empty = np.full_like(face.rgb[:4], 128)
    stream = np.concatenate([empty, face.rgb[:8], empty])
    with swapper(provenance={"label": "modified"}) as opened:
        session = opened.session(stream_info(320, 240, 25), 0.1)
        done = np.stack(list(session.stream(stream)))
    assert session.report()["outside_changed_samples"] == 0
    np.testing.assert_array_equal(done[:4], empty)
    label = draw_label("modified", opened.preset.provenance.label_corner, session.info)
    assert label is not None
    x0, y0, x1, y1 = label.box
    changed = (done != stream).any(axis=-1)
    assert changed[4:, y0:y1, x0:x1].any(axis=(1, 2)).all(), "nobody is there at the end: it stays"
    changed[:, y0:y1, x0:x1] = False
    assert not changed[-4:].any()


def test_nobody_is_shown_unknown_where_nobody_may_be_recognised() -> None:
    if not available():
        pytest.skip("needs the extra identity")
    info = stream_info(320, 240, 25)
    with swapper(anonymize={"distance": 0.6}) as opened:
        with pytest.raises(VideoReadError, match="before it is known"):
            opened.session(info, 0.0)
        opened.session(info, 0.25)


@pytest.mark.slow
def test_a_face_goes_and_comes_without_a_jump(plain: VideoSwapper, tmp_path: Path) -> None:
    leaving = decode(face_clips.face_clip(tmp_path, "leaving"))
    session = plain.session(stream_info(320, 240, 25), 0.5)
    list(session.stream(leaving.rgb))
    report = session.report()
    assert report["frames"]["left"] > 0
    assert report["frames"]["faded"] > 0, "it is faded ahead of where it is lost"


def test_what_is_no_stream_is_refused(plain: VideoSwapper, face: Decoded) -> None:
    info = stream_info(320, 240, 25)
    with pytest.raises(VideoReadError, match="lookahead"):
        plain.session(info, -1.0)
    session = plain.session(info)
    session.push(face.rgb[0], 1.0)
    with pytest.raises(VideoReadError, match="not after the one before"):
        session.push(face.rgb[1], 1.0)
    with pytest.raises(VideoReadError, match="160x120 in a stream of 320x240"):
        session.push(np.zeros((120, 160, 3), np.uint8))
    with pytest.raises(VideoReadError, match=r"float32 .* is no picture"):
        plain.session(info).push(face.rgb[0].astype(np.float32))


def test_consent_that_is_missing_stops_a_stream(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    site = tmp_path / "site.toml"
    site.write_text("require_consent = true\n", "utf-8")
    monkeypatch.setenv("FAPVIDEO_SITE_CONFIG", str(site))
    with swapper() as opened, pytest.raises(ConsentError):
        opened.session(stream_info(320, 240, 25))
