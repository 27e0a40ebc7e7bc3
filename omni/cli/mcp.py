"""`omni mcp`: Omni's tools for other assistants."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from omni.runtime import Runtime


def mcp(
    http: Annotated[int, typer.Option(metavar="PORT", help="Streamable HTTP on this port; 0 takes a free one.")] = -1,
    only: Annotated[str, typer.Option(metavar="A,B", help="Load these plugins alone.")] = "",
    plugin: Annotated[list[Path] | None, typer.Option("--plugin", help="A folder with a plugin from source.")] = None,
    airgap: Annotated[bool, typer.Option("--airgap", help="Refuse every connection beyond this machine.")] = False,
    profile: Annotated[str, typer.Option(metavar="NAME", help="A profile of settings: a name or a TOML file.")] = "",
) -> None:
    """Serve every tool of Omni by the Model Context Protocol: over stdio, or with --http on this machine alone.

    HTTP asks for a token: $OMNI_MCP_TOKEN, else one is made and printed. What can't be undone asks a person first.
    """
    from omni.cli.run import make_runtime, settings

    runtime = make_runtime(settings(profile, airgap, quiet=True), only, sources=plugin)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(runtime, http))


async def _serve(runtime: Runtime, port: int) -> None:
    from omni.mcp.serving import serve_http, serve_stdio

    await runtime.host.start()
    try:
        if port < 0:
            await serve_stdio(runtime.host)
            return
        token = os.environ.get("OMNI_MCP_TOKEN") or secrets.token_urlsafe(24)

        def ready(port: int) -> None:
            shown = "" if os.environ.get("OMNI_MCP_TOKEN") else f"\nAuthorization: Bearer {token}"
            sys.stdout.write(f"http://127.0.0.1:{port}/mcp{shown}\n")
            sys.stdout.flush()

        await serve_http(runtime.host, token, port, ready=ready)
    finally:
        await runtime.host.stop()
