"""What the page of a clip shows, as plain JSON types."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fapvideo.config.bundle import load_manifest
from fapvideo.config.presets import dump_preset, list_presets, packaged_licence
from fapvideo.config.schema import RunPreset
from fapvideo.config.trust import load_site
from fapvideo.errors import ConsentError, FapVideoError
from fapvideo.parts import PARTS, TRAINED
from fapvideo.studio import changes
from fapvideo.studio.library import Photo, Project, problem, shown
from fapvideo.studio.words import say
from fapvideo.trust.consent import check_consent
from fapvideo.trust.licences import is_commercial
from fapvideo.video.probe import probe
from fapvideo.weights.bundle import bundle_folder

if TYPE_CHECKING:
    from fapvideo.plan.targets import Plan
    from fapvideo.studio.server import Studio


def clip_view(studio: Studio, project: Project) -> dict[str, Any]:
    """Return everything about a clip but its renders."""
    known = studio.following.of(project)
    photos = studio.library.photos(project)
    try:
        preset, gone = project.preset_and_gone()
    except FapVideoError as error:
        return {"problem": problem(error)}
    plan = None if known.clip is None else known.clip.plan
    found = project.read("scan.json") or {}
    return {
        "following": {"stage": known.stage, "done": known.done, "total": known.total},
        "problem": known.problem or None,
        "followed": plan is not None,
        "scan": {
            "spans": found.get("spans", []),
            "cuts_s": found.get("cuts_s", []),
            "warnings": found.get("warnings", []),
            "helps": bool(found.get("toml")),
        },
        "duration_s": found.get("duration_s", 0.0),
        "photos": [
            {"id": one.id, "name": one.name, "licence": _licence(one.path, preset)}
            for one in photos.values()
        ],
        "ranking": (project.read("ranking.json") or {}).get("people", {}),
        "people": _people(project, preset, plan, photos),
        "values": {key: changes.value_of(preset, key) for key in changes.SLIDERS},
        "spans": len(preset.spans),
        "trust": _trust(preset, project.source.name),
        "command": shown(changes.command_line(project.source.absolute(), preset)),
        "toml": dump_preset(preset, differences=True),
        "preset": preset.name,
        "gone": gone,
    }


def _people(
    project: Project, preset: RunPreset, plan: Plan | None, photos: Mapping[str, Photo]
) -> dict[str, Any]:
    """Return the cards, and what everyone else does."""
    rows = project.read("people.json") or []
    if plan is None:
        return {"known": [], "everyone": None, "rows": len(rows)}
    ids = {photo.path: photo for photo in photos.values()}
    try:
        cast, others = changes.cast_of(preset, plan)
    except FapVideoError as error:
        return {"known": [], "everyone": None, "problem": problem(error)}
    by_person = {one["who"]["track"]: one for one in cast}
    cards = [
        {
            **{key: row[key] for key in ("id", "number", "spans", "facts", "against", "pictures",
                                         "times", "protected")},
            **_given(by_person.get(row["id"], others or {}), ids),
            "explicit": row["id"] in by_person,
        }
        for row in rows
    ]  # fmt: skip
    return {"known": cards, "everyone": _given(others or {}, ids)}


def _given(entry: Mapping[str, Any], photos: Mapping[str, Photo]) -> dict[str, Any]:
    """Return what somebody gets: part -> photo and its own settings; strength, keep."""
    slots = {}
    for part, sources in (entry.get("references") or {}).items():
        path = sources[0]["path"]
        photo = photos.get(path)
        slots[part] = {
            "photo": photo.id if photo else "",
            "name": photo.name if photo else Path(path).name,
            "more": len(sources) - 1,
            "strength": 1.0,
            "expression": None,
            **(entry.get("parts") or {}).get(part, {}),
        }
    strength = entry.get("strength", 1.0)
    return {"slots": slots, "strength": strength, "keep": bool(entry.get("keep"))}


def _licence(path: str, preset: RunPreset) -> str:
    return changes.licences(preset).get(path) or packaged_licence(path)


def _trust(preset: RunPreset, clip: str) -> dict[str, Any]:
    """Return consent, licences and provenance, as they stand beside the render button."""
    consent = preset.consent
    used = {path: said or packaged_licence(path) for path, said in
            changes.licences(preset).items()}  # fmt: skip
    try:
        files = load_manifest(bundle_folder(preset.bundle)).files
        bundle = sorted({file.licence for file in files})
    except FapVideoError as error:
        bundle = [str(error)]
    open_questions = [
        *([say("trust.required" if load_site().require_consent else "trust.no_consent")]
          if not consent.who else _not_covered(preset, clip)),
        *([say("trust.not_commercial", name=name) for name, said in
           (*((preset.bundle, one) for one in bundle),
            *((Path(path).name, said) for path, said in used.items()))
           if not is_commercial(said)]),
    ]  # fmt: skip
    return {
        "consent": {
            "who": ", ".join(consent.who),
            "by": consent.by,
            "until": consent.until.isoformat() if consent.until else "",
            "document": consent.document.name if consent.document else "",
            "parts": list(consent.scope.parts),
            "clips": ", ".join(consent.scope.clips),
            "purpose": consent.scope.purpose,
        },
        "bundle": preset.bundle,
        "bundle_licences": bundle,
        "references": [{"name": Path(p).name, "path": p, "licence": said} for p, said in
                       used.items()],
        "signed": preset.provenance.enabled,
        "questions": open_questions,
    }  # fmt: skip


def _not_covered(preset: RunPreset, clip: str) -> list[str]:
    """Return why the consent on record does not hold for this render, if it does not."""
    tables = [preset.references, *(one.references for one in preset.people)]
    parts = [part for part in PARTS if any(part in table for table in tables)]
    consent = preset.consent
    unread = consent.model_copy(update={"document": None})  # a run reads it, and hashes it
    try:
        check_consent(unread, parts, clip, required=False, today=date.today())
    except ConsentError as error:
        return [str(error)]
    return []


def page_facts(project: Project) -> dict[str, Any]:
    """Return what of a clip's page stays the same."""
    info = probe(project.source)
    return {
        "id": project.id,
        "title": project.title,
        "fps": float(info.frame_rate),
        "duration_s": info.duration_s,
        "parts": list(TRAINED),
        "sliders": {key: changes.limits(key) for key in changes.SLIDERS},
        "presets": [[entry.name, entry.description] for entry in list_presets()],
    }
