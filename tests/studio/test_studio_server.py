"""What the studio answers: to whom, to which files, and over which library calls."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from starlette.testclient import TestClient
from studio_setup import HOST, client_of, studio_in, until

from fapvideo.cli.options import collect_overrides
from fapvideo.config.presets import load_preset
from fapvideo.studio import changes
from fapvideo.studio.board import Board
from fapvideo.studio.following import everybody
from fapvideo.studio.guard import TOKEN_HEADER
from fapvideo.studio.library import Library, Project
from fapvideo.studio.painting import differences
from fapvideo.studio.renders import Render, Renders
from fapvideo.studio.server import Studio, application
from fapvideo.studio.words import words
from fapvideo.swapper import VideoSwapper

HURT = "<img src=x onerror=alert(1)>.mp4"


@pytest.fixture
def project(studio: Studio, clip: str) -> Project:
    found = studio.library.project(clip.split("/")[-1])
    assert found is not None
    return found


def change(client: TestClient, clip: str, **what: Any) -> dict[str, Any]:
    answer = client.post(f"{clip}/change", json=what)
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["clip"])


# ------------------------------------------------------------------------------ who may ask


def test_only_whoever_has_the_token_is_answered(studio: Studio) -> None:
    stranger = TestClient(application(studio), base_url=HOST)
    for address in ("/", "/?token=wrong", "/static/studio.css", "/painted/x"):
        assert stranger.get(address).status_code == 403, address
    stranger.cookies.set("fapvideo-studio-8760", "wrong")
    assert stranger.get("/").status_code == 403
    opened = stranger.get(f"/?token={studio.token}", follow_redirects=False)
    assert opened.status_code == 303
    assert opened.headers["location"] == "/", "the token does not stay in the address"
    assert "HttpOnly" in opened.headers["set-cookie"]
    assert "strict" in opened.headers["set-cookie"].lower()


def test_other_names_and_other_pages_are_refused(studio: Studio, client: TestClient) -> None:
    elsewhere = TestClient(application(studio), base_url="http://evil.example:8760")
    assert elsewhere.get(f"/?token={studio.token}").status_code == 403
    for headers in ({TOKEN_HEADER: ""}, {"origin": "http://127.0.0.1:3000"}):
        assert client.post("/open", json={"example": True}, headers=headers).status_code == 403
    served = TestClient(application(studio, frozenset()), base_url="http://studio.lan:8760")
    assert served.get(f"/?token={studio.token}").status_code == 200


def test_every_answer_forbids_what_comes_from_elsewhere(client: TestClient) -> None:
    for address in ("/", "/static/base.js", "/clip/none"):
        policy = client.get(address).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "http" not in policy
        assert "unsafe" not in policy


# ------------------------------------------------------------------------------ clips and files


def test_uploads_are_bounded_checked_and_named_safely(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_bytes((folder / "tiny.toml").read_bytes())
    data = (folder / "two_faces-frames-14.mp4").read_bytes()
    studio = studio_in(tmp_path, most_bytes=len(data))
    client = client_of(studio)
    no_video = client.post("/upload", params={"name": "song.mp4"}, content=b"la la la" * 99)
    assert no_video.status_code == 422
    assert "song.mp4" in no_video.json()["problem"]["message"]
    assert str(tmp_path) not in no_video.text
    large = client.post("/upload", params={"name": "a.mp4"}, content=data + b"x")
    assert large.status_code == 413
    assert list((tmp_path / "studio").iterdir()) == [], "nothing is left"
    taken = client.post("/upload", params={"name": HURT}, content=data).json()["address"]
    page = client.get(taken).text
    assert "<img src=x" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert [p.name for p in (tmp_path / "studio").iterdir()] == ["img-src-x-onerror-alert-1"]
    sly = client.post("/upload", params={"name": "../../sly.mp4"}, content=data).json()["address"]
    assert (tmp_path / "studio" / sly.split("/")[-1] / "sly.mp4").is_file()


def test_no_other_files_are_opened(client: TestClient, clip: str) -> None:
    for name in ("../two_faces-frames-14.mp4", "/etc/passwd", "tiny.toml", ""):
        assert client.post("/open", json={"name": name}).status_code == 422, name
    for address in ("/clip/..%2f..", f"{clip}/face/..%2f..%2fclip", f"{clip}/photo/photo-x",
                    "/static/..%2fserver.py", "/clip/Nobody"):  # fmt: skip
        assert client.get(address).status_code == 404, address


def test_a_player_gets_stretches_of_the_file(client: TestClient, clip: str, folder: Path) -> None:
    data = (folder / "two_faces-frames-14.mp4").read_bytes()
    part = client.get(f"{clip}/video", headers={"range": "bytes=100-299"})
    assert part.status_code == 206
    assert part.content == data[100:300]
    assert client.get(f"{clip}/video").content == data


# ------------------------------------------------------------------------------ what was found


def test_people_shots_and_photos_are_found(client: TestClient, clip: str, studio: Studio) -> None:
    state = change(client, clip, values={})
    known = state["people"]["known"]
    assert len(known) == 2
    assert client.get(f"{clip}/face/{known[0]['pictures'][0]}").content[:2] == b"\xff\xd8"
    names = {photo["name"]: photo["id"] for photo in state["photos"]}
    assert set(names) == {"astronaut.png", "nobody.png", "brand.png", "brand_face.png"}
    ranking = state["ranking"][str(known[0]["id"])]
    assert names["nobody.png"] in ranking["unusable"]
    rows = ranking["parts"]["eyes"]
    assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)
    assert all(row["reasons"] or row["score"] == 1 for row in rows if not row["fits"])


# ------------------------------------------------------------------------------ changes


def test_casting_is_the_preset_of_a_run(
    client: TestClient, clip: str, project: Project, folder: Path
) -> None:
    state = change(client, clip, values={})
    first, second = (str(one["id"]) for one in state["people"]["known"])
    photos = {photo["name"]: photo["id"] for photo in state["photos"]}
    change(client, clip, person=first, part="eyes", photo=photos["astronaut.png"])
    change(client, clip, person=second, part="all", photo=photos["brand.png"])
    change(client, clip, person=second, part="nose", photo="")
    change(client, clip, person=second, strength=0.5)
    state = change(client, clip, person="everyone_else", keep=True)
    preset = project.preset()
    people = {str(one.who): one for one in preset.people}
    assert set(people) == {f"track {first}", f"track {second}", "everyone_else"}
    eyes = str(folder / "photos" / "astronaut.png")
    assert people[f"track {first}"].references["eyes"][0].path == eyes
    assert set(people[f"track {second}"].references) == {"eyes", "brows", "mouth"}
    assert people[f"track {second}"].strength == 0.5
    assert people["everyone_else"].keep
    change(client, clip, values={"guide.expression.mouth": 0.6})
    assert project.preset().guide.expression.mouth == 0.6
    wrong = [{"person": "99", "keep": True}, {"person": first, "part": "ears", "photo": ""},
             {"person": first, "part": "eyes", "photo": "photo-none"}, {"person": first,
             "strength": 7}, {"values": {"guide.light": 9}}, {"values": {"bundle": "x"}},
             {"toml": "bundle = ["}, {"toml": "[mask]\ndilat = 1"}, {"nothing": 1}]  # fmt: skip
    for body in wrong:
        answer = client.post(f"{clip}/change", json=body)
        assert answer.status_code == 422, body
        assert answer.json()["problem"]["message"]
    assert project.preset().people == preset.people


def test_the_command_and_the_file_say_the_same(
    client: TestClient, clip: str, project: Project
) -> None:
    consent = {"who": "Anna, Ben", "by": "us", "until": "2099-01-31", "purpose": "a spot"}
    change(client, clip, consent=consent)
    state = change(client, clip, values={"mask.feather": 0.2, "guide.offsets.smile": 0.4})
    words = shlex.split(state["command"])
    assert words[:3] == ["fapvideo", "run", str(project.source)]
    options: dict[str, list[str]] = {}
    for name, value in zip(words[3::2], words[4::2], strict=True):
        options.setdefault(name, []).append(value)
    overrides = collect_overrides(
        options.get("--set", []), options.get("--reference", []),
        people=options.get("--person", []),
    )  # fmt: skip
    said = load_preset(options["--preset"][0], overrides)
    shown = project.preset()
    same = {"name": "", "description": "", "references": {}}
    assert said.model_copy(update=same) == shown.model_copy(update=same)
    assert shown.consent.who == ("Anna", "Ben")
    opened = change(client, clip, toml=state["toml"])
    assert opened["toml"] == state["toml"]
    assert client.post(f"{clip}/change", json={"consent": {"who": "X"}}).status_code == 422


@pytest.mark.slow
def test_what_may_help_goes_into_the_preset_and_out(
    client: TestClient, clip: str, project: Project
) -> None:
    found = project.read("scan.json")
    try:
        helps = '[[spans]]\nfrom = 0.1\nto = 0.3\nmask = { policy = "hold" }\n'
        project.write("scan.json", {**found, "toml": helps})
        assert change(client, clip, spans=True)["spans"] == 1
        (span,) = project.preset().spans
        assert (span.from_s, span.to_s, span.mask) == (0.1, 0.3, {"policy": "hold"})
        assert client.get(f"{clip}/look", params={"time": 0.2}).json()["frames"]
        assert change(client, clip, spans=False)["spans"] == 0
    finally:
        project.write("scan.json", found)


def test_protected_people_are_marked_and_cannot_be_cast(
    client: TestClient, clip: str, project: Project
) -> None:
    rows = project.read("people.json")
    person = rows[0]["id"]
    before = project.preset()
    try:
        project.write("people.json", [{**rows[0], "protected": "Anna"}, *rows[1:]])
        state = change(client, clip, values={})
        assert state["people"]["known"][0]["protected"] == "Anna"
        photo = state["photos"][0]["id"]
        body = {"person": person, "part": "eyes", "photo": photo}
        answer = client.post(f"{clip}/change", json=body)
        assert answer.status_code == 422
        assert "Anna" in answer.json()["problem"]["message"]
        assert project.preset() == before
    finally:
        project.write("people.json", rows)


# ------------------------------------------------------------------------------ looking


@pytest.mark.slow
def test_a_still_is_the_librarys(client: TestClient, clip: str, project: Project) -> None:
    from io import BytesIO

    from PIL import Image

    answer = client.get(f"{clip}/look", params={"time": 0.2}).json()
    (frame,) = answer["frames"]
    assert frame["index"] == 5
    seen = {
        name: np.asarray(Image.open(BytesIO(client.get(f"/painted/{frame[name]}").content)))
        for name in ("before", "after", "difference", "masks")
    }
    with VideoSwapper(project.preset(), "cpu") as swapper, swapper.open(project.source) as opened:
        wanted = opened.still(0.2)
    assert np.abs(seen["after"].astype(int) - wanted).mean() < 1.5, "but for JPEG"
    assert (np.abs(seen["after"].astype(int) - seen["before"]) > 24).any()
    assert seen["difference"].std() > 0.5
    assert (seen["masks"] != seen["before"]).any()


def test_a_newer_still_replaces_an_older_one(studio: Studio, project: Project) -> None:
    wishes = [studio.painting.ask(project, "still", 0.01 * i) for i in range(6)]
    until(lambda: wishes[-1].state == "done")
    assert {wish.state for wish in wishes[1:-1]} == {"replaced"}
    assert wishes[-1].frames


@pytest.mark.slow
def test_a_strip_has_every_frame_and_makes_way_for_a_still(
    client: TestClient, clip: str, studio: Studio, project: Project
) -> None:
    frames = client.get(f"{clip}/look", params={"time": 0, "kind": "strip"}).json()["frames"]
    assert [frame["index"] for frame in frames] == list(range(14))
    strip = studio.painting.ask(project, "strip", 0.0)
    until(lambda: strip.state != "waiting")
    still = studio.painting.ask(project, "still", 0.1)
    until(lambda: still.state == "done")
    assert strip.state in ("replaced", "done")


# ------------------------------------------------------------------------------ the whole of it


def test_settings_of_a_still_make_the_pages_preset_of_the_base(project: Project) -> None:
    preset = project.preset()
    base = everybody(preset)
    assert load_preset(base, differences(base, preset)).people == preset.people


def test_a_restarted_studio_shows_the_same(
    client: TestClient, clip: str, folder: Path, project: Project
) -> None:
    shown = change(client, clip, values={"guide.light": 0.3})
    again = studio_in(folder)
    page = client_of(again)
    text = page.get(clip).text
    state = json.loads(text.split('id="state">')[1].split("</script>")[0])
    assert state["clip"]["toml"] == shown["toml"]
    assert state["clip"]["ranking"] == shown["ranking"]
    assert Library(folder).project(project.id) is not None


def test_every_word_of_a_template_is_a_word(client: TestClient, clip: str) -> None:
    """A name like `keys` would be a method of the table."""
    for address in ("/", clip):
        assert "built-in method" not in client.get(address).text


def test_all_words_are_in_one_file() -> None:
    """Whatever scripts say is there, and nothing is there that nobody says."""
    import re
    from importlib import resources

    scripts = words()["script"]
    static = resources.files("fapvideo.studio") / "static"
    text = "".join(p.read_text("utf-8") for p in static.iterdir() if p.name.endswith(".js"))
    said = set(re.findall(r"""say\(\s*["'](\w+)["']""", text))
    assert said <= set(scripts), said - set(scripts)
    loose = [key for key in scripts if f'"{key}"' not in text and f"words.{key}" not in text]
    prefixes = ("stage_", "status_", *(f"{v}_of" for v in ("before", "after", "difference")))
    named = {key.split(".")[-1] for key in changes.SLIDERS} | {"face", "masks_of"}
    assert [k for k in loose if not k.startswith(prefixes) and k not in named] == []


# ------------------------------------------------------------------------------ renders


def test_a_render_of_a_studio_that_was_killed_is_found_again(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_bytes((folder / "tiny.toml").read_bytes())
    library = Library(tmp_path)
    project = library.open(folder / "two_faces-frames-14.mp4")
    left = Render(project, project.folder / "renders" / "001")
    left.folder.mkdir(parents=True)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(99)"]) as process:
        started = psutil.Process(process.pid).create_time()
        left.note(status="running", order=1, pid=process.pid, started=started)
        event = {"event": "progress", "stage": "swap", "done": 20, "total": 50, "fps": 10.0}
        (left.folder / "log.jsonl").write_text(f"warning: no JSON\n{json.dumps(event)}\n", "utf-8")
        renders = Renders(library, Board())
        renders.start()
        until(lambda: left.view()["stage"] == "swap")
        assert left.view()["left_s"] == 3
        renders.cancel(left)
        process.wait(30)
    until(lambda: left.state()["status"] == "stopped")
    renders.close()
    renders.join(10)


def test_what_a_process_that_is_gone_has_left_is_told(folder: Path, tmp_path: Path) -> None:
    library = Library(tmp_path)
    project = library.open(folder / "two_faces-frames-14.mp4")
    error = {"event": "error", "type": "ConsentError", "message": "no consent", "hint": "ask"}
    for number, (log, status) in enumerate((("", "stopped"), (json.dumps(error), "failed")), 1):
        left = Render(project, project.folder / "renders" / f"{number:03d}")
        left.folder.mkdir(parents=True)
        left.note(status="running", order=number, pid=2**22 - 3, started=1.0)
        (left.folder / "log.jsonl").write_text(log, "utf-8")
        Renders(library, Board())
        assert left.view()["status"] == status
    assert (left.view()["message"], left.view()["hint"]) == ("no consent", "ask")
