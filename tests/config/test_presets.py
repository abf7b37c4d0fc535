"""Presets: every shipped one is valid, and what is wrong with one is said all at once."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from fapvideo.config import presets
from fapvideo.config.presets import (
    check_preset,
    copy_preset,
    dump_preset,
    find_preset,
    list_presets,
    load_preset,
    presets_root,
)
from fapvideo.config.schema import RunPreset
from fapvideo.errors import PresetError

SHIPPED = sorted((presets_root() / "run").glob("*.toml"))


@pytest.fixture
def portrait(tmp_path: Path) -> Path:
    path = tmp_path / "face.png"
    path.write_bytes(b"any file: presets check that it is there, not what is in it")
    return path


def write(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def test_the_promised_presets_are_shipped() -> None:
    assert {entry.name for entry in list_presets()} == {
        "anonymize",
        "anonymize_light",
        "brand_avatar",
        "eyes_only",
        "mouth_only",
        "preview",
        "published",
        "sd15",
    }
    assert all(entry.description for entry in list_presets())


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_preset_is_valid(path: Path) -> None:
    preset = load_preset(path)
    assert preset.name == path.stem
    assert preset.references, "a preset without a reference swaps nothing"
    assert preset.provenance.enabled, "every output says what it is"
    assert preset.provenance.on_failure == "stop"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_preset_states_only_differences_from_the_defaults(path: Path) -> None:
    stated = tomllib.loads(path.read_text("utf-8"))
    del stated["schema_version"], stated["references"]
    assert repeated(stated, RunPreset().model_dump(mode="json")) == []


def repeated(stated: dict[str, Any], defaults: dict[str, Any], prefix: str = "") -> list[str]:
    """Return the keys that are stated with their default value."""
    found = []
    for key, value in stated.items():
        if isinstance(value, dict):
            found += repeated(value, defaults[key], f"{prefix}{key}.")
        elif value == defaults[key]:
            found.append(f"{prefix}{key}")
    return found


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_dumped_preset_loads_to_an_equal_one(path: Path, tmp_path: Path) -> None:
    preset = load_preset(path)
    assert load_preset(write(tmp_path / "again.toml", dump_preset(preset))) == preset


def test_dumping_keeps_values_that_are_not_defaults(portrait: Path, tmp_path: Path) -> None:
    text = """
        schema_version = 1
        bundle = "./weights"
        [references]
        eyes = ["face.png", {path = "face.png", weight = 2}]
        [video]
        end_s = 2.5
        [reference]
        cache_dir = "cache"
        [guide.shape]
        nose = 0.25
    """
    preset = load_preset(write(tmp_path / "mine.toml", text))
    assert preset.name == "mine"
    assert preset.bundle == str(tmp_path / "weights")
    assert preset.reference.cache_dir == tmp_path / "cache"
    assert [source.path for source in preset.references["eyes"]] == [str(portrait)] * 2
    assert [source.weight for source in preset.references["eyes"]] == [1.0, 2.0]
    assert load_preset(write(tmp_path / "mine2.toml", dump_preset(preset))) == preset


def test_people_are_read_and_written(portrait: Path, tmp_path: Path) -> None:
    text = """
        [references]
        nose = "face.png"
        [[people]]
        who = {photo = "face.png"}
        strength = 0.5
        [people.references]
        eyes = ["face.png"]
        mouth = [{path = "face.png", weight = 0.7}]
        [people.parts]
        mouth = {strength = 0.25, expression = 1.5}
        [[people]]
        who = {left = 2}
        seed = 3
        parts.nose.strength = 0.5
        [[people]]
        who = {everyone_else = true}
        keep = true
    """
    preset = load_preset(write(tmp_path / "mine.toml", text))
    anna, second, others = preset.people
    assert (anna.who.photo, anna.strength) == (str(portrait), 0.5)
    assert [source.path for source in anna.references["eyes"]] == [str(portrait)]
    assert anna.references["mouth"][0].weight == 0.7
    assert (anna.parts["mouth"].strength, anna.parts["mouth"].expression) == (0.25, 1.5)
    assert (second.parts["nose"].strength, second.parts["nose"].expression) == (0.5, None)
    assert (second.who.left, second.seed, second.references) == (2, 3, {})
    assert others.keep
    assert [str(one.who) for one in preset.people[1:]] == ["left 2", "everyone_else"]
    assert load_preset(write(tmp_path / "mine2.toml", dump_preset(preset))) == preset


def test_what_is_wrong_with_people_is_said(tmp_path: Path) -> None:
    text = """
        [[people]]
        who = {photo = "gone.png"}
        [people.references]
        eyes = "missing.png"
        [[people]]
        who = {left = 1, largest = true}
        [[people]]
        who = {}
        [[people]]
        who = {left = 0}
        strength = 2
        [[people]]
        who = {largest = true}
        keep = true
        references = {eyes = "missing.png"}
    """
    with pytest.raises(PresetError) as caught:
        load_preset(write(tmp_path / "bad.toml", text))
    for expected in (
        f"people.0.who.photo: photo not found: {tmp_path / 'gone.png'}",
        f"people.0.references.eyes: reference image not found: {tmp_path / 'missing.png'}",
        "people.1.who: say in exactly one way who is meant: photo, left, track, largest or "
        "everyone_else; there are left and largest",
        "people.2.who: say in exactly one way who is meant",
        "people.3.who.left: should be greater than or equal to 1",
        "people.3.strength: should be less than or equal to 1",
        "people.4: a person with keep = true is left alone",
    ):
        assert expected in str(caught.value), expected
    for text, expected in (
        ("[[people]]\nwho = {left = 1}", "people.0 (left 1) has no references"),
        ("[[people]]\nwho = {everyone_else = true}\nkeep = true\n" * 2, "one everyone_else only"),
        (
            '[references]\neyes = "pkg:brand_face.png"\n[[people]]\nwho = {left = 1}\n'
            "parts.nose.strength = 0.5",
            "people.0.parts.nose: there is no reference for the nose",
        ),
        (
            "[[people]]\nwho = {left = 1}\nkeep = true\nparts.nose.strength = 0.5",
            "leave out the parts",
        ),
        ("[[people]]\nwho = {left = 1}\nparts.eyes.strength = 2", "people.0.parts.eyes.strength"),
    ):
        with pytest.raises(PresetError) as caught:
            load_preset(write(tmp_path / "bad.toml", text))
        assert expected in str(caught.value)


def test_naming_the_table_of_references_takes_its_place(portrait: Path, tmp_path: Path) -> None:
    """One part's reference brings no other part along."""
    path = write(tmp_path / "mine.toml", '[references]\neyes = "face.png"\nnose = "face.png"\n')
    assert set(load_preset(path, {"references": {"mouth": [str(portrait)]}}).references) == {
        "mouth"
    }
    added = load_preset(path, {"references.mouth": [str(portrait)]})
    assert set(added.references) == {"eyes", "nose", "mouth"}


