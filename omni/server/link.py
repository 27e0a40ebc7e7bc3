"""One session's end of the line: it outlives the sockets that come and go.

What the session says goes through an `Outbox`; what the page says is checked, counted and published.
While the page is away the voice stands still and nothing is lost; when it stays away too long the hub
closes the session.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any, Protocol

from omni import events
from omni.bus import Overflow
from omni.errors import BadInput, OmniError
from omni.events import AudioOut, Event, Notice
from omni.server import frames
from omni.server.limits import SessionLimits
from omni.server.media import Uploads
from omni.server.outbox import Outbox
from omni.turns import Exchange

logger = logging.getLogger(__name__)

#: Seconds one frame may take to go out before the socket counts as blocked.
WRITE_S = 15.0
#: Seconds between two signs that the loudspeaker stands still while the page is away.
STILL_S = 2.0
#: Panel calls one page may have under way.
CALLS = 16
#: Turns whose stage times are kept for the page.
TIMED_TURNS = 200

#: What the page never gets back, or gets in another form.
_NOT_SENT = (events.AudioIn, events.VideoFrame, events.Played, events.ApprovalGiven, AudioOut)
_SENT = tuple(kind for kind in events.ALL if kind not in _NOT_SENT)


class Gone(Exception):
    """The socket is closed."""


class Socket(Protocol):
    """What a link needs of a WebSocket."""

    async def receive(self) -> str | bytes:
        """The next frame. Raises `Gone`."""

    async def send(self, frame: str | bytes) -> None:
        """Send a frame. Raises `Gone`."""

    async def close(self, code: int, reason: str) -> None:
        """Close it. Idempotent."""


def _report(half: asyncio.Task[Any]) -> None:
    """Log why serving a page failed, if it did."""
    error = None if half.cancelled() else half.exception()
    if error is not None and not isinstance(error, Gone):
        logger.error("serving the page failed", exc_info=error)


PanelCall = Callable[[str, str, dict[str, Any]], Any]


class Link:
    """`conversation` is served; `call` answers panel calls: (plugin, method, params) to JSON."""

    def __init__(self, conversation: Any, call: PanelCall, limits: SessionLimits | None = None) -> None:
        self.conversation = conversation
        self.session = conversation.session
        self.id: str = self.session.id
        self.outbox = Outbox()
        self.uploads = Uploads(self.session)
        self.notices: dict[str, Notice] = {}
        self.asked: dict[str, events.ApprovalAsked] = {}
        self.timings: dict[int, dict[str, float]] = {}
        self.closed = asyncio.Event()
        self.left_at: float | None = self.session.clock.now()
        self._call = call
        self._limits = limits or SessionLimits()
        self._socket: Socket | None = None
        self._calls: set[asyncio.Task[None]] = set()
        self._halves: list[asyncio.Task[Any]] = []
        self._taking_over = asyncio.Lock()
        self._attached: set[str] = set()
        self._next_seq = -1
        self._sent_to: dict[int, int] = {}
        self._played_to: dict[int, int] = {}
        bus = self.session.bus
        self._events = bus.subscribe(*_SENT, capacity=1024, overflow=Overflow.LATEST, name="page")
        self._voice = bus.subscribe(AudioOut, capacity=16, overflow=Overflow.WAIT, name="page voice")
        self._tasks = [
            asyncio.create_task(self._pump_events(), name=f"page events {self.id}"),
            asyncio.create_task(self._pump_voice(), name=f"page voice {self.id}"),
            asyncio.create_task(self._stand_still(), name=f"page away {self.id}"),
        ]

    # -- from the session to the page ---------------------------------------------------------------

    async def _pump_events(self) -> None:
        async for event in self._events:
            self._note(event)
            self.outbox.put(event)
            if self.outbox.overrun and self._socket:
                await self._socket.close(1013, "the page is too slow; come back for a summary")
        self.closed.set()

    async def _pump_voice(self) -> None:
        async for event in self._voice:
            assert isinstance(event, AudioOut)
            self._sent_to[event.turn] = event.offset + len(event.pcm) // 2
            await self.outbox.put_voice(event)

    def _note(self, event: Event) -> None:
        """Keep what a page that comes later must know."""
        if isinstance(event, Notice):
            self.notices.pop(event.topic, None)
            if event.text:
                self.notices[event.topic] = event
                while len(self.notices) > 50:
                    self.notices.pop(next(iter(self.notices)))
        elif isinstance(event, events.ApprovalAsked):
            self.asked[event.call] = event
        elif isinstance(event, events.ToolReturned):
            self.asked.pop(event.call, None)
        elif isinstance(event, events.StageTiming):
            self.timings.setdefault(event.turn, {})[event.stage] = event.seconds
            while len(self.timings) > TIMED_TURNS:
                self.timings.pop(next(iter(self.timings)))
        elif isinstance(event, events.Spoken) and event.final:
            for turn in [t for t in self._sent_to if t <= event.turn]:
                self._sent_to.pop(turn)
                self._played_to.pop(turn, None)

    async def _stand_still(self) -> None:
        """While no page is there, say that the loudspeaker has not moved: the answer waits for the page."""
        while not self.closed.is_set():
            await asyncio.sleep(STILL_S)
            if self._socket is None:
                for turn, sent in list(self._sent_to.items()):
                    played = self._played_to.get(turn, 0)
                    if played < sent:
                        self.session.publish(events.Played, turn=turn, samples=played)

    def summary(self) -> dict[str, Any]:
        """What a page needs to show the conversation as it stands."""
        return {
            "history": [self._exchange(e) for e in self.session.turns.history],
            "notices": [{"topic": n.topic, "text": n.text, "level": n.level} for n in self.notices.values()],
            "approvals": [
                {
                    "turn": a.turn, "call": a.call, "tool": a.tool, "arguments": a.arguments,
                    "sentence": a.sentence, "digest": a.digest,
                }
                for a in self.asked.values()
            ],
        }  # fmt: skip

    def _exchange(self, exchange: Exchange) -> dict[str, Any]:
        return {
            "turn": exchange.turn, "asked": exchange.asked, "source": exchange.source, "answer": exchange.answer,
            "heard": exchange.heard, "cut": exchange.cut, "at": self.session.clock.wall(exchange.at),
            "attachments": [
                {"kind": a.kind, "ref": a.ref, "name": a.name, "mime": a.mime} for a in exchange.attachments
            ],
            "timings": self.timings.get(exchange.turn, {}),
        }  # fmt: skip

    # -- a socket comes -------------------------------------------------------------------------------

    async def serve(self, socket: Socket, welcome: dict[str, Any], received: int | None = None) -> None:
        """Serve a page until its socket closes. `received` is how many frames it has of this session.

        A page that comes without a count (new, or reloaded) gets a summary, and an answer that was being
        spoken is cut: its sound went with the old page. A second page takes the line from the first.
        """
        async with self._taking_over:
            await self._part("this conversation was opened in another tab")
            self._socket, self.left_at = socket, None
            greeting = self._greet(welcome, received)
            halves = self._halves = [
                asyncio.create_task(self._write(socket, greeting), name=f"to page {self.id}"),
                asyncio.create_task(self._read(socket), name=f"from page {self.id}"),
                asyncio.create_task(self.closed.wait(), name=f"closing {self.id}"),
            ]
        try:
            await asyncio.wait(halves, return_when=asyncio.FIRST_COMPLETED)
            if self.closed.is_set():
                await socket.close(1001, "the session is over")
        finally:  # no waiting here: the server may be cancelling this very task
            for half in halves:
                half.cancel()
                half.add_done_callback(_report)
            if self._socket is socket:
                self._socket, self.left_at = None, self.session.clock.now()

    async def _part(self, reason: str) -> None:
        """Let go of the page that is there, before another gets its frames. Idempotent."""
        old, self._socket = self._socket, None
        for half in self._halves:
            half.cancel()
        await asyncio.gather(*self._halves, return_exceptions=True)
        if old:
            await old.close(4409, reason)

    def _greet(self, welcome: dict[str, Any], received: int | None) -> str:
        """The first frame for a page: it goes on where it was, or gets a summary."""
        resumed = received is not None and self.outbox.rewind(received)
        if not resumed:
            if self._sent_to and received is None:
                self.conversation.interrupt("key")
            self.outbox.start_over()
            self._next_seq = -1
            welcome = {**welcome, **self.summary()}
        now = self.session.clock.now()
        return frames.encode_plain(
            type="Welcome", session=self.id, resumed=resumed, next=self.outbox.next, time=now, **welcome
        )

    @property
    def connected(self) -> bool:
        return self._socket is not None

    async def _write(self, socket: Socket, greeting: str) -> None:
        await socket.send(greeting)
        while True:
            frame = await self.outbox.take()
            try:
                async with asyncio.timeout(WRITE_S):  # not wait_for, which may lose a cancellation (Python 3.11)
                    await socket.send(frame)
            except TimeoutError:
                await socket.close(1013, "the page does not read")
                return

    # -- from the page to the session -----------------------------------------------------------------

    async def _read(self, socket: Socket) -> None:
        while True:
            frame = await socket.receive()
            if not self._limits.everything.take():
                self._complain(BadInput("The page sends more than this session takes.", "Reload the page."), "rate")
                continue
            try:
                if isinstance(frame, str):
                    await self._on_message(frames.decode_text(frame))
                else:
                    self._on_binary(frame)
            except OmniError as error:
                self._complain(error, "bad_frame" if isinstance(error, BadInput) else "failed")

    def _complain(self, error: OmniError, code: str) -> None:
        """Tell the page what was wrong; the session lives on."""
        if self._limits.complaints.take():
            self.outbox.put(frames.encode_error(error, code=code))

    def _on_binary(self, frame: bytes) -> None:
        kind = frame[0] if frame else -1
        if kind == frames.MICROPHONE:
            self._on_sound(frame)
        elif kind == frames.PICTURE:
            if not self._limits.pictures.take():
                raise BadInput("Pictures come faster than five a second; some were left out.")
            source, image, width, height = frames.decode_picture(frame)
            self.session.publish(events.VideoFrame, source=source, image=image, width=width, height=height)
        else:
            raise BadInput("A binary frame is neither sound nor a picture.", "Reload the page.")

    def _on_sound(self, frame: bytes) -> None:
        seq, pcm = frames.decode_microphone(frame)
        if not self._limits.sound.take():
            self.session.publish(events.AudioGap, samples=frames.MIC_SAMPLES, reason="too fast")
            raise BadInput("The microphone sends faster than real time; some of it was left out.", "Reload the page.")
        expected = self._next_seq
        self._next_seq = seq + 1
        if 0 <= expected < seq:
            self.session.publish(
                events.AudioGap, samples=(seq - expected) * frames.MIC_SAMPLES, reason="lost on the way"
            )
        self.session.publish(events.AudioIn, pcm=pcm, seq=seq)

    async def _on_message(self, message: frames.FromPage) -> None:
        if not self._limits.messages.take() and not isinstance(message, frames.Played | frames.Ack | frames.BargeIn):
            raise BadInput("The page sends messages too fast; one was left out.", "Wait a second, then try again.")
        session = self.session
        match message:
            case frames.Say():
                await self.conversation.say(message.text, self.uploads.attachments(message.attachments))
            case frames.Attach():
                self._attach(message.refs)
            case frames.MicMuted():
                self._next_seq = -1
                session.publish(events.MicMuted, muted=message.muted)
            case frames.Played():
                self._on_played(message)
            case frames.BargeIn():
                self.conversation.interrupt("key")
            case frames.ApprovalGiven():
                self.asked.pop(message.call, None)
                session.publish(
                    events.ApprovalGiven, call=message.call, digest=message.digest, approved=message.approved
                )
            case frames.Drawing():
                session.publish(events.Drawing, operations=tuple(message.operations), author="person")
            case frames.Settings():
                session.settings.update(message.values)
            case frames.Ack():
                self.outbox.acknowledge(message.received)
            case frames.Call():
                self._start_call(message)

    def _attach(self, refs: list[str]) -> None:
        """These, and none of those named before, go with the next turn."""
        shown = self.uploads.attachments(refs)
        self.conversation.detach(self._attached - set(refs))
        self.conversation.attach(shown)
        self._attached = set(refs)

    def _on_played(self, message: frames.Played) -> None:
        """The loudspeaker never goes back, and never plays what was not sent."""
        sent = self._sent_to.get(message.turn)
        if sent is None:
            return
        played = max(min(message.samples, sent), self._played_to.get(message.turn, 0))
        self._played_to[message.turn] = played
        self.session.publish(events.Played, turn=message.turn, samples=played, final=message.final)

    # -- panels ---------------------------------------------------------------------------------------

    def _start_call(self, call: frames.Call) -> None:
        if len(self._calls) >= CALLS:
            raise BadInput(f"{CALLS} calls of panels are under way already.", "Wait for one of them.")
        task = asyncio.create_task(self._answer_call(call), name=f"{call.plugin}.{call.method}")
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _answer_call(self, call: frames.Call) -> None:
        try:
            value = await self._call(call.plugin, call.method, call.params)
            frame = frames.encode_plain(type="Result", id=call.id, ok=True, value=value)
        except OmniError as error:
            frame = frames.encode_plain(type="Result", id=call.id, ok=False, message=error.message, remedy=error.remedy)
        except (TypeError, ValueError) as error:  # what the handler gave back is not JSON
            sentence = f"The panel of {call.plugin} got no usable answer to {call.method}: {error}."
            frame = frames.encode_plain(type="Result", id=call.id, ok=False, message=sentence, remedy="")
        self.outbox.put(frame)

    async def close(self) -> None:
        """Stop serving. The conversation itself is closed by whoever opened it. Idempotent."""
        self.closed.set()
        if self._socket:
            with contextlib.suppress(Gone):
                await self._socket.close(1001, "the session is over")
        for mailbox in (self._events, self._voice):
            self.session.bus.unsubscribe(mailbox)
        tasks = [*self._tasks, *self._calls]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
