"""Puts the parts together, starts and stops them in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from omni.capabilities import Synthesizer
from omni.catalogue.store import ModelStore
from omni.config import Config
from omni.conversation import Conversation
from omni.errors import Busy, CapabilityUnavailable, OmniError
from omni.events import Notice
from omni.host.host import Host
from omni.planner import Planner
from omni.replay import Recorder
from omni.reply import Voice
from omni.session import Session
from omni.telemetry import LoopWatchdog

logger = logging.getLogger(__name__)


class Runtime:
    """The whole assistant: one host, one planner, and a conversation for each session.

    Start it once, open a session for each person who talks to it, stop it once.
    `record` names a folder in which every session is recorded.
    """

    def __init__(
        self,
        config: Config,
        *,
        only: set[str] | None = None,
        deny: tuple[str, ...] = (),
        record: Path | None = None,
        host: Host | None = None,
    ) -> None:
        self.config = config
        self.store = ModelStore.from_config(config)
        self.host = host or Host(config, self.store, config.data_dir, only=only, deny=deny)
        self.planner = Planner(self.host, config)
        self.watchdog = LoopWatchdog(config.get("telemetry.stall_ms", 50.0) / 1000)
        self.conversations: dict[str, Conversation] = {}
        self._record = record
        self._tasks: dict[str, list[asyncio.Task[Any]]] = {}
        self._recorders: dict[str, Recorder] = {}

    async def start(self) -> None:
        """Load the plugins. Whatever fails is contained and told; this raises only when nothing can work."""
        self.watchdog.start()
        await self.host.start()

    async def warm_up(self, progress: Callable[[str], None] = lambda _: None) -> list[str]:
        """Open what a conversation needs, so that the first answer is as fast as the next.

        Returns sentences about what is missing; none of it stops the start.
        """
        from omni.capabilities import ChatModel, Embedder, Transcriber, VoiceActivity

        wanted: list[tuple[str, type, dict[str, Any]]] = [
            ("ears", VoiceActivity, {}),
            ("recognition", Transcriber, {}),
            ("voice", Synthesizer, {}),
            ("language", ChatModel, {}),
            ("meaning", Embedder, {"space": "text"}),
        ]

        async def open_one(name: str, capability: type, features: dict[str, Any]) -> str:
            """What is missing, as a sentence; empty when it is there."""
            try:
                await self.host.get(capability, **features).open()
            except OmniError as error:
                return f"{name}: {error}"
            progress(name)
            return ""

        # Side by side: the language model loads in a process of its own and waits for the disk most of the time.
        missing = [sentence for sentence in await asyncio.gather(*(open_one(*one) for one in wanted)) if sentence]
        # The first start embeds every tool's examples, 3 s on two cores; the first question need not wait for that.
        with contextlib.suppress(OmniError):
            await self.planner.chooser.index(self.host.tools())
        return missing

    async def open_session(self, settings: dict[str, Any] | None = None) -> Conversation:
        """A new session with its stages running. Raises `Busy` when there are too many."""
        limit = self.config.get("server.max_sessions", 4)
        if len(self.conversations) >= limit:
            raise Busy(
                f"{limit} conversations are open already.",
                "Close one, or raise `server.max_sessions` if this machine can carry more.",
            )
        chosen = {"off_the_record": bool(self.config.get("session.off_the_record", False))} | (settings or {})
        session = Session(host=self.host, settings=chosen)
        conversation = Conversation(session, self.planner, lambda: self._voice(session))
        if self._record:
            self._recorders[session.id] = Recorder(session, self._record / session.id, self.config)
        self.conversations[session.id] = conversation
        self._tasks[session.id] = [
            asyncio.create_task(self.host.run_stages(session), name=f"stages {session.id}"),
            asyncio.create_task(conversation.run(), name=f"conversation {session.id}"),
        ]
        return conversation

    async def close_session(self, id: str) -> None:
        """End a session and everything that belongs to it. Idempotent."""
        conversation = self.conversations.pop(id, None)
        if conversation is None:
            return
        await conversation.close()
        tasks = self._tasks.pop(id, [])
        _, late = await asyncio.wait(tasks, timeout=3.0) if tasks else (None, ())
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if recorder := self._recorders.pop(id, None):
            recorder.close()

    async def stop(self) -> None:
        """Close every session, then the plugins, the last started first. Idempotent."""
        for id in list(self.conversations):
            with contextlib.suppress(OmniError):
                await self.close_session(id)
        await self.host.stop()
        self.watchdog.stop()

    def _voice(self, session: Session) -> Voice | None:
        if session.settings.get("voice", True) is False:
            return None
        try:
            synthesizer = self.host.get(Synthesizer)
        except CapabilityUnavailable as error:
            session.publish(Notice, topic="voice", text=f"I can't speak, so I write: {error}", level="warning")
            return None
        return Voice(
            synthesizer, name=session.settings.get("voice_name", ""), speed=float(session.settings.get("speed", 1.0))
        )
