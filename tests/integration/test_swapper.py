"""VideoSwapper beside `run`: pictures, looking at clips, references, devices, kinds of bundle."""

from __future__ import annotations

import sys

import clips
import cv2
import face_clips
import numpy as np
import pytest
import torch
from portrait import astronaut, astronaut_face, finder, scene
from runs import BRAND, FAST, decode, swapper

from fapvideo.errors import NoFaceFound, ReferenceImageError, VideoReadError
from fapvideo.ops import mesh
from fapvideo.ops.precision import resolve_device
from fapvideo.run.engine import Engine
from fapvideo.run.sinks import default_output
from fapvideo.swapper import VideoSwapper
from fapvideo.synth.motion import Motion
from fapvideo.video.decord_reader import DecordReader


@pytest.fixture(scope="module")
def swap():
    with swapper() as one:
        yield one


# -------------------------------------------------------------------------------- pictures


@pytest.mark.slow
def test_a_picture_is_swapped_at_its_mouth_and_nowhere_else(swap):
    picture = astronaut()
    out = swap.swap_image(picture)
    assert out.shape == picture.shape
    assert out.dtype == np.uint8
    rows, columns = np.nonzero((out != picture).any(axis=-1))
    lips = astronaut_face().landmarks[list(mesh.LIPS_OUTER), :2]
    assert len(rows) > 100
    reach = 0.3 * mesh.interocular(astronaut_face().landmarks)
    assert (np.array([columns.min(), rows.min()]) > lips.min(axis=0) - reach).all()
    assert (np.array([columns.max(), rows.max()]) < lips.max(axis=0) + reach).all()
    np.testing.assert_array_equal(swap.swap_image(picture), out)


def test_other_references_may_be_given_for_one_call(swap):
    eyes = swap.swap_image(astronaut(), {"eyes": [BRAND]})
    rows, _ = np.nonzero((eyes != astronaut()).any(axis=-1))
    assert rows.max() < astronaut_face().landmarks[4, 1], "above the tip of the nose"


@pytest.mark.parametrize("size", [(1, 1), (37, 200), (301, 203)])
def test_a_picture_without_a_face(swap, size):
    width, height = size
    with pytest.raises(NoFaceFound, match=f"{width}x{height}"):
        swap.swap_image(np.full((height, width, 3), 90, np.uint8))


def test_every_face_of_a_picture_where_the_preset_says_so():
    picture = scene((480, 260), [(120, 130, 90), (350, 130, -90)])
    with swapper(track={"faces": "all"}) as both:
        changed = (both.swap_image(picture) != picture).any(axis=-1)
    assert changed[:, :240].sum() > 50 < changed[:, 240:].sum()


# ---------------------------------------------------------------------------- looking at clips


@pytest.mark.slow
def test_inspect_tells_what_is_there(swap, clip):
    found = swap.inspect(clip("cut"))
    assert set(found) == {"video", "frames", "cuts", "faces", "tracks", "frame_log", "warnings"}
    assert found["frames"] == 24
    assert found["cuts"] == [12]
    assert [(t["first_frame"], t["last_frame"]) for t in found["tracks"]] == [(0, 11), (12, 23)]
    assert found["video"]["width"] == 320
    assert found["video"]["frame_rate"] == "25"
    assert [face["track"] for face in found["faces"]] == [0, 1]
    true_size = mesh.interocular(face_clips.one_face(5)[1])
    assert found["faces"][0]["interocular_px"] == pytest.approx(true_size, rel=0.15)
    assert all(0 <= face["largest_yaw_deg"] < 20 for face in found["faces"])
    assert found["warnings"] == []


def test_inspect_without_a_face(swap, clip):
    found = swap.inspect(clip("no_face"))
    assert found["faces"] == found["tracks"] == []
    assert "no face" in found["warnings"][0]


@pytest.mark.slow
def test_preview_shows_source_masks_guide_and_result(swap, clip):
    """A column per time, in the order asked for; the rows differ where the mouth is."""
    source = clip("one_face")
    sheet = swap.preview(source, [0.4, 0.0])
    tile = 320 * 320 // 240
    assert sheet.dtype == np.uint8
    assert sheet.shape[0] == 4 * 320
    assert sheet.shape[1] == pytest.approx(2 * tile, abs=2)
    half = sheet.shape[1] // 2
    rows = np.split(sheet, 4)
    frames = decode(source).rgb
    for column, index in ((0, 10), (1, 0)):
        shown = cv2.resize(rows[0][:, column * half : (column + 1) * half], (320, 240))
        assert clips.read_barcode(shown) == index
        assert np.abs(shown.astype(int) - frames[index]).mean() < 4
    for row in rows[1:]:
        changed = np.abs(row.astype(int) - rows[0]).max(axis=-1) > 25
        assert 0.001 < changed.mean() < 0.15


