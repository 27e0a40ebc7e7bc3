"""Does a person stop Omni at once, while its own voice and a "yeah" don't? `make bench-barge_in`

Omni's voice plays in simulated rooms (echo gain, delay, reverberation); people interrupt, say "mm-hm", or are silent.
Baseline: any speech the voice detector hears for 0.2 s cuts. Control: the same listener without its echo guard.
"""

from __future__ import annotations

import asyncio
import sys

import numpy as np
from card import Card, arguments
from omni_speech import listener as listening
from speech_scene import Models, Room, impulse_response, levelled, load, speak, speech_files, trimmed

from omni.clock import run_virtual
from omni.events import AudioHold, Backchannel, BargeIn

ANSWER = (
    "The next train to the coast leaves at a quarter past nine from platform four, and it takes about an hour and ten "
    "minutes. There is another one at ten, which stops at every station on the way, so I would take the first."
)
BACKCHANNELS = ("Yeah.", "Okay.", "Right.", "Mm-hmm.", "Uh-huh.", "I see.")
INTERRUPTIONS = ("Wait, what about the bus?", "No, I meant tomorrow morning.", "Stop.", "Hold on, how much is it?")
PEOPLE = ("af_bella", "am_michael", "bf_emma")
ROOMS = [(-8, 60, 0.15), (-8, 180, 0.4), (-14, 60, 0.4), (-14, 260, 0.15), (-22, 120, 0.3), (-60, 40, 0.1)]


class _NoGuard:
    def person(self, microphone, played):
        return 1.0


def naive_cuts(vad, microphone: np.ndarray) -> bool:
    """Whether 0.2 s of what the voice detector takes for speech occurs."""
    detector, run = vad.detector(), 0
    for start in range(0, microphone.size - 511, 512):
        run = run + 1 if detector.probability(microphone[start : start + 512]) > 0.5 else 0
        if run >= 6:
            return True
    return False


def main() -> int:
    """Run it and print the claim card."""
    args = arguments("barge_in", __doc__.splitlines()[0], data="speech")
    card = Card("barge_in", args)
    rooms = ROOMS[::3] if args.quick else ROOMS
    models = Models()
    run_virtual(models.open())
    voices = asyncio.run(_voices(models, args))
    answer, backchannels, interruptions = voices

    def play(room, person=None, guard=True, seed=0):
        response = impulse_response(*room, seed=seed)
        person = np.zeros(0, np.float32) if person is None else person
        scene = Room(models, answer, ANSWER, response, person, seed=seed)
        original = listening.EchoGuard
        listening.EchoGuard = original if guard else _NoGuard
        try:
            return run_virtual(scene.run(9.0))
        finally:
            listening.EchoGuard = original

    def held(events):
        moments = [e for e in events if isinstance(e, AudioHold)]
        return sum(b.at - a.at for a, b in zip(moments[::2], moments[1::2], strict=False))

    rows, delays, missed, false_cuts, false_holds = [], [], 0, 0, []
    for room in rooms:
        quiet = play(room)
        cut = sum(isinstance(e, BargeIn) for e in quiet)
        false_cuts += cut
        false_holds.append(held(quiet))
        own = []
        for seed, audio in enumerate(interruptions):
            events = play(room, audio, seed=seed)
            stops = [e.at for e in events if isinstance(e, BargeIn) or (isinstance(e, AudioHold) and e.held)]
            after = [s - 4.05 for s in stops if s > 4.05]
            if after and any(isinstance(e, BargeIn) for e in events):
                own.append(after[0])
            else:
                missed += 1
        delays += own
        rows.append([*room, cut, round(false_holds[-1], 2), f"{len(own)}/{len(interruptions)}",
                     float(np.median(own)) if own else float("nan")])  # fmt: skip
    said = [(room, text, play(room, audio)) for room in rooms[-2:] for text, audio in backchannels]
    wrongly = [text for _, text, events in said if any(isinstance(e, BargeIn) for e in events)]
    noticed = sum(any(isinstance(e, Backchannel) for e in events) for _, _, events in said)
    unguarded = sum(any(isinstance(e, BargeIn) for e in play(room, guard=False)) for room in rooms)
    naive_echo = sum(naive_cuts(models.vad, np.convolve(answer, impulse_response(*room, seed=0))) for room in rooms)
    naive_back = sum(naive_cuts(models.vad, np.concatenate([np.zeros(8000, np.float32), a])) for _, a in backchannels)
    card.table("Rooms", ["gain dB", "delay ms", "RT60 s", "false cuts", "held s", "interrupted", "median s"], rows)
    print("backchannels that cut:", wrongly or "none")
    card.figures = {
        "barge_in_s": float(np.percentile(delays, 95)) if delays else float("nan"),
        "barge_in_p50_s": float(np.median(delays)) if delays else float("nan"),
        "missed": missed / (len(rooms) * len(interruptions)),
        "echo_cuts": false_cuts / len(rooms),
        "echo_held_s": float(np.mean(false_holds)),
        "backchannel_cuts": len(wrongly) / len(said),
        "backchannel_noticed": noticed / len(said),
        "backchannel_held_s": float(np.mean([held(events) for _, _, events in said])),
    }
    card.baseline = {"echo_cuts": naive_echo / len(rooms), "backchannel_cuts": naive_back / len(backchannels)}
    card.control = {"echo_cuts": unguarded / len(rooms)}
    card.expect("barge_in_s", "<=", 0.25)
    card.expect("missed", "<=", 0.1)
    card.expect("echo_cuts", "<=", 0.0)
    card.expect("backchannel_cuts", "<=", 0.1)
    return card.finish()


async def _voices(models: Models, args):
    piper, kokoro = models.piper(), models.kokoro()
    await piper.open()
    await kokoro.open()
    answer = levelled(await speak(piper, ANSWER), 0.12)
    people = PEOPLE[:1] if args.quick else PEOPLE
    backchannels = [(f"{t} ({p})", levelled(await speak(kokoro, t, p))) for p in people for t in BACKCHANNELS]
    interruptions = [levelled(await speak(kokoro, t, p)) for p in people for t in INTERRUPTIONS]
    if args.data:
        files = speech_files(args.data)[: 2 if args.quick else 5]
        interruptions += [levelled(trimmed(load(path))) for path, _ in files]
    await piper.close()
    await kokoro.close()
    return answer, backchannels, interruptions


if __name__ == "__main__":
    sys.exit(main())
