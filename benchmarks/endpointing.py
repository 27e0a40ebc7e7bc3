"""How often is a person cut off, and how long do they wait for nothing? `make bench-endpointing`

The shared sentences, read by people and cut from a book, are played one after the other and with pauses inside: a
sentence is stopped at one of its words for 0.4 to 1.2 s, as someone who thinks does. Cut-offs are turns that ended in
such a pause; needless waits are the seconds between the end of speech and the end of the turn beyond 0.35 s.
Baselines: a fixed silence of 0.7 s, and of 0.2 s. Control: the adaptive wait for words that were shuffled.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from dataclasses import dataclass

import numpy as np
from card import Card, arguments
from omni_speech.endpointing import silence_needed
from omni_speech.listener import Listener
from omni_speech.turn_taking import Pauses
from speech_scene import RATE, STEP, Models, load, speech_files

from omni.clock import run_virtual
from omni.events import AudioIn, ReplyFinished, SessionClosed, TurnCommitted
from omni.session import Session

#: What anyone waits at least, so that a stop sound inside a word is no end.
FREE_S = 0.35


@dataclass
class Case:
    """Audio of one turn, where its inner pause is (seconds, or none) and when speech ends."""

    audio: np.ndarray
    pause: tuple[float, float] | None
    ends: float
    name: str


def cases(data, seed: int, quick: bool) -> list[Case]:
    """Whole sentences, and sentences with a thinking pause before a word in their middle."""
    rng = random.Random(seed)
    found = []
    for path, _ in speech_files(data)[: 5 if quick else None]:
        audio = load(path)
        loud = np.flatnonzero(np.abs(audio) > 0.02)
        first, last = max(0, loud[0] - 1600), min(audio.size, loud[-1] + 800)
        audio = audio[first:last]
        found.append(Case(audio, None, audio.size / RATE - 0.05, path.stem))
        timing = path.with_suffix(".json")
        if not timing.is_file():
            continue
        words = [w for w in json.loads(timing.read_text())["w"] if w["t"] not in ("<s>", "</s>", "<sil>", "[NOISE]")]
        for word in rng.sample(words[2:-1], min(len(words) - 3, 2 if quick else 5)):
            at = int(word["b"] * RATE) - first
            around = range(max(at - 800, 160), at + 400, 80)
            cut = min(around, key=lambda i: float(np.mean(audio[i - 160 : i + 160] ** 2)))
            length = rng.uniform(0.4, 1.2)
            joined = np.concatenate([audio[:cut], np.zeros(int(length * RATE), np.float32), audio[cut:]])
            pause = (cut / RATE, cut / RATE + length)
            found.append(Case(joined, pause, joined.size / RATE - 0.05, f"{path.stem} before {word['t']}"))
    return found


async def play(models: Models, endpoint, turns: list[Case]) -> list[tuple[bool, float]]:
    """(was it cut off in its pause, seconds from the end of speech to the end of the turn) for each case."""
    results = []
    for case in turns:
        session = Session(host=None)
        commits: list[float] = []
        session.bus.tap(lambda e, c=commits: c.append(e.at) if isinstance(e, TurnCommitted) else None)
        listener = Listener(models.vad, models.whisper, pauses=Pauses(endpoint=endpoint))
        task = asyncio.create_task(listener.run(session))
        await asyncio.sleep(0.05)
        noise = np.random.default_rng(1)
        audio = np.concatenate([np.zeros(RATE // 2), case.audio, np.zeros(int(2.5 * RATE))])
        audio = audio + noise.normal(0, 0.0008, audio.size)
        zero = session.clock.now()
        for start in range(0, audio.size - STEP, STEP):
            await session.clock.sleep_until(zero + (start + STEP) / RATE)
            pcm = (np.clip(audio[start : start + STEP], -1, 1) * 32767).astype("<i2").tobytes()
            session.publish(AudioIn, pcm=pcm, seq=start // STEP)
            if commits and session.turns.turn:  # nobody answers here: the turn is simply over
                session.publish(ReplyFinished, turn=session.turns.turn, text="")
        session.publish(SessionClosed)
        await asyncio.wait_for(task, 30)
        ends = zero + 0.5 + case.ends
        cut = case.pause is not None and any(zero + 0.5 + case.pause[0] < at < ends - 0.1 for at in commits)
        final = [at for at in commits if at > ends - 0.1]
        results.append((cut, (final[-1] - ends) if final else float("nan")))
    return results


def summary(results: list[tuple[bool, float]], turns: list[Case]) -> dict[str, float]:
    """The two kinds of error."""
    paused = [cut for (cut, _), case in zip(results, turns, strict=True) if case.pause]
    waits = [wait for _, wait in results if np.isfinite(wait)]
    return {
        "cut_offs": float(np.mean(paused)) if paused else 0.0,
        "needless_wait_s": float(np.mean([max(0.0, w - FREE_S) for w in waits])),
        "wait_p95_s": float(np.percentile(waits, 95)),
        "never_ended": float(np.mean([not np.isfinite(w) for _, w in results])),
    }


def main() -> int:
    """Run it and print the claim card."""
    args = arguments("endpointing", __doc__.splitlines()[0], data="speech")
    card = Card("endpointing", args)
    if args.data is None:
        print("There is no speech: set OMNI_TEST_DATA, or name a folder with --data.")
        return 2
    models = Models()
    run_virtual(models.open())
    turns = cases(args.data, args.seed, args.quick)
    card.data([path for path, _ in speech_files(args.data)], args.data)
    rng = random.Random(args.seed)

    def shuffled(text):
        words = text.rstrip(".?!,").split()
        rng.shuffle(words)
        return silence_needed(" ".join(words) + rng.choice([".", "", "?"]))

    methods = {
        "adaptive": silence_needed,
        "fixed 0.7 s": lambda text: 0.7,
        "fixed 0.2 s": lambda text: 0.2,
        "shuffled words": shuffled,
    }
    found = {name: summary(run_virtual(play(models, method, turns)), turns) for name, method in methods.items()}
    card.table(
        f"{len(turns)} turns, {sum(c.pause is not None for c in turns)} of them with a pause inside",
        ["method", "cut-offs", "needless wait s", "p95 wait s"],
        [[name, f["cut_offs"], f["needless_wait_s"], f["wait_p95_s"]] for name, f in found.items()],
    )
    card.figures = found["adaptive"]
    fixed = ("fixed 0.7 s", "fixed 0.2 s")
    card.baseline = {f"{name}: {key}": value for name in fixed for key, value in found[name].items()}
    card.control = {f"{name}: {key}": found[name][key] for name in ("shuffled words",)
                    for key in ("cut_offs", "needless_wait_s")}  # fmt: skip
    card.expect("cut_offs", "<=", max(found["fixed 0.7 s"]["cut_offs"], 0.01))
    card.expect("needless_wait_s", "<=", found["fixed 0.7 s"]["needless_wait_s"])
    return card.finish()


if __name__ == "__main__":
    sys.exit(main())
