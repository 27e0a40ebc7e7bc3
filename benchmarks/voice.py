"""How long until Omni answers, and how soon does it fall silent?

A client streams recorded speech in real time over the WebSocket of a running Omni, as the page does,
and plays the answers. Each line is a turn; the last line is the claim card. In the same run the naive
chain (fixed 700 ms endpoint, whole recognition, whole reply, whole synthesis) answers the same recordings.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from card import Card, arguments
from voice_client import FRAME, RATE, VoiceClient, running_omni

NAIVE_ENDPOINT_S = 0.7
#: What is asked in writing so that there is an answer long enough to speak over, and how far into it that happens.
LONG_ANSWER = "Tell me a story about {} in three long sentences."
ABOUT = ("a lighthouse", "a snowed-in train", "an old clockmaker", "a lost dog", "a market by the sea", "two bakers")
INTO_ANSWER_S = 1.5
#: An answer that ends this soon after the interruption began was ending anyway.
WHILE_ENDING_S = 0.3
#: The share of the loudest 20 ms that the first word surely reaches.
SURELY = 0.2
#: Below this share of the loudest 20 ms (or three times the background), sound counts as silence.
SILENCE = 0.03


@dataclass(frozen=True)
class Utterance:
    """One recording: 16 kHz float audio, what was said, and where speech begins and ends in it (seconds)."""

    name: str
    audio: np.ndarray
    text: str
    begins: float
    ends: float


@dataclass
class TurnResult:
    """What one streamed turn gave; seconds."""

    name: str
    said: str
    heard: str = ""
    reply: str = ""
    first_sound_s: float | None = None
    commits: int = 0
    wait_s: float | None = None
    stages: dict[str, float] = field(default_factory=dict)


def load(path: Path) -> np.ndarray:
    """A recording as 16 kHz mono float32."""
    import av

    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
        frames = [f for frame in container.decode(audio=0) for f in resampler.resample(frame)]
        frames += resampler.resample(None)
    return np.concatenate([f.to_ndarray().reshape(-1) for f in frames]).astype(np.float32) / 32768


def edges(audio: np.ndarray) -> tuple[float, float]:
    """Seconds at which speech begins and ends, by energy.

    It begins with the sound that leads without a gap to the first that is surely speech: a click before it is none.
    """
    frames = audio[: len(audio) // FRAME * FRAME].reshape(-1, FRAME)
    energy = np.sqrt((frames**2).mean(axis=1))
    top = np.percentile(energy, 99)
    loud = energy > max(SILENCE * top, 3 * np.percentile(energy, 5))
    first = int(np.flatnonzero(energy > SURELY * top)[0])
    while first > 0 and loud[first - 1]:
        first -= 1
    return first * FRAME / RATE, (np.flatnonzero(loud)[-1] + 1) * FRAME / RATE


def utterances(data: Path) -> tuple[list[Utterance], list[Path]]:
    """Every recording of the folder that has a transcript beside it, and the files used."""
    found: list[tuple[Path, str]] = []
    for transcript in sorted(data.glob("*/*.transcription")) + sorted(data.glob("*/transcription")):
        for line in transcript.read_text().splitlines():
            text, _, name = line.partition("</s>")
            wav = transcript.parent / f"{name.strip(' ()')}.wav"
            if wav.is_file():
                found.append((wav, text.replace("<s>", "").strip()))
    jfk = data / "jfk.flac"
    if jfk.is_file():
        found.append(
            (
                jfk,
                "and so my fellow americans ask not what your country can do for you "
                "ask what you can do for your country",
            )
        )
    made = []
    for path, text in found:
        audio = load(path)
        begins, ends = edges(audio)
        made.append(Utterance(path.stem, audio, text, begins, ends))
    return made, [path for path, _ in found]


async def stream(client: VoiceClient, utterance: Utterance) -> TurnResult:
    """Speak one recording and hear the answer to its end; the times are those of the answer to its last words."""
    result = TurnResult(utterance.name, utterance.text)
    before, commits = client.last_turn, len(client.committed)
    began = await client.speak(utterance.audio)
    end = began + utterance.ends
    await client.wait_for_answer(after=before)
    await client.wait_until_quiet()  # an answer that sounded in a pause was cut by the rest, which has its own answer
    turn = client.last_turn
    mine = client.committed[commits:]
    result.heard = " ".join(e["text"] for e in mine if e["turn"] in client.audible_at)
    result.commits = len(mine)
    result.wait_s = client.committed_at[turn] - end
    result.first_sound_s = client.audible_at[turn] - end if turn in client.audible_at else None
    result.reply = client.replies.get(turn, "")
    result.stages = client.stages.get(turn, {})
    return result


async def interrupt(client: VoiceClient, utterance: Utterance, topics: Iterator[str]) -> float | None:
    """Speak over an answer that goes on: seconds from the first sound to silence, None when it spoke on.

    An answer that is over by itself before anything was said is no occasion; another one is asked for.
    """
    while True:
        before = client.last_turn
        await client.type(LONG_ANSWER.format(next(topics)))
        turn = await client.wait_for_answer(after=before)
        await asyncio.sleep(INTO_ANSWER_S)
        first_sound = await client.speak(utterance.audio) + utterance.begins
        flushed = await client.wait_for_flush(turn)
        ended = client.final.get(turn)
        await client.wait_until_quiet()
        if flushed is not None:
            return flushed - first_sound
        if ended is None or ended > first_sound + WHILE_ENDING_S:
            return None


class Naive:
    """The chain everybody writes first: each stage waits for the whole of the one before."""

    def __init__(self, runtime: Any, whisper: Any) -> None:
        self.runtime = runtime
        self.whisper = whisper

    async def turn(self, utterance: Utterance) -> dict[str, float]:
        """Seconds of each stage, and the sum as `first_sound_s`."""
        from omni.capabilities import ChatModel, ChatRequest, Message, Synthesizer
        from omni.planner.prompt import SYSTEM

        marks = [time.perf_counter()]
        segments, _ = self.whisper.transcribe(utterance.audio, language="en", beam_size=1)
        text = " ".join(s.text.strip() for s in segments)
        marks.append(time.perf_counter())
        request = ChatRequest([Message("system", SYSTEM), Message("user", text)], slot="naive", max_tokens=120)
        reply = "".join([delta.text async for delta in self.runtime.host.get(ChatModel).chat(request)])
        marks.append(time.perf_counter())
        async for _ in self.runtime.host.get(Synthesizer).synthesize(reply):
            pass
        marks.append(time.perf_counter())
        asr, chat, tts = (b - a for a, b in itertools.pairwise(marks))
        return {
            "endpoint": NAIVE_ENDPOINT_S, "asr": asr, "chat": chat, "tts": tts,
            "first_sound_s": NAIVE_ENDPOINT_S + asr + chat + tts,
        }  # fmt: skip


async def naive_chain(items: list[Utterance]) -> list[dict[str, float]]:
    """The naive chain on the same recordings, with the same models in a process of its own loop."""
    from faster_whisper import WhisperModel

    from omni.config import load_config
    from omni.runtime import Runtime

    runtime = Runtime(load_config())
    await runtime.start()
    try:
        folder = await runtime.store.path("whisper-base")
        whisper = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=2)
        naive = Naive(runtime, whisper)
        await naive.turn(items[0])  # warm-up
        return [await naive.turn(item) for item in items]
    finally:
        await runtime.stop()


def percentile(values: list[float], share: float) -> float:
    """Nearest-rank percentile; NaN of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


