"""The studio: everything that works in it, its addresses, and the server that answers."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fapvideo.errors import FapVideoError
from fapvideo.studio.board import Board
from fapvideo.studio.following import Following
from fapvideo.studio.library import FIRST_PRESET, Library, Project
from fapvideo.studio.painting import Painting
from fapvideo.studio.pictures import Shown
from fapvideo.studio.renders import Renders
from fapvideo.studio.uploads import CLIP_BYTES
from fapvideo.video.probe import probe

if TYPE_CHECKING:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
STARTS_S, ENDS_S = 20.0, 60.0
"""How long the server, and the threads at their end, are waited for: Python must not end while
networks are being loaded."""


class Studio:
    """One folder, three workers, and what pages have to know."""

    def __init__(
        self,
        folder: Path,
        preset: str = FIRST_PRESET,
        device: str = "auto",
        most_bytes: int = CLIP_BYTES,
    ) -> None:
        """Use `folder`, which exists.

        Args:
            folder: of clips and photos; the studio's own folder is made in it.
            preset: that clips begin from.
            device: for networks.
            most_bytes: of an uploaded clip.
        """
        self.token = secrets.token_urlsafe(24)
        self.library, self.board, self.shown = Library(folder, preset), Board(), Shown()
        self.most_bytes = most_bytes
        self.changing = threading.Lock()
        """Held while a preset is read, changed and written."""
        self.following = Following(self.library, self.board)
        self.painting = Painting(self.following, self.shown, preset, device)
        self.renders = Renders(self.library, self.board, device, self.following.is_over)

    def start(self) -> None:
        """Let the workers begin."""
        for worker in (self.painting, self.following, self.renders):
            worker.start()

    def open(self, source: Path) -> Project:
        """Open a clip, and begin to follow who is in it.

        Raises:
            VideoReadError: it is no video.
        """
        probe(source)
        project = self.library.open(source)
        self.following.of(project)
        return project

    def close(self) -> None:
        """Stop the workers; renders stop, and can be resumed."""
        self.board.closing = True
        self.following.stop()
        for worker in (self.renders, self.painting, self.following):  # painting uses its clips
            worker.close()
            if worker.is_alive():
                worker.join(ENDS_S)


def studio_of(request: Request) -> Studio:
    """Return the studio that a request is for."""
    studio = request.app.state.studio
    assert isinstance(studio, Studio)
    return studio


def application(studio: Studio, names: frozenset[str] = LOOPBACK) -> Starlette:
    """Return what answers requests.

    Args:
        studio: whose pages.
        names: hosts under which it is reached; empty: any.
    """
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.routing import Route

    from fapvideo.studio import actions, pages
    from fapvideo.studio.guard import Guard

    render = "/clip/{clip}/render/{number}"
    routes = [
        Route("/", pages.home),
        Route("/static/{name}", pages.static),
        Route("/painted/{name}", pages.painted),
        Route("/open", actions.open_clip, methods=["POST"]),
        Route("/upload", actions.upload_clip, methods=["POST"]),
        Route("/clip/{clip}", pages.clip),
        Route("/clip/{clip}/video", pages.video),
        Route("/clip/{clip}/events", pages.events),
        Route("/clip/{clip}/face/{name}", pages.face),
        Route("/clip/{clip}/photo/{name}", pages.photo),
        Route("/clip/{clip}/photo", actions.upload_photo, methods=["POST"]),
        Route("/clip/{clip}/consent", actions.upload_document, methods=["POST"]),
        Route("/clip/{clip}/change", actions.change, methods=["POST"]),
        Route("/clip/{clip}/look", actions.look),
        Route("/clip/{clip}/render", actions.add_render, methods=["POST"]),
        Route(render, actions.change_render, methods=["POST"]),
        Route(render + "/report", pages.report),
        Route(render + "/file/{name}", pages.download),
    ]
    guard = Middleware(Guard, token=studio.token, names=names)
    told: Mapping[Any, Any] = {FapVideoError: pages.failed, 404: pages.missing}
    app = Starlette(routes=routes, middleware=[guard], exception_handlers=told)
    app.state.studio = studio
    return app


class Serving:
    """A studio with its server, in a thread of its own: signals stay the program's."""

    def __init__(self, studio: Studio, host: str = "127.0.0.1", port: int = 0) -> None:
        """Answer on `host` and `port`; port 0 takes any that is free."""
        import uvicorn

        names = LOOPBACK if host in LOOPBACK else frozenset[str]()
        config = uvicorn.Config(
            application(studio, names),
            host=host,
            port=port,
            log_level="critical",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        self._studio, self._host = studio, host
        self._server: uvicorn.Server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, name="server", daemon=True)

    def start(self) -> str:
        """Begin to answer; return the address to open, with the token.

        Raises:
            OSError: the address cannot be had.
        """
        self._studio.start()
        self._thread.start()
        waited = threading.Event()
        for _ in range(int(STARTS_S / 0.05)):
            if self._server.started or not self._thread.is_alive():
                break
            waited.wait(0.05)
        if not self._server.started:
            self._studio.close()
            raise OSError(f"cannot answer on {self._host}:{self._server.config.port}")
        port = self._server.servers[0].sockets[0].getsockname()[1]
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{port}/?token={self._studio.token}"

    @property
    def alive(self) -> bool:
        """Whether it answers."""
        return self._thread.is_alive()

    def close(self) -> None:
        """End the server and the workers."""
        self._studio.close()
        self._server.should_exit = True
        self._thread.join(ENDS_S)
