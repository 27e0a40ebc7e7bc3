"""Which plugins are loaded, in which order, and what becomes of what they register."""

from __future__ import annotations

import sys

import pytest

from omni.capabilities import Embedder
from omni.clock import run_virtual
from omni.config import Config
from omni.errors import PluginError
from omni.host.contract.writing import write_plugin
from omni.host.discovery import discover, order
from omni.host.hookspecs import Check
from omni.host.host import Host, Limits
from omni.host.registry import Registry, exceeds
from omni.tools import Effect, ToolContext

EMPTY = """
from omni.host.hookspecs import hookimpl
class Plugin:
    @hookimpl
    def omni_tools(self): return []
plugin = Plugin()
"""

TOOLS = """
from omni.host.hookspecs import Check, hookimpl
from omni.tools import Effect, tool

async def send(text: str) -> str:
    "Send it."
    return text.upper()

async def fails() -> str:
    "Fails."
    raise KeyError("gone")

def read(text): return {}["no"]

class Plugin:
    @hookimpl
    def omni_tools(self, context):
        self.context = context
        return [tool(send, examples=("b", "c"), extract=read), tool(fails)]
    @hookimpl
    def omni_doctor(self):
        return [Check("device", False, "There is none.", "Plug one in.")]
plugin = Plugin()
"""

TOOL_MANIFEST = """
dynamic_tools = true
[[tools]]
name = "send"
effect = "consequential"
examples = ["a", "b"]
[[tools]]
name = "fails"
effect = "pure"
[config.voice]
default = "low"
choices = ["low", "high"]
"""


def capability(name, needs=""):
    return (f'needs = ["{needs}"]\n' if needs else "") + f'[[capabilities]]\nprotocol = "{name}"\n'


async def start(tmp_path, *folders, **options):
    options.setdefault("only", [folder.name.removeprefix("omni_") for folder in folders])
    host = Host(options.pop("config", None), None, tmp_path / "data", sources=folders, **options)
    await host.start()
    return host


def states(host):
    return {
        record.id: record.state for record in host.plugins() if record.manifest is None or record.source == "folder"
    }


async def test_what_is_not_allowed_is_not_imported(tmp_path):
    folders = [write_plugin(tmp_path, f"load_{name}", EMPTY) for name in ("yes", "denied", "other", "off")]
    registry = Registry.read(tmp_path / "data")
    registry.of("load_off").enabled = False
    registry.save()
    host = await start(tmp_path, *folders, only=["load_yes", "load_denied", "load_off"], deny=["load_denied"])
    await host.stop()
    assert states(host) == {
        "load_yes": "ready", "load_denied": "refused", "load_other": "refused", "load_off": "refused",
    }  # fmt: skip
    loaded = {name for name in sys.modules if name.startswith("omni_load_")}
    assert loaded == {"omni_load_yes", "omni_load_yes.plugin"}


async def test_memory_beyond_the_budget_is_refused_with_a_sentence(tmp_path):
    first = write_plugin(tmp_path, "first", EMPTY, "[resources]\nram_mb = 200\n")
    second = write_plugin(tmp_path, "second", EMPTY, "[resources]\nram_mb = 101\n")
    host = await start(tmp_path, first, second, config=Config({"budgets": {"ram_mb": 300}}, {}))
    assert states(host) == {"first": "ready", "second": "refused"}
    refused = next(record for record in host.plugins() if record.id == "second")
    assert "101 MB" in refused.reason and "100 of 300" in refused.reason and "budgets.ram_mb" in refused.reason
    await host.stop()


async def test_no_plugins_at_all(tmp_path):
    host = await start(tmp_path, write_plugin(tmp_path, "load_none", "raise SystemExit"), only=[])
    assert set(states(host).values()) == {"refused"} and host.tools() == []
    await host.stop()


