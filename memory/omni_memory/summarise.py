"""What was said, in fewer words: by the chat model where there is one, else by picking the sentences that tell most."""

from __future__ import annotations

import asyncio
import logging
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from omni.capabilities import ChatModel, ChatRequest, Message
from omni.errors import OmniError
from omni_memory.recall import terms

log = logging.getLogger("omni.memory")

#: The model may take this long; then the extract stands in.
DEADLINE_S = 30.0
#: Characters of conversation given to the model: about 3,000 tokens.
MODEL_CHARACTERS = 12_000

_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_FACT = re.compile(
    r"\d|\b(?:my|our|i am|i'm|i have|i've|name|called|prefer|like|hate|need|decided|agreed|remember)\b", re.IGNORECASE
)
_INSTRUCTION = (
    "Summarise the conversation for your own later use. Keep names, numbers, dates, places, decisions, preferences "
    "and open questions, word for word where it matters. Add nothing that was not said. "
    "At most {words} words, plain sentences."
)


async def summarise(host: Any, said: Sequence[Message], words: int) -> str:
    """`said` in about `words` words. The model's text is taken when it is shorter than what was said."""
    if not any(message.content.strip() for message in said):
        return ""
    try:
        text = await asyncio.wait_for(_by_model(host, said, words), DEADLINE_S)
    except (OmniError, TimeoutError) as error:
        log.info("summarising without the chat model: %s", error)
        text = ""
    length = sum(len(message.content) for message in said)
    return text if 0 < len(text) < max(length, 40) else extract(said, words)


async def _by_model(host: Any, said: Sequence[Message], words: int) -> str:
    if host is None:
        return ""
    names = {"user": "Person", "assistant": "Omni", "system": "Earlier"}
    lines = "\n".join(f"{names.get(m.role, m.role)}: {' '.join(m.content.split())}" for m in said if m.content.strip())
    request = ChatRequest(
        messages=[
            Message("system", _INSTRUCTION.format(words=words)),
            Message("user", lines[-MODEL_CHARACTERS:]),
        ],
        slot="summary",
        max_tokens=words * 2,
    )
    parts = [delta.text async for delta in host.get(ChatModel).chat(request)]
    return " ".join("".join(parts).split())


def extract(said: Sequence[Message], words: int) -> str:
    """The sentences that tell most, in their order, until `words` are used up.

    A sentence counts by how much of the conversation's vocabulary it holds (Luhn 1958), more when it
    states a fact about the person or holds a number, less when it is a question. What an earlier
    summary said is kept like the rest.
    """
    pieces = [(m.role, piece.strip()) for m in said for piece in _SENTENCE.split(m.content) if piece.strip()]
    sentences = list({piece.lower(): (role, piece) for role, piece in reversed(pieces)}.values())[::-1]
    frequency = Counter(term for _, sentence in sentences for term in set(terms(sentence)))

    def weight(place: int) -> float:
        role, sentence = sentences[place]
        held = set(terms(sentence))
        score = sum(min(frequency[term], 3) for term in held) / (len(held) + 3)
        score *= 1.6 if _FACT.search(sentence) else 1.0
        score *= {"user": 1.2, "system": 1.5}.get(role, 1.0)
        return score * (0.4 if sentence.endswith("?") else 1.0)

    chosen: list[int] = []
    used = 0
    for place in sorted(range(len(sentences)), key=weight, reverse=True):
        length = len(sentences[place][1].split())
        if used + length <= words:
            chosen.append(place)
            used += length
    if not chosen:
        best = max(range(len(sentences)), key=weight)
        return " ".join(sentences[best][1].split()[:words])
    return " ".join(sentences[place][1] for place in sorted(chosen))
