"""A batch: done once, skipped by content, retried, stopped; models loaded once; the worst first."""

from __future__ import annotations

import csv
import json
import shutil
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from runs import BRAND, FAST, decode, preset

from fapvideo.errors import Cancelled, PresetError
from fapvideo.run import networks
from fapvideo.run.batch import Rules, is_done, run_batch
from fapvideo.run.batch_jobs import Job, jobs_of
from fapvideo.run.batch_summary import Summary, read_summary
from fapvideo.run.done import report_of
from fapvideo.run.report import report_path
from fapvideo.swapper import VideoSwapper

TINY = {"denoise": {"mode": "guided", "steps": 1}}
load = partial(VideoSwapper, device="cpu")


@pytest.fixture
def clips(clip: Any, tmp_path: Path) -> list[Path]:
    """Return three inputs: one that is fine, one that is no video, one in which nobody is."""
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(clip("one_face", frames=4), folder / "fine.mkv")
    (folder / "broken.mkv").write_bytes(b"no video at all")
    shutil.copy(clip("no_face", frames=4), folder / "nobody.mkv")
    return [folder / name for name in ("fine.mkv", "broken.mkv", "nobody.mkv")]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def statuses(summary: Summary) -> dict[str, str]:
    return {Path(one.output).stem: one.status for one in summary.worst_first}


@pytest.mark.slow
def test_a_failure_does_not_end_a_batch_and_what_is_done_is_skipped(
    clips: list[Path], out: Path
) -> None:
    jobs, told = jobs_of(clips, preset(), out), []
    before = {path: path.read_bytes() for path in clips}
    summary = run_batch(jobs, load, out, told=lambda one: told.append(one.status))
    assert told == ["done", "failed", "done"]
    assert statuses(summary) == {"broken": "failed", "fine": "done", "nobody": "done"}
    assert sorted(p.name for p in out.iterdir() if p.suffix == ".mkv") == ["fine.mkv", "nobody.mkv"]
    assert {path: path.read_bytes() for path in clips} == before
    error = summary.of(jobs[1]).error
    assert error is not None
    assert (error.type, error.exit_code) == ("VideoReadError", 3)
    assert str(clips[1]) in error.message
    written = {p.name: p.stat().st_mtime_ns for p in out.glob("*.mkv")}
    again = run_batch(jobs, load, out, before=read_summary(out))
    assert statuses(again) == {"broken": "failed", "fine": "skipped", "nobody": "skipped"}
    assert {p.name: p.stat().st_mtime_ns for p in out.glob("*.mkv")} == written
    assert again.of(jobs[0]).frames == 4, "what is skipped is told as when it was done"


