"""The report's files: names are never markup, nothing is loaded, pictures are true."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import report_material as material
from report_material import BAD, CLIP, FRAMES, HOSTILE, OTHER, PHOTOS

from fapvideo.errors import PresetError, VideoReadError
from fapvideo.evaluation.report import page as page_module
from fapvideo.evaluation.report.record import read_report
from fapvideo.structs import Bytes


class Parsed(HTMLParser):
    """Collects elements, and the text of each kind of them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in {"meta", "link", "img", "input"}:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        for tag in self._open[-1:]:
            self.texts.setdefault(tag, []).append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the report with everything in it."""
    return material.write_report(tmp_path_factory.mktemp("report") / "made")


@pytest.fixture(scope="module")
def page(written: Path) -> Parsed:
    return Parsed(written.read_text("utf-8"))


@pytest.fixture(scope="module")
def data(page: Parsed) -> dict[str, Any]:
    return script_data(page)


def script_data(page: Parsed) -> dict[str, Any]:
    """Return what the page's script works on."""
    return json.loads(next(text for text in page.texts["script"] if text.startswith("{")))


def picture(uri: str) -> Bytes:
    """Decode a picture's data URI to RGB."""
    kind, _, coded = uri.partition(";base64,")
    assert kind == "data:image/webp"
    bgr = cv2.imdecode(np.frombuffer(base64.b64decode(coded), np.uint8), cv2.IMREAD_COLOR)
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def reds(rgb: Bytes) -> int:
    """Count pixels of the colour that frame `BAD` was painted with."""
    return int((np.abs(rgb.astype(int) - material.PAINTED).max(axis=2) < 40).sum())


# -------------------------------------------------------------------------------- the file


def test_it_is_one_file_that_loads_nothing(written: Path, page: Parsed) -> None:
    addresses = [
        value
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name in {"src", "href", "srcset", "poster", "action", "data"} and value is not None
    ]
    assert addresses
    assert not [a for a in addresses if not a.startswith(("data:", "#"))]
    text = written.read_text("utf-8")
    assert set(re.findall(r"https?://[\w./]+", text)) <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"@import|url\(", text)
    assert sorted(path.name for path in written.parent.iterdir()) == [
        "index.html",
        "report.json",
        "report.md",
    ]


def test_the_policy_lets_only_the_pages_own_script_and_style_in(page: Parsed) -> None:
    policy = next(
        meta["content"] or ""
        for meta in page.all("meta")
        if meta.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    allowed = set(re.findall(r"'sha256-([^']+)'", policy))
    script = next(text for text in page.texts["script"] if not text.startswith("{"))
    for text in (script, *page.texts["style"]):
        assert base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() in allowed
    assert not [a for _, a in page.elements if "style" in a], "the policy would drop it"


def test_names_are_never_markup(page: Parsed, data: dict[str, Any]) -> None:
    assert len(page.all("script")) == 2
    assert not [a for _, a in page.elements if any(name.startswith("on") for name in a)]
    assert not [image for image in page.all("img") if image["src"] == "x"]
    headings = "".join(page.texts["h1"] + page.texts["h2"])
    assert f"Report {HOSTILE}" in headings
    assert CLIP in headings
    assert any(HOSTILE in text for text in page.texts["code"])
    assert any(HOSTILE in text for text in page.texts["span"]), "the suspect's reason"
    assert set(data["colours"]) == {"ours", OTHER}


def test_every_picture_says_what_it_is(page: Parsed) -> None:
    images = page.all("img")
    assert len(images) == 3 * 10 + 2 * 3  # film strips: source and systems
    assert all(image["alt"] for image in images)
    (video,) = page.all("video")
    assert "muted" in video
    assert "controls" in video
    assert "loop" in video


@pytest.mark.slow
def test_the_page_stays_small_the_suspects_stay_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: dict[str, Any]
) -> None:
    limit = 280_000
    monkeypatch.setattr(page_module, "PAGE_BYTES", limit)  # less than the fewest strips take
    small = material.write_report(tmp_path)
    assert small.stat().st_size <= limit
    strips = script_data(Parsed(small.read_text("utf-8")))["clips"][0]["strips"]
    assert str(BAD) in strips
    assert len(strips) < len(data["clips"][0]["strips"])


# -------------------------------------------------------------------------------- pictures


def test_a_strip_shows_before_reference_after_and_difference(data: dict[str, Any]) -> None:
    clip = data["clips"][0]
    strip = clip["strips"][str(BAD)]
    before, shot = picture(strip["before"]), strip["shots"][OTHER]
    after, heat = picture(shot["after"]), picture(shot["difference"])
    assert before.shape == after.shape == heat.shape == (256, 256, 3)
    assert reds(before) < 20
    assert reds(after) > 200
    assert shot["peak"] > 64
    mouth, corner = heat[140:190, 100:156], heat[:40, :40]
    assert np.percentile(mouth.max(axis=2), 75) > 200, "changed much: bright"
    assert corner.max() < 24, "not changed: black"
    nothing = picture(strip["shots"]["ours"]["difference"])
    assert strip["shots"]["ours"]["peak"] == 0
    assert np.median(nothing) < 8
    assert (nothing.max(axis=2) > 90).mean() < 0.03, "but for the mask's outline"
    reference = clip["references"][strip["reference"]]
    assert reference["labels"] == ["nose, mouth: brand_face.png"]
    assert picture(reference["picture"]).shape == (256, 256, 3)