@pytest.mark.slow
def test_preview_shows_the_frames_that_decord_finds(swap, clip, monkeypatch):
    """`video.reader`: the same sheet, but for decord's 8-bit RGB; nothing else needs decord."""
    pytest.importorskip("decord")
    source, seen = clip("one_face"), []

    class Spy(DecordReader):
        def frames_at(self, times_s):
            seen.extend(times_s)
            return super().frames_at(times_s)

    monkeypatch.setattr("fapvideo.video.decord_reader.DecordReader", Spy)
    with swapper(video={**FAST, "reader": "decord"}) as other:
        sheet = other.preview(source, [0.4, 0.0])
    assert seen == [0.4, 0.0]
    wanted = swap.preview(source, [0.4, 0.0])
    assert sheet.shape == wanted.shape
    error = np.abs(sheet.astype(int) - wanted)
    assert error.mean() < 2
    for row, other_row in zip(np.split(sheet, 4), np.split(wanted, 4), strict=True):
        assert np.abs(row.astype(int) - other_row).mean() < 3
    half = sheet.shape[1] // 2
    for column, index in ((0, 10), (1, 0)):
        shown = sheet[:320, column * half : (column + 1) * half]
        assert clips.read_barcode(cv2.resize(shown, (320, 240))) == index


def test_preview_without_decord_says_so_before_the_work(clip, monkeypatch):
    monkeypatch.setitem(sys.modules, "decord", None)
    monkeypatch.setattr(Engine, "plan", None)  # not reached
    with (
        swapper(video={**FAST, "reader": "decord"}) as other,
        pytest.raises(VideoReadError, match="decord, which is not installed") as caught,
    ):
        other.preview(clip("one_face"), [0.1])
    assert "fapvideo[decord]" in caught.value.hint


def test_preview_of_a_time_beyond_the_end(swap, clip):
    with pytest.raises(VideoReadError):
        swap.preview(clip("no_face"), [99.0])


def test_preview_without_a_face_shows_the_source(swap, clip):
    rows = np.split(swap.preview(clip("no_face"), [0.1]), 4)
    for row in rows[1:]:
        assert np.abs(row.astype(int) - rows[0]).mean() < 1.5


