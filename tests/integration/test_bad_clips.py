"""What bad input gets: one clear line, a hint, an exit code, and nothing half-written."""

from __future__ import annotations

import hashlib
import resource
from pathlib import Path

import clips
import cv2
import numpy as np
import pytest
from portrait import scene
from runs import BRAND, FAST, preset, swapper

from fapvideo import errors
from fapvideo.cli.summary import strict_error
from fapvideo.config.presets import load_preset
from fapvideo.errors import (
    Cancelled,
    DeviceError,
    FapVideoError,
    PresetError,
    ReferenceImageError,
    VideoReadError,
    VideoWriteError,
    WeightsError,
)
from fapvideo.run.job import job_folder
from fapvideo.swapper import VideoSwapper

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def swap():
    with swapper() as one:
        yield one


@pytest.fixture
def source(clip):
    path = clip("one_face", frames=6)
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    yield path
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before, "the input is never touched"


def refused(kind, action, *, where=None):
    """Run `action`, check the error's form, and return its text."""
    with pytest.raises(kind) as caught:
        action()
    error = caught.value
    assert type(error) is kind
    text = str(error)
    assert text
    assert "\n" not in text
    if where is not None:
        assert str(where) in text
    return text, error.hint


def files(folder):
    """Return everything in a folder, hidden files too."""
    return sorted(path.name for path in folder.iterdir())


# ------------------------------------------------------------------------------- the input


def write(path, data):
    path.write_bytes(data)


