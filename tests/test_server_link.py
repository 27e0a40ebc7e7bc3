"""One session's line on virtual time: bad frames, limits, resume, slow pages, two sessions, panel calls."""

from __future__ import annotations

import asyncio
import json
import random
import struct
from io import BytesIO

import pytest

from omni import events
from omni.clock import run_virtual
from omni.errors import BadInput, Busy
from omni.host.hookspecs import Panel
from omni.server import frames
from omni.server.hub import Hub
from omni.server.limits import SessionLimits
from omni.server.link import Gone
from omni.server.outbox import EVENT_ROOM, VOICE_ROOM, Outbox
from omni.server.scripted import LONG, ScriptedHost, ScriptedRuntime


class Page:
    """A page's side of the socket: counts frames as the page does, and plays the voice in real time."""

    def __init__(self, *, plays: bool = True, reads: bool = True) -> None:
        self.inbox: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self.messages: list[dict] = []
        self.voice: list[tuple[int, int, int, bytes]] = []
        self.received = 0
        self.counting = False
        self.closed: tuple[int, str] | None = None
        self.arrived = asyncio.Event()
        self.reads = reads
        self.plays = plays
        self.ends = 0.0

    async def receive(self) -> str | bytes:
        frame = await self.inbox.get()
        if frame is None:
            raise Gone
        return frame

    async def send(self, frame: str | bytes) -> None:
        if self.closed:
            raise Gone
        if not self.reads:
            await asyncio.Event().wait()
        if self.counting:
            self.received += 1
        if isinstance(frame, bytes):
            _, turn, rate, offset, _ = struct.unpack_from("<BIIQI", frame)
            self.voice.append((turn, rate, offset, frame[21:]))
            if self.plays:
                self._play(turn, rate, offset, (len(frame) - 21) // 2)
        else:
            message = json.loads(frame)
            self.messages.append(message)
            if message["type"] == "Welcome":
                self.received, self.counting = message["next"], True
        self.arrived.set()

    def _play(self, turn: int, rate: int, offset: int, samples: int) -> None:
        """Report a piece when it has sounded, one after the other, in real time."""
        loop = asyncio.get_running_loop()
        self.ends = max(self.ends, loop.time()) + samples / rate
        loop.call_at(self.ends, self.say, {"type": "Played", "turn": turn, "samples": offset + samples})

    async def close(self, code: int, reason: str) -> None:
        self.closed = self.closed or (code, reason)
        self.inbox.put_nowait(None)

    def say(self, message: dict | bytes | str) -> None:
        self.inbox.put_nowait(json.dumps(message) if isinstance(message, dict) else message)

    def drop(self) -> None:
        """The line breaks without a word."""
        self.closed = (1006, "lost")
        self.inbox.put_nowait(None)

    def of(self, kind: str) -> list[dict]:
        return [m for m in self.messages if m["type"] == kind]

    async def until(self, kind: str, count: int = 1, seconds: float = 60.0, **fields) -> dict:
        async def wait() -> dict:
            while True:
                fitting = [m for m in self.of(kind) if all(m.get(k) == v for k, v in fields.items())]
                if len(fitting) >= count:
                    return fitting[-1]
                self.arrived.clear()
                await self.arrived.wait()

        return await asyncio.wait_for(wait(), seconds)


class World:
    """A scripted runtime, its hub, and pages."""

    def __init__(self, **options) -> None:
        self.runtime = ScriptedRuntime(host=options.pop("host", None), limit=options.pop("limit", 4))
        clock = asyncio.get_running_loop().time
        self.hub = Hub(self.runtime, limits=lambda: SessionLimits(now=clock), **options)
        self.tasks: list[asyncio.Task] = []

    def attach(self, link, page: Page, received: int | None = None) -> Page:
        self.tasks.append(asyncio.create_task(link.serve(page, {}, received)))
        return page

    async def open(self, **options):
        link = await self.hub.open()
        page = self.attach(link, Page(**options))
        await page.until("Welcome")
        return link, page

    async def end(self) -> None:
        await self.hub.close_all()
        await asyncio.gather(*self.tasks)


def on_virtual_time(test):
    """Run an async test that takes a `World` on the virtual clock."""

    def run(monkeypatch, tmp_path) -> None:
        monkeypatch.setenv("OMNI_HOME", str(tmp_path))

        async def main() -> None:
            world = World()
            try:
                await test(world)
            finally:
                await world.end()

        run_virtual(main())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


def sound(seq: int, pcm: bytes = b"\1\0" * 320) -> bytes:
    return struct.pack("<BI", 1, seq) + pcm


def jpeg(width: int = 64, height: int = 48) -> bytes:
    from PIL import Image

    out = BytesIO()
    Image.new("RGB", (width, height), "red").save(out, "JPEG")
    return out.getvalue()


# -- what comes in ------------------------------------------------------------------------------------

BAD_FRAMES = {
    "not JSON": "{",
    "not an object": "[1, 2]",
    "no type": "{}",
    "an unknown type": '{"type": "Reboot"}',
    "a type of the server's": '{"type": "AudioFlush"}',
    "a field of another type": '{"type": "Say", "text": 5}',
    "too long a text": json.dumps({"type": "Say", "text": "x" * 20_001}),
    "too many attachments": json.dumps({"type": "Say", "text": "x", "attachments": ["a"] * 9}),
    "an attachment nobody uploaded": json.dumps({"type": "Say", "text": "x", "attachments": ["upload:1"]}),
    "negative samples": '{"type": "Played", "turn": 1, "samples": -1}',
    "deep nesting": '{"type": "Drawing", "operations": [' + "[" * 5000 + "]" * 5000 + "]}",
    "broken unicode": '{"type": "Say", "text": "\\ud800"}',
    "nothing": b"",
    "an unknown kind of bytes": b"\xff" + b"x" * 100,
    "half a microphone frame": sound(1)[:200],
    "a 48 kHz microphone frame": sound(1, b"\0" * 1920),
    "a microphone frame without sound": b"\x01\x00",
    "a picture that is none": b"\x03\x00" + b"GIF89a" * 10,
    "a truncated picture": b"\x03\x00" + jpeg()[:10],
    "a picture of nowhere": b"\x03\x09" + jpeg(),
    "too large a picture": b"\x03\x00" + b"\xff\xd8\xff" + b"x" * frames.PICTURE_LIMIT,
}


@pytest.mark.parametrize("what", BAD_FRAMES)
def test_a_bad_frame_gets_a_sentence_and_the_session_lives_on(what, monkeypatch, tmp_path):
    monkeypatch.setenv("OMNI_HOME", str(tmp_path))

    async def main() -> None:
        world = World()
        link, page = await world.open()
        page.say(BAD_FRAMES[what])
        error = await page.until("Error")
        assert error["code"] == "bad_frame" and error["message"].endswith(".")
        page.say({"type": "Say", "text": "Are you there"})
        assert (await page.until("ReplyFinished"))["text"] == "You said: Are you there."
        assert page.closed is None and link.connected
        await world.end()

    run_virtual(main())


def test_a_frame_of_the_wrong_rate_is_named():
    with pytest.raises(BadInput, match="48000 Hz"):
        frames.decode_microphone(sound(0, b"\0" * 1920))


def test_random_bytes_never_get_further_than_a_refusal():
    """Whatever arrives, decoding gives a message or raises `BadInput`."""
    dice = random.Random(7)
    refused = 0
    for _ in range(3000):
        data = dice.randbytes(dice.randrange(0, 700))
        for decode in (frames.decode_text, frames.decode_microphone, frames.decode_picture, frames.picture_size):
            try:
                decode(data)
            except BadInput:
                refused += 1
    assert refused > 11_000


@on_virtual_time
async def test_sound_arrives_in_order_and_what_is_lost_is_said(world):
    link, page = await world.open()
    for seq in (0, 1, 2, 5, 6):
        page.say(sound(seq, struct.pack("<h", seq) * 320))
    await asyncio.sleep(0.1)
    heard = [e for e in world.runtime.heard[link.id] if isinstance(e, events.AudioIn | events.AudioGap)]
    assert [e.seq if isinstance(e, events.AudioIn) else -e.samples for e in heard] == [0, 1, 2, -640, 5, 6]
    assert heard[1].pcm == struct.pack("<h", 1) * 320 and heard[0].session == link.id


@on_virtual_time
async def test_a_flood_is_cut_to_real_time_and_told_once_in_a_while(world):
    link, page = await world.open()
    for seq in range(3000):
        page.say(sound(seq))
    await asyncio.sleep(0.1)
    heard = world.runtime.heard[link.id]
    assert sum(isinstance(e, events.AudioIn) for e in heard) <= 610
    assert any(isinstance(e, events.AudioGap) and e.reason == "too fast" for e in heard)
    assert 1 <= len(page.of("Error")) <= 6
    await asyncio.sleep(30.0)
    page.say({"type": "Say", "text": "still there"})
    await page.until("ReplyFinished")


@on_virtual_time
async def test_pictures_are_published_with_their_size_and_at_most_five_a_second(world):
    link, page = await world.open()
    page.say(b"\x03\x01" + jpeg(320, 200))
    await asyncio.sleep(0.05)
    (frame,) = [e for e in world.runtime.heard[link.id] if isinstance(e, events.VideoFrame)]
    assert (frame.source, frame.width, frame.height) == ("screen", 320, 200)
    for _ in range(40):
        page.say(b"\x03\x00" + jpeg())
    await asyncio.sleep(0.05)
    assert sum(isinstance(e, events.VideoFrame) for e in world.runtime.heard[link.id]) <= 11


@on_virtual_time
async def test_what_the_page_says_becomes_events(world):
    link, page = await world.open()
    page.say({"type": "MicMuted", "muted": True})
    page.say({"type": "Drawing", "operations": [{"op": "stroke"}], "author": "person"})
    page.say({"type": "Settings", "values": {"voice": False, "speed": 1.2}})
    page.say({"type": "Say", "text": "no voice please"})
    await page.until("Spoken", final=True)
    kinds = {type(e): e for e in world.runtime.heard[link.id]}
    assert kinds[events.MicMuted].muted and kinds[events.Drawing].author == "person"
    assert link.session.settings["speed"] == 1.2 and page.voice == []


@on_virtual_time
async def test_a_consequential_call_waits_for_the_yes_with_its_digest(world):
    _, page = await world.open()
    page.say({"type": "Say", "text": "delete it"})
    asked = await page.until("ApprovalAsked")
    assert asked["arguments"] == {"path": "notes/old.txt"}
    await asyncio.sleep(5.0)
    assert not page.of("ReplyFinished")
    page.say({"type": "ApprovalGiven", "call": "1", "digest": asked["digest"], "approved": True})
    assert (await page.until("ReplyFinished"))["text"] == "Done: it is deleted."


# -- resume -------------------------------------------------------------------------------------------


@on_virtual_time
async def test_a_dropped_line_loses_neither_words_nor_sound(world):
    link, page = await world.open()
    page.say({"type": "Say", "text": "tell me a story"})
    await page.until("Spoken", count=3)
    page.drop()
    await asyncio.sleep(8.0)  # longer than the loudspeaker may be silent while a page is there
    assert not link.connected
    again = world.attach(link, Page(), received=page.received)
    await again.until("Spoken", final=True, seconds=120)
    welcome = again.of("Welcome")[0]
    assert welcome["resumed"] and welcome["next"] == page.received and "history" not in welcome
    both = [*page.messages, *again.messages]
    assert "".join(m["text"] for m in both if m["type"] == "TextDelta") == LONG
    voice = [*page.voice, *again.voice]
    ends = [offset + len(pcm) // 2 for _, _, offset, pcm in voice]
    assert [offset for _, _, offset, _ in voice] == [0, *ends[:-1]]  # every sample once, in order
    final = both[-1] if both[-1]["type"] == "Spoken" else [m for m in both if m["type"] == "Spoken"][-1]
    assert final["final"] and not final.get("cut") and final["text"].endswith("sailed from.")
    assert not [m for m in both if m["type"] == "Notice" and m.get("text")]


@on_virtual_time
async def test_frames_lost_in_flight_are_sent_again(world):
    link, page = await world.open()
    page.say({"type": "Say", "text": "hello"})
    await page.until("Spoken", final=True)
    count = len(page.messages) + len(page.voice) - 1
    page.drop()
    again = world.attach(link, Page(), received=page.received - 3)
    await again.until("Welcome")
    await asyncio.sleep(0.1)
    assert len(again.messages) + len(again.voice) - 1 == 3
    assert again.received == page.received == count


@on_virtual_time
async def test_a_reloaded_page_gets_a_summary_and_the_answer_is_cut(world):
    link, page = await world.open()
    page.say({"type": "Say", "text": "one"})
    await page.until("Spoken", final=True)
    page.say({"type": "Say", "text": "tell me a story"})
    await page.until("Spoken", turn=2, count=4)
    page.drop()
    again = world.attach(link, Page())
    welcome = await again.until("Welcome")
    assert not welcome["resumed"] and [e["asked"] for e in welcome["history"]] == ["one", "tell me a story"]
    assert welcome["history"][0]["heard"] == "You said: one." and "first_sound" in welcome["history"][0]["timings"]
    cut = await again.until("Spoken", final=True)
    assert cut["cut"] and LONG.startswith(cut["text"])
    assert link.session.turns.exchange(2).cut


@on_virtual_time
async def test_a_count_that_cannot_be_gets_a_summary(world):
    link, page = await world.open()
    page.say({"type": "Say", "text": "hello"})
    await page.until("Spoken", final=True)
    page.drop()
    again = world.attach(link, Page(), received=10_000)
    welcome = await again.until("Welcome")
    assert not welcome["resumed"] and len(welcome["history"]) == 1


@on_virtual_time
async def test_nobody_comes_back_and_the_session_is_closed_after_its_grace(world):
    link, page = await world.open()
    page.drop()
    await asyncio.sleep(50.0)
    assert world.hub.get(link.id) is link
    await asyncio.sleep(20.0)
    assert world.hub.get(link.id) is None and link.id not in world.runtime.conversations
    assert link.closed.is_set()


@on_virtual_time
async def test_a_second_tab_takes_the_line_and_the_first_is_told(world):
    link, page = await world.open()
    second = world.attach(link, Page())
    await second.until("Welcome")
    assert page.closed is not None and page.closed[0] == 4409
    second.say({"type": "Say", "text": "here now"})
    await second.until("ReplyFinished")
    assert not page.of("ReplyFinished") and link.connected


@on_virtual_time
async def test_sound_lost_while_the_line_was_down_is_a_gap(world):
    link, page = await world.open()
    page.say(sound(0))
    await asyncio.sleep(0.05)
    page.drop()
    await asyncio.sleep(1.0)
    again = world.attach(link, Page(), received=page.received)
    await again.until("Welcome")
    again.say(sound(11))
    await asyncio.sleep(0.05)
    gaps = [e for e in world.runtime.heard[link.id] if isinstance(e, events.AudioGap)]
    assert [g.samples for g in gaps] == [10 * 320]


# -- interruption, slow pages ----------------------------------------------------------------------------


@on_virtual_time
async def test_stop_flushes_the_voice_at_once_and_history_keeps_what_was_heard(world):
    link, page = await world.open()
    page.say({"type": "Say", "text": "tell me a story"})
    await page.until("Spoken", count=5)
    at = asyncio.get_running_loop().time()
    page.say({"type": "BargeIn", "turn": 1, "reason": "key"})
    await page.until("AudioFlush")
    assert asyncio.get_running_loop().time() - at < 0.05
    pieces = len(page.voice)
    final = await page.until("Spoken", final=True)
    assert final["cut"] and len(page.voice) == pieces
    exchange = link.session.turns.exchange(1)
    assert exchange.cut and exchange.heard == final["text"] and LONG.startswith(exchange.heard)


@on_virtual_time
async def test_a_page_that_does_not_read_is_cut_off_and_the_session_waits_for_it(world):
    link, page = await world.open()
    page.reads = False
    page.say({"type": "Say", "text": "hello"})
    await asyncio.sleep(20.0)
    assert page.closed is not None and page.closed[0] == 1013 and not link.connected
    again = world.attach(link, Page(), received=page.received)
    assert (await again.until("Welcome"))["resumed"]
    await again.until("Spoken", final=True, seconds=120)


@on_virtual_time
async def test_a_page_that_lags_far_behind_gets_a_summary_and_memory_stays_bounded(world):
    link, page = await world.open()
    page.reads = False
    for number in range(5000):
        link.session.publish(events.ToolCalled, call=str(number), tool="t", arguments={})
        if number % 100 == 0:
            await asyncio.sleep(0)
    await asyncio.sleep(1.0)
    assert page.closed is not None and len(link.outbox._waiting) <= EVENT_ROOM
    again = world.attach(link, Page(), received=page.received)
    assert not (await again.until("Welcome"))["resumed"]


async def test_the_voice_waits_for_room_and_a_flush_frees_it():
    outbox = Outbox()
    piece = events.AudioOut(turn=1, pcm=b"\0" * 4410, rate=22050, offset=0, clause=0)

    async def speak() -> None:
        for _ in range(1000):
            await outbox.put_voice(piece)

    task = asyncio.create_task(speak())
    for _ in range(200):
        await asyncio.sleep(0)
    assert not task.done() and outbox._voice_bytes <= VOICE_ROOM + 4410
    outbox.put(events.AudioFlush(turn=1))
    await asyncio.wait_for(task, 1.0)
    assert outbox._voice_bytes == 0
    assert json.loads(await outbox.take())["type"] == "AudioFlush"  # first in line


async def test_what_waits_is_joined_and_replaced_not_piled_up():
    outbox = Outbox()
    for number in range(5000):
        outbox.put(events.TextDelta(turn=1, text="a"))
        outbox.put(events.PartialTranscript(turn=2, text=str(number)))
        outbox.put(events.Spoken(turn=1, text=str(number)))
    outbox.put(events.Spoken(turn=1, text="end", final=True))
    got = [json.loads(await outbox.take()) for _ in range(4)]
    assert [m["type"] for m in got] == ["TextDelta", "PartialTranscript", "Spoken", "Spoken"]
    assert got[0]["text"] == "a" * 5000 and got[1]["text"] == got[2]["text"] == "4999"
    assert got[3]["final"] and not got[2].get("final"), "the last word keeps its place at the end"


async def test_sent_voice_is_not_sent_again_after_a_flush_but_the_count_holds():
    outbox = Outbox()
    await outbox.put_voice(events.AudioOut(turn=1, pcm=b"\0" * 100, rate=16000, offset=0, clause=0))
    outbox.put(events.TextDelta(turn=1, text="a"))
    first = [await outbox.take(), await outbox.take()]
    assert isinstance(first[0], bytes)
    outbox.put(events.AudioFlush(turn=1))
    assert outbox.rewind(0)
    again = [json.loads(await outbox.take())["type"] for _ in range(3)]
    assert again == ["Skipped", "TextDelta", "AudioFlush"] and outbox.next == 3


# -- several sessions, panels ------------------------------------------------------------------------------


@on_virtual_time
async def test_two_sessions_do_not_hear_each_other(world):
    one, page_one = await world.open()
    two, page_two = await world.open()
    page_one.say({"type": "Say", "text": "I am one"})
    page_two.say({"type": "Say", "text": "I am two"})
    page_two.say(sound(0))
    await asyncio.gather(page_one.until("Spoken", final=True), page_two.until("Spoken", final=True))
    assert one.id != two.id
    assert {m["text"] for m in page_one.of("ReplyFinished")} == {"You said: I am one."}
    assert {m["session"] for m in page_two.messages if "session" in m} == {two.id}
    assert not [e for e in world.runtime.heard[one.id] if isinstance(e, events.AudioIn)]


@on_virtual_time
async def test_a_waiting_session_makes_room_and_a_full_house_says_so(world):
    world.runtime._limit = 2
    one, page = await world.open()
    two, _ = await world.open()
    with pytest.raises(Busy):
        await world.hub.open()
    page.drop()
    await asyncio.sleep(0.1)
    three, _ = await world.open()
    assert world.hub.get(one.id) is None and world.hub.get(two.id) and world.hub.get(three.id)


def test_panel_calls_answer_fail_and_overrun_with_sentences(monkeypatch, tmp_path):
    monkeypatch.setenv("OMNI_HOME", str(tmp_path))

    async def main() -> None:
        async def double(params: dict) -> dict:
            return {"twice": params["n"] * 2}

        async def broken(params: dict) -> None:
            raise ZeroDivisionError("by nothing")

        async def unjson(params: dict) -> object:
            return object()

        async def hang(params: dict) -> None:
            await asyncio.Event().wait()

        handlers = {"double": double, "broken": broken, "unjson": unjson, "hang": hang}
        host = ScriptedHost(panels=(("demo", Panel(id="demo", title="Demo", static=tmp_path, handlers=handlers)),))
        world = World(host=host)
        _, page = await world.open()
        for number, (plugin, method) in enumerate(
            [("demo", "double"), ("demo", "broken"), ("demo", "unjson"), ("demo", "nothing"), ("nobody", "double")]
        ):
            page.say({"type": "Call", "id": number, "plugin": plugin, "method": method, "params": {"n": 21}})
        await page.until("Result", count=5)
        results = {m["id"]: m for m in page.of("Result")}
        assert results[0]["ok"] and results[0]["value"] == {"twice": 42}
        assert "ZeroDivisionError" in results[1]["message"]
        assert "no usable answer" in results[2]["message"]
        assert "double" in results[3]["remedy"] and "nobody" in results[4]["message"]
        for number in range(100, 120):
            page.say({"type": "Call", "id": number, "plugin": "demo", "method": "hang"})
        await page.until("Error")
        late = await page.until("Result", id=100, seconds=200)
        assert not late["ok"] and "did not answer" in late["message"]
        await world.end()

    run_virtual(main())
