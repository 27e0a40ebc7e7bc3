"""The one WebSocket: `/ws` opens a session, `/ws?session=ID&received=N` comes back to one."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from omni import __version__
from omni.errors import BadInput, OmniError
from omni.server.frames import MIC_RATE, MIC_SAMPLES, encode_error
from omni.server.hub import Hub
from omni.server.link import Gone
from omni.server.security import SUBPROTOCOL


class StarletteSocket:
    """A starlette WebSocket as a link wants it."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket

    async def receive(self) -> str | bytes:
        """The next frame. Raises `Gone` when the socket is closed."""
        try:
            message = await self._websocket.receive()
        except (RuntimeError, WebSocketDisconnect) as error:
            raise Gone from error
        if message["type"] == "websocket.disconnect":
            raise Gone
        text = message.get("text")
        return text if text is not None else message.get("bytes") or b""

    async def send(self, frame: str | bytes) -> None:
        """Send a frame. Raises `Gone` when the socket is closed."""
        try:
            if isinstance(frame, str):
                await self._websocket.send_text(frame)
            else:
                await self._websocket.send_bytes(frame)
        except (RuntimeError, WebSocketDisconnect, OSError) as error:
            raise Gone from error

    async def close(self, code: int, reason: str) -> None:
        """Close it. Idempotent."""
        if self._websocket.application_state is WebSocketState.CONNECTED:
            try:
                async with asyncio.timeout(2.0):
                    await self._websocket.close(code, reason[:120])
            except (RuntimeError, WebSocketDisconnect, OSError, TimeoutError):
                return


def _received(websocket: WebSocket) -> int | None:
    given = websocket.query_params.get("received")
    if given is None:
        return None
    if not given.isdecimal() or len(given) > 15:
        raise BadInput("The page came back with a count that is no number.", "Reload the page.")
    return int(given)


async def endpoint(websocket: WebSocket) -> None:
    """Serve one socket from its opening to its end."""
    hub: Hub = websocket.app.state.hub
    offered = websocket.scope.get("subprotocols", ())
    await websocket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
    socket = StarletteSocket(websocket)
    try:
        received = _received(websocket)
        link = hub.get(websocket.query_params.get("session", ""))
        if link is None:
            received = None
            link = await hub.open()
    except OmniError as error:
        try:
            await socket.send(encode_error(error, code="not_opened"))
        except Gone:
            return
        await socket.close(4503, error.message)
        return
    await link.serve(socket, welcome(), received)


def welcome() -> dict[str, Any]:
    """What every page is told first: who speaks, and in which form sound is taken."""
    return {"version": __version__, "microphone": {"rate": MIC_RATE, "samples": MIC_SAMPLES}}
