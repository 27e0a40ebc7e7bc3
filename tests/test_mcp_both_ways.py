"""MCP both ways: Omni's tools for a real MCP client, and real MCP servers as plugins."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from omni.errors import BadInput, ConfigError, PluginError
from omni.host.contract.writing import write_plugin
from omni.host.host import Host
from omni.testing import PATIENCE_S, until
from omni.tools import Effect, ToolContext

pytest.importorskip("mcp")

BODY = """
from omni.errors import BadInput
from omni.host.hookspecs import hookimpl
from omni.tools import Effect, ToolResult, tool
SENT = []
async def add(a: int, b: int) -> int:
    "Add two numbers."
    return a + b
async def read(what: str) -> ToolResult:
    "Read something."
    if what == "nothing": raise BadInput("There is nothing.", "Name something.")
    return ToolResult({"text": what}, say="I read it.", trusted=False)
async def send(to: str) -> str:
    "Send a message."
    SENT.append(to)
    return f"sent to {to}, {len(SENT)}"
class Plugin:
    @hookimpl
    def omni_tools(self):
        SENT.clear()  # the module stays when a host stops
        return [tool(add), tool(read), tool(send, effect=Effect.CONSEQUENTIAL)]
plugin = Plugin()
"""
MANIFEST = "".join(
    f'[[tools]]\nname = "{name}"\neffect = "{effect}"\n'
    for name, effect in (("add", "pure"), ("read", "pure"), ("send", "consequential"))
)

#: A third party's server, written with the package's own framework.
SERVER = """
import asyncio, os, sys
from mcp.server.mcpserver import MCPServer
from mcp.types import ToolAnnotations
app = MCPServer("odd")
@app.tool(annotations=ToolAnnotations(read_only_hint=True))
def double(number: int) -> int:
    "Twice a number. Always."
    return 2 * number
@app.tool(annotations=ToolAnnotations(destructive_hint=True))
def erase(what: str) -> str:
    "Erase it."
    return "erased"
@app.tool()
def fail() -> str:
    "Fail."
    raise ValueError("no luck")
@app.tool()
def die() -> str:
    "End the process."
    os._exit(3)
@app.tool()
async def hang() -> str:
    "Never end."
    await asyncio.sleep(600)
app.run("stdio")
"""


class Settings:
    def __init__(self, **tables):
        self.tables = tables

    def get(self, key, default=None):
        return self.tables if key == "mcp" else default


def record(host, id):
    return next((one for one in host.plugins() if one.id == id), None)


@asynccontextmanager
async def host_with(data: Path, **tables):
    host = Host(Settings(**tables), None, data, found=[])
    await host.start()
    try:
        yield host
    finally:
        await host.stop()


@asynccontextmanager
async def tools_here(tmp_path):
    source = write_plugin(tmp_path / "src", "given", BODY, MANIFEST)
    host = Host(None, None, tmp_path / "data", only=["given"], sources=[source])
    await host.start()
    try:
        yield host
    finally:
        await host.stop()


def asked(answer: str, allow=True):
    """A client's way to ask a person, who answers so; and what was asked."""
    import mcp_types as types

    questions = []

    async def callback(context, params):
        questions.append(params.message)
        return types.ElicitResult(action=answer, content={"allow": allow} if answer == "accept" else None)

    return callback, questions


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_omnis_tools_are_served_and_a_person_is_asked(mode, tmp_path):
    from mcp import Client

    from omni.mcp.serving import make_server

    async with tools_here(tmp_path) as host:
        server = make_server(host)
        yes, questions = asked("accept")
        async with Client(server, mode=mode, elicitation_callback=yes) as client:
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            assert set(tools) == {"add", "read", "send"}
            assert tools["add"].annotations.read_only_hint and tools["send"].annotations.destructive_hint
            assert (await client.call_tool("add", {"a": 2, "b": 3})).structured_content == {"result": 5}
            result = await client.call_tool("read", {"what": "a page"})
            assert result.content[0].text == "I read it." and result.meta["omni/untrusted"] is True
            wrong = await client.call_tool("add", {"a": "x", "b": 3})
            assert wrong.is_error and "add: a: 'x' is not of type 'integer'" in wrong.content[0].text
            unknown = await client.call_tool("nope", {})
            assert unknown.is_error and "no tool 'nope'" in unknown.content[0].text
            failed = await client.call_tool("read", {"what": "nothing"})
            assert failed.is_error and failed.content[0].text == "There is nothing. Name something."
            sent = await client.call_tool("send", {"to": "ann"})
            assert sent.content[0].text == "sent to ann, 1" and '"to": "ann"' in questions[0]
        for answer, allow in (("decline", False), ("cancel", False), ("accept", False)):
            no, _ = asked(answer, allow)
            async with Client(server, mode=mode, elicitation_callback=no) as client:
                refused = await client.call_tool("send", {"to": "bob"})
                assert refused.is_error and "did not allow send" in refused.content[0].text
        async with Client(server, mode=mode) as client:  # nobody can be asked
            refused = await client.call_tool("send", {"to": "bob"})
            assert refused.is_error and "this client can't ask" in refused.content[0].text
        yes, _ = asked("accept")
        async with Client(server, mode=mode, elicitation_callback=yes) as client:
            sent = await client.call_tool("send", {"to": "eve"})
            assert sent.content[0].text == "sent to eve, 2"  # bob got nothing


