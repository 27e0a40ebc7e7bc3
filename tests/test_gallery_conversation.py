"""A conversation with the whole broken gallery installed: it is heard, answered, interrupted and answered again.

In real time, through a real host: what the gallery breaks (the loop, threads, memory, processes) has no meaning
on a virtual clock.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from omni.capabilities import Embedder
from omni.config import load_config
from omni.errors import OmniError
from omni.events import BargeIn, Played, ReplyFinished, TurnCommitted
from omni.host.contract.writing import write_plugin
from omni.host.discovery import plugin_folders
from omni.host.host import Host, Limits
from omni.host.isolated import ProcessPolicy
from omni.runtime import Runtime
from omni.testing import Loudspeaker

GALLERY = Path(__file__).parent / "gallery"
OUTSIDE = Path("/var/tmp/omni-gallery-was-here")

MIND = '''
"""A mind and a voice that are well, among plugins that are not."""

from omni.capabilities import ChatModel, Synthesizer
from omni.host.hookspecs import Offer, hookimpl
from omni.testing import ScriptedChat, ScriptedVoice

ANSWER = "The first part comes now. The second part comes after it. The third part is the end."

class Plugin:
    @hookimpl
    def omni_capabilities(self):
        return [
            Offer(ChatModel, "mind", lambda: ScriptedChat(reply=lambda _: ANSWER, first_s=0.01, word_s=0.002)),
            Offer(Synthesizer, "voice", lambda: ScriptedVoice(word_s=0.05, work_s=0.005)),
        ]

plugin = Plugin()
'''
MANIFEST = '[[capabilities]]\nprotocol = "ChatModel"\n[[capabilities]]\nprotocol = "Synthesizer"\n'
ANSWER = "The first part comes now. The second part comes after it. The third part is the end."


class Talk:
    """One session, its loudspeaker and the ends of its answers."""

    def __init__(self, conversation):
        self.session = conversation.session
        self.ends: dict[int, asyncio.Event] = {}
        self.sounds: dict[int, asyncio.Event] = {}
        self.speaker = Loudspeaker(self.session)
        self.session.bus.tap(self.see)

    def see(self, event):
        if isinstance(event, ReplyFinished):
            self.end_of(event.turn).set()
        elif isinstance(event, Played) and event.samples:
            self.sound_of(event.turn).set()

    def sound_of(self, turn):
        return self.sounds.setdefault(turn, asyncio.Event())

    def end_of(self, turn):
        return self.ends.setdefault(turn, asyncio.Event())

    def ask(self, text):
        self.session.turns.begin()
        self.session.publish(TurnCommitted, text=text, speech_end=self.session.clock.now())
        return self.session.turns.turn

    async def answered(self, turn):
        await asyncio.wait_for(self.end_of(turn).wait(), 60)
        return self.session.turns.exchange(turn)


async def trouble(host, names):
    """Call every plugin of the gallery, over and over, with whatever it does."""
    while True:
        for name in names:
            with suppress(OmniError, TimeoutError):
                async with asyncio.timeout(3):
                    await host.get(Embedder, plugin=name).embed_text(["x", "yy"])
            await asyncio.sleep(0.01)


@pytest.mark.slow
async def test_the_conversation_goes_on_with_the_whole_gallery_installed(tmp_path, monkeypatch):
    monkeypatch.setenv("OMNI_HOME", str(tmp_path / "home"))
    mind = write_plugin(tmp_path / "src", "gallery_mind", MIND, MANIFEST)
    broken = plugin_folders(GALLERY)
    names = [folder.name for folder in broken]
    config = load_config()
    host = Host(
        config, None, tmp_path / "data", only=[*names, "gallery_mind"], sources=[mind, *broken],
        limits=Limits(load_s=3.0, close_s=0.5, stall_s=0.1, interrupt_s=0.5),
        processes=ProcessPolicy(ping_s=0.2, silence_s=2.0, look_s=0.05, backoff_s=0.05),
    )  # fmt: skip
    runtime = Runtime(config, host=host)
    await runtime.start()
    tasks = []
    try:
        states = {record.id: record.state for record in host.plugins() if record.enabled}
        assert states["gallery_mind"] == "loaded" and states["gallery_import"] == "quarantined"
        assert len(states) == len(broken) + 1 > 18
        tasks.append(asyncio.create_task(trouble(host, names)))
        talk = Talk(await runtime.open_session())
        tasks.append(asyncio.create_task(talk.speaker.run()))
        await asyncio.sleep(0)

        whole = await talk.answered(talk.ask("tell me all of it"))
        assert whole.heard == ANSWER and not whole.cut

        second = talk.ask("and once more")
        await asyncio.wait_for(talk.sound_of(second).wait(), 60)
        talk.session.publish(BargeIn, turn=second)
        interrupted = await talk.answered(second)
        assert interrupted.cut and ANSWER.startswith(interrupted.heard)

        third = await talk.answered(talk.ask("go on please"))
        assert third.heard == ANSWER and not third.cut
        assert states.keys() == {record.id for record in host.plugins() if record.enabled}
        assert not OUTSIDE.exists()  # noqa: ASYNC240
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.wait_for(runtime.stop(), 60)
        OUTSIDE.unlink(missing_ok=True)  # noqa: ASYNC240