async def measure(args: Any) -> tuple[list[TurnResult], list[float | None], list[dict[str, float]], list[Path]]:
    """All turns and interruptions through a running Omni, then the naive chain."""
    items, files = utterances(args.data)
    if args.quick:
        items = items[:: max(1, len(items) // 4)]
    results: list[TurnResult] = []
    async with running_omni() as address, VoiceClient(address) as client:
        await asyncio.sleep(1.0)
        await stream(client, items[-1])  # the first turn warms what only a conversation warms
        for item in items:
            result = await stream(client, item)
            results.append(result)
            print(json.dumps(vars(result), ensure_ascii=False), flush=True)
        cuts: list[float | None] = []
        topics = itertools.cycle(ABOUT)
        for item in [*items, *items]:
            cuts.append(await interrupt(client, item, topics))
            print(json.dumps({"name": item.name, "barge_in_s": cuts[-1]}), flush=True)
    return results, cuts, await naive_chain(items), files


def main() -> int:
    """Run it and print the claim card."""
    import jiwer

    args = arguments("voice", __doc__.splitlines()[0], data="speech")
    if args.data is None:
        print("The shared speech recordings are not here: set OMNI_TEST_DATA or --data DIR.", file=sys.stderr)
        return 2
    card = Card("voice", args)
    results, cuts, naive, files = asyncio.run(measure(args))
    card.data(files, args.data)
    from omni_speech.number_words import cardinal

    def in_words(text: str) -> str:
        """"8" and "eight" are the same word."""
        return re.sub(r"\d+", lambda m: cardinal(int(m.group())), text)

    clean = jiwer.Compose([jiwer.ToLowerCase(), jiwer.RemovePunctuation(), jiwer.RemoveMultipleSpaces(), jiwer.Strip()])
    # An answer that sounds before the person has finished is a cut-off, not a quick answer.
    first = [r.first_sound_s for r in results if r.first_sound_s is not None and r.first_sound_s > 0]
    barge = [cut for cut in cuts if cut is not None]
    plain = [n["first_sound_s"] for n in naive]
    card.figures = {
        "p50_s": percentile(first, 0.5),
        "p95_s": percentile(first, 0.95),
        "ratio_to_naive": percentile(plain, 0.5) / percentile(first, 0.5),
        "barge_in_s": percentile(barge, 0.95),
        "barge_in_p50_s": percentile(barge, 0.5),
        "barge_ins_heard": len(barge) / max(1, len(cuts)),
        "wer": jiwer.wer([clean(r.said) for r in results], [clean(in_words(r.heard)) or "-" for r in results]),
        "cut_offs": sum(r.commits > 1 for r in results),
        "needless_wait_s": statistics.mean(r.wait_s for r in results if r.wait_s is not None),
        "turns": len(results),
    }
    card.baseline = {
        "p50_s": percentile(plain, 0.5),
        "p95_s": percentile(plain, 0.95),
        **{f"{stage}_s": statistics.median(n[stage] for n in naive) for stage in ("endpoint", "asr", "chat", "tts")},
    }
    stages = sorted({stage for r in results for stage in r.stages})
    card.table(
        "Stages of a turn (seconds, median over turns)",
        ["stage", "median"],
        [[s, statistics.median(r.stages[s] for r in results if s in r.stages)] for s in stages],
    )
    card.expect("p50_s", "<=", 0.9)
    card.expect("p95_s", "<=", 1.5)
    card.expect("ratio_to_naive", ">=", 3)
    card.expect("barge_in_s", "<=", 0.25)
    return card.finish()


if __name__ == "__main__":
    raise SystemExit(main())
