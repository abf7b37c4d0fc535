"""Consent and licences refuse a run before it begins, and what is allowed is recorded."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import face_clips
import pytest
from runs import BRAND, preset, research_bundle

from fapvideo.config.trust import ConsentConfig
from fapvideo.errors import ConsentError, PresetError, WeightsError
from fapvideo.run.permission import check_permission
from fapvideo.swapper import VideoSwapper
from fapvideo.trust.consent import check_consent
from fapvideo.trust.licences import is_commercial
from fapvideo.trust.verify import verify_file

ANNA: dict[str, Any] = {"who": ["Anna"], "by": "Studio", "until": "2026-12-31"}
TODAY = date(2026, 11, 27)


def checked(clip: str = "spot_1.mp4", today: date = TODAY, **changes: Any) -> dict[str, Any]:
    consent = ConsentConfig.model_validate({**ANNA, **changes})
    return check_consent(consent, ["eyes", "mouth"], clip, required=True, today=today)


def test_a_consent_that_holds_is_recorded() -> None:
    scope = {"parts": ["mouth", "eyes"], "clips": ["*.mov", "spot_?.mp4"], "purpose": "spring"}
    found = checked(scope=scope)
    assert found == {**ANNA, **scope}
    assert checked(today=date(2026, 12, 31))["by"] == "Studio", "the last day counts"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"today": date(2027, 1, 1)}, "Anna ended on 2026-12-31"),
        ({"scope": {"parts": ["mouth"]}}, "covers mouth, not eyes"),
        ({"scope": {"clips": ["film_*.mp4"]}}, "not spot_1.mp4"),
        ({"scope": {"clips": ["*"]}, "clip": ""}, None),
        ({"scope": {"clips": ["*.mp4"]}, "clip": ""}, "frames that come from no file"),
    ],
)
def test_what_a_consent_does_not_cover(changes: dict[str, Any], message: str | None) -> None:
    if message is None:
        checked(**changes)
        return
    with pytest.raises(ConsentError, match=message) as caught:
        checked(**changes)
    assert "consent" in caught.value.hint


def test_the_document_has_to_be_the_one_that_was_signed(tmp_path: Path) -> None:
    paper = tmp_path / "release.pdf"
    paper.write_bytes(b"I agree")
    digest = hashlib.sha256(b"I agree").hexdigest()
    for given in ({}, {"document_sha256": digest}):
        found = checked(document=str(paper), **given)
        assert (found["document"], found["document_sha256"]) == ("release.pdf", digest)
    paper.write_bytes(b"I agree to nothing")
    with pytest.raises(ConsentError, match=r"release\.pdf is not the document"):
        checked(document=str(paper), document_sha256=digest)


@pytest.mark.parametrize("changes", [{"who": [""]}, {"who": [" "]}, {"by": "  "}])
def test_nobodys_consent_is_none(changes: dict[str, Any]) -> None:
    given = {"who": ["Anna"], "by": "Studio", "until": "2027-01-01"}
    with pytest.raises(ValueError, match=r"at least 1 character|needs who, by and until"):
        ConsentConfig.model_validate({**given, **changes})


def test_half_a_consent_is_a_wrong_preset() -> None:
    for wrong in ({"who": ["Anna"]}, {"by": "Studio", "until": "2026-12-31"}):
        with pytest.raises(ValueError, match="a consent needs who"):
            preset(consent=wrong)


@pytest.mark.parametrize(
    ("licence", "free"),
    [
        ("MIT", True),
        ("Apache-2.0 (random weights)", True),
        ("creativeml-openrail-m", True),
        ("CC-BY-4.0", True),
        ("own", True),
        ("MIT; weights trained by torchvision (BSD-3-Clause) on ImageNet", True),
        ("CC-BY-NC-4.0", False),
        ("CelebA: non-commercial research only; MIT code", False),
        ("none stated: the authors' repository carries no licence", False),
        ("", False),
        ("permission by letter", False),
    ],
)
def test_which_licences_allow_commercial_use(licence: str, free: bool) -> None:
    assert is_commercial(licence) == free


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a clip of six frames with a face."""
    folder = tmp_path / "source"
    folder.mkdir()
    return face_clips.face_clip(folder, "one_face", frames=6)


