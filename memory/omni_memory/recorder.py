"""The stage that writes a session to the memory: what was said and heard, shown, drawn and done.

Nothing is written while the session is off the record. When the memory can't be written the person
is told once, and the conversation goes on.
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
from typing import Any

from omni.bus import Overflow
from omni.capabilities import Memory, Moment, VisionModel
from omni.errors import OmniError
from omni.events import (
    Drawing,
    Event,
    Notice,
    SessionClosed,
    SpeechStarted,
    Spoken,
    ToolReturned,
    TurnCommitted,
    VideoFrame,
)
from omni.session import Session

log = logging.getLogger("omni.memory")

#: Tools whose answers are the memory itself: writing those down would make it echo.
OWN_TOOLS = frozenset({"recall_memory", "what_was_shown", "remember_this", "forget_memory"})
RESULT_CHARACTERS = 2000
#: Seconds nobody may have spoken before a scene is described: the voice comes first.
QUIET_S = 3.0
#: Mean difference (0..255) of two 16 x 16 grey thumbnails above which the scene counts as another.
CHANGED = 6.0


def off_the_record(session: Session, settings: dict[str, Any]) -> bool:
    """Whether nothing of this session may be kept."""
    return bool(session.settings.get("off_the_record", False)) or not settings.get("record", True)


class Recorder:
    """Made anew for each session."""

    def __init__(self, host: Any, settings: dict[str, Any]) -> None:
        self._host = host
        self._settings = settings
        self._speech_start: float | None = None
        self._heard_from: dict[int, float] = {}  #: turn -> when its answer began to sound
        self._drawn: dict[int, list[dict[str, Any]]] = {}
        self._last_sound = float("-inf")
        self._failing = False

    async def run(self, session: Session) -> None:
        """Read events until the session closes."""
        mailbox = session.bus.subscribe(
            SpeechStarted, TurnCommitted, Spoken, ToolReturned, Drawing, SessionClosed, capacity=2048, name="recorder"
        )
        frames = asyncio.create_task(self._scenes(session), name="recorder-scenes")
        try:
            async for event in mailbox:
                if isinstance(event, SessionClosed):
                    break
                await self._take(session, event)
            for event in mailbox.drain():
                await self._take(session, event)
        finally:
            frames.cancel()
            await asyncio.gather(frames, return_exceptions=True)
            session.bus.unsubscribe(mailbox)

    async def _take(self, session: Session, event: Event) -> None:
        self._last_sound = event.at
        moments = self._moments(session, event)
        if moments and not off_the_record(session, self._settings):
            await self._keep(session, moments)

    async def _keep(self, session: Session, moments: list[Moment]) -> None:
        try:
            await self._host.get(Memory).remember(moments)
        except OmniError as error:
            if not self._failing:
                self._failing = True
                session.publish(Notice, topic="memory", text=str(error), level="warning")
        else:
            if self._failing:
                self._failing = False
                session.publish(Notice, topic="memory", text="")

    # -- events to moments --------------------------------------------------------------------

    def _moments(self, session: Session, event: Event) -> list[Moment]:
        if isinstance(event, SpeechStarted):
            self._speech_start = event.at
        elif isinstance(event, TurnCommitted):
            return [self._said(session, event)]
        elif isinstance(event, Spoken):
            self._heard_from.setdefault(event.turn, event.at)
            if event.final:
                return self._answered(session, event)
        elif isinstance(event, ToolReturned):
            return self._returned(session, event)
        elif isinstance(event, Drawing):
            drawn = self._drawn.setdefault(event.turn, [])
            drawn.extend({**operation, "author": event.author} for operation in event.operations)
        return []

    def _said(self, session: Session, event: TurnCommitted) -> Moment:
        end = event.speech_end or event.at
        start, self._speech_start = self._speech_start, None
        start = end if start is None or event.source != "voice" else min(start, end)
        data: dict[str, Any] = {"role": "user", "via": event.source}
        if event.attachments:
            data["attachments"] = [{"kind": a.kind, "name": a.name, "ref": a.ref} for a in event.attachments]
        media = tuple(a.ref for a in event.attachments)
        return self._moment(session, event, "speech", event.text, start, end, data, media)

    def _answered(self, session: Session, event: Spoken) -> list[Moment]:
        """What was heard of the answer, and what was drawn to it."""
        start = self._heard_from.pop(event.turn, event.at)
        found: list[Moment] = []
        if event.text.strip():
            data = {"role": "assistant", "cut": event.cut}
            found.append(self._moment(session, event, "speech", event.text, start, event.at, data))
        if drawn := self._drawn.pop(event.turn, []):
            words = " ".join(str(o[key]) for o in drawn for key in ("text", "tex", "label") if o.get(key))
            data = {"operations": drawn} if len(json.dumps(drawn, default=str)) < 200_000 else {}
            found.append(self._moment(session, event, "drawing", words, start, event.at, data))
        return found

    def _returned(self, session: Session, event: ToolReturned) -> list[Moment]:
        if event.error or event.tool in OWN_TOOLS or not self._settings.get("record_tools", True):
            return []
        result = event.result if isinstance(event.result, str) else json.dumps(event.result, default=str)
        text = f"{event.tool.replace('_', ' ')}: {result[:RESULT_CHARACTERS]}"
        data = {"tool": event.tool, "call": event.call}
        return [self._moment(session, event, "tool", text, event.at - event.seconds, event.at, data)]

    @staticmethod
    def _moment(
        session: Session, event: Event, source: str, text: str, start: float, end: float,
        data: dict[str, Any], media: tuple[str, ...] = (),
    ) -> Moment:  # fmt: skip
        first, last = session.clock.wall(start), session.clock.wall(max(start, end))
        return Moment(source, text, first, last, session=session.id, turn=event.turn, data=data, media=media)

    # -- scenes -------------------------------------------------------------------------------

    async def _scenes(self, session: Session) -> None:
        """Describe what the camera and the screen show: seldom, when it changed, and when nobody speaks."""
        every = float(self._settings.get("scene_every_s", 60.0))
        if every <= 0:
            return
        mailbox = session.bus.subscribe(VideoFrame, capacity=2, overflow=Overflow.LATEST, name="recorder-scenes")
        seen: dict[str, tuple[float, Any]] = {}
        try:
            async for frame in mailbox:
                at, before = seen.get(frame.source, (float("-inf"), None))
                quiet = session.clock.now() - self._last_sound > QUIET_S
                if frame.at - at < every or not quiet or off_the_record(session, self._settings):
                    continue
                thumbnail = await asyncio.to_thread(_thumbnail, frame.image)
                if thumbnail is None or (before is not None and abs(thumbnail - before).mean() < CHANGED):
                    continue
                seen[frame.source] = (frame.at, thumbnail)
                await self._describe(session, frame)
        finally:
            session.bus.unsubscribe(mailbox)

    async def _describe(self, session: Session, frame: VideoFrame) -> None:
        try:
            scene = await self._host.get(VisionModel).look(frame.image, detail="fast")
        except OmniError as error:
            log.info("the %s goes undescribed: %s", frame.source, error)
            return
        if scene.description.strip() and not off_the_record(session, self._settings):
            data = {"digest": scene.digest, "size": [scene.width, scene.height]}
            await self._keep(
                session, [self._moment(session, frame, frame.source, scene.description, frame.at, frame.at, data)]
            )


def _thumbnail(image: bytes) -> Any:
    """The image as 16 x 16 greys, or None when it is none."""
    import numpy as np
    from PIL import Image

    try:
        with Image.open(io.BytesIO(image)) as opened:
            opened.draft("L", (64, 64))
            return np.asarray(opened.convert("L").resize((16, 16)), np.float32)
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