# ---------------------------------------------------------------------------------- references


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two references of the speaker: mouth shut, mouth open."""
    folder = tmp_path_factory.mktemp("photos")
    portrait = face_clips.animated_astronaut((480, 360))
    paths = []
    for name, gap in (("shut", 0.0), ("open", 0.22)):
        rgb, _ = portrait.draw(Motion(mouth_open=gap, smile=-0.3))
        paths.append(str(folder / f"{name}.png"))
        cv2.imwrite(paths[-1], rgb[..., ::-1])
    return paths


def test_encoded_references_are_complete(swap, photos):
    references = swap.encode_reference({"mouth": photos, "eyes": photos[:1]})
    assert [(r.part, r.path) for r in references] == [
        ("eyes", photos[0]), ("mouth", photos[0]), ("mouth", photos[1]),
    ]  # fmt: skip
    for reference in references:
        assert reference.tokens.shape == (256, 24)
        assert np.isfinite(reference.tokens).all()
        y0, x0, y1, x1 = reference.box
        assert 0 < y0 < y1 < 1
        assert 0 < x0 < x1 < 1
    assert references[0].box[2] < references[1].box[0], "eyes above the mouth"
    assert not np.array_equal(references[0].tokens, references[1].tokens)


@pytest.mark.slow
def test_the_reference_that_fits_the_expression_is_shown(clip, photos):
    """A closed mouth takes the closed reference, an open one the open one."""
    source = clip("one_face", frames=16)
    lips = [face_clips.one_face(index)[1][[13, 14], :2] for index in range(16)]
    gaps = [np.linalg.norm(upper - lower) for upper, lower in lips]
    wide, narrow = int(np.argmax(gaps)), int(np.argmin(gaps))
    references, guide = {"mouth": photos}, {"hysteresis": 0.0}
    with swapper(references=references, guide=guide) as both:
        chosen = np.concatenate([b.rgb for b in both.stream(source)])
    single = []
    for photo in photos:
        with swapper(references={"mouth": photo}) as one:
            single.append(np.concatenate([b.rgb for b in one.stream(source)]))
    assert np.array_equal(chosen[narrow], single[0][narrow])
    assert np.array_equal(chosen[wide], single[1][wide])
    assert not np.array_equal(single[0][wide], single[1][wide])


def test_warnings_about_references_are_in_the_report(clip, photos, tmp_path):
    video = {**FAST, "end_s": 0.08}
    with swapper(references={"mouth": photos[1]}, video=video) as one:
        report = one.run(clip("one_face"), tmp_path / "o.mkv")
    (warning,) = report.warnings
    assert "mouth is open" in warning
    assert photos[1] in warning


def test_one_bad_reference_of_several_is_named(swap, photos, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"")
    with pytest.raises(ReferenceImageError, match=r"bad\.png"):
        swap.encode_reference({"mouth": [*photos, bad]})


# -------------------------------------------------------------------------- bundles and modes


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bundle", "tables"),
    [
        ("tiny", {"fuse": {"mode": "parity"}}),
        ("tiny", {"denoise": {"mode": "guided", "steps": 1, "strength": 0.5}}),
        ("tiny_sd15", {"denoise": {"mode": "guided", "steps": 2, "guidance": 2.0}}),
        ("tiny_sd15", {"denoise": {"mode": "guided", "steps": 2, "sampler": "unipc"}}),
    ],
)
def test_every_kind_of_bundle_paints_in_the_part_alone(clip, tmp_path, bundle, tables):
    video = {**FAST, "end_s": 0.06}
    defaults = {"denoise": {"mode": "guided", "steps": 2}, "video": video, "bundle": bundle}
    with swapper(**{**defaults, **tables}) as one:
        report = one.run(clip("one_face"), tmp_path / "o.mkv")
    assert report.bundle["name"] == bundle
    assert report.outside_changed_samples == 0
    assert report.frames["swapped"] == report.frames["total"] > 0
    before, after = decode(clip("one_face")), decode(tmp_path / "o.mkv")
    changed = before.frames[0].planes[0] != after.frames[0].planes[0]
    assert 30 < changed.sum() < 0.06 * changed.size
    (face,) = finder()(before.rgb[0])
    rows, columns = np.nonzero(changed)
    mouth = face.landmarks[[13, 14], :2].mean(axis=0)
    assert np.hypot(columns.mean() - mouth[0], rows.mean() - mouth[1]) < 6


@pytest.mark.slow
def test_the_largest_batch_and_the_smallest_paint_the_same_with_a_vae(clip):
    """But for rounding, with classifier-free guidance too.

    A processor may add up batches of other sizes in another order: results of `Denoiser` then
    differ by 1e-4 of [-1, 1] at most, a hundredth of a level of 255. So a sample that lies that
    close to the middle between two levels, one in forty at most, may end one level apart.
    """
    pictures = []
    for size in (1, 3):
        denoise = {"mode": "guided", "steps": 2, "guidance": 2.0, "batch_size": size,
                   "precision": "fp32"}  # fmt: skip
        video = {**FAST, "end_s": 0.1}
        with swapper(bundle="tiny_sd15", denoise=denoise, video=video) as one:
            batches = list(one.stream(clip("one_face")))
        assert max(len(batch) for batch in batches) == size
        frames = [frame for batch in batches for frame in batch.frames]
        pictures.append(np.concatenate([p.ravel() for frame in frames for p in frame.planes]))
    apart = np.abs(np.subtract(*(samples.astype(int) for samples in pictures)))
    assert apart.max() <= 1
    assert np.mean(apart > 0) < 1e-4


def test_opacity_mixes_and_off_is_the_guide(clip):
    def first(**tables):
        with swapper(video={**FAST, "end_s": 0.03}, **tables) as one:
            return next(iter(one.stream(clip("one_face")))).rgb[0].astype(int)

    source = decode(clip("one_face")).rgb[0].astype(int)
    full, half, none = (first(composite={"max_size": 64, "opacity": o}) for o in (1.0, 0.5, 0.0))
    part = np.abs(full - none).max(axis=-1) > 30
    assert part.sum() > 30
    assert np.abs((full + none) / 2 - half)[part].mean() < 3
    assert np.abs(none - source).mean() < 1.0


# ---------------------------------------------------------------------------------- housekeeping


def test_closing_leaves_the_networks_as_they_were():
    with swapper(denoise={"mode": "guided", "steps": 1}) as one:
        unet = one._bench.painter.bundle.unet
        one.swap_image(astronaut())
    hooks = [m for m in unet.modules() if m._forward_hooks or m._forward_pre_hooks]
    assert hooks == []
    one.close()


def test_devices():
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type in ("cpu", "cuda", "mps")


def test_where_the_output_goes_by_default(tmp_path):
    assert default_output(tmp_path / "in.v1.mp4") == tmp_path / "in.v1.swapped.mp4"


def test_a_run_without_a_name_for_the_output(clip, tmp_path):
    source = tmp_path / "talk.mkv"
    source.write_bytes(clip("no_face", suffix=".mkv", codec="ffv1", options={}).read_bytes())
    with VideoSwapper.from_preset("mouth_only", overrides={"bundle": "tiny"}) as one:
        report = one.run(source)
    assert report.output["path"] == str(tmp_path / "talk.swapped.mkv")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "talk.mkv", "talk.swapped.c2pa", "talk.swapped.mkv", "talk.swapped.mkv.report.json",
        "talk.swapped.mkv.tracks.jsonl",
    ]  # fmt: skip
