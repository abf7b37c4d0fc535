"""Runs by the workers of a pool make the file that one process makes, whoever is lost."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from runs import preset, read_tracks

from fapvideo.errors import Cancelled, NoFaceFound, VideoReadError, VideoWriteError
from fapvideo.run.batch import Rules, run_batch
from fapvideo.run.batch_jobs import jobs_of
from fapvideo.run.farm import Farm, Hand
from fapvideo.run.job import Job, job_folder
from fapvideo.run.pool import Pool, WorkerLost
from fapvideo.swapper import VideoSwapper
from fapvideo.trust.credentials import read_credentials

VIDEO = {"codec": "h264", "speed": "ultrafast", "segment_s": 0.3}
PRESET = preset(video=VIDEO, provenance={"enabled": False})


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, clip: Callable[..., Path]) -> Path:
    """A clip of four segments."""
    made = clip("one_face", frames=32, options={"bf": "2", "g": "8"})
    return Path(shutil.copy(made, tmp_path_factory.mktemp("farm") / "in.mp4"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, source: Path) -> Path:
    """What one process makes."""
    output = tmp_path_factory.mktemp("whole") / "out.mp4"
    with VideoSwapper(PRESET, "cpu") as one:
        one.run(source, output)
    return output


class Here:
    """A worker in this process, which is lost before or after some of its tasks."""

    def __init__(self, lost: Callable[[str, str], bool]) -> None:
        self.hand, self.lost = Hand("cpu", str(Path.cwd())), lost

    def wait(self) -> None:
        """It is there."""

    def do(self, task: str, *arguments: Any) -> Any:
        if self.lost("before", task):
            raise WorkerLost("its machine is gone")
        result = getattr(self.hand, task)(*arguments)
        if self.lost("after", task):
            raise WorkerLost("its machine is gone")
        return result

    def dismiss(self) -> None:
        """It goes with the test."""


def pool(lost: Callable[[str, str], bool] = lambda *_: False, workers: int = 2) -> Pool:
    return Pool(lambda: Here(lost), lambda: workers)


@pytest.mark.slow
def test_the_file_is_the_one_that_one_process_makes_though_workers_are_lost(
    source: Path, whole: Path, tmp_path: Path
) -> None:
    count: Counter[tuple[str, str]] = Counter()

    def lost(when: str, task: str) -> bool:
        """The first time of each, and the third."""
        count[when, task] += 1
        return count[when, task] in (1, 3)

    output, seen = tmp_path / "out.mp4", []
    with pool(lost) as workers:
        report = Farm(PRESET, workers).run(
            source, output, keep_work=True, progress=lambda now: seen.append((now.stage, now.done))
        )
    assert count["before", "plan"] >= 3
    assert count["before", "segment"] >= 4 + 4
    assert output.read_bytes() == whole.read_bytes()
    assert read_tracks(output) == read_tracks(whole)
    assert report.outside_changed_samples == 0
    assert report.frames["swapped"] == 32
    assert max(done for stage, done in seen if stage == "swap") == 32
    log = (job_folder(output) / "log.txt").read_text("utf-8")
    told = re.findall(r"painted segment (\d+)", log)
    assert sorted(told) == ["0", "1", "2", "3"], "finished segments are never done again"


@pytest.mark.slow
@pytest.mark.parametrize("alone", [False, True], ids=["beside a video", "alone"])
def test_layers_are_those_of_one_process(source: Path, alone: bool, tmp_path: Path) -> None:
    lost = iter([True, False, True])
    made = {}
    for engine in ("local", "farm"):
        place = tmp_path / engine
        place.mkdir()
        asked = source, None if alone else place / "out.mp4"
        if engine == "local":
            with VideoSwapper(PRESET, "cpu") as one:
                one.run(*asked, layers=place / "layers")
        else:
            with pool(lambda when, task: task == "segment" and next(lost, False)) as workers:
                report = Farm(PRESET, workers).run(*asked, layers=place / "layers")
        files = (path for path in place.rglob("*") if path.is_file())
        made[engine] = {
            path.relative_to(place).as_posix(): path.read_bytes()
            for path in files
            if not path.name.endswith(".report.json")
        }
    assert made["farm"] == made["local"]
    assert len([name for name in made["farm"] if name.startswith("layers/swap/")]) == 32
    assert Path(str(report.output["path"])).name == ("layers" if alone else "out.mp4")


@pytest.mark.slow
def test_what_one_engine_began_the_other_ends(source: Path, whole: Path, tmp_path: Path) -> None:
    output, at = tmp_path / "out.mp4", [0]

    def progress(now: Any) -> None:
        at[0] = now.done if now.stage == "swap" else 0

    with VideoSwapper(PRESET, "cpu") as one, pytest.raises(Cancelled):
        one.run(source, output, progress=progress, cancel=lambda: at[0] > 17)
    job = Job.read(job_folder(output))
    kept = {path: path.stat().st_mtime_ns for path in job.folder.rglob("*.packets")}
    assert len(kept) == 2
    with pool() as workers:
        with pytest.raises(VideoWriteError, match="exists already"):
            Farm(PRESET, workers).run(source, whole)
        Farm(PRESET, workers).run(source, output, keep_work=True)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert output.read_bytes() == whole.read_bytes()


def test_what_goes_wrong_there_is_said_here(
    source: Path, clip: Callable[..., Path], tmp_path: Path
) -> None:
    output = tmp_path / "out.mp4"
    with pool() as workers:
        farm = Farm(PRESET, workers)
        with pytest.raises(NoFaceFound):
            farm.run(clip("no_face"), output, require_face=True)
        with pytest.raises(Cancelled):
            farm.run(source, output, cancel=lambda: True)
        with pytest.raises(VideoReadError, match=r"gone\.mp4"):
            farm.run(tmp_path / "gone.mp4", output)
        missing = preset(video=VIDEO, references={"mouth": str(tmp_path / "gone.png")})
        with pytest.raises(Exception, match=r"gone\.png.* \(on "):
            farm.with_preset(missing).run(source, output)
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == []


@pytest.mark.slow
def test_an_output_of_a_farm_is_signed(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    with pool() as workers:
        report = Farm(preset(video=VIDEO), workers).run(source, output)
    found = read_credentials(output)
    assert found is not None
    assert found.whole
    assert report.provenance["signed"]


@pytest.mark.slow
def test_several_clips_of_a_batch_are_under_way_at_once(
    source: Path, whole: Path, tmp_path: Path
) -> None:
    """All but the broken one are done; with `--fail-fast` what is under way is stopped."""
    (tmp_path / "in").mkdir()
    for name in ("a.mp4", "c.mp4"):
        shutil.copy(source, tmp_path / "in" / name)
    (tmp_path / "in" / "b.mp4").write_bytes(b"no video at all")
    out, begun = tmp_path / "out", list[str]()
    out.mkdir()
    jobs = jobs_of(sorted((tmp_path / "in").iterdir()), PRESET, out)

    @contextmanager
    def watch(number: int, job: Any) -> Iterator[None]:
        begun.append(job.input.name)
        yield None

    with pool() as workers:
        options: dict[str, Any] = {"at_once": 3, "watch": watch}
        summary = run_batch(jobs, lambda wanted: Farm(wanted, workers), out, **options)
        assert summary.counts == {"total": 3, "done": 2, "skipped": 0, "failed": 1, "left": 0}
        assert sorted(begun) == ["a.mp4", "b.mp4", "c.mp4"]  # by threads, in any order
        for name in ("a.mp4", "c.mp4"):
            assert (out / name).read_bytes() == whole.read_bytes()
            (out / name).unlink()
        first = run_batch(
            [jobs[1], jobs[0], jobs[2]], lambda wanted: Farm(wanted, workers), out,
            rules=Rules(keep_going=False), **options,
        )  # fmt: skip
    assert first.counts["failed"] == 1
    assert first.counts["left"] == 2
    assert not (out / "c.mp4").exists()
