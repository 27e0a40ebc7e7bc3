"""When not to believe the recogniser: text it repeats, and text it makes up from noise."""

from __future__ import annotations

import zlib

from omni_speech.words import plain

#: What Whisper writes into noise: the captions of its training videos (openai/whisper discussions #928, #679).
_MADE_UP = frozenset({
    "", "you", "thank you", "thanks", "thanks for watching", "thank you for watching", "please subscribe",
    "bye", "bye bye", "so", "oh", "hmm", "subtitles by the amara org community", "music", "applause", "laughter",
    "the end", "i m sorry", "okay", "foreign", "silence", "inaudible", "blank audio",
})  # fmt: skip
#: People speak at most about this many words a second; reading very fast is six.
_WORDS_PER_SECOND = 7.0


def is_repetition(text: str, seconds: float) -> bool:
    """Whether the decoder got caught in a loop: more words than can be said, one phrase three times
    on end, or all of it over again."""
    words = plain(text).split()
    if len(words) > 8 + _WORDS_PER_SECOND * seconds:
        return True
    data = text.encode()
    if len(data) > 60 and len(data) / len(zlib.compress(data)) > 2.4:
        return True
    for period in range(4, len(words) - 2):
        if words[period:] == words[: len(words) - period]:
            return True
    for size in range(2, 7):
        for start in range(len(words) - 3 * size + 1):
            phrase = words[start : start + size]
            if phrase == words[start + size : start + 2 * size] == words[start + 2 * size : start + 3 * size]:
                return True
    return False


def is_hallucination(text: str, logprob: float, no_speech: float, seconds: float) -> bool:
    """Whether text was read into something that was no speech.

    `logprob` is the mean log probability of its tokens, `no_speech` the model's own doubt. Neither alone is
    enough: quiet speech is improbable, and a clear "thank you" is just what people say.
    """
    if not plain(text):
        return True
    if text.startswith(("[", "(", "*", "♪")) and text.endswith(("]", ")", "*", "♪")):
        return True
    if no_speech > 0.6 and logprob < -0.8:
        return True
    if plain(text) in _MADE_UP and (no_speech > 0.4 or logprob < -0.9):
        return True
    return logprob < -1.6 and seconds < 3.0