def test_everything_wrong_is_reported_at_once(tmp_path: Path) -> None:
    text = """
        schema_version = 2
        bundel = "embedded"
        seed = "3"
        [references]
        eyess = "a.png"
        mouth = ["missing.png", {path = "gone.png", weight = -1}]
        [denoise]
        stps = 3
        steps = 0
        sampler = "ddin"
        batch_size = true
        [video]
        smooth_s = 0.2
    """
    with pytest.raises(PresetError) as caught:
        load_preset(write(tmp_path / "bad.toml", text))
    message = str(caught.value)
    assert "bad.toml: 13 problems" in message
    for expected in (
        "schema_version: should be 1 (got 2)",
        "bundel: unknown key, did you mean bundle?",
        "seed: should be a valid integer (got '3')",
        "references.eyess: should be 'eyes', 'brows', 'nose', 'mouth' or 'face', "
        "did you mean eyes?",
        f"references.eyess: reference image not found: {tmp_path / 'a.png'}",
        f"references.mouth.0: reference image not found: {tmp_path / 'missing.png'}",
        f"references.mouth.1: reference image not found: {tmp_path / 'gone.png'}",
        "references.mouth.1.weight: should be greater than 0 (got -1)",
        "denoise.stps: unknown key, did you mean denoise.steps?",
        "denoise.steps: should be greater than or equal to 1 (got 0)",
        "denoise.sampler: should be 'flow', 'ddim', ",
        "did you mean ddim? (got 'ddin')",
        "denoise.batch_size: should be a valid integer (got True)",
        "video.smooth_s: unknown key, did you mean track.smooth_s?",
    ):
        assert expected in message
    assert caught.value.exit_code == 2
    assert caught.value.hint


def test_a_single_problem_is_one_line(tmp_path: Path) -> None:
    path = write(tmp_path / "bad.toml", "[video]\nstart_s = 3\nend_s = 2.0\n")
    with pytest.raises(PresetError, match=r"bad\.toml: video: end_s 2\.0 is not after") as caught:
        load_preset(path)
    assert "\n" not in str(caught.value)
    assert [str(problem) for problem in check_preset(path)] == [
        "video: end_s 2.0 is not after start_s 3.0"
    ]


