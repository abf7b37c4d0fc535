"""What the studio answers: to whom, to which files, and over which library calls."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from small_disk import fill, small_disk
from starlette.testclient import TestClient
from studio_setup import HOST, client_of, studio_in, until

from fapvideo.cli.options import collect_overrides
from fapvideo.config.presets import load_preset
from fapvideo.studio import changes
from fapvideo.studio.board import Board
from fapvideo.studio.guard import TOKEN_HEADER
from fapvideo.studio.library import Library, Project
from fapvideo.studio.painting import base_of, differences
from fapvideo.studio.renders import Render, Renders
from fapvideo.studio.server import Studio, application
from fapvideo.studio.timing import noted, seconds_left, seconds_of
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


def shown_of(client: TestClient, clip: str) -> dict[str, Any]:
    """Return what the page of a clip has to show."""
    text = client.get(clip).text
    return dict(json.loads(text.split('id="state">')[1].split("</script>")[0])["clip"])


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


def test_odd_names_and_damaged_files_are_told_where_they_are_opened(
    folder: Path, tmp_path: Path
) -> None:
    """Bytes that are no text, as long as a name may be, and what is no video."""
    (tmp_path / "tiny.toml").write_bytes((folder / "tiny.toml").read_bytes())
    data = (folder / "two_faces-frames-14.mp4").read_bytes()
    names = [b"caf\xe9 <i>.mp4", ("long " * 50).encode() + b".mp4", b"damaged.mp4"]
    for name in names:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(data)
    (tmp_path / "damaged.mp4").write_bytes(data[:3000])
    (tmp_path / os.fsdecode(b"photo\xe9.png")).write_bytes(b"no picture")
    studio = studio_in(tmp_path)
    client = client_of(studio)
    home = client.get("/").text
    shown = [name.decode("utf-8", "replace") for name in names]
    assert "caf\ufffd &lt;i&gt;.mp4" in home
    for name in shown[:2]:
        address = client.post("/open", json={"name": name}).json()["address"]
        page = client.get(address)
        assert page.status_code == 200
        assert len(client.get(f"{address}/video").content) == len(data)
        project = studio.library.project(address.split("/")[-1])
        render = studio.renders.add(project)
        render.output.write_bytes(b"")
        assert len(os.fsencode(render.output.name)) <= 255
        render.note(status="done")
        assert render.output.name in {file["name"] for file in render.view()["files"]}
    answer = client.post("/open", json={"name": "damaged.mp4"})
    assert answer.status_code == 422
    assert "damaged.mp4" in answer.json()["problem"]["message"]
    assert len(studio.library.projects()) == 2


def test_files_that_have_gone_are_told_and_what_is_left_goes_on(
    client: TestClient, clip: str, project: Project, folder: Path
) -> None:
    before = project.preset()
    extra = folder / "photos" / "extra.png"
    shutil.copyfile(folder / "brand.png", extra)
    try:
        state = change(client, clip, values={})
        photo = next(one["id"] for one in state["photos"] if one["name"] == "extra.png")
        first, second = (str(one["id"]) for one in state["people"]["known"])
        change(client, clip, person=first, part="all", photo=photo)
        change(client, clip, person=second, part="eyes", photo=photo)
        change(client, clip, person=second, part="eyes", photo=state["photos"][0]["id"])
        change(client, clip, person=second, part="nose", photo=photo)
        change(client, clip, person=second, parts={"nose": {"strength": 0.5}})
        extra.unlink()
        assert shown_of(client, clip)["gone"] == ["extra.png"]
        state = change(client, clip, person=second, strength=0.9)
        assert state["gone"] == []
        (one,) = project.preset().people
        assert (str(one.who), list(one.references), one.parts) == (
            f"track {second}",
            ["mouth", "eyes"],
            {},
        )
    finally:
        extra.unlink(missing_ok=True)
        project.save_preset(before)


def test_a_full_disk_is_told(folder: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path, 600) as disk:
        for name in ("tiny.toml", "two_faces-frames-14.mp4"):
            shutil.copyfile(folder / name, disk / name)
        studio = studio_in(disk)
        client = client_of(studio)
        clip = client.post("/open", json={"name": "two_faces-frames-14.mp4"}).json()["address"]
        fill(disk)
        body = {"values": {"guide.light": 0.1}}
        for answer in (
            client.post(f"{clip}/change", json=body),
            client.post(f"{clip}/render", json={}),
            client.post(f"{clip}/photo", params={"name": "a.png"}, content=b"x" * 9999),
        ):
            assert answer.status_code == 507, answer.text
            assert "No space left" in answer.json()["problem"]["message"]
        (disk / "filler").unlink()
        assert client.post(f"{clip}/change", json=body).status_code == 200


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
    assert set(names) == {
        "astronaut.png", "broken.jpg", "nobody.png", "brand.png", "brand_face.png", "brand_man.png",
        "brand_woman.png",
    }  # fmt: skip
    ranking = state["ranking"][str(known[0]["id"])]
    assert {names["nobody.png"], names["broken.jpg"]} == set(ranking["unusable"])
    assert client.get(f"{clip}/photo/{names['broken.jpg']}").content[:2] == b"\xff\xd8"
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
    tuned = {"eyes": {"strength": 0.5, "expression": 1.25}, "mouth": {"expression": 0.5}}
    change(client, clip, person=second, parts={**tuned, "brows": {"strength": 1}})
    state = change(client, clip, person=second, parts={"mouth": {"expression": None}})
    slots = state["people"]["known"][1]["slots"]
    assert (slots["eyes"]["strength"], slots["eyes"]["expression"]) == (0.5, 1.25)
    assert (slots["mouth"]["strength"], slots["mouth"]["expression"]) == (1.0, None)
    state = change(client, clip, person="everyone_else", keep=True)
    preset = project.preset()
    people = {str(one.who): one for one in preset.people}
    assert set(people) == {f"track {first}", f"track {second}", "everyone_else"}
    eyes = str(folder / "photos" / "astronaut.png")
    assert people[f"track {first}"].references["eyes"][0].path == eyes
    assert set(people[f"track {second}"].references) == {"eyes", "brows", "mouth"}
    assert people[f"track {second}"].strength == 0.5
    assert list(people[f"track {second}"].parts) == ["eyes"]
    assert people["everyone_else"].keep
    change(client, clip, values={"guide.expression.mouth": 0.6})
    assert project.preset().guide.expression.mouth == 0.6
    wrong = [{"person": "99", "keep": True}, {"person": first, "part": "ears", "photo": ""},
             {"person": first, "part": "eyes", "photo": "photo-none"}, {"person": first,
             "strength": 7}, {"person": second, "parts": {"nose": {"strength": 0.5}}}, {"person":
             second, "parts": {"eyes": {"strength": 7}}}, {"values": {"guide.light": 9}},
             {"values": {"bundle": "x"}}, {"toml": "bundle = ["},
             {"toml": "[mask]\ndilat = 1"}, {"nothing": 1}]  # fmt: skip
    for body in wrong:
        answer = client.post(f"{clip}/change", json=body)
        assert answer.status_code == 422, body
        assert answer.json()["problem"]["message"]
    assert project.preset().people == preset.people


def test_the_command_and_the_file_say_the_same(
    client: TestClient, clip: str, project: Project
) -> None:
    signed = client.post(f"{clip}/consent", params={"name": "Anna's <b>.PDF"}, content=b"signed")
    assert signed.json() == {"document": "anna-s-b.pdf"}
    consent = {"who": "Anna, Ben", "by": "us", "until": "2099-01-31", "purpose": "a spot",
               "parts": ["nose"], "clips": "spot_*.mp4, *.mov", **signed.json()}  # fmt: skip
    state = change(client, clip, consent=consent)
    assert any("covers nose, not eyes" in text for text in state["trust"]["questions"])
    kept = project.preset().consent
    assert kept.document == project.folder / "consent" / "anna-s-b.pdf"
    assert kept.document_sha256 == hashlib.sha256(b"signed").hexdigest()
    assert (kept.scope.parts, kept.scope.clips) == (("nose",), ("spot_*.mp4", "*.mov"))
    kept.document.unlink()
    assert shown_of(client, clip)["gone"] == ["anna-s-b.pdf"]
    answer = client.post(f"{clip}/change", json={"consent": consent})
    assert "anna-s-b.pdf of the consent is not there" in answer.text
    change(client, clip, consent={**consent, "parts": [], "clips": "", "document": ""})
    assert project.preset().consent.document is None
    state = change(client, clip, values={})
    assert not any("consent" in text for text in state["trust"]["questions"])
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
    for wrong in ({"who": "X"}, {**consent, "document": "../clip.json"}):
        assert client.post(f"{clip}/change", json={"consent": wrong}).status_code == 422, wrong


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
    other = studio.painting.ask(project, "still", 0.3, "another tab")
    until(lambda: wishes[-1].state == "done" and other.state == "done")
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
    """A slider opens no clip anew, and what is painted is just what the page says."""
    preset = load_preset(
        project.preset(),
        {"guide.light": 0.3, "mask.dilate": 0.2, "seed": 5, "composite.opacity": 0.9,
         "spans": [{"from": 0.1, "to": 0.2, "mask": {"policy": "hold"}}]},
    )  # fmt: skip
    base = base_of(preset)
    assert base == base_of(project.preset())
    painted = load_preset(base, differences(base, preset))
    same = {"name": "", "description": "", "references": {}, "protected": "", "require_licence": ""}
    assert painted.model_copy(update=same) == preset.model_copy(update=same)


def test_a_restarted_studio_shows_the_same(
    client: TestClient, clip: str, folder: Path, project: Project
) -> None:
    shown = change(client, clip, values={"guide.light": 0.3})
    again = studio_in(folder)
    state = shown_of(client_of(again), clip)
    assert state["toml"] == shown["toml"]
    assert state["ranking"] == shown["ranking"]
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
        assert 15 < left.view()["left_s"] < 45, "the steps to come are counted"
        renders.cancel(left)
        process.wait(30)
    until(lambda: left.state()["status"] == "stopped")
    renders.close()
    renders.join(10)


def test_time_left_is_that_of_all_steps() -> None:
    """By the own pace of a step, and by what the ones to come usually take against those before."""

    def step(began: float, seen: float, done: float, total: float) -> dict[str, float]:
        return {"began": began, "seen": seen, "first": 0.0, "done": done, "total": total}

    steps = {"": step(0, 10, 0, 0), "swap": step(10, 30, 50, 100)}
    took = {"": 5.0, "swap": 20.0, "finish": 1.0, "measure": 10.0, "report": 1.0}
    # Loading and half of the painting took 30 s where they took 15: the rest takes twice as long.
    usual = seconds_left(steps, 30.0, {**took, "follow": 0.0}, planned=True)
    assert usual == pytest.approx(20 + 2 * 12)
    begun = {"": step(0, 0, 0, 0)}
    assert seconds_left(begun, 1.0, {}, planned=True) is None
    assert 30 < (seconds_left(begun, 1.0, took, planned=True) or 0) < 50, "as the last one"
    first = {"references": step(0, 0, 0, 0), "analyse": step(1, 1, 0, 100)}
    unplanned = seconds_left(first, 1.0, {}, planned=False)
    assert unplanned == pytest.approx(5 + 5 + 20 + 1 + 15 + 15 + 5)
    assert seconds_of(noted(steps, {"stage": "finish", "done": 0, "total": 0}, 50.0)) == {
        "": 10.0, "swap": 40.0, "finish": 0.0,
    }  # fmt: skip


def test_a_render_waits_until_its_clip_is_followed_and_goes_on_from_there(
    folder: Path, tmp_path: Path
) -> None:
    library, over = Library(tmp_path), set[str]()
    project = library.open(folder / "two_faces-frames-14.mp4")
    renders = Renders(library, Board(), ready=lambda one: one.id in over)
    project.save_preset(load_preset("brand_avatar"))
    render = renders.add(project)
    assert "--plan" not in render.command("cpu")
    assert renders._next() is None
    over.add(project.id)
    (project.folder / "plan").mkdir()
    (project.folder / "plan" / "plan.json").touch()
    assert renders._next().folder == render.folder
    words = render.command("cpu")
    assert words[words.index("--plan") + 1] == str(project.folder / "plan")


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
