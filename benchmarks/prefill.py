"""How soon does the first token come once a turn is certain, and what does feeding the transcript early save?

A conversation of short turns is held three times over with the default chat model: cold (an empty
cache each turn), with the history reused, and with the transcript also fed word by word as a
recogniser would give it, all but the last two words. Then: tokens a second, how long a closed answer
goes on, and how long a chat waits for a prefill that is under way.

`--small` takes the 135 M model; `--busy` adds one process that keeps a core busy.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import aclosing

import numpy as np
from card import Card, arguments
from omni_language.embedded import EmbeddedChat
from omni_language.engine import LlamaServer

from omni.capabilities import ChatRequest, Message
from omni.catalogue.store import ModelStore
from omni.config import load_config

SYSTEM = (
    "You are Omni, a friendly voice assistant on the user's own machine. Answer in one or two short spoken sentences, "
    "without lists, headings, emoji or Markdown. Say numbers as a person would. If you don't know, say so."
)
QUESTIONS = (
    "What is the capital of France, and what is it known for?",
    "Could you tell me what the weather is usually like there in early spring?",
    "I would like to plant a few tomatoes on my balcony this year, how do I begin?",
    "How long does it take to boil an egg so that the yolk is still a little soft?",
    "Please explain to me in simple words why the sky turns red in the evening.",
    "What should I pack if I go hiking in the mountains for three days?",
    "Can you think of a good name for a small grey cat that sleeps all day?",
    "Is it true that octopuses have three hearts, and if so, why is that?",
)


def percentile(values: Sequence[float], rank: float) -> float:
    """The `rank`-th percentile."""
    return float(np.percentile(values, rank))


async def ask(
    chat: EmbeddedChat, messages: Sequence[Message], slot: str, tokens: int = 32
) -> tuple[float, float, str, int]:
    """(seconds to the first text, tokens a second after it, the text, prompt tokens evaluated)."""
    began = time.perf_counter()
    first, text, last = 0.0, "", None
    async for delta in chat.chat(ChatRequest(messages, slot=slot, max_tokens=tokens)):
        first = first or time.perf_counter() - began
        text += delta.text
        last = delta
    rate = (last.completion_tokens - 1) / max(1e-9, time.perf_counter() - began - first)
    return first, rate, text, last.prompt_tokens - last.cached_tokens


async def turn_prefilled(
    chat: EmbeddedChat, history: list[Message], question: str, slot: str, held: int
) -> tuple[float, int]:
    """Feed the question in growing pieces, all but the last `held` words, then ask."""
    words = question.split()
    for end in range(3, len(words) - held + 1, 3):
        await chat.prefill([*history, Message("user", " ".join(words[:end]))], slot=slot)
    await chat.prefill([*history, Message("user", " ".join(words[: len(words) - held]))], slot=slot)
    first, _, _, evaluated = await ask(chat, [*history, Message("user", question)], slot, tokens=2)
    return first, evaluated


async def closing(chat: EmbeddedChat, engine: LlamaServer) -> tuple[float, float]:
    """Seconds from closing an answer until the caller goes on, and until the model is idle."""
    request = ChatRequest([Message("user", "Tell me a very long story about the sea.")], slot="story", max_tokens=400)
    async with aclosing(chat.chat(request)) as answer:
        count = 0
        async for _ in answer:
            count += 1
            if count == 12:
                break
        began = time.perf_counter()
    closed = time.perf_counter() - began
    while await engine.busy_slots():  # each look is a request: nothing to wait on but the answer
        pass
    return closed, time.perf_counter() - began


async def yielding(chat: EmbeddedChat, index: int) -> float:
    """Seconds to the first token of a short warm chat that comes in the middle of somebody else's long prefill."""
    warm = [Message("system", SYSTEM), Message("user", "Hello.")]
    await ask(chat, warm, "urgent", tokens=1)
    long = Message("user", f"{index} " + "the keeper of the lighthouse walked down the stairs and counted them " * 20)
    other = asyncio.create_task(chat.prefill([long], slot="other"))
    await asyncio.sleep(0.3)
    began = time.perf_counter()
    await ask(chat, warm, "urgent", tokens=1)
    waited = time.perf_counter() - began
    await other
    return waited


