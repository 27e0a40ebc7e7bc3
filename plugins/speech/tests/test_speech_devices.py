"""The machine's own microphone and loudspeaker, with a synthetic sound library; and the choice of voice."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest
from omni_speech.devices import Microphone, NoDevice, Speaker
from omni_speech.voices import ChosenVoice

from omni.capabilities import SpeechChunk
from omni.events import AudioFlush, AudioHold, AudioIn, AudioOut, Played, SessionClosed
from omni.session import Session
from omni.testing import until


class Stream:
    def __init__(self, **settings):
        self.settings = settings
        self.callback = settings["callback"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def start(self):
        pass

    def close(self):
        pass

    def pull(self, frames):
        out = np.ones((frames, 1), np.float32)
        self.callback(out, frames, None, None)
        return out[:, 0]


class Library:
    """A sound card made of numbers."""

    def __init__(self, broken=False):
        self.streams = []
        self.broken = broken

    def _stream(self, **settings):
        if self.broken:
            raise RuntimeError("no device 7")
        self.streams.append(Stream(**settings))
        return self.streams[-1]

    RawInputStream = OutputStream = _stream


async def test_the_microphone_publishes_frames_in_order():
    session, library = Session(host=None), Library()
    heard = []
    session.bus.tap(heard.append)
    task = asyncio.create_task(Microphone(session, library=library).run())
    await until(lambda: library.streams)
    for value in (1, 2):
        library.streams[0].callback(np.full(320, value, "<i2").tobytes(), 320, None, None)
    await until(lambda: len(heard) == 2)
    assert [type(e) for e in heard] == [AudioIn, AudioIn]
    assert [e.seq for e in heard] == [0, 1]
    assert len(heard[0].pcm) == 640
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_the_loudspeaker_plays_holds_goes_on_and_falls_silent():
    session, library = Session(host=None), Library()
    reports = []
    session.bus.tap(lambda e: reports.append(e) if isinstance(e, Played) else None)
    task = asyncio.create_task(Speaker(session, library=library).run())
    await until(lambda: session.bus.mailboxes())
    pcm = np.full(4000, 16384, "<i2").tobytes()
    session.publish(AudioOut, turn=1, pcm=pcm, rate=22050, offset=0, clause=0)
    await until(lambda: library.streams)
    stream = library.streams[0]
    assert stream.pull(1000).min() == pytest.approx(0.5)
    session.publish(AudioHold, turn=1, held=True)
    await until(lambda: stream.pull(10).max() == 0.0)
    session.publish(AudioHold, turn=1, held=False)
    await until(lambda: stream.pull(10).max() > 0.4)
    await until(lambda: reports and reports[-1].samples >= 1000)
    session.publish(AudioFlush, turn=1)
    await until(lambda: reports[-1].final)
    assert stream.pull(1000).max() == 0.0
    assert reports[-1].samples < 4000
    session.publish(SessionClosed)
    await asyncio.wait_for(task, 5)


async def test_a_device_that_cannot_be_opened_is_a_sentence():
    session = Session(host=None)
    with pytest.raises(NoDevice, match=r"no device 7.*omni doctor"):
        await Microphone(session, library=Library(broken=True)).run()


class FakeVoice:
    rate = 24000

    def __init__(self, seconds):
        self.seconds, self.closed = seconds, False

    async def open(self):
        pass

    async def close(self):
        self.closed = True

    async def synthesize(self, text, *, voice="", speed=1.0):
        await asyncio.sleep(self.seconds)
        yield SpeechChunk(np.zeros(10, np.float32), int(self.seconds * 1000))


async def chosen(tmp_path, kokoro_s, *, installed=True, choice="auto"):
    made = {"piper": FakeVoice(0.0), "kokoro": FakeVoice(kokoro_s)}
    voice = ChosenVoice(
        {name: lambda v=v: v for name, v in made.items()},
        choice=choice, memory=tmp_path / "voice.json", installed=lambda kind: installed,
    )  # fmt: skip
    await voice.open()
    return voice, made


async def who(speaker, **how):
    rates = [chunk.rate async for chunk in speaker.synthesize("Hello", **how)]
    return rates[0]


async def test_the_natural_voice_is_taken_where_it_is_quick_enough(tmp_path):
    voice, _ = await chosen(tmp_path, 0.01)
    assert await who(voice) == 10
    assert json.loads((tmp_path / "voice.json").read_text())["kokoro_s"] < 0.3


async def test_the_quick_voice_is_taken_elsewhere_and_measured_once(tmp_path):
    voice, made = await chosen(tmp_path, 0.4)
    assert await who(voice) == 0
    assert made["kokoro"].closed  # its memory was given back
    assert await who(voice, voice="kokoro") == 400  # it can still be named
    again, made = await chosen(tmp_path, 0.01)  # the measurement is remembered
    assert await who(again) == 0


async def test_a_named_or_only_voice_is_not_measured(tmp_path):
    voice, _ = await chosen(tmp_path, 0.4, choice="kokoro")
    assert await who(voice) == 400
    voice, _ = await chosen(tmp_path, 0.01, installed=False)
    assert await who(voice) == 0
    assert not (tmp_path / "voice.json").exists()
