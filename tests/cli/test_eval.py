"""`fapvideo eval`: one result, a suite, thresholds, differences to an earlier report."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import face_clips
import numpy as np
import pytest
import runs
import tiny_suite

from fapvideo.evaluation.metrics import groups as metrics
from fapvideo.evaluation.metrics.truth import TruthMetric
from fapvideo.evaluation.suites.systems import Copying, make_system
from fapvideo.evaluation.views import FramePair

ITSELF = """
systems = ["noop", "paste"]
[[clips]]
name = "itself"
portrait = "pkg:brand_face.png"
side = 128
seconds = 0.12
preset = "tiny.toml"
itself = true
[thresholds]
"truth.psnr" = {min = 60}
"truth.landmarks.*" = {max = 50}
"""


class Likeness:
    """How equal two videos are, under a known name."""

    definitions = TruthMetric.definitions

    def __init__(self) -> None:
        self.differences: list[float] = []
        self.references: Mapping[str, Any] = {}

    def update(self, pair: FramePair) -> dict[str, float]:
        away = np.abs(pair.source_rgb.astype(int) - pair.result_rgb)
        self.differences.append(float(away[away.max(axis=-1) > 20].size))
        self.references = pair.references
        return {"truth.psnr": 100 - self.differences[-1] / 1000}

    def summary(self) -> dict[str, float]:
        return {
            "truth.psnr": 100 - float(np.mean(self.differences)) / 1000,
            "truth.landmarks.source": float(len(self.references)),
        }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_suite.write_clip(tmp_path)
    tiny_suite.write_run_preset(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with `same.mkv` and `pasted.mkv`, both made from `one.mkv`."""
    made = tmp_path_factory.mktemp("results")
    one = tiny_suite.write_clip(made)
    Copying().video(one, made / "same.mkv", runs.preset())
    make_system("paste", "cpu").video(one, made / "pasted.mkv", runs.preset())
    return made


