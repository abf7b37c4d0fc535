"""Work that is kept: runs that were stopped go on, and steps on their own make the same file."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runs import decode, read_tracks
from runs import swapper as any_swapper
from typer.testing import CliRunner

from fapvideo import join_job
from fapvideo.cli.main import app
from fapvideo.errors import (
    Cancelled,
    FapVideoError,
    NoFaceFound,
    PresetError,
    VideoReadError,
    VideoWriteError,
)
from fapvideo.ops.files import sha256_file
from fapvideo.progress import Progress
from fapvideo.run.job import Job, JobLock, job_folder
from fapvideo.swapper import VideoSwapper
from fapvideo.trust.credentials import read_credentials

FRAMES = 32
UNSIGNED = {"enabled": False}
"""Signatures have a time and a number in them: no two files are the same."""
VIDEO = {"codec": "h264", "speed": "ultrafast", "segment_s": 0.3}
"""Four segments of a clip with a key frame every eight frames."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, clip: Callable[..., Path]) -> Path:
    """A clip with sound and B-frames."""
    made = clip("one_face", frames=FRAMES, options={"bf": "2", "g": "8"})
    return Path(shutil.copy(made, tmp_path_factory.mktemp("jobs") / "in.mp4"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, source: Path) -> Path:
    """What a run makes that nobody stopped."""
    output = tmp_path_factory.mktemp("whole") / "out.mp4"
    with swapper() as one:
        one.run(source, output)
    return output


def swapper(**tables: Any) -> VideoSwapper:
    return any_swapper(**{"video": VIDEO, "provenance": UNSIGNED, **tables})


def stop_after(frames: int) -> dict[str, Any]:
    """Return callbacks that stop a run when so many frames are painted."""
    painted = [-1]

    def progress(now: Progress) -> None:
        painted[0] = now.done if now.stage == "swap" else painted[0]

    return {"progress": progress, "cancel": lambda: painted[0] > frames}


def beside(output: Path) -> list[str]:
    return sorted(path.name for path in output.parent.iterdir())


DONE = ["out.mp4", "out.mp4.report.json", "out.mp4.tracks.jsonl"]


@pytest.mark.slow
@pytest.mark.parametrize("frames", [-1, 9, 28])
def test_a_run_that_was_stopped_goes_on_to_the_same_file(
    source: Path, whole: Path, tmp_path: Path, frames: int
) -> None:
    output = tmp_path / "out.mp4"
    with swapper() as one, pytest.raises(Cancelled) as stopped:
        one.run(source, output, **stop_after(frames))
    assert beside(output) == [".out.mp4.fapvideo"]
    assert "goes on" in stopped.value.hint
    job = Job.read(job_folder(output))
    assert [segment.first for segment in job.segments] == [0, 8, 16, 24]
    left = [segment.index for segment in job.missing()]
    assert left == list(range({-1: 0, 9: 1, 28: 4}[frames], 4))
    times = {path: path.stat().st_mtime_ns for path in job.folder.rglob("*.packets")}
    with swapper() as one:
        report = one.run(source, output, keep_work=True)
    assert {path: path.stat().st_mtime_ns for path in times} == times, "nothing was done twice"
    assert output.read_bytes() == whole.read_bytes()
    assert read_tracks(output) == read_tracks(whole)
    same = json.loads((whole.parent / "out.mp4.report.json").read_text("utf-8"))
    got = report.to_dict()
    for told in (same, got):
        del told["timings"], told["peak_rss_bytes"], told["output"]["path"], told["references"]
    assert json.loads(json.dumps(got, default=str)) == same
    assert "resumed" in (job.folder / "log.txt").read_text("utf-8")


def test_steps_on_their_own_make_the_same_file_in_any_order(
    source: Path, whole: Path, tmp_path: Path
) -> None:
    elsewhere = Path(shutil.copy(source, tmp_path / "copy.mp4"))
    with swapper() as one:
        segments = one.plan(source, tmp_path / "job")
        assert [segment.index for segment in segments] == [0, 1, 2, 3]
    with swapper() as two:
        assert two.segment(tmp_path / "job", 2, input=elsewhere)
        assert not two.segment(tmp_path / "job", 2)
        with pytest.raises(PresetError, match="no segment 4"):
            two.segment(tmp_path / "job", 4)
        with pytest.raises(VideoReadError, match="segments 0, 1, 3 are not done"):
            join_job(tmp_path / "job", tmp_path / "out.mp4")
        for index in (3, 0, 1):
            two.segment(tmp_path / "job", index)
    with pytest.raises(VideoWriteError, match=r"planned for \.mp4"):
        join_job(tmp_path / "job", tmp_path / "out.mkv")
    join_job(tmp_path / "job", tmp_path / "out.mp4", input=elsewhere)
    assert (tmp_path / "out.mp4").read_bytes() == whole.read_bytes()
    assert not (tmp_path / "job").exists()


@pytest.mark.slow
def test_the_commands_take_the_index_of_an_array_job(
    source: Path, whole: Path, tmp_path: Path
) -> None:
    run = CliRunner()
    preset = tmp_path / "p.toml"
    preset.write_text(
        'bundle = "tiny"\nname = "test"\n[references]\nmouth = "pkg:brand_face.png"\n'
        '[video]\ncodec = "h264"\nspeed = "ultrafast"\nsegment_s = 0.3\n'
        '[denoise]\nmode = "off"\n[composite]\nmax_size = 64\n[provenance]\nenabled = false\n',
        "utf-8",
    )
    job = str(tmp_path / "job")
    planned = run.invoke(app, ["plan", str(source), "-o", job, "--preset", str(preset), "--json"])
    assert planned.exit_code == 0, planned.output
    assert json.loads(planned.stdout[planned.stdout.index("{\n") :])["missing"] == [0, 1, 2, 3]
    for index in range(4):
        done = run.invoke(app, ["segment", job], env={"SLURM_ARRAY_TASK_ID": str(index)})
        assert done.exit_code == 0, done.output
    joined = run.invoke(app, ["join", job, "-o", str(tmp_path / "out.mp4"), "--keep-work"])
    assert joined.exit_code == 0, joined.output
    assert "32 of 32 frames swapped" in joined.output
    assert (tmp_path / "job").is_dir()
    assert (tmp_path / "out.mp4").read_bytes() == whole.read_bytes()


@pytest.mark.slow
def test_what_is_of_something_else_is_begun_again_and_said(
    source: Path, whole: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    output = tmp_path / "out.mp4"
    with swapper(seed=1) as one, pytest.raises(Cancelled):
        one.run(source, output, **stop_after(9))
    with swapper() as one:
        one.run(source, output)
    assert "preset.seed (1, now 0)" in caplog.text
    assert output.read_bytes() == whole.read_bytes()
    assert beside(output) == DONE


@pytest.mark.slow
def test_no_resume_and_damage_begin_again(source: Path, whole: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    folder, left = job_folder(output), tmp_path.with_name("left")
    with swapper() as one:
        with pytest.raises(Cancelled):
            one.run(source, output, **stop_after(9))
        folder.rename(left)
        for damage in ("", "segments/0000.packets", "segments/0000.json", "plan/plan.json",
                       "job.json"):  # fmt: skip
            shutil.copytree(left, folder)
            if damage:
                data = bytearray((folder / damage).read_bytes())
                data[len(data) // 2] ^= 0x55
                (folder / damage).write_bytes(data)
            one.run(source, output, overwrite=True, resume=bool(damage))
            assert output.read_bytes() == whole.read_bytes(), damage
            assert beside(output) == DONE


@pytest.mark.slow
def test_another_picture_in_the_input_is_noticed(clip: Callable[..., Path], tmp_path: Path) -> None:
    """The same times, other samples: as if somebody had written over the file between the steps."""
    options = {"bf": "2", "g": "8"}
    source = Path(shutil.copy(clip("one_face", frames=FRAMES, options=options), tmp_path / "a.mp4"))
    other = clip("one_face", frames=FRAMES, options={**options, "crf": "40"})
    with swapper() as one:
        one.plan(source, tmp_path / "job")
        with pytest.raises(VideoReadError, match="frame 8 is not the picture that it was"):
            one.segment(tmp_path / "job", 1, input=other)
        short = clip("one_face", frames=20, options=options)
        with pytest.raises(VideoReadError, match="ends after 20 frames; it had 32"):
            one.segment(tmp_path / "job", 2, input=short)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"bf": "2", "x264-params": "intra-refresh=1:keyint=12:min-keyint=12"},
        {"bf": "2", "x264-params": "open-gop=1:keyint=10:min-keyint=10:scenecut=0"},
    ],
    ids=["intra refresh", "open groups"],
)
def test_streams_that_cannot_be_entered_anywhere_make_the_same_file(
    clip: Callable[..., Path], tmp_path: Path, options: dict[str, str]
) -> None:
    source = clip("one_face", frames=FRAMES, options=options)
    with swapper() as one:
        one.run(source, tmp_path / "a.mp4")
        count = len(one.plan(source, tmp_path / "job"))
        assert count > 1
        for index in reversed(range(count)):
            one.segment(tmp_path / "job", index)
    join_job(tmp_path / "job", tmp_path / "b.mp4")
    assert (tmp_path / "b.mp4").read_bytes() == (tmp_path / "a.mp4").read_bytes()


@pytest.mark.slow
def test_frames_of_uneven_length_keep_their_times_over_joints(
    clip: Callable[..., Path], tmp_path: Path
) -> None:
    source = clip("vfr", frames=40)
    with swapper(video={**VIDEO, "segment_s": 0.2, "speed": "fast"}) as one:
        assert len(one.plan(source, tmp_path / "job")) > 1
        one.run(source, tmp_path / "o.mp4")
    assert decode(tmp_path / "o.mp4").times == decode(source).times


def test_a_second_run_on_the_same_output_is_refused(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    folder = job_folder(output)
    ready, leave = multiprocessing.Event(), multiprocessing.Event()
    other = multiprocessing.get_context("fork").Process(
        target=_hold, args=(folder, output, ready, leave)
    )
    other.start()
    try:
        assert ready.wait(20)
        with (
            swapper() as one,
            pytest.raises(
                VideoWriteError, match=rf"another run \(process {other.pid} on "
            ) as error,
        ):
            one.run(source, output)
        assert "wait for it" in error.value.hint
    finally:
        leave.set()
        other.join()
    assert beside(output) == []


def _hold(folder: Path, output: Path, ready: Any, leave: Any) -> None:
    with JobLock(folder, output):
        ready.set()
        leave.wait(20)


@pytest.mark.slow
def test_what_a_killed_run_left_is_swept(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    folder = job_folder(output)
    (folder / "segments").mkdir(parents=True)
    (folder / "segments" / ".0000.0123abcd.partial.packets").write_bytes(b"x")
    (folder / "owner.json").write_text('{"pid": 1, "host": "gone"}', "utf-8")
    (tmp_path / ".out.0123abcd.partial.mp4").write_bytes(b"x")
    (tmp_path / ".out.mp4.report.0123abcd.partial.json").write_bytes(b"x")
    (tmp_path / ".out.2.0123abcd.partial.mp4").write_bytes(b"of out.2.mp4")
    with swapper() as one:
        one.run(source, output)
    assert beside(output) == [".out.2.0123abcd.partial.mp4", *DONE]


@pytest.mark.slow
@pytest.mark.parametrize("step", ["join", "publish", "hand over"])
def test_a_run_that_is_killed_at_its_very_end_is_finished_by_the_next(
    source: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """After the output has its name an equal run writes what is missing beside it."""
    output = tmp_path / "out.mp4"

    def kill(*_: Any, **__: Any) -> Any:
        raise SystemExit

    place = {"join": "_assemble", "publish": "publish", "hand over": "hand_over"}[step]
    with swapper() as one:
        with monkeypatch.context() as patch, pytest.raises(SystemExit):
            patch.setattr(f"fapvideo.run.joining.{place}", kill)
            one.run(source, output)
        assert output.exists() == (step == "hand over")
        if step == "hand over":
            with (
                swapper(seed=3) as other,
                pytest.raises(VideoWriteError, match="exists already"),
            ):
                other.run(source, output, resume=False)
        report = one.run(source, output)
        assert report.frames["swapped"] == FRAMES
        assert beside(output) == DONE
        assert output.read_bytes() == whole.read_bytes()
        with pytest.raises(VideoWriteError, match="exists already"):
            one.run(source, output)


@pytest.mark.slow
def test_what_was_resumed_is_signed(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    with swapper(provenance={}) as one:
        with pytest.raises(Cancelled):
            one.run(source, output, **stop_after(9))
        report = one.run(source, output)
    found = read_credentials(output)
    assert found is not None
    assert found.whole
    assert report.provenance["signed"]
    assert report.output["sha256"] == sha256_file(output)


def test_nothing_is_left_where_nothing_can_be_resumed(
    clip: Callable[..., Path], tmp_path: Path
) -> None:
    output = tmp_path / "out.mp4"
    with swapper() as one:
        with pytest.raises(NoFaceFound):
            one.run(clip("no_face"), output, require_face=True)
        with pytest.raises(Cancelled):
            one.run(clip("no_face"), output, cancel=lambda: True)
        with pytest.raises(FapVideoError):
            one.run(clip("no_face"), output, {"mouth": str(tmp_path / "gone.png")})
    assert beside(output) == []
