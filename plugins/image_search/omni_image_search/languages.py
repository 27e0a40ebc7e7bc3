"""Questions in other languages: noticed, and put into English where a chat model is there.

The text model knows English alone. A question it doesn't know gives photos at random, which is worse than saying so.
"""

from __future__ import annotations

import re
from typing import Any

from omni.capabilities import ChatModel, ChatRequest, Message
from omni.errors import OmniError

_COMMON = {
    "German": "der die das ein eine einen einem mit und im am auf von für ist sind zwei mann frau hund katze kinder",
    "French": "le la les un une des du avec et dans sur pour est sont deux homme femme chien chat enfant enfants plage",
    "Spanish": "el los las una unos unas con y en del para es son dos hombre mujer perro gato niño niños playa",
    "Italian": "il lo gli uno con e nel nella sul sulla di per è sono due uomo donna cane gatto bambini spiaggia",
    "Portuguese": "o os uma uns umas com e em no na do da para são dois homem mulher cão cachorro gato criança praia",
    "Dutch": "de het een met en op van voor niet zijn twee vrouw hond kat kind kinderen strand",
}
_WORDS = {language: frozenset(words.split()) for language, words in _COMMON.items()}
_ENGLISH = frozenset(
    [
        "the",
        "of",
        "with",
        "in",
        "on",
        "at",
        "and",
        "is",
        "are",
        "his",
        "her",
        "their",
        "from",
        "an",
        "to",
        "man",
        "a",
        "dog",
        "cat",
    ]
)


def foreign(text: str) -> str:
    """The language a question seems to be in, or "another language"; empty for English and for what can't be told."""
    letters = [char for char in text if char.isalpha()]
    if not letters:
        return ""
    if sum(ord(char) > 0x24F for char in letters) > len(letters) / 2:
        return "another language"
    said = re.findall(r"[^\W\d_]+", text.lower())
    english = sum(word in _ENGLISH for word in said)
    best, hits = max(((name, sum(w in words for w in said)) for name, words in _WORDS.items()), key=lambda one: one[1])
    return best if hits > english and hits >= min(2, len(said)) else ""


class Translator:
    """Into English by the chat model; answers are kept. None where there is no model or it makes nothing of it."""

    def __init__(self, host: Any) -> None:
        self._host = host
        self._known: dict[str, str | None] = {}

    async def english(self, text: str) -> str | None:
        """The question in English."""
        if text not in self._known:
            if len(self._known) > 500:
                self._known.clear()
            self._known[text] = await self._ask(text)
        return self._known[text]

    async def _ask(self, text: str) -> str | None:
        request = ChatRequest(
            messages=(
                Message(
                    "system",
                    "Translate the description of a photo into plain English. Answer with the translation only.",
                ),
                Message("user", text),
            ),
            max_tokens=60,
        )
        answer = ""
        try:
            async for delta in self._host.get(ChatModel).chat(request):
                answer += delta.text
        except OmniError:
            return None
        answer = answer.strip().strip("\"'").split("\n")[0]
        return answer if answer and answer.lower() != text.lower() and not foreign(answer) else None
