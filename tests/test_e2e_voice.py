"""The whole conversation in a real browser with the real engines: a question is spoken, heard, answered and cut.

The question is made with Omni's own voice and played to the page as its microphone.
"""

from __future__ import annotations

import asyncio
import base64
import re
import shutil
import wave
from pathlib import Path

import numpy as np
import pytest

from omni.capabilities import ChatModel, Synthesizer, Transcriber, VoiceActivity
from omni.config import default_models_dir, load_config
from omni.errors import OmniError
from omni.events import AudioFlush, AudioIn, PartialTranscript, Played, Spoken, TurnCommitted
from omni.runtime import Runtime
from omni.server.serve import serve
from omni.testing import PATIENCE_S, until

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NEEDED = ("silero-vad", "whisper-base", "qwen2.5-coder-1.5b")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]
QUESTION = "Please tell me a long story about the ocean."
STOP = "Stop now. I want to know something else."
MIC_RATE = 48_000
FLAGS = [
    "--no-sandbox", "--disable-quic", "--disable-background-networking", "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream", "--autoplay-policy=no-user-gesture-required",
]  # fmt: skip
RECORDER = """registerProcessor("recorder", class extends AudioWorkletProcessor {
  process([input]) { if (input[0]) this.port.postMessage(input[0].slice()); return true; }
});"""
RECORD = """async () => {
  const { speaker } = window.omniPage;
  await speaker.unlock();
  await speaker.context.audioWorklet.addModule(URL.createObjectURL(new Blob([SOURCE], { type: "text/javascript" })));
  const tap = new AudioWorkletNode(speaker.context, "recorder", { numberOfOutputs: 0 });
  window.recorded = [];
  tap.port.onmessage = ({ data }) => window.recorded.push(data);
  speaker.node.connect(tap);
  return speaker.context.sampleRate;
}""".replace("SOURCE", repr(RECORDER.replace("\n", " ")))
TAKE = """() => {
  const all = new Float32Array(window.recorded.length * 128);
  window.recorded.forEach((block, i) => all.set(block, i * 128));
  const bytes = new Uint8Array(all.buffer);
  let text = "";
  for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
  return btoa(text);
}"""


def words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


def word_error_rate(truth: str, heard: str) -> float:
    import jiwer

    return jiwer.wer(" ".join(words(truth)), " ".join(words(heard)) or "-")


async def spoken(voice: Synthesizer, text: str) -> np.ndarray:
    """The text in Omni's own voice, at the fake microphone's rate."""
    import soxr

    pieces = [(chunk.audio, chunk.rate) async for chunk in voice.synthesize(text)]
    return soxr.resample(np.concatenate([audio for audio, _ in pieces]), pieces[0][1], MIC_RATE)


def write_microphone(path: Path, *parts: np.ndarray | float) -> None:
    """A WAV of voices and silences (in seconds)."""
    sound = np.concatenate([np.zeros(int(p * MIC_RATE)) if isinstance(p, float) else p for p in parts])
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(MIC_RATE)
        file.writeframes((np.clip(sound, -1, 1) * 30_000).astype("<i2").tobytes())


@pytest.fixture
async def runtime(tmp_path, monkeypatch):
    """The real runtime on the models of this machine, with a data folder of its own."""
    monkeypatch.setenv("OMNI__MODELS__DIR", str(default_models_dir()))
    monkeypatch.setenv("OMNI_HOME", str(tmp_path / "home"))
    runtime = Runtime(load_config({"models.fetch": False, "models.threads": 2}), only={"speech", "language"})
    missing = [model for model in NEEDED if runtime.store.state(model) != "installed"]
    if missing:
        pytest.skip(f"the models {', '.join(missing)} are not on this machine (`make run` fetches them)")
    await runtime.start()
    try:
        for capability in (VoiceActivity, Transcriber, Synthesizer, ChatModel):
            await runtime.host.get(capability).open()
        yield runtime
    finally:
        await runtime.stop()