BROKEN = {
    "missing": lambda path: None,
    "empty": lambda path: write(path, b""),
    "text": lambda path: write(path, b"this is no video\n" * 100),
    "noise": lambda path: write(path, np.random.default_rng(0).bytes(20000)),
    "sound": clips.audio_only,
    "no_frames": clips.no_frames,
    "folder": Path.mkdir,
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_input_that_is_no_video(swap, tmp_path, name):
    path, out = tmp_path / "in.mp4", tmp_path / "out"
    out.mkdir()
    BROKEN[name](path)
    for action in (
        lambda: swap.run(path, out / "o.mkv"),
        lambda: swap.inspect(path),
        lambda: list(swap.stream(path)),
        lambda: swap.preview(path, [0.0]),
    ):
        refused(VideoReadError, action, where=path)
    assert files(out) == []


def test_a_truncated_file_gives_what_it_holds_or_says_why_not(swap, source, tmp_path):
    """Without its index (at the end of an MP4) nothing can be read; a cut Matroska is shorter."""
    short, out = tmp_path / "short.mp4", tmp_path / "out"
    out.mkdir()
    clips.truncated(source, short)
    refused(VideoReadError, lambda: swap.run(short, out / "o.mkv"), where=short)
    assert files(out) == []


@pytest.mark.slow
def test_a_cut_input_is_told_with_both_numbers(swap, tmp_path):
    report = swap.run(DATA / "trunc.mp4", tmp_path / "o.mkv")
    assert any("the input holds 23 of 50 frames" in text for text in report.warnings)
    given = report.input
    assert (given["held_frames"], given["promised_frames"], given["short"]) == (23, 50, True)
    assert "23 of 50 frames" in strict_error(report).args[0]
    assert any("of 50 frames" in text for text in swap.inspect(DATA / "trunc.mp4")["warnings"])


@pytest.mark.slow
def test_a_joined_recording_goes_through(swap, tmp_path):
    report = swap.run(DATA / "discont.ts", tmp_path / "o.mkv")
    assert report.frames["total"] == 16
    assert any("clock jumps in 1 places" in text for text in report.warnings)


def test_too_much_damage_ends_the_run(source, clip, tmp_path):
    bad, out = tmp_path / "bad.mp4", tmp_path / "out"
    out.mkdir()
    clips.damaged(clip("one_face", frames=20, audio=()), bad, range(4, 18))
    with swapper(video={**FAST, "max_damaged": 0.05}) as strict:
        text, _ = refused(VideoReadError, lambda: strict.run(bad, out / "o.mkv"), where=bad)
    assert "damaged" in text
    assert files(out) == []


# ------------------------------------------------------------------------------ the output


def test_an_output_that_is_the_input(swap, source, tmp_path):
    refused(VideoWriteError, lambda: swap.run(source, source))
    link = tmp_path / "link.mp4"
    link.symlink_to(source)
    refused(VideoWriteError, lambda: swap.run(source, link, overwrite=True))
    refused(VideoWriteError, lambda: swap.run(link, source, overwrite=True))


def test_an_output_that_exists(swap, source, tmp_path):
    out = tmp_path / "o.mkv"
    out.write_text("precious")
    _, hint = refused(VideoWriteError, lambda: swap.run(source, out), where=out)
    assert "overwrit" in hint
    assert out.read_text() == "precious"
    swap.run(source, out, overwrite=True)
    assert out.stat().st_size > 1000


def test_an_output_folder_that_is_not_there_or_no_folder(swap, source, tmp_path):
    refused(VideoWriteError, lambda: swap.run(source, tmp_path / "no" / "o.mkv"))
    (tmp_path / "file").write_text("")
    refused(VideoWriteError, lambda: swap.run(source, tmp_path / "file" / "o.mkv"))
    assert files(tmp_path) == ["file"]


def test_an_unknown_container(swap, source, tmp_path):
    text, _ = refused(VideoWriteError, lambda: swap.run(source, tmp_path / "o.xyz"))
    assert "xyz" in text
    assert files(tmp_path) == []


@pytest.fixture
def full_disk():
    """Let no file of this process grow beyond 100 kB: a write fails halfway, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_fills_up_during_the_run(swap, source, tmp_path, full_disk):
    out = tmp_path / "o.mkv"
    refused(VideoWriteError, lambda: swap.run(source, out), where=job_folder(out))
    assert files(tmp_path) == []


# ------------------------------------------------------------------- parts, references, preset


def test_a_reference_that_cannot_be_used(swap, source, tmp_path):
    wall, out = tmp_path / "wall.png", tmp_path / "out"
    out.mkdir()
    cv2.imwrite(str(wall), scene((300, 300), []))
    for path, word in ((wall, "no face"), (tmp_path / "none.png", "No such file")):
        text, _ = refused(
            ReferenceImageError, lambda p=path: swap.run(source, out / "o.mkv", {"eyes": [p]})
        )
        assert word in text
        assert str(path) in text
    assert files(out) == []


def test_an_unknown_part(swap, source, tmp_path):
    text, hint = refused(
        PresetError, lambda: swap.run(source, tmp_path / "o.mkv", {"ears": [BRAND]})
    )
    assert "'ears'" in text
    assert "eyes, brows, nose, mouth, face" in hint
    assert files(tmp_path) == []


def test_no_references_at_all(source, tmp_path):
    with swapper(references={}) as bare:
        text, hint = refused(PresetError, lambda: bare.run(source, tmp_path / "o.mkv"))
        assert "names no reference images" in text
        assert "--reference" in hint
        assert bare.inspect(source)["frames"] == 6, "looking needs none"
    assert files(tmp_path) == []


def test_presets_that_are_wrong(tmp_path):
    for action in (
        lambda: VideoSwapper.from_preset("no_such_preset"),
        lambda: VideoSwapper.from_preset(tmp_path / "none.toml"),
        lambda: VideoSwapper.from_preset("mouth_only", overrides={"denoise.stepz": 3}),
        lambda: VideoSwapper.from_preset("mouth_only", overrides={"denoise.steps": -1}),
        lambda: VideoSwapper.from_preset(preset(), overrides={"seed": 1}),
    ):
        with pytest.raises(PresetError):
            action()


def test_weights_and_devices_that_are_not_there(tmp_path):
    wanted = load_preset("mouth_only")
    text, hint = refused(
        WeightsError,
        lambda: VideoSwapper(wanted.model_copy(update={"bundle": str(tmp_path)}), "cpu"),
    )
    assert str(tmp_path) in text
    assert hint
    for name in ("cuda:99", "warp-drive"):
        text, hint = refused(DeviceError, lambda n=name: VideoSwapper(preset(), n))
        assert name in text
        assert "cpu" in hint


# ---------------------------------------------------------------------------------- cancelling


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["references", "analyse", "swap"])
def test_a_cancelled_run_leaves_nothing_but_what_can_be_resumed(source, tmp_path, stage):
    """Asked in any stage, it stops there; the swapper can be used again."""
    reached = []
    with swapper(denoise={"mode": "off", "batch_size": 2}) as one:

        def cancel():
            return bool(reached) and reached[-1] == stage

        with pytest.raises(Cancelled):
            one.run(
                source,
                tmp_path / "o.mkv",
                progress=lambda tick: reached.append(tick.stage),
                cancel=cancel,
            )
        assert reached[-1] == stage
        assert files(tmp_path) == ([".o.mkv.fapvideo"] if stage == "swap" else [])
        report = one.run(source, tmp_path / "o.mkv", cancel=lambda: False)
    assert report.frames["swapped"] == 6


def test_a_progress_callback_that_raises_ends_the_run_cleanly(swap, source, tmp_path):
    def callback(tick):
        if tick.stage == "swap" and tick.done:
            raise RuntimeError("the caller's own trouble")

    with pytest.raises(RuntimeError, match="own trouble"):
        swap.run(source, tmp_path / "o.mkv", progress=callback)
    assert files(tmp_path) == [".o.mkv.fapvideo"]


@pytest.mark.slow
def test_a_stream_that_is_left_early_is_closed(swap, source):
    stream = swap.stream(source)
    assert len(next(stream)) == 4
    stream.close()
    assert [len(batch) for batch in swap.stream(source)] == [4, 2]


def test_every_error_has_been_met_here_or_nearby():
    """One list of all kinds, so that a new one is not forgotten."""
    kinds = {getattr(errors, name) for name in errors.__all__} - {FapVideoError}
    met = {
        Cancelled, DeviceError, PresetError, ReferenceImageError, VideoReadError,
        VideoWriteError, WeightsError, errors.BatchError, errors.NoFaceFound, errors.QualityError,
        errors.ConsentError, errors.NoCredentials, errors.ProvenanceError,  # tests/trust
    }  # fmt: skip
    assert kinds == met
