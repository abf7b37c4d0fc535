"""What pages ask for: uploads, changes, stills, renders. Answers are JSON."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from typing import Any

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from fapvideo.config.presets import find_preset, load_preset
from fapvideo.config.schema import RunPreset
from fapvideo.errors import FapVideoError, PresetError
from fapvideo.ops.files import write_text
from fapvideo.plan.targets import Plan
from fapvideo.studio import changes
from fapvideo.studio.library import Project, check_known, example_clip, problem
from fapvideo.studio.pages import project_of, render_of
from fapvideo.studio.server import Studio, studio_of
from fapvideo.studio.uploads import (
    TooLarge,
    check_size,
    take_clip,
    take_document,
    take_photo,
)
from fapvideo.studio.view import clip_view
from fapvideo.studio.words import say

log = logging.getLogger(__name__)

Action = Callable[[Request], Awaitable[Response]]
LOOK_S = 0.02
"""Between looks at whether something is painted."""
TAB_LENGTH = 40
ASKED_BYTES = 2**20
"""Of what a page may say at once; a preset that is opened, too."""


def answered(action: Action) -> Action:
    """Make an error of ours an answer that says what is wrong and what to do."""

    @wraps(action)
    async def answering(request: Request) -> Response:
        try:
            return await action(request)
        except FapVideoError as error:
            code = 413 if isinstance(error, TooLarge) else 422
            return JSONResponse({"problem": problem(error)}, code)
        except OSError as error:  # a full disk, a folder that has gone
            log.debug("%s", request.url.path, exc_info=True)
            return JSONResponse({"problem": problem(error)}, 507)

    return answering


async def _asked(request: Request) -> dict[str, Any]:
    """Return what a page says.

    Raises:
        PresetError: it is nothing that a page of ours says.
    """
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > ASKED_BYTES:
            raise PresetError(say("change.too_much"))
    try:
        value = json.loads(body or b"{}")
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise PresetError(say("change.not_json"))
    return value


@answered
async def open_clip(request: Request) -> Response:
    """Open one of the folder's clips, or the example."""
    studio, asked = studio_of(request), await _asked(request)
    if asked.get("example"):
        path = example_clip()
        if path is None:
            raise PresetError(say("home.no_example"))
    else:
        path = check_known(str(asked.get("name", "")), studio.library.videos())
    project = await anyio.to_thread.run_sync(studio.open, path)
    return JSONResponse({"address": f"/clip/{project.id}"})


@answered
async def upload_clip(request: Request) -> Response:
    """Take a clip; its name is in the address, its bytes are the body."""
    studio, name = studio_of(request), request.query_params.get("name", "")
    announced = request.headers.get("content-length", "")
    check_size(int(announced) if announced.isdecimal() else 0, studio.most_bytes)
    project = await take_clip(studio.library, name, request.stream(), studio.most_bytes)
    return JSONResponse({"address": f"/clip/{project.id}"})


@answered
async def upload_photo(request: Request) -> Response:
    """Take a photo for the shelf of a clip."""
    studio, project = studio_of(request), project_of(request)
    await take_photo(project, request.query_params.get("name", ""), request.stream())
    studio.following.rank(project)
    studio.board.changed(project.id)
    return JSONResponse({"clip": clip_view(studio, project)})


@answered
async def upload_document(request: Request) -> Response:
    """Take a signed consent; what the form says with it makes it the preset's."""
    project, name = project_of(request), request.query_params.get("name", "")
    path = await take_document(project, name, request.stream())
    return JSONResponse({"document": path.name})


@answered
async def change(request: Request) -> Response:
    """Change what the page shows; return all that it shows then."""
    studio, project, asked = studio_of(request), project_of(request), await _asked(request)

    def changing() -> dict[str, Any]:
        with studio.changing:
            before = project.preset()
            after = _changed(studio, project, before, asked)
            project.save_preset(after)
        if (before.video, before.track) != (after.video, after.track):
            studio.following.again(project)
        studio.board.changed(project.id)
        version = studio.board.count(project.id)
        return {"clip": clip_view(studio, project), "version": version}

    return JSONResponse(await anyio.to_thread.run_sync(changing))


