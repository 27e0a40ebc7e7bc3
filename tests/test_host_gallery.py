"""The gallery of broken plugins: each rule of the contract can fail, and a good plugin keeps them all."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from omni.capabilities import Embedder
from omni.errors import OmniError
from omni.events import SessionClosed
from omni.host.contract import check, check_apart
from omni.host.contract.rules import RULES
from omni.host.contract.writing import write_plugin
from omni.host.discovery import plugin_folders
from omni.host.host import Host, Limits
from omni.host.isolated import ProcessPolicy
from omni.session import Session

GALLERY = Path(__file__).parent / "gallery"

#: Where `gallery_write` writes.
OUTSIDE = Path("/var/tmp/omni-gallery-was-here")

#: Which rule each of them breaks.
BREAKS = {
    "import": "registers_what_it_announces",
    "hang": "registers_what_it_announces",
    "thread": "use_leaves_nothing_behind",
    "block": "the_loop_keeps_turning",
    "memory": "memory_stays_bounded",
    "type": "answers_have_the_right_type",
    "signature": "methods_take_what_they_are_given",
    "write": "writes_in_its_own_folder",
    "socket": "works_without_the_network",
    "close": "close_is_idempotent",
    "mix": "answers_belong_to_their_questions",
    "stubborn": "cancellation_ends_a_call",
    "stray": "errors_are_sentences",
    "heavy": "import_is_light",
    "settings": "config_round_trips",
    "manifest": "manifest_is_complete",
    "early": "loading_leaves_nothing_open",
    "empty": "registers_what_it_announces",
}

GOOD = """
import asyncio
import numpy as np
from omni.capabilities import Embedder
from omni.errors import BadInput
from omni.host.hookspecs import Offer, hookimpl

class Vectors:
    space, dimension = "good", 2
    async def open(self): pass
    async def close(self): pass
    async def embed_text(self, texts, *, query=False):
        await asyncio.sleep(0)
        return np.array([[len(text), 1.0] for text in texts], np.float32).reshape(-1, 2)
    async def embed_images(self, images):
        raise BadInput("This space has no images.", "Give it text.")

class Plugin:
    @hookimpl
    def omni_capabilities(self):
        return [Offer(Embedder, "vectors", Vectors)]

plugin = Plugin()
"""


def test_every_rule_is_broken_by_one_of_the_gallery():
    assert set(BREAKS.values()) == set(RULES)


@pytest.mark.parametrize("name", BREAKS)
async def test_the_kit_finds_what_is_broken(name):
    for module in [m for m in sys.modules if m.split(".")[0] == f"gallery_{name}"]:
        del sys.modules[module]  # another test may have imported it: what it does on import, it must do here
    try:
        (outcome,) = await check(GALLERY / f"gallery_{name}", [BREAKS[name]], load_s=1.0)
    finally:
        OUTSIDE.unlink(missing_ok=True)  # noqa: ASYNC240
    assert outcome.result == "broken", outcome
    assert f"gallery_{name}" in outcome.detail


def test_the_kit_survives_a_plugin_that_kills_its_process():
    outcomes = {outcome.rule: outcome for outcome in check_apart(GALLERY / "gallery_kill", ["errors_are_sentences"])}
    assert outcomes["survives"].result == "broken"
    assert "-9" in outcomes["survives"].detail


async def test_a_good_plugin_keeps_every_rule(tmp_path):
    extra = '[[capabilities]]\nprotocol = "Embedder"\n[config.size]\ntype = "integer"\ndefault = 3\nminimum = 1\n'
    folder = write_plugin(tmp_path, "kept_rules", GOOD, extra)
    outcomes = await check(folder)
    assert [outcome for outcome in outcomes if outcome.result != "kept"] == []
    assert len(outcomes) == len(RULES)


async def test_with_the_whole_gallery_installed_the_host_goes_on(tmp_path):
    good = write_plugin(tmp_path, "gallery_good", GOOD, '[[capabilities]]\nprotocol = "Embedder"\n')
    broken = plugin_folders(GALLERY)
    host = Host(
        None,
        None,
        tmp_path / "data",
        only=[folder.name for folder in broken] + ["gallery_good"],
        sources=[good, *broken],
        limits=Limits(load_s=2.0, close_s=0.5, stall_s=0.1, interrupt_s=0.5),
        processes=ProcessPolicy(ping_s=0.2, silence_s=2.0, look_s=0.05, backoff_s=0.05),
    )
    await host.start()
    try:
        states = {record.id: record.state for record in host.plugins() if record.enabled}
        assert set(states) == {"gallery_good", *(folder.name for folder in broken)}
        assert states["gallery_import"] == states["gallery_hang"] == "quarantined"
        assert states["gallery_write"] == states["gallery_socket"] == states["gallery_kill"] == "loaded"
        session = Session(host=host)
        stages = asyncio.create_task(host.run_stages(session))
        mine = host.get(Embedder, plugin="gallery_good")
        for name, state in states.items():
            if state not in ("loaded", "ready"):
                continue
            with suppress(OmniError):  # whatever it does, it ends within its deadline and as one of our errors
                async with asyncio.timeout(10):
                    theirs = host.get(Embedder, plugin=name)
                    await asyncio.gather(theirs.embed_text(["x"]), theirs.embed_text(["yy"]))
            assert (await asyncio.wait_for(mine.embed_text(["x"]), 5)).shape == (1, 2), name
        for name in ("gallery_write", "gallery_socket"):
            with pytest.raises(OmniError, match="may not"):
                await host.get(Embedder, plugin=name).embed_text(["x"])
        assert not OUTSIDE.exists()  # noqa: ASYNC240
        session.publish(SessionClosed)
        await asyncio.wait_for(stages, 5)
    finally:
        await asyncio.wait_for(host.stop(), 20)


@pytest.mark.parametrize("name", [folder.name for folder in plugin_folders(GALLERY)])
async def test_each_of_the_gallery_is_contained_in_a_process_too(name, tmp_path):
    load_s = 1.0 if name == "gallery_hang" else 4.0  # that one takes all of it
    host = Host(
        None,
        None,
        tmp_path,
        only=[name],
        sources=[GALLERY / name],
        isolate=[name],
        limits=Limits(close_s=0.5),
        processes=ProcessPolicy(ping_s=0.2, silence_s=2.0, look_s=0.05, backoff_s=0.05, load_s=load_s),
    )
    await host.start()
    try:
        with suppress(OmniError):
            await asyncio.wait_for(host.get(Embedder).embed_text(["x"]), 10)
    finally:
        await asyncio.wait_for(host.stop(), 10)
    assert not psutil.Process().children(recursive=True)
