"""MCP servers as plugins: `[mcp.NAME]` with a command or a URL, and its tools are Omni's, named `NAME_tool`.

A server is somebody else's program: its schemas are checked, its results are untrusted, its hints count only
towards more care, its calls keep a deadline, and when it ends it is started again after a pause that doubles.
"""

from __future__ import annotations

import asyncio
import logging
import re
import shlex
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omni import airgap
from omni.errors import Airgapped, ConfigError, DeadlineExceeded, OmniError, PluginError
from omni.host.hookspecs import Check
from omni.host.loader import Loaded
from omni.host.manifest import Manifest
from omni.host.records import PluginRecord
from omni.tools import Effect, Tool, ToolResult

if TYPE_CHECKING:
    from omni.host.host import Host

log = logging.getLogger("omni.host")

TOOLS_LIMIT, SCHEMA_LIMIT, RESULT_LIMIT = 128, 32_768, 262_144
FIRST_PAUSE_S, LONGEST_PAUSE_S, ENDS = 0.5, 30.0, 5
#: How often a server is asked for its tools: whether it lives, and whether they changed.
LOOK_S = 5.0


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """One `[mcp.NAME]` table: `command` (with its arguments) or `url`."""

    name: str
    command: tuple[str, ...] = ()
    url: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    token: str = ""  #: sent as a bearer token to the URL
    deadline_s: float = 30.0

    @classmethod
    def parse(cls, name: str, table: Mapping[str, Any]) -> ServerSettings:
        """The settings in a table. Raises `ConfigError` that names what is wrong."""
        where = f"mcp.{name}"
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,30}", name):
            raise ConfigError(f"{name!r} is no name for an MCP server.", "Small letters, digits and _ make one.")
        known = {"command", "args", "url", "env", "token", "deadline_s"}
        if more := sorted(set(table) - known):
            raise ConfigError(f"There is no setting {where}.{more[0]!s}.", f"There are: {', '.join(sorted(known))}.")
        command, url = table.get("command", ""), str(table.get("url", ""))
        try:
            words = shlex.split(command) if isinstance(command, str) else [str(word) for word in command]
        except ValueError as error:
            raise ConfigError(f"{where}.command can't be read: {error}.", "Close the quotes.") from None
        words += [str(word) for word in table.get("args", ())]
        if bool(words) == bool(url):
            raise ConfigError(f"{where} needs either a command or a url.", 'E.g. command = "uvx mcp-server-time".')
        if url and not url.startswith(("http://", "https://")):
            raise ConfigError(f"{where}.url = {url!r} is no address.", "It begins with http:// or https://.")
        env = {str(key): str(value) for key, value in table.get("env", {}).items()}
        return cls(name, tuple(words), url, env, str(table.get("token", "")), float(table.get("deadline_s", 30.0)))