async def measure(args: object) -> dict[str, list[float]]:
    """All samples, in seconds (`rate`: tokens a second; `tail`: tokens)."""
    store = ModelStore.from_config(load_config())
    model = "smollm2-135m" if args.small else "qwen2.5-coder-1.5b"
    engines: list[LlamaServer] = []

    def make(file: object) -> LlamaServer:
        engines.append(LlamaServer(file, threads=2, slots=4))
        return engines[-1]

    samples: dict[str, list[float]] = {
        key: [] for key in ("open", "cold", "history", "prefilled", "whole", "rate", "tail", "close", "idle", "yield")
    }
    chat = EmbeddedChat(lambda: store.path(model), make, slots=4)
    began = time.perf_counter()
    await chat.open()
    samples["open"].append(time.perf_counter() - began)
    history = [Message("system", SYSTEM)]
    questions = QUESTIONS[:4] if args.quick else QUESTIONS
    try:
        for index, question in enumerate(questions):
            turn = [*history, Message("user", question)]
            # A first message of its own in the one slot for unnamed requests: nothing of the prompt is there yet.
            await ask(chat, [Message("user", f"{index}")], "", tokens=1)
            samples["cold"].append((await ask(chat, turn, "", tokens=2))[0])
            first, rate, answer, _ = await ask(chat, turn, "late")
            samples["rate"].append(rate)
            if index:
                samples["history"].append(first)
                # Each in a slot of its own, where the turn before was held the same way.
                for key, held in (("prefilled", 2), ("whole", 0)):
                    first, evaluated = await turn_prefilled(chat, history, question, key, held)
                    samples[key].append(first)
                    samples["tail"].append(evaluated)
            history += [Message("user", question), Message("assistant", answer.strip())]
        for index in range(4 if args.quick else 8):
            closed, idle = await closing(chat, engines[0])
            samples["close"].append(closed)
            samples["idle"].append(idle)
            samples["yield"].append(await yielding(chat, index))
    finally:
        await chat.close()
    return samples


def main() -> int:
    """Measure, print, write the card."""
    args = arguments(
        "prefill",
        "How soon does the first token come once a turn is certain?",
        small={"action": "store_true", "help": "the 135 M model"},
        busy={"action": "store_true", "help": "with one process that keeps a core busy"},
    )
    card = Card("prefill", args)
    load = [subprocess.Popen([sys.executable, "-c", "while True: pass"])] if args.busy else []
    try:
        samples = asyncio.run(measure(args))
    finally:
        for process in load:
            process.kill()
            process.wait()
    names = {
        "cold": "first token, cold",
        "history": "first token, history reused",
        "prefilled": "first token, fed but for two words",
        "whole": "first token, fed to the last word",
        "close": "closing an answer takes",
        "idle": "the model is idle after it",
        "yield": "first token, in somebody's prefill",
    }
    card.table(
        "Seconds",
        ["what", "p50", "p95", "best", "n"],
        [
            [label, percentile(samples[k], 50), percentile(samples[k], 95), min(samples[k]), len(samples[k])]
            for k, label in names.items()
        ],
    )
    card.figures = {
        "first_token_p50_s": percentile(samples["whole"], 50),
        "first_token_p95_s": percentile(samples["whole"], 95),
        "two_words_left_p50_s": percentile(samples["prefilled"], 50),
        "two_words_left_p95_s": percentile(samples["prefilled"], 95),
        "tokens_per_s": percentile(samples["rate"], 50),
        "close_p95_s": percentile(samples["close"], 95),
        "idle_after_close_p95_s": percentile(samples["idle"], 95),
        "yield_p95_s": percentile(samples["yield"], 95),
        "open_s": samples["open"][0],
    }
    card.baseline = {
        "first_token_p50_s": percentile(samples["history"], 50),
        "first_token_p95_s": percentile(samples["history"], 95),
    }
    card.control = {"first_token_p50_s": percentile(samples["cold"], 50)}
    card.expect("first_token_p50_s", "<=", 0.15)
    card.expect("close_p95_s", "<=", 0.05)
    return card.finish()


if __name__ == "__main__":
    sys.exit(main())
