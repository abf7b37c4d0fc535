"""A tiny suite from end to end: everything is measured, kept, found again, and goes on."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_suite

from fapvideo.config.evaluation import load_eval_preset
from fapvideo.errors import Cancelled, PresetError, ReferenceImageError
from fapvideo.evaluation.metrics import groups as metrics
from fapvideo.evaluation.metrics.groups import Known
from fapvideo.evaluation.metrics.truth import TruthMetric
from fapvideo.evaluation.suites import suite as suites
from fapvideo.evaluation.suites.photos import photo_pairs
from fapvideo.evaluation.suites.suite import Hooks, SuiteResult, run_suite
from fapvideo.evaluation.suites.systems import make_systems
from fapvideo.evaluation.views import Clip
from fapvideo.progress import Progress

PAIRS = """
[pairs]
count = 3
folder = "photos"
preset = "tiny.toml"
parts = ["mouth"]
"""


class Counting:
    """A metric that only counts, and remembers what it was shown."""

    definitions = TruthMetric.definitions
    made: list[Counting]

    def __init__(self, known: Known) -> None:
        self.known, self.frames, self.shots, self.changed = known, 0, 0, 0.0
        self.parts: set[str] = set()

    def update(self, pair: Any) -> dict[str, float]:
        self.frames += 1
        self.shots += pair.first_of_shot
        self.changed += float(np.abs(pair.source_rgb.astype(int) - pair.result_rgb).max())
        self.parts |= set(pair.references)
        return {"truth.psnr": float(self.frames)}

    def summary(self) -> dict[str, float]:
        return {"truth.psnr": self.changed}


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Counting]:
    """Measure by counting, and return the counters."""
    made: list[Counting] = []

    def fresh(networks: object, material: object, known: Known | None) -> tuple[Counting, ...]:
        made.append(Counting(known or Known()))
        return (made[-1],)

    monkeypatch.setattr(metrics, "fresh_metrics", fresh)
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_suite.write_clip(tmp_path)
    tiny_suite.write_photos(tmp_path)
    return tmp_path


def run(folder: Path, more: str = "", systems: str = "", hooks: Hooks | None = None) -> SuiteResult:
    preset = load_eval_preset(tiny_suite.write_suite(folder, more))
    names = systems.split(",") if systems else preset.systems
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    return run_suite(preset, make_systems(names, "cpu"), folder / "work", scratch, hooks)


@pytest.mark.slow
def test_every_system_is_measured_on_every_clip_and_pair(
    folder: Path, counted: list[Counting]
) -> None:
    reports: list[Progress] = []
    found = run(folder, PAIRS, hooks=Hooks(reports.append))
    names = [(item.system, item.clip, item.frames) for item in found.measurements]
    assert names == [
        ("embedded", "one", 4),
        ("noop", "one", 4),
        ("embedded", "pairs", 3),
        ("noop", "pairs", 3),
    ]
    assert [metric.changed > 0 for metric in counted] == [True, False, True, False]
    assert [metric.shots for metric in counted] == [1, 1, 3, 3]
    assert all(metric.parts == {"mouth"} for metric in counted)
    assert found.measurements[0].extra["cpu_s"] > 0
    assert found.measurements[0].face_frames == 4
    assert [now.stage for now in reports[:1]] == ["prepare"]
    for stage, total in (("prepare", 2), ("swap", 14), ("measure", 14)):
        last = [now for now in reports if now.stage == stage][-1]
        assert (last.done, last.total) == (total, total)


@pytest.mark.slow
def test_a_second_call_makes_and_measures_nothing_again(
    folder: Path, counted: list[Counting]
) -> None:
    first = run(folder, PAIRS)
    files = {path: path.stat().st_mtime_ns for path in (folder / "work" / "outputs").rglob("*.*")}
    before = len(counted)
    second = run(folder, PAIRS)
    assert len(counted) == before
    assert second.measurements == first.measurements
    assert not second.opened
    after = {path: path.stat().st_mtime_ns for path in (folder / "work" / "outputs").rglob("*.*")}
    assert after == files
    assert isinstance(second.materials()["one"], Clip)


@pytest.mark.slow
def test_only_what_has_changed_is_made_again(
    folder: Path, counted: list[Counting], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(folder)
    run(folder, systems="embedded,noop,paste")
    assert len(counted) == 3
    outputs = folder / "work" / "outputs" / "one" / "embedded"
    (before,) = outputs.glob("*.mkv")
    text = tiny_suite.RUN.replace("[composite]", "[mask]\nfeather = 0.2\n[composite]")
    monkeypatch.setattr(tiny_suite, "RUN", text)
    run(folder, systems="embedded,noop")
    assert len(counted) == 5
    (after,) = outputs.glob("*.mkv")
    assert after != before, "what is out of date is made again, and removed"


@pytest.mark.slow
def test_new_code_measures_again_but_swaps_again_only_if_it_swaps(
    folder: Path, counted: list[Counting], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(folder)
    (kept,) = (folder / "work" / "outputs" / "one" / "embedded").glob("*.mkv")
    made = kept.stat().st_mtime_ns
    versions = suites.code_version
    monkeypatch.setattr(
        suites,
        "code_version",
        lambda without: versions(without) if "evaluation" in without else "new metrics",
    )
    run(folder)
    assert len(counted) == 4
    assert kept.stat().st_mtime_ns == made


@pytest.mark.slow
def test_a_suite_that_was_stopped_goes_on_where_it_was(
    folder: Path, counted: list[Counting]
) -> None:
    deadline: list[float] = []

    def stop_at_the_second_system(now: Progress) -> None:
        if now.stage == "measure" and now.note == "one, noop" and now.done > 5:
            deadline.append(time.monotonic())

    with pytest.raises(Cancelled, match="goes on"):
        run(folder, hooks=Hooks(stop_at_the_second_system, lambda: bool(deadline)))
    kept = list((folder / "work" / "measurements").rglob("*.json"))
    assert len(kept) == 1
    assert not list((folder / "work").rglob("*.part*"))
    found = run(folder)
    assert len(found.measurements) == 2
    assert len(counted) == 3


@pytest.mark.slow
def test_another_tools_video_is_one_of_the_systems(folder: Path, counted: list[Counting]) -> None:
    run(folder, systems="embedded")
    (made,) = (folder / "work" / "outputs" / "one" / "embedded").glob("*.mkv")
    found = run(folder, PAIRS, systems=f"noop,tool={made}")
    assert [item.system for item in found.measurements] == ["noop", "tool", "noop"]
    assert found.measurements[1].values["truth.psnr"] > 0
    assert found.notes == (f"tool: no results for photo pairs in {made}",)
    tasks = json.loads((folder / "work" / "tasks.json").read_text("utf-8"))
    assert Path(tasks["clips"]["one"]["source"]).is_file()
    assert set(tasks["clips"]["one"]["references"]) == {"mouth"}
    assert len(tasks["pairs"]) == 3


def test_a_clip_is_cut_to_its_stretch_without_loss(folder: Path, counted: list[Counting]) -> None:
    found = run(folder, "start_s = 0.04\nend_s = 0.16\n", systems="noop")
    assert found.measurements[0].frames == 3
    assert found.measurements[0].times_s[0] == 0.0
    assert counted[0].changed == 0


@pytest.mark.slow
def test_an_animated_portrait_comes_with_its_truth(folder: Path, counted: list[Counting]) -> None:
    more = """
        [[clips]]
        name = "itself"
        portrait = "pkg:brand_face.png"
        side = 128
        seconds = 0.12
        preset = "tiny.toml"
        itself = true
    """
    found = run(folder, more, systems="noop")
    assert [item.frames for item in found.measurements] == [4, 3]
    plain, known = (metric.known for metric in counted)
    assert (plain.landmarks, plain.itself) == (None, False)
    assert known.itself
    assert known.landmarks is not None
    assert known.landmarks.shape == (3, 478, 3)


@pytest.mark.slow
def test_the_truth_metric_sees_a_part_that_is_not_what_it_was(folder: Path) -> None:
    """The landmarks are the animation's; doing nothing is as good as the source, a paste is not."""
    more = """
        [[clips]]
        name = "itself"
        portrait = "pkg:brand_face.png"
        side = 192
        seconds = 0.16
        preset = "tiny.toml"
        itself = true
    """
    found = run(folder, more, systems="noop,paste")
    noop, paste = (item.values for item in found.measurements if item.clip == "itself")
    assert noop["truth.psnr"] == 100.0
    assert noop["truth.landmarks.result"] == pytest.approx(noop["truth.landmarks.source"])
    assert noop["truth.landmarks.source"] < 4, "percent of the distance of the eyes"
    assert paste["truth.psnr"] < 40
    assert paste["truth.landmarks.result"] > noop["truth.landmarks.result"]
    assert "truth.psnr" not in found.measurements[0].values


def test_pairs_give_everybody_somebody_elses_parts(folder: Path) -> None:
    preset = load_eval_preset(tiny_suite.write_suite(folder, PAIRS))
    pairs = photo_pairs(preset.pairs)
    givers = {pair.target.name: pair.references["mouth"][0].name for pair in pairs.chosen}
    assert set(givers) == set(givers.values()) == {"astronaut.png", "brand.png", "moment.png"}
    assert all(target != giver for target, giver in givers.items())
    other = photo_pairs(preset.pairs.model_copy(update={"seed": 1}))
    assert other.key != pairs.key
    with pytest.raises(ReferenceImageError, match="usable face"):
        photo_pairs(preset.pairs.model_copy(update={"count": 1}))


def test_a_clip_needs_references(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny_suite, "RUN", 'bundle = "tiny"\n')
    with pytest.raises(PresetError, match=r"clip one: preset .* names no reference images"):
        run(folder)


@pytest.mark.slow
def test_measurements_of_several_clips_are_plain_json(folder: Path) -> None:
    found = run(folder, systems="noop")
    text = json.dumps([asdict(item) for item in found.measurements])
    assert replace(found.measurements[0]).clip in text
