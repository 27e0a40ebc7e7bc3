"""How long to wait before a silence is the end: short after a finished sentence, long after "and"."""

from __future__ import annotations

import re

from omni_speech.words import plain, word_set

#: Seconds of silence, from the most certain end to the least. An answer takes half a second to be ready anyway, so a
#: finished sentence may as well wait that long: it costs nothing and cuts fewer people off.
FINISHED_S = 0.5
LIKELY_S = 0.6
OPEN_S = 0.7
HANGING_S = 1.5
DICTATING_S = 1.6

_CONJUNCTIONS = word_set(
    "and or but so because since while although if when unless until that which who whose where than as"
)
#: These end a sentence as often as they hang: "tell me more about that", "tell me that ...".
_AMBIGUOUS = word_set("that this these those her some any another so though there who which")
_PREPOSITIONS = word_set(
    "of to in on at by for from with about into over under between without within like through during"
)
_DETERMINERS = word_set("a an the my your his her its our their this these those some any every each no another")
_AUXILIARIES = word_set(
    "is are was were am be will would can could should shall may might must do does did has have had i'm"
)
_HESITATIONS = word_set("um uh er erm hmm mm well like ah eh you_know i_mean let_me_see")
_SUBJECTS = word_set("i we they he she you it there")
_QUESTION = word_set(
    "what who whom whose where when why how which is are was were do does did can could will would should have has may "
    "shall am isn't aren't don't doesn't didn't can't won't"
)
_COMMANDS = word_set(
    "stop wait pause continue repeat open close show tell find search read write play draw turn set help yes no okay "
    "thanks hello hi bye add delete remove send call start cancel explain translate"
)
_NUMBERS = word_set(
    "zero oh one two three four five six seven eight nine ten eleven twelve hundred thousand point dot at dash"
)


def silence_needed(text: str) -> float:
    """Seconds of silence after `text` before the turn is over.

    The words alone decide. Pitch and loudness at the end were tried: the same cut-offs, and longer waits.
    """
    words = plain_words(text)
    return _by_text(text.strip(), words) if words else OPEN_S


def _by_text(text: str, words: list[str]) -> float:
    last = words[-1]
    pair = "_".join(words[-2:])
    if text.endswith(("...", "…", "-", "–", "—")) or last in _HESITATIONS or pair in _HESITATIONS:
        return HANGING_S
    if _dictating(text, words):
        return DICTATING_S
    if text.endswith("?") and len(words) >= 3:
        return FINISHED_S
    if last in _AMBIGUOUS and _closed(text):
        return LIKELY_S
    if last in _CONJUNCTIONS | _DETERMINERS:
        return HANGING_S
    if last in _PREPOSITIONS and not _closed(text):
        return HANGING_S
    if last in _AUXILIARIES | _SUBJECTS and len(words) > 1 and not text.endswith("?"):
        return LIKELY_S if _closed(text) else HANGING_S
    if _rising_list(text, words):
        return OPEN_S
    if text.endswith(","):
        return OPEN_S
    if len(words) <= 3 and words[0] in _COMMANDS:
        return FINISHED_S
    if _closed(text):
        if len(words) >= 3:
            return FINISHED_S if words[0] in _QUESTION | _COMMANDS or len(words) >= 5 else LIKELY_S
        return LIKELY_S
    return OPEN_S if len(words) < 4 else LIKELY_S


def plain_words(text: str) -> list[str]:
    """The words of a text in lower case, apostrophes kept."""
    return re.findall(r"[\w']+", text.lower().replace("’", "'"))


def _closed(text: str) -> bool:
    return text.endswith((".", "!", "?")) and not text.endswith("...")


def _dictating(text: str, words: list[str]) -> bool:
    """A telephone number, a code, an address: the text ends in a run of digits that may go on."""
    tail = re.search(r"(?:\d[\d\s,.\-]*)$", text)
    if tail:
        count = sum(c.isdigit() for c in tail.group())
        asks = words[0] in _QUESTION or any(
            w in words for w in ("plus", "times", "minus", "divided", "percent", "than")
        )
        return 3 <= count < 10 and not asks
    run = 0
    for word in reversed(words):
        if word not in _NUMBERS:
            break
        run += 1
    return 3 <= run < 10


def _rising_list(text: str, words: list[str]) -> bool:
    """ "apples, pears, bananas" without an "and" yet: one more is to come."""
    tail = text.rstrip(".!?").rsplit(". ", 1)[-1]
    items = [plain(part) for part in tail.split(",")]
    if len(items) < 3 or any(len(item.split()) > 3 for item in items[1:]):
        return False
    return not items[-1].startswith(("and ", "or ")) and " and " not in f" {items[-1]} "