def test_a_run_records_consent_and_licences(source: Path, tmp_path: Path) -> None:
    wanted = preset(consent=ANNA | {"until": "2999-01-01"})
    with VideoSwapper(wanted, "cpu") as swapper:
        report = swapper.run(source, tmp_path / "o.mkv").to_dict()
    said = report["provenance"]
    assert said["signed"]
    assert said["consent"]["who"] == ["Anna"]
    assert "public domain" in said["licences"]["references"][0]
    found = verify_file(tmp_path / "o.mkv")
    assert found.sha256 == report["output"]["sha256"], "of the signed file"
    assert found.report == str(tmp_path / "o.mkv.report.json")
    assert found.run["consent"]["by"] == "Studio"
    assert found.run["parts"] == ["mouth"]
    assert found.run["references"][0]["sha256"] == report["references"][0]["sha256"]


def test_a_site_that_demands_consent(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site.toml"
    site.write_text("require_consent = true\n", "utf-8")
    monkeypatch.setenv("FAPVIDEO_SITE_CONFIG", str(site))
    with VideoSwapper(preset(), "cpu") as swapper:
        refused: list[Callable[[], Any]] = [
            lambda: swapper.run(source, tmp_path / "o.mkv"),
            lambda: list(swapper.stream(source)),
            lambda: swapper.open(source),
            lambda: swapper.preview(source, [0.0]),
        ]
        for action in refused:
            with pytest.raises(ConsentError, match="without a consent"):
                action()
        assert swapper.inspect(source)["frames"] == 6, "looking needs none"
    assert not (tmp_path / "o.mkv").exists()
    site.write_text("require_consnt = true\n", "utf-8")
    with VideoSwapper(preset(), "cpu") as swapper, pytest.raises(PresetError, match="consnt"):
        swapper.run(source, tmp_path / "o.mkv")


def test_licences_that_are_demanded(source: Path, tmp_path: Path) -> None:
    photo = shutil.copyfile(BRAND, tmp_path / "her.png")
    others, own = ({"path": str(photo), "licence": licence} for licence in ("CC-BY-NC-4.0", "own"))
    cases = ((str(photo), "nobody says"), (others, "NC"), (own, None), (BRAND, None))
    for reference, wrong in cases:
        wanted = preset(require_licence="commercial", references={"mouth": reference})
        with VideoSwapper(wanted, "cpu") as swapper:
            if wrong is None:
                swapper.run(source, tmp_path / "o.mkv", overwrite=True)
                continue
            with pytest.raises(WeightsError, match=wrong) as caught:
                swapper.run(source, tmp_path / "o.mkv")
            assert "licence" in caught.value.hint
    assert check_permission(preset(), None, (), None) == {}


@pytest.mark.slow
def test_the_guide_alone_needs_nobodys_weights(source: Path, tmp_path: Path) -> None:
    research = research_bundle(tmp_path / "research")
    wanted = {"require_licence": "commercial", "bundle": str(research)}
    with VideoSwapper(preset(**wanted, denoise={"mode": "off"}), "cpu") as swapper:
        report = swapper.run(source, tmp_path / "o.mkv").to_dict()
    assert report["provenance"]["licences"]["bundle"] == []
    painting = VideoSwapper(preset(**wanted, denoise={"mode": "guided"}), "cpu")
    with painting as swapper, pytest.raises(WeightsError, match="CelebA") as caught:
        swapper.run(source, tmp_path / "p.mkv")
    assert "denoise.mode = off" in caught.value.hint


@pytest.mark.slow
def test_the_packaged_bundle_is_for_everybody(source: Path, tmp_path: Path) -> None:
    wanted = {"require_licence": "commercial", "bundle": "embedded"}
    with VideoSwapper(preset(**wanted), "cpu") as swapper:
        swapper.run(source, tmp_path / "o.mkv")
