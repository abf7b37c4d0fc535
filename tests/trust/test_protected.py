"""Protected people are left alone, references of them refused, and the list tells nobody."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import face_clips
import numpy as np
import pytest
from portrait import astronaut
from runs import BRAND, audit, preset

from fapvideo.cli.main import run_program
from fapvideo.errors import ConsentError
from fapvideo.swapper import VideoSwapper
from fapvideo.trust import protected
from fapvideo.trust.protected import (
    Protected,
    found_among,
    list_file,
    read_protected,
    recognised,
    write_protected,
)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """Return a photo of the astronaut, who is in the clips."""
    path = tmp_path / "astronaut.png"
    cv2.imwrite(str(path), cv2.cvtColor(astronaut(), cv2.COLOR_RGB2BGR))
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return face_clips.face_clip(folder, "one_face", frames=6)


@pytest.fixture
def program(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*arguments: str | Path) -> tuple[int, str, str]:
        return run_program([str(one) for one in arguments]), *capfd.readouterr()

    return run


def test_the_list_is_kept_encrypted(
    program: Callable[..., tuple[int, str, str]], photo: Path
) -> None:
    assert program("protect", "add", photo, "--name", "Eileen")[0] == 0
    assert program("protect", "add", photo, "--name", "Eileen")[0] == 0
    (one,) = read_protected()
    assert (one.name, len(one.looks)) == ("Eileen", 2)
    assert "Eileen" in program("protect", "list")[1]
    data = list_file().read_bytes()
    assert b"Eileen" not in data
    for path in list_file().parent.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
    code, _, err = program("protect", "remove", "Anna")
    assert code == 1
    assert "on it: Eileen" in err
    assert program("protect", "remove", "Eileen")[0] == 0
    assert read_protected() == ()
    assert program("protect", "add", BRAND + ".none", "--name", "x")[0] == 6


def test_a_list_that_cannot_be_read_stops_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    write_protected([Protected("Eileen", (np.ones(4, np.float32),))])
    key = (list_file().parent / "key").read_bytes()
    monkeypatch.setenv("FAPVIDEO_PROTECT_KEY", key.decode())
    (list_file().parent / "key").unlink()
    assert read_protected()[0].name == "Eileen"
    monkeypatch.setenv("FAPVIDEO_PROTECT_KEY", "AAAA")
    with pytest.raises(ConsentError, match="cannot be read"):
        read_protected()
    monkeypatch.delenv("FAPVIDEO_PROTECT_KEY")
    with pytest.raises(ConsentError, match="its key") as caught:
        read_protected()
    assert "removes the file" in caught.value.hint


def test_tracks_of_one_person_and_of_nobody_known() -> None:
    east, north = np.eye(4, dtype=np.float32)[:2]
    write_protected([Protected("Eileen", (east,))])
    looks = {0: east, 1: north, 2: north}
    people = {0: 0, 1: 0, 2: 2, 3: 3}
    assert found_among(looks, people) == {0: "Eileen", 1: "Eileen", 3: "somebody unknown"}
    assert recognised(north, read_protected()) == ""
    list_file().unlink()
    assert found_among(looks, people) == {}


def test_a_protected_face_is_left_or_the_run_refused(
    program: Callable[..., tuple[int, str, str]], photo: Path, source: Path, tmp_path: Path
) -> None:
    program("protect", "add", photo, "--name", "Eileen")
    output = tmp_path / "o.mkv"
    with VideoSwapper(preset(), "cpu") as swapper:
        report = swapper.run(source, output)
        audit(report, output)
        assert report.faces["left"] == report.faces["total"] == 6
        assert report.reasons == {"protected": 6}
        assert any("Eileen" in warning for warning in report.warnings)
        with pytest.raises(ConsentError, match=r"reference .*astronaut\.png looks like Eileen"):
            swapper.run(source, tmp_path / "p.mkv", {"mouth": photo})
    with (
        VideoSwapper(preset(protected="refuse"), "cpu") as swapper,
        pytest.raises(ConsentError, match="track 0 looks like Eileen"),
    ):
        swapper.run(source, tmp_path / "p.mkv")
    assert not (tmp_path / "p.mkv").exists()


def test_others_are_swapped_as_ever(
    program: Callable[..., tuple[int, str, str]], source: Path, tmp_path: Path
) -> None:
    program("protect", "add", BRAND, "--name", "Brand")
    with VideoSwapper(preset(), "cpu") as swapper, pytest.raises(ConsentError, match="Brand"):
        swapper.run(source, tmp_path / "o.mkv")
    protected.remove_protected("Brand")
    with VideoSwapper(preset(), "cpu") as swapper:
        assert swapper.run(source, tmp_path / "o.mkv").faces["swapped"] == 6
