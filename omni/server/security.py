"""Who may talk to this server: the person who was given the link, from this machine's own page.

Three checks, on HTTP and on the WebSocket alike:

- **Host** must be a name this server goes by. A page of another site that points its own name at
  127.0.0.1 (DNS rebinding) sends its own name and is refused.
- **Origin**, where a browser sends one, must be this server. Requests that change something and carry
  no Origin (so: no browser) need the token itself; the cookie is not enough.
- **Token**: made anew at each run and part of the link that is printed, behind the `#`, which browsers
  neither send nor log. The page trades it once for a cookie (HttpOnly, SameSite=Strict) that holds a
  digest of it; programs send it as `Authorization: Bearer` or as the WebSocket subprotocol `omni.token.TOKEN`.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse

from omni.server.limits import TokenBucket
from omni.server.media import UPLOAD_LIMIT

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

SUBPROTOCOL = "omni"
TOKEN_SUBPROTOCOL = "omni.token."
LOOPBACK = ("localhost", "127.0.0.1", "::1")
#: What anybody on this machine may read: the page itself holds no secret.
PUBLIC = ("/", "/favicon.ico", "/api/hello", "/api/enter")
PUBLIC_PREFIX = "/static/"
#: Bytes of a request body, uploads apart.
BODY_LIMIT = 1_000_000
#: HTTP requests, of everyone together.
REQUESTS_PER_S, REQUESTS_AT_ONCE = 100, 400

_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
    "permissions-policy": "camera=(self), microphone=(self), display-capture=(self), geolocation=(), usb=()",
}


def new_token() -> str:
    """A token for one run: 192 random bits."""
    return secrets.token_urlsafe(24)


def content_policy(host: str, secure: bool) -> str:
    """The content security policy: everything from here, nothing inline, nothing from elsewhere."""
    socket = f"{'wss' if secure else 'ws'}://{host}"
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; worker-src 'self'; "
        f"img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self' {socket}; manifest-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


class Gate:
    """ASGI middleware that lets through what passes the checks and puts the headers on what goes back."""

    def __init__(
        self, app: Any, *, token: str, hosts: Iterable[str] = LOOPBACK, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.app = app
        self._token = token
        self._hosts = frozenset(host.lower() for host in hosts)
        self._requests = TokenBucket(REQUESTS_PER_S, REQUESTS_AT_ONCE, now)
        self._guesses = TokenBucket(0.5, 10.0, now)

    # -- the token -----------------------------------------------------------------------------------

    def is_token(self, given: str) -> bool:
        """Whether `given` is this run's token, in constant time."""
        return hmac.compare_digest(given.encode(), self._token.encode())

    @property
    def cookie_value(self) -> str:
        """What the cookie holds: a digest of the token, good for this run alone."""
        return hmac.new(self._token.encode(), b"omni page cookie", hashlib.sha256).hexdigest()

    @staticmethod
    def cookie_name(host: str) -> str:
        """One name a port: browsers share cookies between the ports of one host."""
        return f"omni-{urlsplit(f'//{host}').port or 80}"

    def may_guess(self) -> bool:
        """Whether one more attempt at the token is taken now."""
        return self._guesses.take()

    # -- the checks ------------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if scope["type"] == "websocket":
            if refusal:
                await send({"type": "websocket.close", "code": 4403, "reason": refusal[1]})
            else:
                await self.app(scope, receive, send)
            return
        reply = self._with_headers(scope, headers, send)
        if refusal:
            status, sentence, remedy = refusal
            response = JSONResponse({"error": {"message": sentence, "remedy": remedy}}, status_code=status)
            await response(scope, receive, reply)
        else:
            await self.app(scope, receive, reply)

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str, str] | None:
        """(status, what is wrong, what to do), or None for a request that may pass."""
        host = headers.get("host", "")
        if not self._is_ours(host):
            return 403, f"This server does not go by the name {host[:100]!r}.", "Open the address that Omni printed."
        origin = headers.get("origin")
        if origin is not None and not self._is_same(origin, host):
            return 403, "Another site's page asked for this.", "Open the address that Omni printed."
        if origin is None and headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return 403, "Another site's page asked for this.", "Open the address that Omni printed."
        if scope["type"] == "http" and not self._requests.take():
            return 429, "Too many requests at once.", "Wait a second, then try again."
        length = headers.get("content-length", "0")
        limit = UPLOAD_LIMIT if scope["path"] == "/api/media" else BODY_LIMIT
        if not length.isdecimal() or int(length) > limit:
            return 413, f"That is too large: {limit / 1e6:.0f} MB fit.", "Send less."
        if scope["type"] == "http" and (scope["path"] in PUBLIC or scope["path"].startswith(PUBLIC_PREFIX)):
            return None
        changes = scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD")
        if self._bears_token(scope, headers) or (self._bears_cookie(headers, host) and (origin or not changes)):
            return None
        return 401, "This page was opened without the key of this run.", "Open the whole address that Omni printed."

    def _is_ours(self, host: str) -> bool:
        try:
            parts = urlsplit(f"//{host}")
            return bool(host) and (parts.hostname or "") in self._hosts and parts.netloc == host and "@" not in host
        except ValueError:
            return False

    @staticmethod
    def _is_same(origin: str, host: str) -> bool:
        return origin.lower() in (f"http://{host.lower()}", f"https://{host.lower()}")

    def _bears_token(self, scope: Scope, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.is_token(given.strip()):
            return True
        offered = scope.get("subprotocols", ()) if scope["type"] == "websocket" else ()
        return any(p.startswith(TOKEN_SUBPROTOCOL) and self.is_token(p[len(TOKEN_SUBPROTOCOL) :]) for p in offered)

    def _bears_cookie(self, headers: Headers, host: str) -> bool:
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self.cookie_name(host))
        except CookieError:
            return False
        return cookie is not None and hmac.compare_digest(cookie.value.encode(), self.cookie_value.encode())

    # -- the headers -----------------------------------------------------------------------------------

    @staticmethod
    def _with_headers(scope: Scope, headers: Headers, send: Send) -> Send:
        async def reply(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                out = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    out.setdefault(name, value)
                policy = content_policy(headers.get("host", ""), scope.get("scheme") == "https")
                out.setdefault("content-security-policy", policy)
                out.setdefault("cache-control", "no-cache" if scope["path"].startswith(PUBLIC_PREFIX) else "no-store")
            await send(message)

        return reply
