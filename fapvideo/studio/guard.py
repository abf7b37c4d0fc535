"""Who may talk to the studio: whoever was given its address, from a page of its own."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import TYPE_CHECKING

from starlette.datastructures import URL, Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse

from fapvideo.studio.words import say

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN_HEADER = "x-studio-token"
"""Of every request that changes something: a cookie alone is sent by pages of other ports, too."""
HEADERS: Mapping[str, str] = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data: blob:; media-src 'self' blob:; connect-src 'self'; font-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Guard:
    """Lets requests with the token through; the address that is opened sets it as a cookie."""

    def __init__(self, app: ASGIApp, token: str, names: frozenset[str]) -> None:
        """Stand before `app`.

        Args:
            app: what is guarded.
            token: the secret.
            names: of the hosts that it answers for; empty: whatever it is called.
        """
        self._app, self._token, self._names = app, token, names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        refused = self._refused(request)
        if refused:
            await PlainTextResponse(refused, 403, dict(HEADERS))(scope, receive, send)
        elif "token" in request.query_params:
            response = RedirectResponse(request.url.path, 303, dict(HEADERS))
            response.set_cookie(
                self._cookie(request.url), self._token, httponly=True, samesite="strict"
            )
            await response(scope, receive, send)
        else:
            await self._app(scope, receive, _with_headers(send))

    def _refused(self, request: Request) -> str:
        """Return why a request is refused; empty where it is not."""
        host = request.url.hostname or ""
        if self._names and host not in self._names:
            return say("guard.host")
        given = request.query_params.get("token") or request.cookies.get(
            self._cookie(request.url), ""
        )
        if not self._is_token(given):
            return say("guard.token")
        if request.method not in ("GET", "HEAD"):
            origin = request.headers.get("origin")
            own = f"{request.url.scheme}://{request.url.netloc}"
            if not self._is_token(_sent(request.headers)) or origin not in (None, own):
                return say("guard.page")
        return ""

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._token.encode())

    @staticmethod
    def _cookie(url: URL) -> str:
        """Return the cookie's name; cookies are shared by all ports of a host."""
        return f"fapvideo-studio-{url.port or 80}"


def _sent(headers: Headers) -> str:
    return headers.get(TOKEN_HEADER, "")


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                if name not in headers:
                    headers[name] = value
            headers.setdefault("cache-control", "no-store")
        await send(message)

    return sending