def test_the_scale_rises_in_lightness_from_black(data: dict[str, Any]) -> None:
    bar = cv2.cvtColor(picture(data["scale"]["picture"]), cv2.COLOR_RGB2LAB)[4, :, 0].astype(int)
    assert bar[0] < 10
    assert bar[-1] > 240
    assert (np.diff(bar[::16]) > 0).all()
    assert data["scale"]["full"] == data["scale"]["ticks"][-1] == 64


def test_photos_keep_the_references_of_each_pair(data: dict[str, Any], page: Parsed) -> None:
    photos = data["clips"][1]
    assert photos["photos"]
    labels = [
        photos["references"][photos["strips"][str(i)]["reference"]]["labels"][0] for i in range(3)
    ]
    assert labels == ["nose: 0.png", "nose: 1.png", "nose: 2.png"]
    assert "Pairs" in page.texts["h3"]
    assert len(page.all("video")) == 1, "photos have none"


def test_the_video_shows_source_and_results_side_by_side(page: Parsed) -> None:
    (video,) = page.all("video")
    coded = (video["src"] or "").removeprefix("data:video/mp4;base64,")
    with av.open(io.BytesIO(base64.b64decode(coded))) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        frames = list(container.decode(video=0))
    assert [round(frame.time * 25) for frame in frames] == list(range(FRAMES))
    shown = frames[BAD].to_ndarray(format="rgb24")
    tiles = np.split(shown, 3, axis=1)
    assert [reds(tile) > 100 for tile in tiles] == [False, False, True]


def test_frames_without_a_face_are_shown_whole(tmp_path: Path) -> None:
    from fapvideo.evaluation.report.pictures import collect

    class Faceless(material.Photos):
        def pairs(self, result: Path) -> Any:
            for pair in super().pairs(result):
                yield material.replace(pair, faces=())

    clip = material.clip()
    faceless = Faceless(clip, clip.path, clip.parts)
    made = collect(faceless, {"a": material.result()}, [0], [0], None)
    assert made.strips[0].faces == 0
    whole = picture(made.strips[0].before)
    assert whole[:30].max() < 12, "letterboxed"
    assert whole[128].std() > 10


# ---------------------------------------------------------------------------- json and text


def test_stretches_that_fell_back_are_told_to_the_chart(data: dict[str, Any]) -> None:
    told = [clip["stretches"] for clip in data["clips"]]
    assert told == [[{"start_s": 0.04, "end_s": 0.12, "words": f"left, {material.HOSTILE}"}], []]


def test_the_json_can_be_read_again(written: Path, tmp_path: Path) -> None:
    report = read_report(written.parent)
    assert report == read_report(written.parent / "report.json")
    assert report["schema_version"] == 1
    assert [m["system"] for m in report["measurements"]] == ["ours", OTHER, "ours"]
    assert report["measurements"][1]["curves"]["seam.colour"][BAD] == 6.5
    assert report["measurements"][1]["extra"] == {"fps": None}
    assert report["thresholds"]["seam.colour"] == {"min": None, "max": 2.0}
    assert report["photos"] == [PHOTOS]
    assert report["packages"]["fapvideo"]["licence"] == "Apache-2.0"
    assert report["machine"]["cores"] >= 1
    assert "NaN" not in (written.parent / "report.json").read_text("utf-8")
    page_module.write_page(tmp_path, material.record(), {}, report)


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (None, "No such file"),
        ("{", "not JSON"),
        ("[]", "not a report"),
        ('{"kind": "fapvideo evaluation", "schema_version": 99}', "schema version 99"),
    ],
)
def test_what_is_no_report_is_refused(tmp_path: Path, content: str | None, wrong: str) -> None:
    path = tmp_path / "report.json"
    if content is not None:
        path.write_text(content, "utf-8")
    with pytest.raises(PresetError, match=wrong):
        read_report(path)


def test_the_markdown_has_tables_suspects_and_notes(written: Path) -> None:
    lines = (written.parent / "report.md").read_text("utf-8").splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len({row.replace("\\|", "").count("|") for row in rows}) == 1
    assert any("**0.50** (−0.40)" in row for row in rows), "the best, and its change"
    assert any("2.50 (!)" in row for row in rows), "misses its threshold"
    assert any(line.startswith("- 0:00.28 · frame 7, ") for line in lines)
    assert "- note: FID: no weights" in lines, "what all say is said once"
    assert not [line for line in lines if re.search(r"(?<!\\)<", line) and line[0] != " "]


def test_nothing_is_written_if_a_result_cannot_be_read(tmp_path: Path) -> None:
    gone = [material.replace(m, result=str(tmp_path / "gone.mkv")) for m in material.measurements()]
    record = material.replace(material.record(), measurements=gone)
    with pytest.raises(VideoReadError, match=r"gone\.mkv"):
        page_module.write_page(tmp_path / "made", record, {CLIP: material.clip()})
    assert not (tmp_path / "made").exists()


def test_clips_without_material_have_numbers_and_curves(tmp_path: Path) -> None:
    written = page_module.write_page(tmp_path, material.record(), {})
    page = Parsed(written.read_text("utf-8"))
    assert page.all("img") == []
    assert page.all("video") == []
    assert script_data(page)["clips"][0]["curves"][0]["values"][OTHER][BAD] == 6.5