async def test_another_api_version_is_refused_with_a_sentence(tmp_path):
    host = await start(tmp_path, write_plugin(tmp_path, "load_future", "raise SystemExit", omni_api=">=3,<4"))
    record = next(record for record in host.plugins() if record.id == "load_future")
    assert record.state == "refused" and "written for the plugin interface >=3,<4" in record.reason
    await host.stop()


def test_providers_come_before_those_that_need_them(tmp_path):
    a = write_plugin(tmp_path, "order_a", EMPTY, capability("Reranker", "Embedder"))
    b = write_plugin(tmp_path, "order_b", EMPTY, capability("Embedder"))
    ids = [found.id for found in discover([a, b]) if found.source == "folder"]
    assert ids == ["order_b", "order_a"]


def test_a_cycle_of_needs_is_refused_and_named(tmp_path):
    a = write_plugin(tmp_path, "ring_a", EMPTY, capability("Reranker", "Embedder"))
    b = write_plugin(tmp_path, "ring_b", EMPTY, capability("Embedder", "Reranker"))
    c = write_plugin(tmp_path, "ring_c", EMPTY, capability("TextReader"))
    found = {one.id: one for one in order([one for one in discover([a, b, c]) if one.source == "folder"])}
    assert "ring_a -> ring_b -> ring_a" in found["ring_a"].refusal
    assert found["ring_b"].refusal and not found["ring_c"].refusal


def test_a_second_provider_outside_breaks_the_cycle(tmp_path):
    a = write_plugin(tmp_path, "free_a", EMPTY, capability("Reranker", "Embedder"))
    b = write_plugin(tmp_path, "free_b", EMPTY, capability("Embedder", "Reranker"))
    c = write_plugin(tmp_path, "free_c", EMPTY, capability("Embedder"))
    found = [one for one in discover([a, b, c]) if one.id.startswith("free")]
    assert [one.refusal for one in order(found)] == ["", "", ""]


def test_two_plugins_with_one_id_are_refused(tmp_path):
    a = write_plugin(tmp_path / "1", "twin", EMPTY)
    b = write_plugin(tmp_path / "2", "twin", EMPTY, package="omni_twin_two")
    found = next(one for one in discover([a, b]) if one.id == "twin")
    assert str(a) in found.refusal and str(b) in found.refusal


def test_a_folder_without_a_plugin_is_a_refused_one(tmp_path):
    found = next(one for one in discover([tmp_path]) if one.source == "folder")
    assert "holds no plugin.toml" in found.refusal


async def test_tools_take_examples_and_the_graver_effect_from_the_manifest(tmp_path):
    host = await start(tmp_path, write_plugin(tmp_path, "load_tools", TOOLS, TOOL_MANIFEST))
    tool = next(tool for tool in host.tools() if tool.name == "send")
    assert tool.examples == ("a", "b", "c")
    assert tool.effect is Effect.CONSEQUENTIAL and tool.plugin == "load_tools"
    assert (await tool({"text": "hi"}, ToolContext())).value == "HI"
    assert tool.extract("whatever") is None  # an extract that fails means: no certain arguments
    failing = next(tool for tool in host.tools() if tool.name == "fails")
    with pytest.raises(PluginError, match="KeyError"):
        await failing({}, ToolContext())
    assert ("load_tools", Check("device", False, "There is none.", "Plug one in.")) in await host.doctor()
    await host.stop()
    assert (tmp_path / "data/plugins/load_tools").is_dir()


async def test_tools_found_while_it_runs(tmp_path):
    from omni.tools import tool

    async def late(number: int) -> int:
        """Comes late."""
        return number

    host = await start(tmp_path, write_plugin(tmp_path, "load_late", TOOLS, TOOL_MANIFEST))
    host.offer_tools("load_late", [tool(late)])
    assert [tool.name for tool in host.tools()] == ["send", "fails", "late"]
    host.offer_tools("load_late", [])
    assert "late" not in [tool.name for tool in host.tools()]
    with pytest.raises(PluginError, match="dynamic_tools"):
        host.offer_tools("nobody", [tool(late)])
    await host.stop()