@pytest.fixture
def results(folder: Path, videos: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of the test's own with the same."""
    shutil.copytree(videos, folder, dirs_exist_ok=True)
    monkeypatch.setattr(metrics, "fresh_metrics", lambda *_: (Likeness(),))
    return folder


@pytest.fixture
def suite(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a suite of which only what is known of its clip is measured."""
    every = metrics.fresh_metrics
    monkeypatch.setattr(
        metrics,
        "fresh_metrics",
        lambda *given: tuple(
            one for one in every(*given) if one.definitions is TruthMetric.definitions
        ),
    )
    path = folder / "itself.toml"
    path.write_text(ITSELF, "utf-8")
    return path


def options(folder: Path) -> list[str]:
    """Return what says how the results were made."""
    return ["--source", str(folder / "one.mkv"), "--preset", str(folder / "tiny.toml")]


def test_one_result_is_measured_and_reported(fapvideo: Any, results: Path) -> None:
    report = results / "page"
    done = fapvideo("eval", results / "pasted.mkv", *options(results), "--report", report)
    assert done.code == 0, done.err
    assert "truth.psnr" in done.out
    assert str(report / "index.html") in done.out
    written = json.loads((report / "report.json").read_text("utf-8"))
    (found,) = written["measurements"]
    assert (found["frames"], found["face_frames"], found["parts"]) == (4, 4, ["mouth"])
    assert found["values"]["truth.psnr"] < 100
    assert found["values"]["truth.landmarks.source"] == 1, "the references are known"
    assert (report / "index.html").stat().st_size > 1000
    benchmark = json.loads((report / "benchmark.json").read_text("utf-8"))
    assert {"command", "date", "commit", "machine"} <= set(benchmark)
    assert benchmark["measurements"][0]["values"]["truth.psnr"] < 100
    for stage in ("follow", "measure", "report"):
        assert stage in done.err


@pytest.mark.slow
def test_what_a_run_says_about_itself_need_not_be_repeated(fapvideo: Any, results: Path) -> None:
    """Parts, references and the stretch of time come from the report beside the result."""
    run = ("run", results / "one.mkv", "-o", results / "new.mkv", "--start", "0.08", "--json")
    assert fapvideo(*run, "--preset", results / "tiny.toml").code == 0
    done = fapvideo("eval", results / "new.mkv", "--json")
    assert done.code == 0, done.err
    (found,) = json.loads(done.out)["measurements"]
    assert (found["frames"], found["parts"]) == (2, ["mouth"])
    assert found["source"] == str(results / "one.mkv")
    assert found["extra"]["fps"] > 0
    assert [event["stage"] for event in done.events][-1] == "measure"


@pytest.mark.slow
def test_references_that_were_given_in_code_are_the_ones(fapvideo: Any, results: Path) -> None:
    with runs.swapper() as swapper:
        swapper.run(results / "one.mkv", results / "new.mkv", {"nose": [face_clips.BRAND]})
    done = fapvideo("eval", results / "new.mkv", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["measurements"][0]["parts"] == ["nose"]


@pytest.mark.slow
def test_a_run_may_report_on_itself(fapvideo: Any, results: Path) -> None:
    run = ("run", results / "one.mkv", "-o", results / "new.mkv", "--preset", results / "tiny.toml")
    done = fapvideo(*run, "--report")
    assert done.code == 0, done.err
    page = results / "new.mkv.report" / "index.html"
    assert f"report: {page}" in done.out
    written = json.loads(page.with_name("report.json").read_text("utf-8"))
    assert written["measurements"][0]["frames"] == 4
    elsewhere = results / "elsewhere"
    again = fapvideo(*run, "--overwrite", "--report-folder", elsewhere, "--json")
    assert again.code == 0, again.err
    assert json.loads(again.out)["frames"]["total"] == 4, "the run's report, and nothing else"
    assert (elsewhere / "index.html").is_file()


def test_a_run_without_a_face_has_nothing_to_report(fapvideo: Any, folder: Path) -> None:
    face_clips.face_clip(folder, "no_face", frames=4)
    clip = next(folder.glob("no_face*"))
    run = ("run", clip, "-o", folder / "new.mkv", "--preset", folder / "tiny.toml", "--report")
    done = fapvideo(*run)
    assert done.code == 0, done.err
    assert (folder / "new.mkv").is_file()
    assert not (folder / "new.mkv.report").exists()


@pytest.mark.slow
def test_references_that_are_gone_are_a_note(fapvideo: Any, results: Path) -> None:
    run = ("run", results / "one.mkv", "-o", results / "new.mkv", "--json")
    assert fapvideo(*run, "--preset", results / "tiny.toml").code == 0
    path = results / "new.mkv.report.json"
    path.write_text(path.read_text("utf-8").replace("brand_face.png", "gone.png"), "utf-8")
    done = fapvideo("eval", results / "new.mkv", "--json")
    assert done.code == 0, done.err
    (found,) = json.loads(done.out)["measurements"]
    assert "gone.png" in found["notes"][0]
    assert found["values"]["truth.landmarks.source"] == 0


@pytest.mark.slow
def test_a_result_against_an_earlier_one(fapvideo: Any, results: Path) -> None:
    first, second = results / "first", results / "second"
    pasted = ("eval", results / "pasted.mkv", *options(results), "--report", first)
    assert fapvideo(*pasted).code == 0
    same = ("eval", results / "same.mkv", *options(results), "--report", second)
    assert fapvideo(*same).code == 0
    better = fapvideo(*same[:-2], "--against", first)
    assert "better)" in better.out
    worse = fapvideo(*pasted[:-2], "--against", second / "report.json", "--json")
    changes = json.loads(worse.out)["changes"]
    assert [(change["key"], change["verdict"]) for change in changes] == [("truth.psnr", "worse")]
    assert changes[0]["before"] == 100
    assert changes[0]["now"] < 100


@pytest.mark.slow
def test_a_suite_prints_its_systems_side_by_side(fapvideo: Any, suite: Path) -> None:
    arguments = ("eval", "--suite", suite, "--work", suite.parent / "work")
    done = fapvideo(*arguments, "--report", suite.parent / "page")
    assert done.code == 0, done.err
    head = next(line for line in done.out.splitlines() if line.startswith("metric"))
    assert head.split()[-2:] == ["noop", "paste"]
    assert "measure" in done.err
    written = json.loads((suite.parent / "page" / "report.json").read_text("utf-8"))
    assert [found["system"] for found in written["measurements"]] == ["noop", "paste"]
    again = fapvideo(*arguments, "--systems", "paste", "--json")
    assert again.code == 0
    (found,) = json.loads(again.out)["measurements"]
    assert found["values"] == written["measurements"][1]["values"]


@pytest.mark.slow
def test_a_missed_threshold_is_exit_code_9_and_named(fapvideo: Any, suite: Path) -> None:
    arguments = ("eval", "--suite", suite, "--work", suite.parent / "work", "--fail-under")
    done = fapvideo(*arguments)
    assert done.code == 9
    error = next(line for line in done.err.splitlines() if line.startswith("error:"))
    assert error.startswith("error: 1 thresholds are missed: paste, itself: truth.psnr is ")
    assert error.endswith("wanted at least 60")
    assert "missed: paste, itself: truth.psnr is" in done.out
    passed = fapvideo(*arguments, "--systems", "noop")
    assert passed.code == 0, passed.err
    lenient = fapvideo(*arguments[:-1])
    assert lenient.code == 0, "without --fail-under it is only said"


@pytest.mark.slow
def test_baselines_are_not_judged_beside_a_system_of_ones_own(fapvideo: Any, suite: Path) -> None:
    arguments = ("eval", "--suite", suite, "--work", suite.parent / "work", "--fail-under")
    done = fapvideo(*arguments, "--systems", "bundle=tiny,paste", "--json")
    assert done.code == 9
    assert [line.partition(",")[0] for line in json.loads(done.out)["missed"]] == ["bundle:tiny"]


@pytest.mark.slow
def test_what_was_not_measured_is_missed(fapvideo: Any, suite: Path) -> None:
    suite.write_text(ITSELF.replace("itself = true", ""), "utf-8")
    done = fapvideo(
        "eval", "--suite", suite, "--work", suite.parent / "w", "--systems", "noop", "--fail-under"
    )
    assert done.code == 9
    assert "noop: truth.psnr was not measured" in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either a result or --suite"),
        (["one.mkv", "--suite", "smoke"], "give either a result or --suite"),
        (["one.mkv", "--systems", "noop"], "--systems does not go with a result"),
        (["--suite", "smoke", "--source", "a.mp4"], "--source does not go with --suite"),
        (["--suite", "smok"], "unknown preset 'smok', did you mean smoke?"),
        (["--suite", "smoke", "--systems", "embeded"], "unknown system 'embeded'"),
        (["one.mkv"], "one.mkv: what was it made from?"),
        (["one.mkv", "--source", "one.mkv"], "one.mkv: which parts were swapped?"),
        (["one.mkv", "--source", "one.mkv", "--against", "no.json"], "no.json"),
    ],
)
def test_wrong_arguments_are_exit_code_2(
    fapvideo: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(folder)
    done = fapvideo("eval", *arguments)
    assert done.code == 2
    assert message in done.err


@pytest.mark.slow
def test_a_single_result_is_judged_by_what_can_be_measured(
    fapvideo: Any, results: Path, suite: Path
) -> None:
    """`truth.landmarks.result` is not; a copy of the source passes the rest, a paste does not."""
    more = '"truth.landmarks.result" = {max = 9}\n"truth.psnr" = {min = 99.999}\n'
    text = ITSELF.partition("[thresholds]")[0] + "[thresholds]\n" + more
    suite.write_text(text, "utf-8")
    judge = (*options(results), "--thresholds", suite, "--fail-under")
    assert fapvideo("eval", results / "same.mkv", *judge).code == 0
    missed = fapvideo("eval", results / "pasted.mkv", *judge)
    assert missed.code == 9
    assert "result, one: truth.psnr is" in missed.err


def test_a_threshold_nobody_measures_is_refused(fapvideo: Any, suite: Path) -> None:
    suite.write_text(ITSELF.replace("truth.psnr", "truth.pnsr"), "utf-8")
    done = fapvideo("eval", "--suite", suite, "--work", suite.parent / "work")
    assert done.code == 2
    assert "thresholds.truth.pnsr: no metric is called that" in done.err
    assert not (suite.parent / "work").exists(), "found out before the work"


def test_a_signal_stops_a_suite_at_its_next_frame(
    fapvideo: Any, suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video, work = Copying.video, suite.parent / "work"

    def signalled(*given: Any, **hooks: Any) -> Mapping[str, Any]:
        signal.raise_signal(signal.SIGTERM)
        return video(*given, **hooks)

    monkeypatch.setattr(Copying, "video", signalled)
    done = fapvideo("eval", "--suite", suite, "--work", work, "--json")
    assert done.code == 130
    assert done.out == ""
    assert done.events[-1]["type"] == "Cancelled"
    assert not [path for path in work.rglob("*") if "part" in path.name]


@pytest.mark.slow
def test_a_signal_stops_a_suite_and_the_same_command_goes_on(suite: Path) -> None:
    work = suite.parent / "work"
    long = ITSELF.replace("seconds = 0.12", "seconds = 4")
    suite.write_text(long, "utf-8")
    command = [sys.executable, "-m", "fapvideo", "eval", "--suite", suite, "--work", work, "--json"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stderr=pipe, stdout=pipe, env=os.environ) as process:
        assert process.stderr is not None
        process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 143
    assert out == b""
    assert json.loads(err.splitlines()[-1])["type"] == "Cancelled"
    assert not [path for path in work.rglob("*") if "part" in path.name]
