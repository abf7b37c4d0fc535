"""Protected people are left alone, references of them refused, and the list tells nobody."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import face_clips
import numpy as np
import pytest
from cryptography.fernet import Fernet
from portrait import astronaut
from runs import BRAND, audit, preset

from fapvideo.cli.main import run_program
from fapvideo.errors import ConsentError, FapVideoError
from fapvideo.swapper import VideoSwapper
from fapvideo.trust import protected
from fapvideo.trust.protected import (
    NEAR_FACE,
    Protected,
    Seen,
    add_protected,
    found_among,
    list_file,
    read_protected,
    recognised,
    write_protected,
)
from fapvideo.trust.recognition import available


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


@pytest.mark.slow
def test_the_list_is_kept_encrypted(
    program: Callable[..., tuple[int, str, str]], photo: Path
) -> None:
    assert program("protect", "add", photo, "--name", "Eileen")[0] == 0
    assert program("protect", "add", photo, "--name", "Eileen")[0] == 0
    (one,) = read_protected()
    assert (one.name, len(one.photos)) == ("Eileen", 2)
    assert all((photo.face is not None) == available() for photo in one.photos)
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
    with pytest.raises(FapVideoError, match="needs a name"):
        add_protected(" ", [])


def test_a_list_that_cannot_be_read_stops_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    write_protected([Protected("Eileen", (Seen(np.ones(4, np.float32)),))])
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
    write_protected([Protected("Eileen", (Seen(east),))])
    looks = {0: east, 1: north, 2: north}
    people = {0: 0, 1: 0, 2: 2, 3: 3}
    assert found_among(looks, people, {}) == {0: "Eileen", 1: "Eileen", 3: "somebody unknown"}
    assert recognised(Seen(north), read_protected()) == ""
    list_file().unlink()
    assert found_among(looks, people, {}) == {}


def test_the_better_network_decides_where_both_sides_have_it() -> None:
    """A list works on machines with the extra and without, whoever made it."""
    east, north = np.eye(4, dtype=np.float32)[:2]
    here, there = np.zeros(128), np.eye(128)[0]
    write_protected([Protected("Eileen", (Seen(east, here),))])
    listed = read_protected()
    assert np.array_equal(np.asarray(listed[0].photos[0].face), here)
    assert recognised(Seen(north, here + 0.9 * NEAR_FACE * there), listed) == "Eileen"
    assert recognised(Seen(east, here + 1.1 * NEAR_FACE * there), listed) == ""
    assert recognised(Seen(east), listed) == "Eileen", "a machine without the extra"
    write_protected([Protected("Eileen", (Seen(east),))])
    assert recognised(Seen(east, there), read_protected()) == "Eileen", "a list made without it"
    people, looks = {0: 0}, {0: north}
    write_protected([Protected("Eileen", (Seen(east, here),))])
    assert found_among(looks, people, {0: here}) == {0: "Eileen"}


def test_a_list_of_the_first_kind_is_still_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """It had no `faces`."""
    write_protected([])
    rows = [{"name": "Eileen", "looks": [[1.0, 0.0]]}]
    key = (list_file().parent / "key").read_bytes()
    list_file().write_bytes(Fernet(key).encrypt(json.dumps(rows).encode()))
    (one,) = read_protected()
    assert one.photos[0].face is None
    assert one.photos[0].looks.tolist() == [1.0, 0.0]


def test_who_looks_is_part_of_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan that was kept is made anew when the extra comes or goes."""
    assert protected.protected_version() == ""
    write_protected([])
    monkeypatch.setattr(protected, "available", lambda: True)
    with_it = protected.protected_version()
    monkeypatch.setattr(protected, "available", lambda: False)
    assert protected.protected_version() != with_it


@pytest.mark.slow
@pytest.mark.parametrize("extra", [True, False])
def test_a_protected_face_is_left_or_the_run_refused(
    program: Callable[..., tuple[int, str, str]],
    photo: Path,
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    extra: bool,
) -> None:
    if extra and not available():
        pytest.skip("needs the extra identity")
    monkeypatch.setattr(protected, "available", lambda: extra)
    program("protect", "add", photo, "--name", "Eileen")
    assert (read_protected()[0].photos[0].face is not None) == extra
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


@pytest.mark.slow
def test_others_are_swapped_as_ever(
    program: Callable[..., tuple[int, str, str]], source: Path, tmp_path: Path
) -> None:
    program("protect", "add", BRAND, "--name", "Brand")
    with VideoSwapper(preset(), "cpu") as swapper, pytest.raises(ConsentError, match="Brand"):
        swapper.run(source, tmp_path / "o.mkv")
    protected.remove_protected("Brand")
    with VideoSwapper(preset(), "cpu") as swapper:
        assert swapper.run(source, tmp_path / "o.mkv").faces["swapped"] == 6