class McpPlugin:
    """One MCP server through all its lives, as the plugin `mcp-NAME`."""

    def __init__(self, host: Host, settings: ServerSettings) -> None:
        self.id = f"mcp-{settings.name}"
        self.settings = settings
        self.restarts = 0
        self.away = True  #: whether it does not answer at present
        self._host = host
        self._client: Any = None
        self._life: asyncio.Task[None] | None = None
        self._broken = asyncio.Event()
        self._names: list[str] = []

    def start(self) -> None:
        """Begin to reach it; its tools are there when it has answered."""
        record = PluginRecord(self.id, f"MCP server {self.settings.name}", source="mcp", isolation="mcp")
        self._host.supervisor.records[self.id] = record
        self._life = asyncio.ensure_future(self._live())

    async def stop(self) -> None:
        """End it. Idempotent."""
        if self._life is not None:
            self._life.cancel()
            await asyncio.wait((self._life,))
            self._life = None

    async def doctor(self) -> list[Check]:
        """How it stands."""
        detail = "does not answer" if self.away else f"{len(self._names)} tools"
        return [Check(f"MCP server {self.settings.name}", not self.away, detail, f"Look at mcp.{self.settings.name}.")]

    # -- lives --------------------------------------------------------------------------------

    async def _live(self) -> None:
        pause, ends = FIRST_PAUSE_S, 0
        while True:
            began = asyncio.get_running_loop().time()
            try:
                await self._once()
                reason = "it ended"
            except Airgapped as error:
                self._host.supervisor.set_state(self.id, "refused", str(error))
                return
            except BaseExceptionGroup as group:
                reason = _root(group)
            except OmniError as error:
                reason = str(error)
            except Exception as error:
                reason = _root(error)
            finally:
                self.away, self._client = True, None
            if asyncio.get_running_loop().time() - began > 60.0:
                pause, ends = FIRST_PAUSE_S, 0
            ends += 1
            self.restarts += 1
            if ends >= ENDS:
                reason = f"the MCP server was given up after {ends} tries, the last: {reason}"
                self._host.supervisor.set_state(self.id, "quarantined", reason)
                return
            self._host.supervisor.set_state(self.id, "degraded", f"the MCP server does not answer: {reason}")
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    async def _once(self) -> None:
        """One life: connect, list, and look again until it is gone."""
        self._broken.clear()
        async with AsyncExitStack() as stack:
            async with asyncio.timeout(self.settings.deadline_s):
                client = await self._connect(stack)
                await self._list(client)
            self._client, self.away = client, False
            self._host.supervisor.set_state(self.id, "ready")
            while True:
                try:
                    async with asyncio.timeout(LOOK_S):
                        await self._broken.wait()
                        return
                except TimeoutError:
                    async with asyncio.timeout(self.settings.deadline_s):
                        await self._list(client)

    async def _connect(self, stack: AsyncExitStack) -> Any:
        from mcp import Client, StdioServerParameters

        settings = self.settings
        server: Any
        if settings.command:
            if airgap.active():
                raise Airgapped("A program of somebody else can't be kept off the network, so it is not started.")
            from mcp import stdio_client

            errors = await asyncio.to_thread(open, self._log_path(), "w", encoding="utf-8")
            stack.callback(errors.close)
            parameters = StdioServerParameters(
                command=settings.command[0], args=list(settings.command[1:]), env=dict(settings.env)
            )
            server = stdio_client(parameters, errlog=errors)
        elif settings.token:
            import httpx2
            from mcp.client.streamable_http import streamable_http_client

            headers = {"Authorization": f"Bearer {settings.token}"}
            http = await stack.enter_async_context(httpx2.AsyncClient(headers=headers, timeout=settings.deadline_s))
            server = streamable_http_client(settings.url, http_client=http)
        else:
            server = settings.url
        return await stack.enter_async_context(Client(server, read_timeout_seconds=settings.deadline_s))

    def _log_path(self) -> Path:
        """Where what the program writes to stderr goes."""
        folder = self._host.data_dir / "plugins" / self.id
        folder.mkdir(parents=True, exist_ok=True)
        return folder / "server.log"

    # -- tools --------------------------------------------------------------------------------

    async def _list(self, client: Any) -> None:
        """Take in the tools there are now."""
        found = (await client.list_tools(cache_mode="refresh")).tools[:TOOLS_LIMIT]
        tools = {tool.name: tool for tool in (self._tool(one) for one in found) if tool is not None}
        if list(tools) != self._names or self._host.loaded(self.id) is None:
            self._names = list(tools)
            record = self._host.supervisor.records[self.id]
            self._host.admit(record, Loaded(self._manifest(), tools=[*tools.values()]), self)

    def _manifest(self) -> Manifest:
        name = self.settings.name
        network = ["*"] if self.settings.url else []
        return Manifest.model_validate(
            {
                "id": self.id, "name": f"MCP server {name}", "version": "0", "omni_api": ">=1.0",
                "summary": f"Tools of {self.settings.url or self.settings.command[0]}", "entry": "elsewhere:server",
                "isolation": "process", "permissions": {"network": network, "subprocess": bool(self.settings.command)},
            }
        )  # fmt: skip

    def _tool(self, said: Any) -> Tool | None:
        """One of the server's tools as Omni's; None, with a warning, when its schema can't be used."""
        name = f"{self.settings.name}_{re.sub(r'[^a-z0-9_]', '_', said.name.lower())}"[:61]
        if trouble := schema_trouble(said.input_schema):
            log.warning("the tool %s of the MCP server %s is left out: %s", said.name, self.settings.name, trouble)
            return None
        description = " ".join((said.description or said.title or said.name).split())[:1000]

        async def run(**arguments: Any) -> ToolResult:
            return await self._call(said.name, arguments)

        return Tool(
            name, description, said.input_schema, effect_of(said.annotations), run,
            (description.split(". ")[0],), self.settings.deadline_s, self.id,
        )  # fmt: skip

    def _gone(self) -> None:
        """It died in a call: no other call is sent there, and it is started again."""
        self._client, self.away = None, True
        self._broken.set()

    async def _call(self, name: str, arguments: dict[str, Any]) -> ToolResult:
        from mcp import MCPError

        client = self._client
        if client is None:
            raise PluginError(f"The MCP server {self.settings.name!r} does not answer at present.")
        try:
            async with asyncio.timeout(self.settings.deadline_s):
                result = await client.call_tool(name, arguments)
        except TimeoutError:
            raise DeadlineExceeded(
                f"{name} of the MCP server {self.settings.name!r} took longer than {self.settings.deadline_s:g} s."
            ) from None
        except MCPError as error:
            if "closed" in str(error).lower():
                self._gone()
            raise PluginError(f"The MCP server {self.settings.name!r} failed in {name}: {error}.") from None
        except Exception as error:  # the streams of a server that just died
            self._gone()
            raise PluginError(f"The MCP server {self.settings.name!r} is gone ({type(error).__name__}).") from None
        text = "\n".join(block.text for block in result.content if getattr(block, "type", "") == "text")
        if result.is_error:
            raise PluginError(f"{name} of the MCP server {self.settings.name!r} says: {text[:1000]}")
        if len(text) > RESULT_LIMIT:
            text = text[:RESULT_LIMIT] + "... (cut)"
        value = result.structured_content if result.structured_content is not None else text
        return ToolResult(value, trusted=False)