async def test_a_spoken_question_is_heard_answered_interrupted_and_the_cut_is_kept(runtime, tmp_path):
    from playwright.async_api import async_playwright

    voice = runtime.host.get(Synthesizer)
    microphone = tmp_path / "microphone.wav"
    write_microphone(microphone, 1.0, await spoken(voice, QUESTION), 12.0, await spoken(voice, STOP), 20.0)
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    server = asyncio.create_task(serve(runtime, port=0, ready=ready.set_result, stop=stop))
    try:
        url = await asyncio.wait_for(ready, PATIENCE_S)
        async with async_playwright() as playwright:
            flags = [*FLAGS, f"--use-file-for-fake-audio-capture={microphone}%noloop"]
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
            context = await browser.new_context(permissions=["microphone"], bypass_csp=True)
            page = await context.new_page()
            await page.goto(url)
            await page.wait_for_selector("button.start")
            conversation = await until(lambda: next(iter(runtime.conversations.values()), None), "a session")
            events: list = []
            conversation.session.bus.tap(lambda e: isinstance(e, AudioIn) or events.append(e))

            def of(kind: type, **fields) -> list:
                return [e for e in events if isinstance(e, kind) and all(getattr(e, k) == v for k, v in fields.items())]

            rate = await page.evaluate(RECORD)
            await page.click("button.start")

            # the question is heard, and the caption says it
            committed = (await until(lambda: of(TurnCommitted), "the question's end"))[0]
            assert of(PartialTranscript), "nothing was shown while the question was spoken"
            caption = await page.inner_text(".turn .asked >> nth=0")
            assert word_error_rate(QUESTION, caption.removeprefix("You")) <= 0.25, caption
            turn = committed.turn

            # the answer is heard
            await until(lambda: of(Played, turn=turn), "the first sound of the answer")

            # the interruption cuts it
            await until(lambda: of(AudioFlush), "the interruption")
            flushed = of(AudioFlush)[0]
            cut = (await until(lambda: of(Spoken, turn=flushed.turn, final=True), "the end of the answer"))[-1]
            sound = np.frombuffer(base64.b64decode(await page.evaluate(TAKE)), np.float32)
            assert cut.cut and cut.text
            heard = conversation.session.turns.exchange(flushed.turn)
            assert heard.cut and heard.heard == cut.text and len(heard.heard) < len(heard.answer)
            await page.wait_for_selector("text=Interrupted here")
            await until(lambda: len(of(TurnCommitted)) > 1, "the interrupting turn")

            # what left the loudspeaker is the answer's own words
            loud = np.flatnonzero(np.abs(sound) > 0.01)
            assert loud.size and np.sqrt(np.mean(sound[loud[0] : loud[-1]] ** 2)) > 0.01, "the loudspeaker was silent"
            await page.keyboard.press("Escape")
            matched = await recognised(runtime, sound[loud[0] : loud[-1] + 1], rate)
            assert word_error_rate(heard.heard, matched) <= 0.35, (heard.heard, matched)

            # and the history shows the cut
            await page.evaluate("location.hash = '#/history'")
            await page.click(".item-row .title")
            await page.wait_for_selector(".past >> text=Interrupted here")
            await browser.close()
    finally:
        stop.set()
        await server


async def recognised(runtime: Runtime, sound: np.ndarray, rate: int) -> str:
    """What the recogniser makes of the sound, in pieces it can take."""
    import soxr

    audio = soxr.resample(sound.astype(np.float32), rate, 16_000).astype(np.float32)
    transcriber = runtime.host.get(Transcriber)
    texts = []
    for start in range(0, len(audio), 16_000 * 25):
        try:
            texts.append((await transcriber.transcribe(audio[start : start + 16_000 * 25])).text)
        except OmniError as error:
            raise AssertionError(f"the recogniser failed: {error}") from error
    return " ".join(texts)
