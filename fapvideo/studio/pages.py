"""Pages and what they load."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import jinja2
import numpy as np
from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response, StreamingResponse

from fapvideo.errors import ReferenceImageError
from fapvideo.reference.images import read_image
from fapvideo.studio.guard import HEADERS
from fapvideo.studio.library import Project, example_clip, problem, shown
from fapvideo.studio.pictures import jpeg, resized
from fapvideo.studio.renders import Render
from fapvideo.studio.server import studio_of
from fapvideo.studio.view import clip_view, page_facts
from fapvideo.studio.words import say, words

THUMBNAIL_PX = 240
NO_PICTURE = 160
TICK_S = 0.2
"""Between looks for changes."""
QUIET_S = 15.0
"""After which a page that hears nothing is told that the studio is there."""
FOREVER = {"cache-control": "private, max-age=31536000, immutable"}


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(_template),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _template(name: str) -> str:
    return (resources.files("fapvideo.studio") / "templates" / name).read_text("utf-8")


def as_json(value: Any) -> Markup:
    """Return JSON for a script element: nothing in it can end the element."""
    text = json.dumps(value).replace("<", "\\u003c").replace("&", "\\u0026")
    return Markup(text)


def page(name: str, code: int = 200, **values: Any) -> HTMLResponse:
    """Return a page."""
    text = words()
    html = (
        _environment()
        .get_template(name)
        .render(w=text, words_json=as_json(text["script"]), **values)
    )
    return HTMLResponse(html, code)


def failed(request: Request, error: Exception) -> Response:
    """Show what went wrong with a page."""
    return page("problem.html", 422, token="", **problem(error))


def missing(request: Request, error: Exception) -> Response:
    """Say that there is no such page."""
    return page("problem.html", 404, token="", message=say("page.missing"), hint="")


def project_of(request: Request) -> Project:
    """Return the clip of an address.

    Raises:
        HTTPException: there is none.
    """
    found = studio_of(request).library.project(request.path_params["clip"])
    if found is None:
        raise HTTPException(404)
    return found


def render_of(request: Request) -> Render:
    """Return the render of an address.

    Raises:
        HTTPException: there is none.
    """
    found = studio_of(request).renders.find(project_of(request), request.path_params["number"])
    if found is None:
        raise HTTPException(404)
    return found


def home(request: Request) -> Response:
    """Show what there is to open."""
    studio = studio_of(request)
    opened = studio.library.projects()
    sources = {project.source for project in opened}
    return page(
        "home.html",
        token=studio.token,
        folder=shown(str(studio.library.folder)),
        videos=[shown(path.name) for path in studio.library.videos() if path not in sources],
        opened=opened,
        example=example_clip() is not None,
        most=studio.most_bytes,
        statuses={one.id: latest_status(studio.renders.all(one)) for one in opened},
    )


def latest_status(renders: Sequence[Render]) -> str:
    """Return what becomes of the latest render of a clip; empty where there is none."""
    return str(renders[0].state()["status"]) if renders else ""


def clip(request: Request) -> Response:
    """Show a clip."""
    studio, project = studio_of(request), project_of(request)
    facts = page_facts(project)
    studio.following.retry(project)
    state = {"clip": clip_view(studio, project), "renders": renders_view(request, project)}
    return page(
        "clip.html", project=project, token=studio.token, facts=as_json(facts), state=as_json(state)
    )


def renders_view(request: Request, project: Project) -> list[dict[str, Any]]:
    """Return the renders of a clip as its page shows them."""
    return [one.view() for one in studio_of(request).renders.all(project)]


def video(request: Request) -> Response:
    """Return the clip's file, or the stretch of it that a player asks for."""
    path = project_of(request).source
    if not path.is_file():
        raise HTTPException(404)
    return FileResponse(path, headers={"cache-control": "private, no-cache"})


def face(request: Request) -> Response:
    """Return a picture of a person."""
    name = request.path_params["name"]
    path = project_of(request).folder / "people" / f"{name}.jpg"
    if not name.replace("-", "").isdecimal() or not path.is_file():
        raise HTTPException(404)
    return FileResponse(path)


def photo(request: Request) -> Response:
    """Return a photo of the shelf, small."""
    project = project_of(request)
    found = studio_of(request).library.photos(project).get(request.path_params["name"])
    if found is None:
        raise HTTPException(404)
    path = Path(found.path)
    try:
        small = _thumbnail(path, path.stat().st_mtime)
    except (ReferenceImageError, OSError):  # the shelf says why
        small = jpeg(np.full((8, 8, 3), NO_PICTURE, np.uint8))
    return Response(small, media_type="image/jpeg")


@cache
def _thumbnail(path: Path, changed: float) -> bytes:
    return jpeg(resized(read_image(path)[0], THUMBNAIL_PX, THUMBNAIL_PX))


def painted(request: Request) -> Response:
    """Return a picture that was painted."""
    data = studio_of(request).shown.get(request.path_params["name"])
    if data is None:
        raise HTTPException(404)
    return Response(data, media_type="image/jpeg", headers=FOREVER)


def download(request: Request) -> Response:
    """Return a file that a render has made; with `?show` to be looked at."""
    render, name = render_of(request), request.path_params["name"]
    if name not in {file["name"] for file in render.files()}:
        raise HTTPException(404)
    shown = "show" in request.query_params
    kind = "inline" if shown else "attachment"
    return FileResponse(render.folder / name, filename=name, content_disposition_type=kind)


def report(request: Request) -> Response:
    """Return the page about a render; it has a policy of its own."""
    path = render_of(request).report
    if not path.is_file():
        raise HTTPException(404)
    policy = {"content-security-policy": "frame-ancestors 'none'"}
    return FileResponse(path, media_type="text/html", headers={**HEADERS, **policy})


def static(request: Request) -> Response:
    """Return one of the studio's own files."""
    kinds = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    folder = resources.files("fapvideo.studio") / "static"
    names = {item.name for item in folder.iterdir()}
    name = request.path_params["name"]
    if name not in names:
        raise HTTPException(404)
    text = (folder / name).read_bytes()
    return Response(text, media_type=kinds[Path(name).suffix])


async def events(request: Request) -> Response:
    """Tell the page of a clip what changes, as long as it listens."""
    project = project_of(request)
    studio = studio_of(request)

    def parts() -> dict[str, str]:
        return {
            "clip": json.dumps(clip_view(studio, project)),
            "renders": json.dumps(renders_view(request, project)),
        }

    async def lines() -> AsyncIterator[str]:
        seen, told, quiet = -1, dict[str, str](), 0.0
        yield "retry: 1000\n\n"
        while not studio.board.closing:
            count = studio.board.count(project.id)
            if count != seen:
                seen, quiet = count, 0.0
                for name, text in (await anyio.to_thread.run_sync(parts)).items():
                    if told.get(name) != text:
                        told[name] = text
                        yield f"id: {count}\nevent: {name}\ndata: {text}\n\n"
            quiet += TICK_S
            if quiet > QUIET_S:
                quiet = 0.0
                yield ": here\n\n"
            await anyio.sleep(TICK_S)

    return StreamingResponse(lines(), media_type="text/event-stream")
