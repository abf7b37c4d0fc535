"""Clips of every kind through whole runs; the guide alone, so that it is quick."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from itertools import pairwise

import av
import clips
import cv2
import face_clips
import numpy as np
import pytest
from portrait import finder, measuring_finder
from runs import FAST, audit, decode, swapper

from fapvideo.errors import NoFaceFound
from fapvideo.ops import mesh
from fapvideo.ops.display import to_display
from fapvideo.ops.pose import expression

LOSSLESS_MP4 = {"codec": "h264", "crf": 0, "speed": "ultrafast"}


def run(source, output, **tables):
    """Run, check what holds for every run, and return (report, input, output)."""
    with swapper(**tables) as swap:
        report = swap.run(source, output)
    before, after = decode(source), decode(output)
    assert after.times == before.times
    assert report.outside_changed_samples == 0
    assert report.frames["total"] == len(before.frames)
    audit(report, output)
    return report, before, after


def changed(before, after, index):
    """Return [H, W] where the luma of one frame differs, as displayed."""
    plane = before.frames[index].planes[0] != after.frames[index].planes[0]
    return to_display(plane, before.info)


def untouched(before, after):
    """Return the indices of frames whose samples are all the same."""
    return [i for i in range(len(before.frames)) if before.same_samples(after, i)]


# ------------------------------------------------------------------------------------ faces


@pytest.mark.slow
def test_all_faces(clip, tmp_path):
    report, before, after = run(
        clip("two_faces", frames=5), tmp_path / "o.mkv", track={"faces": "all"}
    )
    assert [track["swapped"] for track in report.tracks] == [True, True]
    for index in range(5):
        where = changed(before, after, index)
        assert where[:, :192].sum() > 50 < where[:, 192:].sum()


@pytest.mark.slow
@pytest.mark.parametrize(("faces", "left"), [("left:1", True), ("left:2", False)])
def test_the_nth_face_from_the_left(clip, tmp_path, faces, left):
    report, before, after = run(
        clip("two_faces", frames=5), tmp_path / "o.mkv", track={"faces": faces}
    )
    assert sorted(track["swapped"] for track in report.tracks) == [False, True]
    for index in range(5):
        where = changed(before, after, index)
        one, other = (where[:, :192], where[:, 192:])[:: 1 if left else -1]
        assert one.sum() > 50
        assert other.sum() == 0


@pytest.mark.slow
def test_a_face_by_its_number(clip, tmp_path):
    """The numbers are those that inspect shows."""
    source = clip("two_faces", frames=5)
    with swapper() as swap:
        ids = [face["track"] for face in swap.inspect(source)["faces"]]
    for wanted in ids:
        report, _, _ = run(source, tmp_path / f"{wanted}.mkv", track={"faces": f"id:{wanted}"})
        assert [t["id"] for t in report.tracks if t["swapped"]] == [wanted]


@pytest.mark.slow
def test_a_number_that_nobody_has_is_said(clip, tmp_path):
    source = clip("two_faces", frames=5)
    report, before, after = run(source, tmp_path / "o.mkv", track={"faces": "id:9"})
    assert untouched(before, after) == list(range(5))
    assert report.warnings == ("no face matches track.faces; the tracks are 0, 1",)
    with swapper(track={"faces": "id:9"}) as swap, pytest.raises(NoFaceFound):
        swap.run(source, tmp_path / "p.mkv", require_face=True)


@pytest.mark.slow
def test_the_largest_face_is_the_default(clip, tmp_path):
    report, _, _ = run(clip("two_faces", frames=5), tmp_path / "o.mkv")
    assert sorted(track["swapped"] for track in report.tracks) == [False, True]


@pytest.mark.slow
def test_a_small_face_in_a_wide_shot(clip, tmp_path):
    report, before, after = run(clip("wide_shot", frames=3), tmp_path / "o.mkv")
    assert report.frames["swapped"] == 3
    for index in range(3):
        rows, columns = np.nonzero(changed(before, after, index))
        assert 5 < len(rows) < 700
        assert columns.min() > 860
        assert columns.max() < 990
        assert rows.min() > 420


@pytest.mark.slow
def test_a_cut_changes_the_track_and_fades_nothing(clip, tmp_path):
    report, before, after = run(clip("cut"), tmp_path / "o.mkv")
    spans = [(track["first_frame"], track["last_frame"]) for track in report.tracks]
    assert spans == [(0, 11), (12, 23)]
    assert report.frames["swapped"] == 24
    assert untouched(before, after) == []
    # The first face's place shows nothing of it after the cut.
    last, first = (np.argwhere(changed(before, after, i)).mean(axis=0) for i in (11, 12))
    assert np.abs(last - first).max() > 8


@pytest.mark.slow
def test_a_face_that_leaves_and_returns(clip, tmp_path):
    """Swapped, faded out ahead of its leaving, untouched while away, faded in again."""
    report, before, after = run(clip("leaving"), tmp_path / "o.mkv")
    assert len(report.tracks) == 2
    gone = [i for i in range(30) if i in range(10, 20)]
    assert set(gone) <= set(untouched(before, after))
    assert report.frames["faded"] >= 8
    assert report.frames["left"] == len(untouched(before, after))
    strength = [np.abs(a.astype(int) - b).sum() for a, b in zip(before.rgb, after.rgb, strict=True)]
    leaving = strength[report.tracks[0]["last_frame"] - 5 : report.tracks[0]["last_frame"] + 1]
    assert leaving[0] > 2 * leaving[-1] > 0
    log = {(span["state"], span["track"]) for span in report.frame_log}
    assert log - {("left", 0)} == {("faded", 0), ("faded", 1)}
    left = [span for span in report.frame_log if span["state"] == "left"]
    last = report.tracks[0]["last_frame"]  # of which hardly anything is in the picture
    assert all((span["first"], span["reason"]) == (last, "leaves_frame") for span in left)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["fade", "hold", pytest.param("keep", marks=pytest.mark.slow)])
def test_an_occluded_face_by_policy(clip, tmp_path, policy):
    report, before, after = run(
        clip("occluded"),
        tmp_path / "o.mkv",
        mask={"policy": policy, "hold_s": 0.4, "occluders": "off"},
    )
    left, held, faded = (report.frames[state] for state in ("left", "held", "faded"))
    assert len(untouched(before, after)) == left
    lost = [s for s in report.frame_log if s["reason"] == "not_measured"]
    assert lost
    assert all(9 <= span["first"] <= span["last"] <= 16 for span in lost)
    if policy == "fade":
        assert left >= 2
        assert faded >= 6
    elif policy == "hold":
        assert left == 0
        assert held >= 2
    else:
        assert left >= 2
        assert held == faded == 0


# ---------------------------------------------------------------------------------- no face


@pytest.mark.parametrize("name", ["ffv1", "h264"])
def test_without_a_face_every_sample_stays(clip, tmp_path, name):
    output = tmp_path / {"ffv1": "o.mkv", "h264": "o.mp4"}[name]
    video = {"ffv1": FAST, "h264": LOSSLESS_MP4}[name]
    report, before, after = run(clip("no_face"), output, video=video)
    assert untouched(before, after) == list(range(12))
    assert report.frames == {"total": 12, "swapped": 0, "held": 0, "faded": 0, "left": 12}
    assert report.tracks == []
    assert report.warnings == ("no face was found: the output shows what the input shows",)


def test_without_a_face_where_one_is_required(clip, tmp_path):
    with swapper() as swap, pytest.raises(NoFaceFound, match="no face to swap in 12 frames") as e:
        swap.run(clip("no_face"), tmp_path / "o.mkv", require_face=True)
    assert e.value.hint
    assert e.value.exit_code == 5
    assert list(tmp_path.iterdir()) == []


# ----------------------------------------------------------------------------- kinds of video


def mouth_is_painted(before, after, index, place=lambda points: points):
    """Tell whether what changed lies at the true mouth; `place` says where `one_face` is seen."""
    truth = face_clips.one_face(index)[1]
    lips = place(truth[list(mesh.LIPS_OUTER), :2])
    rows, columns = np.nonzero(changed(before, after, index))
    centre = np.array([columns.mean(), rows.mean()]) + 0.5
    return len(rows) > 30 and np.linalg.norm(centre - lips.mean(axis=0)) < 0.15 * mesh.interocular(
        truth
    )


def test_a_phone_held_upright(clip, tmp_path):
    report, before, after = run(clip("rotated", frames=3), tmp_path / "o.mov", video=LOSSLESS_MP4)
    assert (report.input["rotation"], after.info.rotation) == (90, 90)
    assert (before.info.width, before.info.height) == (240, 320)
    assert all(mouth_is_painted(before, after, index) for index in range(3))


def test_a_face_on_its_head(clip, tmp_path):
    """Found, and painted on its head too; nobody has turned the picture."""
    _, before, after = run(clip("on_its_head", frames=3), tmp_path / "o.mp4", video=LOSSLESS_MP4)
    turned = np.array(face_clips.SIZE)
    assert all(mouth_is_painted(before, after, i, lambda points: turned - points) for i in range(3))


def test_a_picture_that_is_shown_mirrored(clip, tmp_path):
    """A display matrix with a negative determinant; a swapped mouth stays a mirrored one."""
    _, before, after = run(clip("mirrored", frames=3), tmp_path / "o.mov", video=LOSSLESS_MP4)
    assert (before.info.rotation, before.info.mirrored) == (90, True)
    assert after.info.display_matrix == before.info.display_matrix
    assert all(mouth_is_painted(before, after, index) for index in range(3))


@pytest.mark.slow
def test_pixels_that_are_not_square(clip, tmp_path):
    """The part is as wide as on square pixels: followed and painted as it is shown."""
    _, before, after = run(clip("squeezed", frames=3), tmp_path / "o.mp4", video=LOSSLESS_MP4)
    _, square, painted = run(clip("one_face", frames=3), tmp_path / "p.mp4", video=LOSSLESS_MP4)
    assert after.info.sample_aspect_ratio == before.info.sample_aspect_ratio == 2
    for index in range(3):
        assert mouth_is_painted(before, after, index, lambda points: points / (2, 1))
        wide, high = (np.ptp(axis) for axis in np.nonzero(changed(before, after, index))[::-1])
        true = [np.ptp(axis) for axis in np.nonzero(changed(square, painted, index))[::-1]]
        assert 2 * wide == pytest.approx(true[0], rel=0.1)
        assert high == pytest.approx(true[1], rel=0.1)


@pytest.mark.slow
def test_a_variable_frame_rate_stays_as_it_is(clip, tmp_path):
    report, _, after = run(clip("vfr", frames=8), tmp_path / "o.mp4", video=LOSSLESS_MP4)
    gaps = {b - a for a, b in pairwise(after.times)}
    assert len(gaps) > 3
    assert report.input["vfr"]
    assert after.info.vfr
    assert report.frames["swapped"] == 8


@pytest.mark.slow
@pytest.mark.parametrize(
    "pixel_format",
    [
        *("gbrp", "gray", "yuv420p10le", "yuv444p12le"),
        *(pytest.param(x, marks=pytest.mark.slow) for x in ("yuv422p", "yuv444p", "yuv422p10le")),
    ],
)
def test_sample_formats(clip, tmp_path, pixel_format):
    """Outside the mouth not one sample changes; inside, all bits are used."""
    coded = {"gbrp": ("libx264rgb", "rgb24")}.get(pixel_format, ("ffv1", pixel_format))
    source = clip(
        "one_face", frames=2, suffix=".mkv", codec=coded[0], pixel_format=coded[1], audio=(),
        time_base=Fraction(1, 1000), matrix=0 if pixel_format == "gbrp" else 1, options={},
        full_range=pixel_format == "gbrp",
    )  # fmt: skip
    report, before, after = run(source, tmp_path / "o.mkv")
    depth = 12 if "12" in pixel_format else 10 if "10" in pixel_format else 8
    assert report.input["bit_depth"] == before.info.bit_depth == after.info.bit_depth == depth
    assert after.frames[0].pixel_format == pixel_format
    for index in range(2):
        assert mouth_is_painted(before, after, index)
        assert changed(before, after, index).mean() < 0.06
    if depth > 8:
        new = after.frames[0].planes[0][changed(before, after, 0)]
        assert len(np.unique(new % (1 << (depth - 8)))) > 2


@pytest.mark.parametrize(
    "size",
    [
        (321, 241),
        *(pytest.param(size, marks=pytest.mark.slow) for size in ((319, 240), (315, 239))),
    ],
)
def test_odd_sizes(clip, tmp_path, size):
    width, height = size

    def paint(index):
        picture = face_clips.one_face(index)[0]
        return np.pad(picture, ((0, 1), (0, 1), (0, 0)), mode="edge")[:height, :width]

    path = tmp_path / "odd.mkv"
    made = clips.Clip(".mkv", "ffv1", size=size, frames=2, time_base=Fraction(1, 1000))
    clips.write_clip(path, made, paint)
    _, before, after = run(path, tmp_path / "o.mkv")
    assert all(mouth_is_painted(before, after, index) for index in range(2))


def digests(path):
    """Return the SHA-256 of every packet of all streams but the video, stream by stream."""
    found = {}
    with av.open(path) as container:
        kinds = [stream.type for stream in container.streams]
        for packet in container.demux():
            kind = kinds[packet.stream_index]
            if packet.size and kind != "video":
                found.setdefault((packet.stream_index, kind), []).append(
                    hashlib.sha256(bytes(packet)).hexdigest()
                )
        return [(kind, packets) for (_, kind), packets in sorted(found.items())], len(
            container.chapters()
        )


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_all_tracks_come_along_packet_by_packet(clip, tmp_path, suffix):
    more = {
        ".mkv": {"subtitle": "subrip", "audio": ("aac", "flac"), "time_base": Fraction(1, 1000),
                 "attachment": True},
        ".mp4": {"subtitle": "mov_text", "audio": ("aac", "aac")},
    }[suffix]  # fmt: skip
    source = clip("one_face", frames=20, suffix=suffix, chapters=2, **more)
    output = tmp_path / f"o{suffix}"
    report, _, after = run(source, output, video=LOSSLESS_MP4)
    assert digests(output) == digests(source)
    assert [kind for kind, _ in digests(output)[0]] == ["audio", "audio", "subtitle"]
    assert {stream.kind for stream in after.info.streams} >= {"video", "audio", "subtitle"}
    if suffix == ".mkv":
        assert "attachment" in {stream.kind for stream in after.info.streams}
    assert report.warnings == ()


@pytest.mark.slow
def test_damaged_packets_are_skipped_and_counted(clip, tmp_path):
    source = tmp_path / "damaged.mp4"
    clips.damaged(clip("one_face", frames=20, audio=()), source, [7])
    with swapper(video={**FAST, "max_damaged": 0.5}) as swap:
        report = swap.run(source, tmp_path / "o.mkv")
    assert "damaged packets" in " ".join(report.warnings)
    after = decode(tmp_path / "o.mkv")
    assert len(after.frames) == report.output["frames"] == report.frames["total"]
    assert after.times == decode(source).times


@pytest.mark.slow
def test_a_piece_of_a_clip(clip, tmp_path):
    """From 0.2 s to before 0.4 s: the frames 5 to 9, and their sound."""
    source = clip("one_face", frames=24)
    with swapper(video={**FAST, "start_s": 0.2, "end_s": 0.4}) as swap:
        report = swap.run(source, tmp_path / "o.mkv")
    before, after = decode(source), decode(tmp_path / "o.mkv")
    indices = [clips.read_barcode(picture) for picture in after.rgb]
    assert indices == list(range(5, 5 + len(indices)))
    assert len(indices) in (5, 6)
    assert report.frames == {"total": len(indices), "swapped": len(indices), "held": 0,
                             "faded": 0, "left": 0}  # fmt: skip
    shift = [a - before.times[i] for a, i in zip(after.times, indices, strict=True)]
    assert len(set(shift)) == 1
    assert np.array_equal(after.frames[0].planes[0][:100], before.frames[5].planes[0][:100])


# --------------------------------------------------------------------------- what one sees


def measured(pictures):
    """Return the expression of the face in every picture, by a mesh that did not follow it."""
    found = [expression(measuring_finder()(picture)[0].landmarks) for picture in pictures]
    return {key: np.array([face[key] for face in found]) for key in found[0]}


def test_the_swapped_parts_speak_and_blink_with_the_speaker(clip, tmp_path):
    """The brand face's eyes and mouth; the motion measured in input and output agrees."""
    parts = dict.fromkeys(("eyes", "mouth"), str(face_clips.BRAND))
    _, before, after = run(
        clip("one_face"), tmp_path / "o.mkv", references=parts, composite={"max_size": 192}
    )
    spoken, shown = measured(before.rgb), measured(after.rgb)
    for key, least in (("mouth_open", 0.95), ("eye_open", 0.9)):
        assert np.corrcoef(spoken[key], shown[key])[0, 1] > least
        assert np.ptp(shown[key]) > 0.6 * np.ptp(spoken[key])


