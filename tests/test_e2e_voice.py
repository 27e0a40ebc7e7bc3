"""The whole conversation in a real browser with the real engines: a question is spoken, heard, answered and cut.

The question is made with Omni's own voice and played to the page as its microphone.
"""

from __future__ import annotations

import re
from urllib.parse import quote

import numpy as np
import pytest
from pages import DEVICES, IN_BROWSER, RECORDER, browser, hears, record, recorded, served, spoken, write_microphone

from omni.capabilities import ChatModel, Synthesizer, Transcriber, VoiceActivity
from omni.config import default_models_dir, load_config
from omni.errors import OmniError
from omni.events import AudioFlush, AudioIn, PartialTranscript, Played, Spoken, TurnCommitted
from omni.runtime import Runtime
from omni.testing import until

NEEDED = ("silero-vad", "whisper-base", "qwen2.5-coder-1.5b")
pytestmark = [
    *IN_BROWSER,
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.timeout(240),
]
QUESTION = "Please tell me a long story about the ocean."
STOP = "Stop now. I want to know something else."


def words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


def word_error_rate(truth: str, heard: str) -> float:
    import jiwer

    return jiwer.wer(" ".join(words(truth)), " ".join(words(heard)) or "-")


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
    voice = runtime.host.get(Synthesizer)
    question, stop = await spoken(voice, QUESTION), await spoken(voice, STOP)
    microphone = write_microphone(tmp_path / "microphone.wav", 1.0, question, 12.0, stop, 20.0)
    async with served(runtime) as url, browser(*DEVICES, hears(microphone)) as chromium:
        page = await chromium.open(url, permissions=["microphone"], bypass_csp=True)
        conversation = await until(lambda: next(iter(runtime.conversations.values()), None), "a session")
        events: list = []
        conversation.session.bus.tap(lambda e: isinstance(e, AudioIn) or events.append(e))

        def of(kind: type, **fields) -> list:
            return [e for e in events if isinstance(e, kind) and all(getattr(e, k) == v for k, v in fields.items())]

        rate = await record(page, f"data:text/javascript,{quote(RECORDER)}")
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
        sound = await recorded(page)
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
