"""`omni plugin dev|check|bench`: a save reloads without dropping the conversation; what is wrong is named."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from omni.errors import BadInput, OmniError
from omni.events import Notice, TurnCommitted
from omni.host import checkup as checks
from omni.host.benching import compare
from omni.host.contract.writing import install_plugin, write_plugin
from omni.host.devloop import follow, snapshot, the_one_in
from omni.host.host import Host
from omni.host.scaffold import create
from omni.session import Session

STAGE = """
from omni.events import Notice, TurnCommitted
from omni.host.hookspecs import StageOffer, hookimpl

class Echo:
    async def run(self, session):
        mailbox = session.bus.subscribe(TurnCommitted, name="echo")
        session.publish(Notice, topic="echo", text="WORD listens")
        async for event in mailbox:
            session.publish(Notice, topic="echo", text=f"WORD {event.text}")

class Plugin:
    @hookimpl
    def omni_stages(self):
        return [StageOffer("echo", Echo, role="echo")]

plugin = Plugin()
"""
MANIFEST = '[[stages]]\nname = "echo"\nrole = "echo"\nreads = ["TurnCommitted"]\nwrites = ["Notice"]\n'


class Heard:
    """The notices of a session, to wait for."""

    def __init__(self, session):
        self.texts, self.more = [], asyncio.Event()
        session.bus.tap(self.see)

    def see(self, event):
        if isinstance(event, Notice) and event.topic == "echo":
            self.texts.append(event.text)
            self.more.set()

    async def wait_for(self, text):
        async with asyncio.timeout(20):
            while text not in self.texts:
                self.more.clear()
                await self.more.wait()


async def test_a_save_reloads_the_plugin_and_the_conversation_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    folder = write_plugin(tmp_path / "src", "dev_echo", STAGE.replace("WORD", "first"), MANIFEST)
    host = Host(None, None, tmp_path / "data", only=["dev_echo"], sources=[tmp_path / "src"])
    said, news = [], asyncio.Event()

    def say(text):
        said.append(text)
        news.set()

    # as `omni plugin dev` does it: the first look at the files comes before they are loaded
    watcher = asyncio.create_task(follow(host, the_one_in(folder), say, look_s=0.02))
    await host.start()
    session = Session(host=host)
    heard = Heard(session)

    async def saved(body):
        news.clear()
        await asyncio.to_thread((folder / "plugin.py").write_text, body)
        await asyncio.wait_for(news.wait(), 20)

    stages = asyncio.create_task(host.run_stages(session))
    try:
        await heard.wait_for("first listens")
        session.turns.begin()
        session.publish(TurnCommitted, text="one")
        await heard.wait_for("first one")
        await saved(STAGE.replace("WORD", "other"))
        await heard.wait_for("other listens")
        await saved("this is no Python")
        assert "plugin.py changed" in said[-1] and "quarantined" in said[-1] and "SyntaxError" in said[-1]
        session.turns.begin()
        await saved(STAGE.replace("WORD", "third"))
        assert "loaded anew" in said[-1]
        await heard.wait_for("third listens")
        session.publish(TurnCommitted, text="three")
        await heard.wait_for("third three")
        assert session.turns.turn == 2 and not stages.done() and "first three" not in heard.texts
    finally:
        for task in (watcher, stages):
            task.cancel()
        await asyncio.gather(watcher, stages, return_exceptions=True)
        await host.stop()


def test_caches_are_no_saves(tmp_path):
    folder = write_plugin(tmp_path, "dev_quiet", STAGE, MANIFEST)
    before = snapshot(folder)
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__/plugin.pyc").write_bytes(b"x")
    assert snapshot(folder) == before
    (folder / "more.py").write_text("")
    assert snapshot(folder) != before


@pytest.mark.parametrize("name", ["nothing", "two"])
def test_a_folder_without_one_plugin_is_refused(tmp_path, name):
    (tmp_path / "nothing").mkdir()
    for plugin in ("dev_one", "dev_two"):
        write_plugin(tmp_path / "two", plugin, STAGE, MANIFEST)
    with pytest.raises(BadInput, match=r"holds (no plugin\.toml|dev_one, dev_two)"):
        the_one_in(tmp_path / name)


# --- omni plugin check --------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path):
    return create("Checked", "tool", tmp_path)


def verdicts(project, monkeypatch):
    """What the parts that read say; the contract kit is tried elsewhere."""
    monkeypatch.setattr(checks, "check_apart", lambda *_, **__: [])
    return {outcome.rule: outcome for outcome in checks.checkup(project)}


def replaced(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_new_plugin_has_nothing_to_mend(project, monkeypatch):
    assert {outcome.result for outcome in verdicts(project, monkeypatch).values()} == {"kept"}


def test_a_typo_in_the_manifest_is_placed(project, monkeypatch):
    replaced(project / "omni_checked/plugin.toml", "[permissions]", "[permisions]")
    (outcome,) = verdicts(project, monkeypatch).values()
    assert outcome.result == "broken" and "line" in outcome.detail and "'permissions'" in outcome.detail


def test_a_package_that_would_not_be_found_is_broken(project, monkeypatch):
    replaced(project / "pyproject.toml", 'checked = "omni_checked"', 'chekced = "omni_checked"')
    replaced(project / "pyproject.toml", 'omni_checked = ["plugin.toml"]', "")
    replaced(project / "pyproject.toml", 'version = "0.1.0"', 'version = "0.2.0"')
    outcome = verdicts(project, monkeypatch)["package"]
    assert outcome.result == "broken"
    assert all(word in outcome.detail for word in ("omni.plugins", "package-data", "0.2.0"))


def test_an_import_that_suggests_more_than_is_asked_for_is_a_warning(project, monkeypatch):
    plugin = project / "omni_checked/plugin.py"
    replaced(plugin, "from typing import", "import urllib.request\nfrom typing import")
    outcome = verdicts(project, monkeypatch)["permissions"]
    assert outcome.result == "warning" and "urllib.request" in outcome.detail and "'network'" in outcome.detail
    replaced(project / "omni_checked/plugin.toml", "network = []", 'network = ["example.org"]')
    assert "talk to example.org" in verdicts(project, monkeypatch)["permissions"].detail


def test_models_are_known_and_their_licences_told(project, monkeypatch):
    text = '\n[models]\nrequired = ["whisper-base"]\noptional = ["no-such-model", "qwen2.5-vl-3b"]\n'
    manifest = project / "omni_checked/plugin.toml"
    manifest.write_text(manifest.read_text() + text)
    found = verdicts(project, monkeypatch)
    assert found["model_whisper-base"].result == "kept"
    assert found["model_no-such-model"].result == "broken"


@pytest.mark.parametrize(
    ("text", "result"),
    [("MIT", "kept"), ("MIT and Apache-2.0", "kept"), ("GPL-3.0-only", "warning"), ("MIT OR Qwen Research", "warning"),
     ("", "broken")],
)  # fmt: skip
def test_licences(text, result):
    assert checks.licence("licence", text).result == result


def omni(*arguments, cwd, **environment):
    command = [sys.executable, "-m", "omni.cli.main", *map(str, arguments)]
    environment = {**os.environ, "OMNI_HOME": str(cwd / "home"), "NO_COLOR": "1", **environment}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=280)


@pytest.mark.slow
def test_check_tries_the_contract_and_its_exit_status_tells(project, tmp_path):
    done = omni("plugin", "check", project, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Nothing is broken." in done.stdout and "import is light" in done.stdout
    replaced(project / "omni_checked/plugin.py", "from typing", "import torch\nfrom typing")
    replaced(project / "omni_checked/plugin.toml", '"count_words"', '"count_letters"')
    done = omni("plugin", "check", project, "--json", cwd=tmp_path)
    broken = {row["rule"] for row in json.loads(done.stdout) if row["result"] == "broken"}
    assert done.returncode == 1 and "registers_what_it_announces" in broken


# --- omni plugin bench --------------------------------------------------------------------------

VECTORS = """
import asyncio
import numpy as np
from omni.capabilities import Embedder
from omni.host.hookspecs import Offer, hookimpl