@pytest.mark.parametrize(
    ("content", "message"), [(b"a = = 1", "line 1, column 5"), (b"\xff\xfe", "not valid TOML")]
)
def test_what_is_not_toml_is_said_with_its_place(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(PresetError, match=message):
        load_preset(path)


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(PresetError, match="did you mean mouth_only") as caught:
        find_preset("mouth_onli")
    assert "brand_avatar" in caught.value.hint
    with pytest.raises(PresetError, match=r"preset file not found: nowhere/x\.toml"):
        find_preset("nowhere/x.toml")


def test_an_override_wins_and_is_validated_with_the_rest(portrait: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "mine.toml", 'references = {eyes = "face.png"}\n[mask]\ndilate = 2.0\n')
    overrides = {"denoise.steps": 12, "mask": {"dilate": 0.1}, "references.mouth": [str(portrait)]}
    preset = load_preset(path, overrides)
    assert preset.denoise.steps == 12
    assert preset.mask.dilate == 0.1
    assert set(preset.references) == {"eyes", "mouth"}
    with pytest.raises(PresetError) as caught:
        load_preset(path, {"denoise.step": 12})
    assert "denoise.step: unknown key, did you mean denoise.steps?" in str(caught.value)
    assert "mask.dilate: should be less than or equal to 0.5 (got 2.0)" in str(caught.value)


def test_relative_paths_start_at_the_preset_and_for_overrides_at_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
        (folder / "a.png").touch()
    path = write(there / "p.toml", '[references]\neyes = "a.png"\nnose = "a.png"\n')
    monkeypatch.chdir(here)
    preset = load_preset(path, {"references.nose": "a.png"})
    assert preset.references["eyes"][0].path == str(there / "a.png")
    assert preset.references["nose"][0].path == str(here / "a.png")


def test_model_files_start_at_the_preset_and_must_be_there(tmp_path: Path) -> None:
    text = '[denoise]\ncodec_file = "taesd.safetensors"\nlora_file = "lora.safetensors"\n'
    path = write(tmp_path / "p.toml", text)
    with pytest.raises(PresetError) as caught:
        load_preset(path)
    for key in ("codec_file: file not found", "lora_file: file not found"):
        assert f"denoise.{key}: {tmp_path}" in str(caught.value)
    (tmp_path / "taesd.safetensors").touch()
    (tmp_path / "lora.safetensors").touch()
    denoise = load_preset(path).denoise
    assert denoise.codec_file == tmp_path / "taesd.safetensors"
    assert denoise.lora_file == tmp_path / "lora.safetensors"


def test_packaged_references_and_presets_made_in_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presets, "ASSETS", tmp_path)
    (tmp_path / "brand.png").touch()
    made = RunPreset.model_validate({"name": "made", "references": {"eyes": "pkg:brand.png"}})
    assert load_preset(made).references["eyes"][0].path == str(tmp_path / "brand.png")
    with pytest.raises(PresetError, match=r"preset made: track\.faces: should match pattern"):
        load_preset(made, {"track.faces": "biggest"})


def test_copying_keeps_the_comments_and_never_overwrites(tmp_path: Path) -> None:
    copied = copy_preset("mouth_only", tmp_path)
    assert copied == tmp_path / "mouth_only.toml"
    assert copied.read_bytes() == find_preset("mouth_only").read_bytes()
    copied.write_text("mine", "utf-8")
    with pytest.raises(PresetError, match="already exists"):
        copy_preset("mouth_only", tmp_path)
    assert copied.read_text("utf-8") == "mine"
    copy_preset("mouth_only", copied, overwrite=True)
    assert copied.read_bytes() == find_preset("mouth_only").read_bytes()
    with pytest.raises(PresetError, match="cannot write"):
        copy_preset("mouth_only", tmp_path / "no" / "folder.toml")


def test_spans_hold_other_settings_and_survive_a_dump(portrait: Path, tmp_path: Path) -> None:
    text = """
        [references]
        eyes = "face.png"
        [guide.shape]
        nose = 0.25
        [[spans]]
        from = 1.2
        to = 3.4
        mask = {max_yaw_deg = 30, policy = "hold"}
        guide.shape.eyes = 0.5
        [[spans]]
        from = 4
        to = 5
        composite = {opacity = 0.5}
    """
    preset = load_preset(write(tmp_path / "mine.toml", text))
    first, second = (preset.within(span) for span in preset.spans)
    assert (first.mask.max_yaw_deg, first.mask.policy, first.composite.opacity) == (30, "hold", 1)
    assert (first.guide.shape.eyes, first.guide.shape.nose) == (0.5, 0.25), "what is not said stays"
    assert (second.mask, second.composite.opacity) == (preset.mask, 0.5)
    assert load_preset(write(tmp_path / "again.toml", dump_preset(preset))) == preset


@pytest.mark.parametrize(
    ("span", "said"),
    [
        ("from = 2\nto = 1", "to 1 is not after 2"),
        ("from = 0\nto = 9\n[[spans]]\nfrom = 8\nto = 10", "spans.1 begins at 8, before another"),
        ("from = 0\nto = 9\nmask = {nose = 1}", "spans.0: mask.nose"),
        ("from = 0\nto = 9\nmask = {policy = 'wait'}", "spans.0: mask.policy"),
        ("from = 0\nto = 9\ncomposite = {max_size = 128}", "composite.max_size cannot change"),
        ("from = 0\nto = 9\ndenoise = {mode = 'published'}", "for a stretch only"),
        ("to = 9", "spans.0.from"),
    ],
)
def test_a_span_that_makes_no_sense_is_refused(
    portrait: Path, tmp_path: Path, span: str, said: str
) -> None:
    path = write(tmp_path / "mine.toml", f"[references]\neyes = 'face.png'\n[[spans]]\n{span}\n")
    with pytest.raises(PresetError, match=re.escape(said)):
        load_preset(path)