async def test_a_yes_counts_once_and_for_exactly_its_arguments(tmp_path):
    import mcp_types as types
    from mcp import Client

    from omni.mcp.serving import make_server

    async with tools_here(tmp_path) as host:
        yes, _ = asked("accept")
        async with Client(make_server(host), elicitation_callback=yes) as client:

            async def call(to, state=None):
                answers = {"allow": types.ElicitResult(action="accept", content={"allow": True})} if state else None
                return await client.session.call_tool(
                    "send", {"to": to}, input_responses=answers, request_state=state, allow_input_required=True
                )

            state = (await call("ann")).request_state
            assert "something else" in (await call("mallory", state)).content[0].text
            assert "something else" in (await call("ann", state)).content[0].text  # used up
            state = (await call("ann")).request_state
            assert (await call("ann", state)).content[0].text == "sent to ann, 1"
            assert (await call("ann", "made-up")).is_error


async def test_over_http_the_token_is_asked_for(tmp_path):
    import httpx2
    from mcp import Client
    from mcp.client.streamable_http import streamable_http_client

    from omni.mcp.serving import serve_http

    async with tools_here(tmp_path) as host:
        port = asyncio.get_running_loop().create_future()
        serving = asyncio.ensure_future(serve_http(host, "right", 0, ready=port.set_result))
        try:
            url = f"http://127.0.0.1:{await asyncio.wait_for(port, PATIENCE_S)}/mcp"
            async with httpx2.AsyncClient() as http:
                for headers in ({}, {"Authorization": "Bearer wrong"}):
                    assert (await http.post(url, headers=headers, json={})).status_code == 401
                odd = {"Authorization": "Bearer right", "Host": "evil.example"}
                assert (await http.post(url, headers=odd, json={})).status_code in (403, 421)
            async with (
                httpx2.AsyncClient(headers={"Authorization": "Bearer right"}) as http,
                Client(streamable_http_client(url, http_client=http)) as client,
            ):
                assert (await client.call_tool("add", {"a": 1, "b": 1})).structured_content == {"result": 2}
            async with host_with(tmp_path / "other", omni={"url": url, "token": "right"}) as other:  # Omni uses Omni
                await until(lambda: record(other, "mcp-omni").state == "ready")
                add = next(tool for tool in other.tools() if tool.name == "omni_add")
                assert (await add({"a": 4, "b": 4}, ToolContext())).value == {"result": 8}
        finally:
            serving.cancel()
            await asyncio.wait((serving,))
        with pytest.raises(ConfigError, match="beyond this machine"):
            await serve_http(host, "t", 0, address="0.0.0.0")


