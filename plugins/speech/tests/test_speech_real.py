"""Real models on real speech, and on Omni's own voice. Floors, never golden texts."""

from __future__ import annotations

import os
import time
from itertools import pairwise
from pathlib import Path

import jiwer
import numpy as np
import pytest
import soxr
from omni_speech.kokoro import KokoroVoice
from omni_speech.phonemes import Phonemizer
from omni_speech.piper import PiperVoice
from omni_speech.transcriber import WhisperTranscriber
from omni_speech.voice_activity import SileroVoiceActivity
from omni_speech.words import plain

from omni.catalogue import ModelStore
from omni.config import load_config
from omni.errors import BadInput, ModelMissing

pytestmark = pytest.mark.real
DATA = Path(os.environ.get("OMNI_TEST_DATA") or Path(__file__).parents[4] / "shared" / "data") / "speech"
SENTENCES = (
    "The weather in London is mild today, with a light wind from the west.",
    "Would you like me to open the first one?",
    "You can interrupt me at any time, and I will stop talking.",
    "She sells fresh bread and butter at the market every morning.",
    "Photosynthesis turns light into chemical energy.",
)


def folder(name):
    store = ModelStore.from_config(load_config())
    if store.state(name) != "installed":
        pytest.skip(f"the model {name} is not on this machine")
    return lambda: store.path(name)


@pytest.fixture
async def whisper():
    transcriber = WhisperTranscriber(folder("whisper-base"))
    await transcriber.open()
    yield transcriber
    await transcriber.close()


async def phonemizer():
    return Phonemizer.load(await folder("misaki-english")(), await folder("g2p-en")())


def shared_sentences():
    if not (DATA / "librivox").is_dir():
        pytest.skip(f"the shared speech is not at {DATA}")
    from faster_whisper import decode_audio

    texts = sorted((DATA / "librivox").glob("*.txt"))
    return [(decode_audio(str(text.with_suffix(".wav"))), text.read_text()) for text in texts]


async def test_voice_activity_hears_speech_and_not_noise_in_under_a_millisecond():
    vad = SileroVoiceActivity(folder("silero-vad"))
    await vad.open()
    detector = vad.detector()
    audio, _ = shared_sentences()[0]
    began = time.process_time()
    speech = [detector.probability(audio[i : i + 512]) for i in range(0, audio.size - 511, 512)]
    assert (time.process_time() - began) / len(speech) < 0.001
    assert np.mean(np.array(speech) > 0.5) > 0.8
    noise = np.random.default_rng(0).normal(0, 0.01, (100, 512)).astype(np.float32)
    fresh = vad.detector()
    assert np.mean([fresh.probability(frame) > 0.5 for frame in noise]) < 0.05
    assert 0.0 <= fresh.probability(np.full(512, np.nan, np.float32)) <= 1.0
    with pytest.raises(BadInput):
        fresh.probability(np.zeros(100, np.float32))


async def test_read_sentences_are_recognised_and_the_short_window_is_faster(whisper):
    full = WhisperTranscriber(folder("whisper-base"), full_window=True)
    await full.open()
    wanted, heard, quick, slow = [], [], 0.0, 0.0
    for audio, text in shared_sentences():
        began = time.perf_counter()
        heard.append(plain((await whisper.transcribe(audio)).text).replace("mr ", "mister "))
        quick += time.perf_counter() - began
        began = time.perf_counter()
        await full.transcribe(audio)
        slow += time.perf_counter() - began
        wanted.append(plain(text))
    await full.close()
    assert jiwer.wer(wanted, heard) < 0.10
    assert slow / quick > 2.0


async def test_silence_and_noise_give_no_words(whisper):
    rng = np.random.default_rng(1)
    for audio in (np.zeros(16000), rng.normal(0, 0.02, 24000), rng.normal(0, 0.2, 16000), np.zeros(0)):
        assert (await whisper.transcribe(audio.astype(np.float32))).text == ""
    with pytest.raises(BadInput, match="not numbers"):
        await whisper.transcribe(np.array([0.1, np.nan] * 8000, np.float32))
    with pytest.raises(BadInput, match="mono"):
        await whisper.transcribe(np.zeros((2, 16000), np.float32))


async def test_word_times_follow_the_sound(whisper):
    audio, text = shared_sentences()[0]
    words = (await whisper.transcribe(audio, words=True)).words
    assert len(words) >= len(text.split())
    assert all(a.start <= b.start for a, b in pairwise(words))
    assert words[-1].end <= audio.size / 16000 + 0.2


async def test_long_audio_is_recognised_whole(whisper):
    parts = shared_sentences()
    audio = np.concatenate([a for a, _ in parts] * 2)
    heard = plain((await whisper.transcribe(audio)).text).replace("mr ", "mister ")
    assert audio.size / 16000 > 45
    assert jiwer.wer(plain(" ".join(t for _, t in parts * 2)), heard) < 0.15


@pytest.mark.parametrize(("kind", "model"), [(PiperVoice, "piper-joe"), (KokoroVoice, "kokoro-82m")])
async def test_the_voices_are_understood_and_time_their_words(whisper, kind, model):
    voice = kind(folder(model), phonemizer)
    await voice.open()
    wanted, heard = [], []
    for text in SENTENCES:
        chunks = [chunk async for chunk in voice.synthesize(text)]
        audio = np.concatenate([chunk.audio for chunk in chunks])
        times = chunks[-1].words
        assert [w for w, _, _ in times] == text.split()
        assert len(chunks[0].words) == len(times)  # the first piece knows of all of them already
        assert all(a[1] <= b[1] for a, b in pairwise(times))
        assert times[-1][2] <= audio.size / voice.rate + 0.01
        assert 0.05 < np.abs(audio).max() <= 1.0
        sound = soxr.resample(audio, voice.rate, 16000).astype(np.float32)
        heard.append(plain((await whisper.transcribe(sound)).text))
        wanted.append(plain(text))
    await voice.close()
    await voice.close()  # idempotent
    assert jiwer.wer(wanted, heard) < 0.10


async def test_a_missing_model_says_what_to_do(tmp_path):
    async def nothing():
        return tmp_path

    for capability in (WhisperTranscriber(nothing), PiperVoice(nothing, phonemizer), SileroVoiceActivity(nothing)):
        with pytest.raises(ModelMissing, match="omni models pull"):
            await capability.open()
        await capability.close()