async def test_what_the_manifest_does_not_announce_is_not_taken(tmp_path):
    folder = write_plugin(tmp_path, "load_hidden", TOOLS, '[[tools]]\nname = "fails"\neffect = "pure"\n')
    host = await start(tmp_path, folder)
    record = next(record for record in host.plugins() if record.id == "load_hidden")
    assert record.state == "quarantined"
    assert "the tool 'send', which its manifest does not announce" in record.reason
    assert host.tools() == []
    await host.stop()


async def test_settings_come_checked_and_a_wrong_one_refuses_the_plugin(tmp_path):
    folder = write_plugin(tmp_path, "load_config", TOOLS, TOOL_MANIFEST)
    host = await start(tmp_path, folder, config=Config({"plugins": {"load_config": {"voice": "high"}}}, {}))
    plugin = sys.modules["omni_load_config.plugin"].plugin
    assert plugin.context.config == {"voice": "high"}
    assert plugin.context.data == tmp_path / "data/plugins/load_config"
    await host.stop()
    host = await start(tmp_path, folder, config=Config({"plugins": {"load_config": {"voise": "high"}}}, {}))
    record = next(record for record in host.plugins() if record.id == "load_config")
    assert record.state == "refused" and "voise" in record.reason
    await host.stop()


async def test_a_mended_plugin_can_be_loaded_again(tmp_path):
    folder = write_plugin(tmp_path, "load_mended", "raise ValueError('draft')")
    host = await start(tmp_path, folder)
    assert states(host)["load_mended"] == "quarantined"
    await host.stop()
    write_plugin(tmp_path, "load_mended", EMPTY + "# mended\n")
    host = await start(tmp_path, folder)
    assert states(host)["load_mended"] == "ready"
    await host.stop()


async def test_cost_and_state_are_remembered(tmp_path):
    host = await start(tmp_path, write_plugin(tmp_path, "load_cost", EMPTY), limits=Limits(load_s=10))
    await host.stop()
    entry = Registry.read(tmp_path / "data").plugins["load_cost"]
    assert entry.state == "ready" and entry.load_s > 0 and entry.version == "0.1.0"


def test_a_damaged_registry_counts_as_empty(tmp_path):
    (tmp_path / "plugins.json").write_text('{"plugins": {"a": 7}}')
    assert Registry.read(tmp_path).plugins == {}
    (tmp_path / "plugins.json").write_text("not json")
    assert Registry.read(tmp_path).plugins == {}


def test_what_exceeds_a_grant():
    granted = {"network": ["a.example"], "camera": True}
    assert exceeds({"network": ["a.example"], "camera": True}, granted) == []
    assert exceeds({"network": ["a.example", "b.example"], "screen": True}, granted) == ["network: b.example", "screen"]
    assert exceeds({"network": ["b.example"]}, {"network": ["*"]}) == []


def test_the_host_works_on_virtual_time(tmp_path):
    body = TOOLS.replace("return text.upper()", "import asyncio; await asyncio.sleep(3600); return text")
    folder = write_plugin(tmp_path, "load_virtual", body, TOOL_MANIFEST)

    async def main():
        host = await start(tmp_path, folder)
        send = next(tool for tool in host.tools() if tool.name == "send")
        with pytest.raises(Exception, match="took longer than 20 s"):
            await send({"text": "x"}, ToolContext())
        await host.stop()

    run_virtual(main())


async def test_nobody_offers_it_names_the_plugin_that_would(tmp_path):
    folder = write_plugin(tmp_path, "load_would", "raise ValueError('no')", capability("Embedder"))
    host = await start(tmp_path, folder)
    with pytest.raises(Exception, match="'load_would' is quarantined"):
        host.get(Embedder)
    await host.stop()