@pytest.mark.slow
async def test_the_command_serves_over_stdio(tmp_path):
    from mcp import Client, StdioServerParameters

    source = write_plugin(tmp_path / "src", "given", BODY, MANIFEST)
    command = ["-m", "omni.cli.main", "mcp", "--only", "given", "--plugin", str(source)]
    environment = {"OMNI_HOME": str(tmp_path / "home"), "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    yes, _ = asked("accept")
    parameters = StdioServerParameters(command=sys.executable, args=command, env=environment)
    async with asyncio.timeout(90), Client(parameters, elicitation_callback=yes) as client:
        assert (await client.call_tool("add", {"a": 20, "b": 22})).structured_content == {"result": 42}
        assert (await client.call_tool("send", {"to": "ann"})).content[0].text == "sent to ann, 1"


async def test_a_server_is_a_plugin_by_one_line_and_is_contained(tmp_path):
    script = tmp_path / "server.py"
    script.write_text(SERVER)
    line = {"command": f"{sys.executable} {script}", "deadline_s": 15}
    async with host_with(tmp_path / "data", odd=line, lost={"command": "no-such-program"}, bad={"comand": "x"}) as host:
        await until(lambda: record(host, "mcp-odd").state == "ready")
        tools = {tool.name: tool for tool in host.tools()}
        assert set(tools) == {"odd_double", "odd_erase", "odd_fail", "odd_die", "odd_hang"}
        assert tools["odd_double"].effect is Effect.PURE and tools["odd_erase"].effect is Effect.CONSEQUENTIAL
        assert tools["odd_fail"].effect is Effect.MUTATING
        assert tools["odd_double"].description == "Twice a number. Always."
        result = await tools["odd_double"]({"number": 21}, ToolContext())
        assert result.value == {"result": 42} and result.trusted is False
        with pytest.raises(PluginError, match=r"no luck|fail"):
            await tools["odd_fail"]({}, ToolContext())
        with pytest.raises(PluginError):
            await tools["odd_die"]({}, ToolContext())
        await until(lambda: record(host, "mcp-odd").state == "ready" and not host._isolated["mcp-odd"].away)
        assert (await tools["odd_double"]({"number": 4}, ToolContext())).value == {"result": 8}  # it was started again
        assert "no program 'no-such-program'" in record(host, "mcp-lost").reason
        assert record(host, "mcp-bad").state == "refused" and "mcp.bad.comand" in record(host, "mcp-bad").reason
    from omni.host.overview import overview

    assert next(one for one in overview(tmp_path / "data") if one.id == "mcp-odd").isolation == "mcp"


def test_settings_and_schemas_that_can_not_be_used():
    from omni.mcp.client import ServerSettings, schema_trouble

    assert ServerSettings.parse("time", {"command": "uvx 'mcp server'", "args": ["-x"]}).command == (
        "uvx", "mcp server", "-x"
    )  # fmt: skip
    for table in ({}, {"command": "a", "url": "http://b"}, {"url": "ftp://b"}, {"command": "'open"}, {"cmd": "a"}):
        with pytest.raises(ConfigError):
            ServerSettings.parse("time", table)
    assert schema_trouble({"type": "object"}) == ""
    for schema in ([], {"type": "string"}, {"type": "object", "properties": 3}, {"type": "object", "x": "y" * 40_000},
                   {"type": "object", "properties": {"a": {"$ref": "http://evil.example/schema"}}}):  # fmt: skip
        assert schema_trouble(schema)


@pytest.mark.slow
async def test_a_third_partys_server_from_the_package_index(tmp_path):
    target = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    run = partial(asyncio.to_thread, subprocess.run)
    await run([sys.executable, "-m", "venv", str(target)], check=True, timeout=120)
    python = target / "bin/python"
    command[0] = str(python)
    done = await run([*command, "mcp-server-time"], capture_output=True, text=True, timeout=240)
    if done.returncode:
        pytest.skip(f"mcp-server-time can't be fetched: {done.stderr.strip().splitlines()[-1][:200]}")
    line = {"command": [str(python), "-m", "mcp_server_time", "--local-timezone", "UTC"]}
    async with host_with(tmp_path / "data", time=line) as host:
        await until(lambda: record(host, "mcp-time").state == "ready", seconds=90)
        convert = next(tool for tool in host.tools() if tool.name == "time_convert_time")
        given = {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}
        answer = await convert(given, ToolContext())
        assert "21:00" in str(answer.value) and answer.trusted is False
        from omni.tools import validate_arguments

        with pytest.raises(BadInput):
            validate_arguments(convert, {"time": 12})