def _changed(
    studio: Studio, project: Project, preset: RunPreset, asked: Mapping[str, Any]
) -> RunPreset:
    """Return the preset after one change.

    Raises:
        FapVideoError: it cannot be.
    """
    if "values" in asked:
        return changes.with_values(preset, asked["values"])
    if "person" in asked:
        photos = studio.library.photos(project)
        protected = {
            str(row["id"]): row["protected"]
            for row in project.read("people.json") or []
            if row["protected"]
        }
        person, plan = str(asked["person"]), _plan(studio, project)
        return changes.recast(preset, plan, person, asked, photos, protected)
    if "consent" in asked:
        return changes.with_consent(preset, asked["consent"], project.documents())
    if "licence" in asked:
        return changes.with_licence(preset, str(asked["path"]), str(asked["licence"]))
    if "signed" in asked:
        return load_preset(preset, {"provenance.enabled": bool(asked["signed"])})
    if "spans" in asked:
        return _with_spans(project, preset, use=bool(asked["spans"]))
    if "preset" in asked:
        return load_preset(find_preset(str(asked["preset"])))
    if "toml" in asked:
        return _opened(project, str(asked["toml"]))
    raise PresetError(say("change.unknown"))


def _plan(studio: Studio, project: Project) -> Plan:
    clip = studio.following.of(project).clip
    if clip is None:
        raise PresetError(say("look.following"), hint=say("look.following_hint"))
    return clip.plan


def _with_spans(project: Project, preset: RunPreset, *, use: bool) -> RunPreset:
    """Return the preset with what `scan` suggests for stretches, or without any stretches."""
    if not use:
        return load_preset(preset, {"spans": []})
    from fapvideo.config.toml_file import parse_toml

    found = parse_toml((project.read("scan.json") or {}).get("toml", ""))
    return load_preset(preset, {"spans": found.get("spans", [])})


def _opened(project: Project, text: str) -> RunPreset:
    """Return a preset that was opened; paths in it start at the clip's folder."""
    path = project.folder / "opened.toml"
    write_text(path, text)
    try:
        return load_preset(path)
    except PresetError as error:
        raise PresetError(
            str(error).replace(str(path), say("preset.file")), hint=error.hint
        ) from None
    finally:
        path.unlink(missing_ok=True)


@answered
async def look(request: Request) -> Response:
    """Paint a still or a strip; a newer wish replaces this one."""
    studio, project = studio_of(request), project_of(request)
    kind = "strip" if request.query_params.get("kind") == "strip" else "still"
    try:
        time_s = float(request.query_params.get("time", "0"))
    except ValueError:
        raise PresetError(say("change.unknown")) from None
    tab = request.query_params.get("tab", "")[:TAB_LENGTH]
    wish = studio.painting.ask(project, kind, time_s, tab)  # type: ignore[arg-type]
    while wish.state in ("waiting", "working") and not studio.board.closing:
        if await request.is_disconnected():
            wish.give_up()
        await anyio.sleep(LOOK_S)
    if wish.state == "failed":
        return JSONResponse({"problem": wish.problem})
    if wish.state != "done":
        return JSONResponse({"replaced": True})
    return JSONResponse({"frames": wish.frames})


@answered
async def add_render(request: Request) -> Response:
    """Render what the page shows."""
    studio, project = studio_of(request), project_of(request)
    render = await anyio.to_thread.run_sync(studio.renders.add, project)
    return JSONResponse(render.view())


@answered
async def change_render(request: Request) -> Response:
    """Cancel a render, or let it go on."""
    studio, render, asked = studio_of(request), render_of(request), await _asked(request)
    action = studio.renders.cancel if asked.get("do") == "cancel" else studio.renders.resume
    await anyio.to_thread.run_sync(action, render)
    return JSONResponse(render.view())
