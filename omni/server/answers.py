"""JSON in, JSON out: reading request bodies with a limit, and errors as sentences with a status."""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from omni import errors
from omni.errors import BadInput, OmniError
from omni.server.security import BODY_LIMIT

logger = logging.getLogger(__name__)

Handler = Callable[[Request], Awaitable[Any]]

_STATUS: tuple[tuple[type[OmniError], int], ...] = (
    (errors.BadInput, 400),
    (errors.ConfigError, 400),
    (errors.Refused, 403),
    (errors.ModelMissing, 404),
    (errors.Busy, 409),
    (errors.CapabilityUnavailable, 503),
    (errors.DeadlineExceeded, 504),
    (errors.DiskFull, 507),
)


class NotThere(OmniError):
    """What was asked for does not exist (any more)."""


def json_response(value: Any, status: int = 200) -> Response:
    """`value` as JSON."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def error_response(error: OmniError) -> Response:
    """An error as JSON: `{"error": {"message", "remedy"}}`, with the status that fits its kind."""
    status = 404 if isinstance(error, NotThere) else next((s for kind, s in _STATUS if isinstance(error, kind)), 500)
    return json_response({"error": {"message": error.message, "remedy": error.remedy}}, status)


def answers(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """A route whose handler gives JSON-ready values (or a Response) and raises `OmniError`s."""

    @functools.wraps(handler)
    async def route(request: Request) -> Response:
        """The handler's answer, or its error, as JSON."""
        try:
            value = await handler(request)
            return value if isinstance(value, Response) else json_response(value)
        except OmniError as error:
            return error_response(error)
        except ClientDisconnect:
            return Response(status_code=499)
        except Exception as error:
            logger.exception("%s %s failed", request.method, request.url.path)
            return error_response(
                OmniError(f"That failed: {type(error).__name__}: {error}.", "Look into Omni's output.")
            )

    return route


async def read_body(request: Request, limit: int = BODY_LIMIT) -> bytes:
    """The body, at most `limit` bytes. Raises `BadInput` as soon as it is longer."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise BadInput(f"That is too large: {limit / 1e6:.0f} MB fit.", "Send less.")
        parts.append(part)
    return b"".join(parts)


async def read_json(request: Request) -> dict[str, Any]:
    """The body as a JSON object. Raises `BadInput`."""
    try:
        value = msgspec.json.decode(await read_body(request) or b"{}")
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadInput(f"The request is not JSON: {error}.", "Reload the page.") from None
    if not isinstance(value, dict):
        raise BadInput("The request is not a JSON object.", "Reload the page.")
    return value


def text_of(body: dict[str, Any], key: str, *, limit: int = 1000) -> str:
    """A text field of a request. Raises `BadInput` when it is missing, no text, or too long."""
    value = body.get(key)
    if not isinstance(value, str) or not value or len(value) > limit:
        raise BadInput(f"The request has no usable {key!r}.", "Reload the page.")
    return value
