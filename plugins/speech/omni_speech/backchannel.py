"""What people say while they listen, and what they say to make it stop."""

from __future__ import annotations

from difflib import SequenceMatcher

from omni_speech.words import plain, word_set

_LISTENING = word_set(
    "mm mhm hmm hm mmhmm mmm uh huh uhhuh aha ah oh ok okay yeah yep yes yup right sure exactly indeed wow cool nice "
    "great good fine true totally absolutely gotcha alright interesting really um"
)
#: "OIC" and "IC" are how Whisper writes "(oh,) I see".
_PHRASES = {
    "i see", "got it", "of course", "oh wow", "go on", "sounds good", "that s right", "makes sense", "oh i see", "oic",
    "ic", "it s ok", "it s okay",
}  # fmt: skip
#: Single words that ask for something, however short: too little sound for the recogniser to be sure of.
_REQUESTS = word_set(
    "no nope why what who where when how which whose next back again louder quieter slower faster more sorry pardon now"
)
_STOP = {
    "stop", "stop it", "stop please", "please stop", "stop talking", "wait", "wait a moment", "wait a minute",
    "hold on", "shut up", "be quiet", "quiet", "enough", "that s enough", "okay stop", "ok stop",
    "pause", "hush", "never mind", "nevermind", "cancel",
}  # fmt: skip
#: A backchannel is no longer than this many words.
MOST_WORDS = 3


def is_backchannel(text: str) -> bool:
    """Whether someone says this to show that they listen: "mm-hm", "yeah", "okay, I see"."""
    words = said = once(text)
    for phrase in _PHRASES:
        if words == phrase or words.endswith(" " + phrase):
            words = words.removesuffix(phrase).strip()
            break
    parts = words.split()
    return len(parts) <= MOST_WORDS and bool(said) and all(part in _LISTENING for part in parts)


def is_request(text: str) -> bool:
    """Whether this is a word or two that can only be meant for the one who speaks: "why?", "not now"."""
    parts = once(text).split()
    return 0 < len(parts) <= 2 and parts[-1] in _REQUESTS


def once(text: str) -> str:
    """Its plain words without the repetition that a recogniser falls into on short sounds: "okay okay okay"."""
    parts = plain(text).split()
    for length in range(1, len(parts) // 2 + 1):
        if all(part == parts[at % length] for at, part in enumerate(parts)):
            return " ".join(parts[:length])
    return " ".join(parts)


def is_stop(text: str) -> bool:
    """Whether this only asks for silence: it interrupts, and needs no answer."""
    return once(text) in _STOP


def echoes(heard: str, spoken: str) -> float:
    """How much of what was heard (0..1, by words) is, in order, in what is being spoken just now."""
    ours, theirs = plain(heard).split(), plain(spoken).split()
    if not ours or not theirs:
        return 0.0
    matcher = SequenceMatcher(None, ours, theirs, autojunk=False)
    return sum(block.size for block in matcher.get_matching_blocks()) / len(ours)