@pytest.mark.slow
def test_at_a_blink_the_speakers_own_lids_are_seen(clip, tmp_path):
    """A photo of an open eye cannot be closed: there is nothing to paint on a closed lid."""
    _, before, after = run(
        clip("one_face", frames=12), tmp_path / "o.mkv",
        references={"eyes": str(face_clips.BRAND)}, composite={"max_size": 192},
    )  # fmt: skip
    opened = measured(before.rgb)["eye_open"]
    closed, awake = int(opened.argmin()), int(opened.argmax())
    assert opened[closed] < 0.5 * opened[awake]
    strength = {}
    for index in (closed, awake):
        eyes = mesh.eye_centres(face_clips.one_face(index)[1])[:, :2].astype(int)
        patches = [(index, slice(y - 2, y + 3), slice(x - 3, x + 4)) for x, y in eyes]
        strength[index] = np.mean(
            [np.abs(before.rgb[patch].astype(int) - after.rgb[patch]).mean() for patch in patches]
        )
    assert strength[awake] > 8
    assert strength[closed] < 0.6 * strength[awake]


@pytest.mark.slow
def test_what_is_shown_is_the_reference(clip, tmp_path):
    """Lips painted blue in the reference are blue in the video, everything else is as before."""
    photo = face_clips.read_rgb(face_clips.BRAND)
    (face,) = finder()(photo)
    lips = np.zeros(photo.shape[:2], np.uint8)
    cv2.fillPoly(lips, [face.landmarks[list(mesh.LIPS_OUTER), :2].astype(np.int32)], 255)
    blue = photo.copy()
    blue[lips > 0] = blue[lips > 0] // 3 + np.array([20, 30, 170], np.uint8)
    reference = tmp_path / "blue.png"
    cv2.imwrite(str(reference), blue[..., ::-1])
    _, before, after = run(
        clip("one_face", frames=2), tmp_path / "o.mkv", references={"mouth": str(reference)}
    )
    for index in range(2):
        truth = face_clips.one_face(index)[1]
        x, y = ((truth[17] + truth[14]) / 2)[:2].astype(int)
        lip, was = after.rgb[index, y, x].astype(int), before.rgb[index, y, x].astype(int)
        assert lip[2] > lip[0] + 20
        assert was[0] > was[2] + 20
