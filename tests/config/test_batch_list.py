"""Job lists: paths start at the file, every problem of every job is told at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from fapvideo.config.jobs import load_jobs
from fapvideo.errors import PresetError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of photos and a preset, which is not the current one."""
    (tmp_path / "shots").mkdir()
    for name in ("her.png", "him.png", "shots/own.png"):
        (tmp_path / name).touch()
    (tmp_path / "shots" / "own.toml").write_text('[references]\nnose = "own.png"\n', "utf-8")
    monkeypatch.chdir(tmp_path / "shots")
    return tmp_path


def jobs(folder: Path, text: str, **overrides: object) -> list:
    path = folder / "jobs.toml"
    path.write_text(text, "utf-8")
    return list(load_jobs(path, "mouth_only", overrides))


def test_a_job_states_what_differs(folder: Path) -> None:
    first, second = jobs(
        folder,
        """
        [[jobs]]
        input = "clips/*.mp4"
        set = { "denoise.steps" = 4 }

        [[jobs]]
        input = "b.mp4"
        output = "out/b.mkv"
        preset = "shots/own.toml"
        references.eyes = ["her.png", "pkg:brand_face.png"]
        people = [{ who.photo = "him.png" }, { who.left = 2, references.mouth = "her.png" }]
        """,
        **{"denoise.steps": 9, "seed": 7},
    )
    assert first.input == str(folder / "clips" / "*.mp4")
    assert first.output is None
    assert (first.preset.name, first.preset.denoise.steps, first.preset.seed) == (
        "mouth_only",
        4,
        7,
    )
    assert second.output == folder / "out" / "b.mkv"
    assert (second.preset.name, second.preset.denoise.steps) == ("own", 9)
    assert set(second.preset.references) == {"eyes"}, "the job's take the place of the preset's"
    paths = [Path(source.path) for source in second.preset.references["eyes"]]
    assert paths[0] == folder / "her.png"
    assert paths[1].name == "brand_face.png"
    assert second.preset.people[0].who.photo == str(folder / "him.png")
    assert second.preset.people[1].references["mouth"][0].path == str(folder / "her.png")


def test_every_problem_of_every_job_is_told(folder: Path) -> None:
    with pytest.raises(PresetError) as caught:
        jobs(
            folder,
            """
            [[jobs]]
            input = "a.mp4"
            preset = "mouth_onyl"

            [[jobs]]
            input = "b.mp4"
            set = { "denoise.stepz" = 4, "seed" = -1 }
            references.eyes = "nobody.png"
            """,
        )
    text = str(caught.value)
    assert "4 problems" in text
    assert "jobs.0: unknown preset 'mouth_onyl', did you mean mouth_only?" in text
    for word in ("jobs.1: denoise.stepz: unknown key", "jobs.1: seed:", str(folder / "nobody.png")):
        assert word in text
    assert "docs/batch.md" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "jobs: is required"),
        ("jobs = []", "jobs:"),
        ("[[jobs]]\noutput = 'x.mp4'", "jobs.0.input: is required"),
        ("[[jobs]]\ninput = 'x.mp4'\nout = 'y.mp4'", "jobs.0.out: unknown key"),
        ("[[jobs]]\ninput = 3", "jobs.0.input"),
        ("schema_version = 2\n[[jobs]]\ninput = 'x.mp4'", "schema_version"),
        ("[[jobs]\n", "not valid TOML"),
        ("[[jobs]]\ninput = 'https://x/y.mp4'", "addresses are not read"),
    ],
)
def test_what_is_no_job_list_is_refused(folder: Path, text: str, word: str) -> None:
    with pytest.raises(PresetError, match=word.replace(".", r"\.")):
        jobs(folder, text)