def effect_of(hints: Any) -> Effect:
    """What a server says about a tool, read with care: nothing said means it changes something."""
    if hints is None:
        return Effect.MUTATING
    if hints.destructive_hint and not hints.read_only_hint:
        return Effect.CONSEQUENTIAL
    if hints.read_only_hint:
        return Effect.MUTATING if hints.destructive_hint else Effect.PURE
    return Effect.IDEMPOTENT if hints.idempotent_hint and hints.destructive_hint is False else Effect.MUTATING


def schema_trouble(schema: Any) -> str:
    """Why a tool's schema can't be used; "" when it can."""
    import json

    import jsonschema

    if not isinstance(schema, dict) or schema.get("type") != "object":
        return "its parameters are no object"
    text = json.dumps(schema)
    if len(text) > SCHEMA_LIMIT:
        return f"its schema has {len(text)} characters"
    if re.search(r'"\$ref":\s*"(?!#)', text):
        return "its schema refers to another document"
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        return f"its schema is none: {error.message}"
    return ""


def _root(error: BaseException) -> str:
    """The first cause inside groups, in words."""
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    if isinstance(error, FileNotFoundError):
        return f"there is no program {error.filename or str(error)!r}"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def mcp_plugins(host: Host, tables: Mapping[str, Any]) -> list[McpPlugin]:
    """A plugin for each `[mcp.NAME]`; one that can't be read is refused with a sentence, the others go on."""
    found = []
    for name, table in tables.items():
        try:
            found.append(McpPlugin(host, ServerSettings.parse(name, table)))
        except ConfigError as error:
            host.supervisor.records[f"mcp-{name}"] = PluginRecord(f"mcp-{name}", f"MCP server {name}", isolation="mcp")
            host.supervisor.set_state(f"mcp-{name}", "refused", str(error))
    return found