def test_the_summary_has_the_worst_first(clips: list[Path], out: Path) -> None:
    jobs = jobs_of(clips, preset(mask={"max_yaw_deg": 1.0}), out)
    run_batch(jobs, load, out)
    told = json.loads((out / "summary.json").read_text("utf-8"))
    assert told["counts"] == {"total": 3, "done": 2, "skipped": 0, "failed": 1, "left": 0}
    assert [Path(row["output"]).stem for row in told["clips"]] == ["broken", "fine", "nobody"]
    fine = told["clips"][1]
    assert fine["fell_back"] == 4
    assert fine["reasons"] == {"profile": 4}
    assert fine["stretches"][0]["last"] == 3
    assert "no face was found" in told["clips"][2]["warnings"][0]
    with (out / "summary.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["failed", "done", "done"]
    assert rows[1]["reasons"] == "profile 4"
    assert "broken.mkv" in rows[0]["error"]


@pytest.mark.slow
def test_whatever_differs_is_to_be_done_again(clips: list[Path], out: Path, tmp_path: Path) -> None:
    photo, person = tmp_path / "her.png", tmp_path / "him.png"
    for path in (photo, person):
        shutil.copy(BRAND, path)
    people = [{"who": {"photo": str(person)}}, {"who": {"everyone_else": True}}]
    used = preset(references={"mouth": str(photo)}, people=people)
    (job,) = jobs_of(clips[:1], used, out)
    summary = run_batch([job], load, out)

    def done(wanted: Job = job) -> bool:
        report = report_of(job.output)
        return report is not None and is_done(wanted, report, summary.files(job))

    assert done()
    assert done(replace(job, preset=used.model_copy(update={"name": "other", "description": "x"})))
    assert not done(replace(job, preset=used.model_copy(update={"seed": 5})))
    assert not done(replace(job, input=clips[2]))
    for path in (job.input, photo, person, job.output):
        content = path.read_bytes()
        path.write_bytes(content + b"\0")
        assert not done(), path
        path.write_bytes(content)
        assert done(), path
    report_path(job.output).unlink()
    assert not done()


def test_an_output_that_is_not_ours_is_kept_unless_told(clips: list[Path], out: Path) -> None:
    jobs = jobs_of(clips[2:], preset(), out)
    jobs[0].output.write_bytes(b"somebody's")
    summary = run_batch(jobs, load, out)
    error = summary.of(jobs[0]).error
    assert error is not None
    assert "exists already" in error.message
    assert jobs[0].output.read_bytes() == b"somebody's"
    assert run_batch(jobs, load, out, rules=Rules(overwrite=True)).counts["done"] == 1
    others = jobs_of(clips[2:], preset(seed=3), out)
    assert run_batch(others, load, out).counts["done"] == 1, "ours, of another preset: replaced"


@pytest.mark.slow
def test_retry_does_only_what_failed(clip: Any, clips: list[Path], out: Path) -> None:
    jobs = jobs_of(clips, preset(), out)
    run_batch(jobs, load, out)
    shutil.copy(clip("one_face", frames=4), clips[1])
    (out / "nobody.mkv").unlink()
    told: list[str] = []
    rules = Rules(retry=True)
    done = run_batch(jobs, load, out, rules=rules, before=read_summary(out),
                     told=lambda one: told.append(Path(one.output).stem))  # fmt: skip
    assert told == ["broken"]
    assert statuses(done) == {"broken": "done", "fine": "done", "nobody": "done"}
    assert run_batch(jobs, load, out, rules=rules, before=read_summary(out)).counts["failed"] == 0


def test_fail_fast_leaves_the_rest(clips: list[Path], out: Path) -> None:
    jobs = jobs_of(clips, preset(), out)
    summary = run_batch(jobs, load, out, rules=Rules(keep_going=False))
    assert statuses(summary) == {"fine": "done", "broken": "failed", "nobody": "left"}
    assert statuses(read_summary(out) or Summary()) == statuses(summary)


@pytest.mark.slow
def test_models_are_loaded_once_also_when_presets_differ(
    clips: list[Path], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[str] = []
    genuine = networks.load_bundle
    monkeypatch.setattr(
        networks, "load_bundle", lambda name, *a, **k: loads.append(name) or genuine(name, *a, **k)
    )
    presets = [preset(**TINY, seed=0), preset(bundle="tiny_sd15", **TINY), preset(**TINY, seed=1),
               preset(bundle="tiny_sd15", **TINY, seed=2), preset(**TINY, seed=0)]  # fmt: skip
    jobs = [Job(clips[0], out / f"{number}.mkv", one) for number, one in enumerate(presets)]
    summary = run_batch(jobs, load, out)
    assert summary.counts["done"] == 5
    assert loads == ["tiny", "tiny_sd15"]
    first, last = decode(out / "0.mkv"), decode(out / "4.mkv")
    assert all(first.same_samples(last, index) for index in range(4))


def test_a_preset_that_cannot_be_loaded_fails_alone(clips: list[Path], out: Path) -> None:
    missing = preset(bundle=str(out / "no_bundle"))
    jobs = [Job(clips[0], out / "a.mkv", missing), Job(clips[0], out / "b.mkv", preset())]
    summary = run_batch(jobs, load, out)
    assert statuses(summary) == {"a": "failed", "b": "done"}
    assert summary.of(jobs[0]).error.type == "WeightsError"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["asked", "interrupted"])
def test_a_stop_ends_the_clip_cleanly_and_tells_what_is_done(
    clips: list[Path], out: Path, how: str
) -> None:
    jobs = jobs_of([clips[0], clips[2]], preset(video=FAST), out)
    at: list[int] = []

    @contextmanager
    def watch(number: int, job: Job) -> Any:
        at.append(number)

        def tick(now: Any) -> None:
            if how == "interrupted" and number == 1 and now.stage == "swap":
                raise KeyboardInterrupt

        yield tick

    with pytest.raises(Cancelled if how == "asked" else KeyboardInterrupt):
        run_batch(jobs, load, out, watch=watch, cancel=lambda: how == "asked" and at == [0, 1])
    begun = [".nobody.mkv.fapvideo"] if how == "interrupted" else []
    assert sorted(p.name for p in out.iterdir()) == [
        *begun, "fine.c2pa", "fine.mkv", "fine.mkv.report.json", "fine.mkv.tracks.jsonl",
        "summary.csv", "summary.json",
    ]  # fmt: skip
    assert statuses(read_summary(out) or Summary()) == {"fine": "done", "nobody": "left"}


@pytest.mark.parametrize("text", ["{", "[]", '{"clips": [{"input": 3}]}', '{"clips": 7}'])
def test_a_damaged_summary_is_said(out: Path, text: str) -> None:
    (out / "summary.json").write_text(text, "utf-8")
    with pytest.raises(PresetError, match=r"summary\.json is damaged"):
        read_summary(out)


def test_without_room_for_the_summary_the_clips_are_there(
    clips: list[Path], out: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fapvideo.run.batch_summary.write_text", full)
    summary = run_batch(jobs_of(clips[:1], preset(), out), load, out)
    assert summary.counts["done"] == 1
    assert "no summary written: No space left" in caplog.text
