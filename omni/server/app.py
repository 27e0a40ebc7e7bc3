"""The web application: routes, the gate in front of them, and what lives as long as the server."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles

from omni.server import api, api_conversations, api_models, api_settings
from omni.server.api_models import Pulls
from omni.server.hub import GRACE_S, Hub
from omni.server.limits import SessionLimits
from omni.server.security import LOOPBACK, Gate, new_token
from omni.server.socket import endpoint

STATIC = Path(__file__).parent / "static"


async def _index(request: Request) -> Response:
    return FileResponse(STATIC / "index.html", media_type="text/html; charset=utf-8")


async def _icon(request: Request) -> Response:
    return FileResponse(STATIC / "icon.svg", media_type="image/svg+xml")


def build_app(
    runtime: Any,
    *,
    token: str | None = None,
    hosts: Iterable[str] = LOOPBACK,
    grace_s: float = GRACE_S,
    limits: Callable[[], SessionLimits] | None = None,
    cards: Path = api.CARDS,
    now: Callable[[], float] = time.monotonic,
) -> Starlette:
    """The application around a started `runtime` (`open_session`, `close_session`, `host`, `store`, `config`).

    `token` is this run's key (made when not given; `app.state.token` has it), `hosts` the names the server
    goes by, `grace_s` how long a session waits for its page, `limits` makes what one page may send,
    `now` is the clock (s) by which requests are counted.
    """
    token = token or new_token()
    hub = Hub(runtime, grace_s=grace_s, limits=limits or SessionLimits)
    pulls = Pulls(hub)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await pulls.stop()
        await hub.close_all()

    app = Starlette(
        routes=[
            Route("/", _index),
            Route("/favicon.ico", _icon),
            WebSocketRoute("/ws", endpoint),
            *api.routes(),
            *api_models.routes(),
            *api_settings.routes(),
            *api_conversations.routes(),
            Mount("/static", StaticFiles(directory=STATIC), name="static"),
        ],
        lifespan=lifespan,
    )
    gate = Gate(app.router, token=token, hosts=hosts, now=now)
    app.add_middleware(_Through, gate=gate)
    app.state.token, app.state.hub, app.state.gate, app.state.pulls, app.state.cards = token, hub, gate, pulls, cards
    return app


class _Through:
    """Puts the one gate, which the routes need too, in front of whatever starlette builds."""

    def __init__(self, app: Any, gate: Gate) -> None:
        self._gate = gate
        gate.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._gate(scope, receive, send)
