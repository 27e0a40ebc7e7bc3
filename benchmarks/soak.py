"""What is left of the machine after an hour of talk? `make bench-soak`, `make bench-soak ARGS="--minutes 20"`

A running Omni is talked to without a rest: recordings are spoken, questions typed, answers interrupted. Its memory,
threads and open files are read every ten seconds, the processes it started included. Growth is the slope of a straight
line through the samples after the first turns, which still load and warm. Baseline: the 1 MB a minute of which users
of voice frameworks complain.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import statistics
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil
from card import Card, arguments
from voice import Utterance, interrupt, percentile, stream, utterances
from voice_client import VoiceClient, running_omni

#: Turns before the first sample that counts.
WARM_TURNS = 12
SAMPLE_S = 10.0
COMPLAINT_MB_PER_HOUR = 60.0
TYPED = (
    "What is 20 % of 42.50?", "Why is the sky blue?", "Set a timer for one minute.", "What time is it?",
    "Remember that the spare key is with Anna.", "Where is the spare key?", "Draw the graph of x squared.",
)  # fmt: skip
TOPICS = ("a lighthouse", "a snowed-in train", "an old clockmaker")


@dataclass
class Samples:
    """Seconds since the start, megabytes resident, threads, open files; one entry a sample."""

    at: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)

    def growth(self, share: float = 1.0) -> float:
        """Megabytes an hour, over the last `share` of the time."""
        first = int(len(self.at) * (1 - share))
        if len(self.at) - first < 3:
            return float("nan")
        return float(np.polyfit(np.array(self.at[first:]) / 3600, self.megabytes[first:], 1)[0])


async def sample(pid: int, samples: Samples, warm: asyncio.Event) -> None:
    """Read the process and its children until cancelled, from `warm` on."""
    await warm.wait()
    began = time.monotonic()
    process = psutil.Process(pid)
    while True:
        family = [process, *process.children(recursive=True)]
        samples.at.append(time.monotonic() - began)
        samples.megabytes.append(sum(one.memory_info().rss for one in family) / 1e6)
        samples.threads.append(sum(one.num_threads() for one in family))
        samples.files.append(sum(one.num_fds() for one in family))
        await asyncio.sleep(SAMPLE_S)


async def talk(
    client: VoiceClient, items: list[Utterance], seconds: float, warm: asyncio.Event
) -> tuple[list[float], int]:
    """Turn after turn until the time is over: how long each spoken one waited for its first sound, and how many
    turns were never answered."""
    waits: list[float] = []
    unanswered = 0
    topics, typed = itertools.cycle(TOPICS), itertools.cycle(TYPED)
    ends = time.monotonic() + seconds
    for number, item in enumerate(itertools.cycle(items)):
        if time.monotonic() > ends:
            break
        if number == WARM_TURNS:
            warm.set()
        try:
            if number % 5 == 3:
                await interrupt(client, item, topics)
            elif number % 3 == 2:
                before = client.last_turn
                await client.type(next(typed))
                await client.wait_for_answer(after=before)
                await client.wait_until_quiet()
            else:
                result = await stream(client, item)
                waits += [result.first_sound_s] if result.first_sound_s and result.first_sound_s > 0 else []
        except TimeoutError:
            unanswered += 1
        print(json.dumps({"turn": number, "left_s": round(ends - time.monotonic())}), flush=True)
    return waits, unanswered


async def measure(items: list[Utterance], minutes: float) -> tuple[Samples, list[float], int]:
    """Samples, waits and unanswered turns of so many minutes."""
    samples, warm = Samples(), asyncio.Event()
    async with running_omni() as address, VoiceClient(address) as client:
        reading = asyncio.create_task(sample(address.pid, samples, warm))
        try:
            waits, unanswered = await talk(client, items, 60 * minutes, warm)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
    return samples, waits, unanswered


def main() -> int:
    """Run it and print the claim card."""
    minutes: dict[str, Any] = {"type": float, "default": 60.0, "help": "how long it is talked to"}
    args = arguments("soak", __doc__.splitlines()[0], data="speech", minutes=minutes)
    if args.data is None:
        print("The shared speech recordings are not here: set OMNI_TEST_DATA or --data DIR.", file=sys.stderr)
        return 2
    card = Card("soak", args)
    items, files = utterances(args.data)
    samples, waits, unanswered = asyncio.run(measure(items, 4.0 if args.quick else args.minutes))
    card.data(files, args.data)
    third = max(1, len(waits) // 3)
    card.figures = {
        "minutes": samples.at[-1] / 60,
        "turns_timed": len(waits),
        "unanswered": unanswered,
        "megabytes_at_first": statistics.median(samples.megabytes[:6]),
        "megabytes_at_last": statistics.median(samples.megabytes[-6:]),
        "growth_mb_per_hour": samples.growth(),
        "growth_mb_per_hour_last_half": samples.growth(0.5),
        "threads_more": samples.threads[-1] - samples.threads[0],
        "files_more": samples.files[-1] - samples.files[0],
        "p50_s_first_third": percentile(waits[:third], 0.5),
        "p50_s_last_third": percentile(waits[-third:], 0.5),
    }
    card.baseline = {"growth_mb_per_hour": COMPLAINT_MB_PER_HOUR}
    card.expect("growth_mb_per_hour", "<=", COMPLAINT_MB_PER_HOUR)
    card.expect("threads_more", "<=", 4)
    return card.finish()


if __name__ == "__main__":
    raise SystemExit(main())