class Vectors:
    space, dimension = "bench", 2
    async def open(self): pass
    async def close(self): pass
    async def embed_text(self, texts, *, query=False):
        await asyncio.sleep(0.02)
        return np.ones((len(texts), 2), np.float32)
    async def embed_images(self, images):
        return np.ones((len(images), 2), np.float32)

class Plugin:
    @hookimpl
    def omni_capabilities(self):
        return [Offer(Embedder, "vectors", Vectors)]

plugin = Plugin()
"""


@pytest.mark.slow
def test_bench_measures_a_plugin_beside_those_it_could_replace(tmp_path):
    project = create("Benched", "embedder", tmp_path)
    site = tmp_path / "site"
    install_plugin(site, "bench_slow", VECTORS, '[[capabilities]]\nprotocol = "Embedder"\n')
    arguments = ["plugin", "bench", project, "--json", "--calls", "20", "--seconds", "2"]
    done = omni(*arguments, cwd=tmp_path, PYTHONPATH=str(site))
    rows = {(row["plugin"], row.get("method")): row for row in json.loads(done.stdout)}
    mine, slow = rows["benched", "embed_text"], rows["bench_slow", "embed_text"]
    assert mine["offer"] == "hashed-words" and mine["calls"] == 20
    assert slow["p50_ms"] >= 20 > mine["p50_ms"] > 0
    assert mine["load_s"] > 0 and mine["open_s"] >= 0 and mine["ram_mb"] >= 0
    assert any(plugin not in ("benched", "bench_slow") for plugin, _ in rows), "the installed embedders stand beside it"


def test_bench_of_what_is_not_there_brings_the_nearest(tmp_path):
    with pytest.raises(OmniError, match=r"There is no plugin 'speeech'\. Did you mean 'speech'"):
        compare("speeech", tmp_path)
